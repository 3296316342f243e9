"""A program that takes some of its jobs and ends, in the way it is told to. It never calls task_done()."""

from __future__ import annotations

import signal
import sys
import time
from queue import Queue

from tests.unchanged.progress import report

jobs: Queue[int] = Queue()


def end(how: str) -> None:
    if how == "raise":
        raise LookupError("no such thing")
    if how.isdigit():
        sys.exit(int(how))
    if how == "handler":
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    if how == "wait":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    report("running")
    while how in ("handler", "wait"):
        time.sleep(0.1)  # for ever, pause() would miss a signal that comes right before it blocks


for job in range(int(sys.argv[2])):
    jobs.put(job)
if sys.argv[1] == "list":
    while not jobs.empty():
        report("begin", jobs.get())
else:
    for _ in range(2):
        report("begin", jobs.get())
    end(sys.argv[1])
