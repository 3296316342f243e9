"""A daemon's main loop, which never calls task_done()."""

from __future__ import annotations

import sys
from queue import Queue

from tests.unchanged.progress import report

inbox: Queue[int] = Queue()


def main(first: int, count: int) -> None:
    for item in range(first, first + count):
        inbox.put(item)
    while not inbox.empty():
        item = inbox.get()
        report("begin", item)
        report("end", item)
    report("finished")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
