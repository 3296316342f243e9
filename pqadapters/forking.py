"""What is held while this process forks, in one order, whatever was imported first. Any thread may fork.

`logging` takes its own lock across a fork, behind all of ours where it was imported before us. Whoever has it meanwhile
may need one of ours: `dictConfig` opens queues and closes handlers under it. So it isn't waited for with ours held:
they are let go, and taken anew once it is free.

Handlers of signals are called a moment behind the fork: what they raise in the middle of it is lost, a program that is
to end goes on, and what their exception has broken off is torn in the child.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from . import telling

_signal: Any = import_module("_signal")  # in C: a program may have a signal.py of its own

#: The order in which they are taken: what a thread may hold while it takes another comes first.
SINKS, DATABASES, DESCRIPTORS = range(3)
_A_MOMENT = 0.01  #: seconds that the lock of `logging` is waited for with ours held
_BEHIND = 0.02  #: seconds behind a fork until what came in the middle of it is handled
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
    _put_off_signals()
    try:
        _hold_all()
    except KeyboardInterrupt:
        if _signal.getsignal(_signal.SIGINT) is not _signal.default_int_handler:
            raise
        _came.append((os.getpid(), _signal.SIGINT))


def _hold_all() -> None:
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


# Signals that come meanwhile

_LOOPS = ("asyncio", "uvloop")  #: whose handlers do nothing: loops are told by a pipe, and would be twice
_handlers: dict[int, Any] = {}  #: the program's, by signal, while ours are in their place
_came: list[tuple[int, int]] = []  #: to which process, and which


def _put_off_signals() -> None:
    """In the thread that handles them. One that comes a second time is handled at once: what a fork waits for may take
    long. Python's own handler of Ctrl-C stays: where Python is embedded the host may have put another one over it."""
    for number in _signal.valid_signals():
        handler = _signal.getsignal(number)
        if not callable(handler) or handler is _signal.default_int_handler:
            continue
        if str(getattr(handler, "__module__", "")).partition(".")[0] not in _LOOPS:
            _handlers[number] = handler
            try:
                _signal.signal(number, _note)
            except ValueError:  # another thread
                _handlers.pop(number, None)
                return


def _note(number: int, frame: object) -> None:
    came = (os.getpid(), number)
    if came not in _came:
        _came.append(came)
    elif number in _handlers:
        _handlers[number](number, frame)


def _handle_signals() -> None:
    """Those of a child are its own. May be called again where a handler that is in its place again has raised."""
    for number, handler in list(_handlers.items()):
        if _signal.getsignal(number) is _note:  # else the program has a new one
            try:
                _signal.signal(number, handler)
            except ValueError:  # another thread
                return
        _handlers.pop(number, None)
    me = os.getpid()
    numbers = [number for process, number in _came if process == me]
    _came.clear()
    if numbers:
        try:
            _thread.start_new_thread(_send_again, (numbers,))
        except RuntimeError:  # no thread can be started
            _send(numbers)


def _send_again(numbers: list[int]) -> None:
    """Once the program knows its child: a handler that raises right behind the fork leaves one that nobody ends."""
    threading.Event().wait(_BEHIND)
    _send(numbers)


def _send(numbers: list[int]) -> None:
    main = threading.main_thread().ident
    for number in numbers:
        if main is not None and callable(_signal.getsignal(number)):
            _signal.pthread_kill(main, number)  # which also ends what that thread waits in


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_prepare, after_in_parent=_go_on, after_in_child=_begin_again)
    for _ in range(_TRIES - 1):  # a signal that came during the fork may be handled before its first line
        os.register_at_fork(after_in_parent=_go_on)
    for _ in range(_TRIES):
        os.register_at_fork(after_in_parent=_handle_signals, after_in_child=_handle_signals)
