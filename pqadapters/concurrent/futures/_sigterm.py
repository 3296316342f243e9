"""SIGTERM, as who stops a service means it: finish what runs, leave the rest on disk for the next start."""

from __future__ import annotations

import signal
import threading
import weakref
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

from ...ending import is_over
from ...living import living
from ._closing import leave
from ._durable import DurableExecutor
from ._workers.apart import postpone
from ._workers.beginnings import handlers


def finish_on_sigterm(*executors: DurableExecutor, signum: int = signal.SIGTERM) -> None:
    """From now on the signal makes these executors take and begin no more jobs, and ends the program by SystemExit with
    the status that shells give for it (143): what runs is finished, since the interpreter waits for it, and the jobs
    that weren't begun are on disk. For the main thread, as `signal.signal`; the handler that was there isn't called.
    A process of a pool that gets the signal as well (systemd tells all) ends, as one that is killed: its job stays on
    disk. What it raised there would be what the job came to. While what runs is waited for the signal does no more."""
    kept, left, at_end = weakref.WeakSet(executors), list[Any](), list[bool]()

    def handle(number: int, frame: FrameType | None) -> None:
        if at_end and (not is_over() or _threads_are_awaited()):
            return  # what runs is waited for: who breaks that off leaves processes of a pool that nobody ends
        if postpone(partial(handle, number, None)):
            return
        for executor in living(kept):
            left.append(executor)
            leave(executor._backlog)
        raise SystemExit(128 + number)

    def end() -> None:
        at_end.append(True)
        for executor in left:
            if not executor._backlog.forked:  # in a child, whose parent may have had a lock of the pool's
                executor.shutdown(wait=False)

    with suppress(AttributeError, RuntimeError):
        threading._register_atexit(end)  # type: ignore[attr-defined]  # before threads are waited for
    handlers[signum] = handle  # before it may be inherited
    signal.signal(signum, handle)


def _threads_are_awaited() -> bool:
    """By the interpreter, behind the standard library's pools: those know no thread that was being started when the
    signal came."""
    main = threading.main_thread()
    return any(each.is_alive() and not each.daemon and each is not main for each in threading.enumerate())
