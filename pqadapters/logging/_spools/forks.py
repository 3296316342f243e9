"""Log calls of a thread in the middle of `os.fork`, as of a signal handler: they are put off until that is over.

It holds locks there that other threads wait for with a store's lock held, and in a child the locks are copies that
nobody releases until all of us have begun again there. No lock: one thread's forks are its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from types import FrameType

from ...telling import aloud, logger

_log = logger("pqadapters.logging")


class _Fork:
    """Of a thread: the call that forks, and what is put off meanwhile, with the process that wants it."""

    def __init__(self) -> None:
        self.frame: FrameType | None = None
        self.at = -1  #: which instruction of the frame
        self.put_off: deque[tuple[int, Callable[[], object]]] = deque()
        self.carries_out = False


forking: dict[int, _Fork] = {}  #: by thread


def put_off(call: Callable[[], object]) -> bool:
    """Whether this thread forks; then it is called behind that."""
    fork = forking.get(threading.get_ident())
    if fork is None:
        return False
    if not _is_at_it(fork):
        _end()  # a signal handler has broken that off
        return False
    fork.put_off.append((os.getpid(), call))
    return True


def _is_at_it(fork: _Fork) -> bool:
    """Whether that call is among those that have led here: whatever a signal handler raises, it is over some time."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame is fork.frame:
            return frame.f_lasti == fork.at
        frame = frame.f_back
    return False


def _begin() -> None:
    frame = sys._getframe().f_back  # none where no code of Python forks
    fork = forking.setdefault(threading.get_ident(), _Fork())
    fork.frame, fork.at = frame, -1 if frame is None else frame.f_lasti


def _end() -> None:
    """What was put off in this process is done now; of a child's parent it is the parent's."""
    fork = forking.get(threading.get_ident())
    if fork is None or fork.carries_out:
        return
    fork.frame = None
    try:
        fork.carries_out = True
        while fork.put_off:
            process, call = fork.put_off[0]
            if process == os.getpid():
                _carry_out(call)
            fork.put_off.popleft()
    finally:
        fork.carries_out = False
    forking.pop(threading.get_ident(), None)


def _carry_out(call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:
        aloud(partial(_log.error, "a log record of the time of a fork isn't stored: %s", error))


def _begin_again() -> None:
    """In a child: other threads aren't there."""
    own = forking.get(threading.get_ident())
    forking.clear()
    if own is not None:
        forking[threading.get_ident()] = own
    _end()


def look_after_forks() -> None:
    """Called behind everybody who looks after forks of his own: it begins before them and ends behind them."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_begin, after_in_parent=_end, after_in_child=_begin_again)
        os.register_at_fork(after_in_parent=_end, after_in_child=_begin_again)  # where a signal has broken it off
