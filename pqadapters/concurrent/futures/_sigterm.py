"""SIGTERM, as who stops a service means it: finish what runs, leave the rest on disk for the next start."""

from __future__ import annotations

import signal
import weakref
from types import FrameType
from typing import TYPE_CHECKING

from ...living import living

if TYPE_CHECKING:
    from .process import ProcessPoolExecutor
    from .thread import ThreadPoolExecutor


def finish_on_sigterm(*executors: ThreadPoolExecutor | ProcessPoolExecutor, signum: int = signal.SIGTERM) -> None:
    """From now on the signal makes these executors take and begin no more jobs, and ends the program by SystemExit with
    the status that shells give for it (143): what runs is finished, since the interpreter waits for it, and the jobs
    that weren't begun are on disk. For the main thread, as `signal.signal`; the handler that was there isn't called."""
    kept = weakref.WeakSet(executors)

    def handle(number: int, frame: FrameType | None) -> None:
        for executor in living(kept):
            executor.shutdown(wait=False, drain=False)
        raise SystemExit(128 + number)

    signal.signal(signum, handle)
