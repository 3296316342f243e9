"""A client that gathers messages, and sends what it has gathered when the program ends."""

from __future__ import annotations

import atexit
import sys
from queue import Queue

from tests.unchanged.progress import report

messages: Queue[int] = Queue()


def flush() -> None:
    while not messages.empty():
        report("sent", messages.get())
        messages.task_done()


def say_good_bye() -> None:
    messages.put(-1)


atexit.register(flush)
atexit.register(say_good_bye)  # called before that one
first, count = map(int, sys.argv[1:3])
for number in range(first, first + count):
    messages.put(number)
if "early" in sys.argv:
    flush()
report("all put")
