"""multiprocessing's children, each with the queue of the module and one of its own. Nobody calls task_done()."""

from __future__ import annotations

import multiprocessing
import sys
from queue import Empty, Queue
from typing import Any

from tests.unchanged.progress import report

shared: Queue[int] = Queue()


def consume(q: Queue[int], word: str) -> None:
    while True:
        try:
            item = q.get_nowait()
        except Empty:
            return
        report(word, item)


def child(first: int, count: int) -> None:
    own: Queue[int] = Queue()
    for item in range(first, first + count):
        shared.put(item)
        own.put(-item)
    report("all put")
    consume(shared, "shared")
    consume(own, "own")


def main(method: str, children: int, first: int, count: int) -> None:
    context: Any = multiprocessing.get_context(method)
    processes = [context.Process(target=child, args=(first + 100 * n, count)) for n in range(children)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        report("exit code", process.exitcode)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
