"""Pre-forked workers with one queue of the module, of which each has a copy of its own.

With "abrupt" they leave by os._exit(), past everything that is to be done at an exit.
"""

from __future__ import annotations

import os
import sys
from queue import Empty, Queue

from tests.unchanged.progress import report

jobs: Queue[int] = Queue()


def work(number: int, count: int) -> None:
    for item in range(100 * number, 100 * number + count):
        report("wants to put", item)
        jobs.put(item)
        report("put", item)
    report("all put")
    while True:
        try:
            item = jobs.get_nowait()
        except Empty:
            break
        report("begin", item)
        jobs.task_done()
        report("done", item)
    jobs.join()


def main(workers: int, count: int) -> None:
    children = {}
    for number in range(1, workers + 1):
        child = os.fork()
        if not child:
            work(number, count)
            if "abrupt" in sys.argv:
                os._exit(0)
            sys.exit()
        children[child] = number
    while children:
        child, _ = os.wait()
        report("reaped", children.pop(child))
    report("finished")


main(int(sys.argv[1]), int(sys.argv[2]))
