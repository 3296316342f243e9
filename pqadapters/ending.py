"""The end of a process, as all floors see it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any

from .apart import this_thread
from .telling import endure

_PAUSE = 0.1  #: seconds until a thread that lacked memory goes on
_early: dict[Callable[[], object], None] = {}
_first: dict[Callable[[], object], None] = {}
_last: dict[Callable[[], object], None] = {}
_seen_off: set[int] = set()  # children of multiprocessing that end with our handler, too
_ended: set[int] = set()  # processes that have called it
_failed: set[int] = set()  # processes that an exception has ended
_over: list[bool] = []  # not empty once threads are waited for that aren't daemons


def others_run() -> bool:
    """Whether threads of the program run beside the caller. At the end of the interpreter those are daemons, which may
    use what is open to the very end; our own threads don't count."""
    me = this_thread()
    return any(each is not me and not each.name.startswith("pqadapters-") for each in threading.enumerate())


def at_end(function: Callable[[], object], *, early: bool = False, last: bool = False) -> None:
    """Call it once at the end of this process, behind the handlers that the program registers with `atexit` (but for
    those from before it imported us). A child of `multiprocessing` ends without the interpreter's own exit, and is
    seen off as well. Exceptions are passed over. `last`: behind those that aren't, in the order of these calls.
    `early`: before those, as what uses queues ends before these do."""
    (_early if early else _last if last else _first)[function] = None
    if _is_child() and os.getpid() not in _seen_off:
        from multiprocessing.util import Finalize

        _seen_off.add(os.getpid())
        Finalize(None, _end, exitpriority=-100)
        with suppress(RuntimeError):  # the child is ending already
            threading._register_atexit(fails)  # type: ignore[attr-defined]


def has_ended() -> bool:
    """Whether this process is at its end, and has called what was to be called there."""
    return os.getpid() in _ended


def start_thread(thread: threading.Thread) -> None:
    """Start it. RuntimeError where the interpreter has ended: Python 3.10 and 3.11 would wait for ever."""
    if sys.is_finalizing():
        raise RuntimeError("can't start a thread: the interpreter has ended")
    thread.start()


def enduring(run: Callable[..., object]) -> Callable[..., None]:
    """For a thread that others rely on: where it lacks memory for a moment it begins anew, and doesn't end. Nor does it
    where a handler of the program's fails, to which it has logged."""

    def run_on(*given: Any) -> None:
        endure()
        while _lacks_memory(run, given):
            time.sleep(_PAUSE)  # out here, where nothing is kept of what it had in hand
        threading.current_thread()  # which knows a greenlet of a forked child again: else its end is a KeyError

    return run_on


def _lacks_memory(run: Callable[..., object], given: tuple[Any, ...]) -> bool:
    try:
        run(*given)
    except MemoryError:
        return True
    return False


def is_over() -> bool:
    """Whether the program has ended and its handlers run. The standard library's pools take no calls any more. (Where
    Python is embedded the thread that it takes for the main one may end long before.)"""
    return bool(_over) and not threading.main_thread().is_alive()


def fails() -> bool:
    """Whether an uncaught exception ends this process: known from its handlers at the end on, and for what a failing
    function lets go of in a child of `multiprocessing`. Status 1 of such a child may be its own sys.exit(1)."""
    if os.getpid() not in _failed and _is_child() and _status() == 1:
        _failed.add(os.getpid())
    return os.getpid() in _failed


def _is_child() -> bool:
    process: Any = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def _status() -> object:
    """What `multiprocessing` will end this child with, once it knows. From Python 3.13 on it has dealt with the
    exception when it lets go of the function's variables, when it shuts down the threads, and when handlers run; its
    own variable is all that is left to read, and is gone when they do."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_bootstrap":
        frame = frame.f_back
    return None if frame is None else frame.f_locals.get("exitcode")


def _end() -> None:
    """Once: a child of multiprocessing may come here a second time, and knows no more how it ended."""
    if os.getpid() in _ended:
        return
    _ended.add(os.getpid())
    if getattr(sys, "last_value", None) is not None or not _is_exit(sys.exc_info()[0]):
        _failed.add(os.getpid())
    call_each((*_early, *_first, *_last))


def call_each(functions: Iterable[Callable[[], object]]) -> None:
    """Their exceptions are passed over. What interrupts one of them (a second Ctrl-C, while the end takes its time) is
    raised behind the others, as `atexit` has it: nobody else would call those."""
    interrupt: BaseException | None = None
    for function in functions:
        try:
            function()
        except Exception:
            pass
        except BaseException as raised:
            interrupt = raised
    if interrupt is not None:
        raise interrupt


def _is_exit(kind: type[BaseException] | None) -> bool:
    return kind is None or issubclass(kind, SystemExit)


atexit.register(_end)
try:
    threading._register_atexit(_over.append, True)  # type: ignore[attr-defined]
except AttributeError:
    pass
except RuntimeError:  # it has ended before this was imported
    _over.append(True)
