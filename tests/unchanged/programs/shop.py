"""A shop that takes orders as long as there are any. What an order is, its `models` know: those of a version."""

from __future__ import annotations

import sys
from queue import Empty, Queue
from typing import Any

import models  # type: ignore[import-not-found]  # beside this script, once it is installed

from tests.unchanged.progress import report

orders: Queue[Any] = Queue()


def main() -> None:
    for number in map(int, sys.argv[1:]):
        orders.put(models.order(number))
    report("all put")
    while True:
        try:
            order = orders.get_nowait()
        except Empty:
            break
        report("begin", order.number)
        orders.task_done()
        report("done", order.number)
    report("finished")


if __name__ == "__main__":
    main()
