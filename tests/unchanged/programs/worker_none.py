"""The documentation's older example: three workers, each of them stopped by a None of its own.

With "confirm" the workers call task_done() and the main thread joins the queue; without, nobody ever does.
"""

from __future__ import annotations

import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

WORKERS = 3
q: Queue[int | None] = Queue()
confirm = "confirm" in sys.argv


def worker() -> None:
    while True:
        item = q.get()
        if item is None:
            break
        report("begin", item)
        report("end", item)
        if confirm:
            q.task_done()
    report("worker stops")


def main(first: int, count: int) -> None:
    threads = [threading.Thread(target=worker) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for item in range(first, first + count):
        q.put(item)
    report("all put")
    if confirm:
        q.join()
    for _ in threads:
        q.put(None)
    report("all told to stop")
    for thread in threads:
        thread.join()
    report("finished")


main(int(sys.argv[1]), int(sys.argv[2]))
