"""A program that uses the standard library's queue, as Python starts it."""

from __future__ import annotations

from ..contender import Contender, Level, Speed

PROGRAM = """\
import queue

jobs = queue.Queue()
jobs.put("a job")
jobs.get()
jobs.task_done()
"""

CONTENDER = Contender(
    name="python",
    about="a program with a queue.Queue: python program.py",
    program=(PROGRAM,),
    speed={Level.MEMORY: Speed(10, 10)},
    gets=False,
)
