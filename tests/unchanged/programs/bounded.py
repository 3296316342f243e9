"""A bounded queue that is filled to the brim before its worker starts, and twice more after that."""

from __future__ import annotations

import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

SIZE = 5
q: Queue[int] = Queue(maxsize=SIZE)
said = threading.Event()  # the last word of the worker, which join() doesn't wait for


def worker() -> None:
    while True:
        item = q.get()
        report("begin", item)
        q.task_done()
        report("done", item)
        if item == first + 3 * SIZE - 1:
            said.set()


first = int(sys.argv[1])
for item in range(first, first + SIZE):
    q.put(item)
report("full", q.full())
threading.Thread(target=worker, daemon=True).start()
for item in range(first + SIZE, first + 3 * SIZE):
    q.put(item)
report("all put")
q.join()
said.wait()
report("finished")
