"""As a server that loads its application before it forks: the queue is made, and used, in the master.

The workers handle requests, and tell each other of none. With "drain" the master looks at its own at the end.
"""

from __future__ import annotations

import os
import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

jobs: Queue[int] = Queue()


def handle_jobs() -> None:
    while True:
        item = jobs.get()
        report("begin", item)
        jobs.task_done()


def work(number: int, count: int) -> None:
    threading.Thread(target=handle_jobs, daemon=True).start()
    for item in range(100 * number, 100 * number + count):
        jobs.put(item)
    report("all put")
    jobs.join()
    report("worker ends")


def main(warm_up: int, workers: int, count: int) -> None:
    for item in range(warm_up):
        jobs.put(item)
    children = []
    for number in range(1, workers + 1):
        child = os.fork()
        if not child:
            work(number, count)
            sys.exit()
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    if "drain" in sys.argv:
        threading.Thread(target=handle_jobs, daemon=True).start()
        jobs.join()
    report("finished")


main(*map(int, sys.argv[1:4]))
