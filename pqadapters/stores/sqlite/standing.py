"""A reader's transaction that stands for some milliseconds, while it is asked and asked and nobody commits.

SQLite takes its locks for each question and gives them back behind it, which is nearly half of what a get of a mapping
takes. Who commits tells of it before its call returns (processes/mark.py): what stands is left then, before the next
question. A process that was killed before it told, and another program, are seen behind `SHORT` seconds, as is who
waits to begin the WAL anew: a thread leaves what stands for so long, and ends where nothing does.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

from ...ending import enduring, start_thread
from ...interrupts import Flag

MANY = 100  #: questions, all within `SHORT` and with no commit between them, behind which a transaction is to stand
SHORT = 0.02  #: seconds


class Watch:
    """The thread that leaves what stands: `leave` says whether anything did. It keeps the reader of that method alive
    for no longer than a call."""

    def __init__(self, leave: Callable[[], bool]) -> None:
        self._leave = weakref.WeakMethod(leave)
        self._ended = Flag()
        self.runs = False  #: it will look once more

    def ensure(self) -> bool:
        """Whether it runs. Not at the end of the interpreter, nor where there are no threads."""
        if self.runs or self._ended.is_set():
            return self.runs
        self.runs = True
        try:
            thread = threading.Thread(target=enduring(_look), args=(self._leave, self._ended), daemon=True)
            thread.name = "pqadapters-reader"
            start_thread(thread)
        except RuntimeError:
            self.runs = False
        except BaseException:  # of a signal handler: nobody knows whether it runs
            self.runs = False
            raise
        return self.runs

    def end(self) -> None:
        """It doesn't look any more."""
        self._ended.set()


def _look(leave: weakref.WeakMethod[Callable[[], bool]], ended: Flag) -> None:
    while not ended.wait(SHORT):
        call = leave()
        if call is None or not call():
            return
        del call
