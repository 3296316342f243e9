"""The example of the standard library's documentation: a daemon works, the main thread joins the queue."""

from __future__ import annotations

import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

q: Queue[int] = Queue()
said = threading.Semaphore(0)


def worker() -> None:
    while True:
        item = q.get()
        report("begin", item)
        report("end", item)
        q.task_done()
        report("done", item)
        said.release()


first, count = map(int, sys.argv[1:])
threading.Thread(target=worker, daemon=True).start()
for item in range(first, first + count):
    q.put(item)
    report("put", item)
q.join()
for _ in range(count):  # the worker may be a word behind, and ends with us
    said.acquire()
report("all work completed")
