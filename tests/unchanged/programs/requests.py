"""A queue for each request: its parts are worked on by a thread of its own, and what comes out is collected."""

from __future__ import annotations

import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

PARTS = 3


def work(parts: Queue[int], results: Queue[int]) -> None:
    for _ in range(PARTS):
        part = parts.get()
        report("begin", part)
        results.put(part)
        parts.task_done()


def handle(request: int) -> None:
    parts: Queue[int] = Queue()
    results: Queue[int] = Queue()
    for number in range(PARTS):
        parts.put(request * 10 + number)
    thread = threading.Thread(target=work, args=(parts, results))
    thread.start()
    collected = [results.get() for _ in range(PARTS)]
    thread.join()
    report("answer", request, collected)


first, count = map(int, sys.argv[1:])
for request in range(first, first + count):
    handle(request)
report("finished")
