"""What is held while this process forks, in one order, whatever was imported first. Any thread may fork.

`logging` takes its own lock across a fork, behind all of ours where it was imported before us. Whoever has it meanwhile
may need one of ours: `dictConfig` opens queues and closes handlers under it. So it isn't waited for with ours held:
they are let go, and taken anew once it is free.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from . import telling

#: The order in which they are taken: what a thread may hold while it takes another comes first.
SINKS, DATABASES, DESCRIPTORS = range(3)
_A_MOMENT = 0.01  #: seconds that the lock of `logging` is waited for with ours held
_TRIES = 3  #: how often what is held is let go, and a child begins again, while signal handlers raise something


class _Hold(NamedTuple):
    take: Callable[[], object]
    let_go: Callable[[], object]


class _Taken(threading.local):
    """How what the thread that forks holds is let go."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []


_first: list[Callable[[], object]] = []
_holds: dict[int, _Hold] = {}
_taken = _Taken()


def before_fork(call: Callable[[], object]) -> None:
    """Call it before anything is held."""
    _first.append(call)


def hold_at_fork(place: int, take: Callable[[], object], let_go: Callable[[], object]) -> None:
    """Hold it across each fork. Both are called in the parent, perhaps several times for one fork; `let_go` also where
    a signal handler has broken `take` off, and may raise RuntimeError then, or where it has broken off `let_go`."""
    _holds[place] = _Hold(take, let_go)


def in_child(call: Callable[[], object]) -> None:
    """Call it in each forked child; more than once, so that it is done though a signal handler breaks one of the calls
    off. Ctrl-C comes to children, too, and what is raised there is lost."""
    if hasattr(os, "register_at_fork"):
        for _ in range(_TRIES):
            os.register_at_fork(after_in_child=call)


def _prepare() -> None:
    try:
        _call_first()
    finally:
        _take_all()
        while not _has_logging(_A_MOMENT):
            _go_on()
            if _has_logging(None):  # as `logging` itself waits for it
                _go_on()
            _take_all()


def _call_first() -> None:
    failure: BaseException | None = None
    for call in _first:
        try:
            call()
        except BaseException as error:  # of a signal handler: the process forks nevertheless, and needs the others
            failure = error.with_traceback(None)
    if failure is not None:
        raise failure


def _take_all() -> None:
    failure: BaseException | None = None
    for place in sorted(_holds):
        try:
            _take(_holds[place].take, _holds[place].let_go)
        except BaseException as error:  # of a signal handler: the process forks nevertheless
            failure = error
    if failure is not None:
        raise failure


def _take(take: Callable[[], object], let_go: Callable[[], object]) -> None:
    _taken.calls.append(let_go)  # before it is taken: it may be, whatever is raised
    take()


def _has_logging(patience: float | None) -> bool:
    """Whether its lock is this thread's now: where there is none, nobody can have it. Waits so many seconds."""
    lock: Any = getattr(telling.known(), "_lock", None)
    if lock is None:
        return True
    _taken.calls.append(lock.release)  # before it is taken, as in _take
    if not (lock.acquire() if patience is None else lock.acquire(timeout=patience)):
        _taken.calls.pop()
        return False
    return True


def _go_on() -> None:
    """What a signal handler raises here breaks nothing off: nobody else would ever let go."""
    failure: BaseException | None = None
    tries = 0
    while _taken.calls:
        try:
            _taken.calls[-1]()
        except RuntimeError:
            pass
        except BaseException as error:
            failure, tries = error, tries + 1
            if tries < _TRIES:
                continue
        _taken.calls.pop()
    if failure is not None:
        raise failure


def _begin_again() -> None:
    _taken.calls.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare, after_in_parent=_go_on, after_in_child=_begin_again)
    for _ in range(_TRIES - 1):  # a signal that came during the fork may be handled before its first line
        os.register_at_fork(after_in_parent=_go_on)
