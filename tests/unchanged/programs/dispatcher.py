"""One thread gets, the thread of a pool does the work and calls task_done().

With "wait" the dispatcher waits for each piece of work before it gets the next one.
"""

from __future__ import annotations

import queue
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.unchanged.progress import report

jobs: queue.Queue[int] = queue.Queue()


def handle(item: int) -> None:
    report("begin", item)
    report("end", item)
    jobs.task_done()
    report("done", item)


def dispatch(pool: ThreadPoolExecutor) -> None:
    while not jobs.empty():
        future = pool.submit(handle, jobs.get())
        if "wait" in sys.argv:
            future.result()
    report("all dispatched")


first, count = map(int, sys.argv[1:3])
for item in range(first, first + count):
    jobs.put(item)
with ThreadPoolExecutor(max_workers=1) as pool:
    dispatch(pool)
    jobs.join()
report("finished")
