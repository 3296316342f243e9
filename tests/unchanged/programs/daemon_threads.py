"""Daemon threads that the program doesn't wait for: one is in get(), others in the middle of an item."""

from __future__ import annotations

import queue
import sys
import threading

from tests.unchanged.progress import report

jobs: queue.Queue[int] = queue.Queue()
others: queue.Queue[int] = queue.Queue()
confirm = "confirm" in sys.argv
busy = threading.Barrier(3)


def wait_for_more() -> None:
    others.get()


def work() -> None:
    while True:
        job = jobs.get()
        report("begin", job)
        if job % 10 > 1:
            busy.wait()
            threading.Event().wait()  # the work takes longer than the program lives
        if confirm:
            jobs.task_done()


def list_jobs() -> None:
    while not jobs.empty():
        report("begin", jobs.get())
        if confirm:
            jobs.task_done()


numbers = [int(argument) for argument in sys.argv[1:] if argument != "confirm"]
for job in numbers:
    jobs.put(job)
if numbers:
    threading.Thread(target=wait_for_more, daemon=True).start()
    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()
    busy.wait()
else:
    list_jobs()
report("finished")
