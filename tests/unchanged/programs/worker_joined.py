"""The example of the standard library's documentation: a daemon works, the main thread joins the queue."""

from __future__ import annotations

import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

q: Queue[int] = Queue()


def worker() -> None:
    while True:
        item = q.get()
        report("begin", item)
        report("end", item)
        q.task_done()
        report("done", item)


first, count = map(int, sys.argv[1:])
threading.Thread(target=worker, daemon=True).start()
for item in range(first, first + count):
    q.put(item)
    report("put", item)
q.join()
report("all work completed")
