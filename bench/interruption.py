"""Signals that end a run: what runs is ended, and what was made is removed, on the way out.

A handler's exception may come between any two steps of the main thread, and so within Popen, when nobody knows of its
process yet: `held` puts it off until somebody does.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_came: list[int] = []
_is_held = False


def install() -> None:
    """For this process, but for signals that it ignores, as that of a hangup behind nohup."""
    for name in _SIGNALS:
        number = getattr(signal, name, None)  # some aren't there on Windows
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def held() -> Iterator[None]:
    """Whatever comes meanwhile is raised at the end. Threads other than the main one aren't interrupted anyway."""
    global _is_held
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _is_held = True
    try:
        yield
    finally:
        _is_held = False
        if _came:
            _interrupt(_came.pop(), None)


def _interrupt(number: int, frame: object) -> None:
    if _is_held:
        _came[:] = [number]
    elif number == signal.SIGINT:
        raise KeyboardInterrupt
    else:
        raise SystemExit(128 + number)
