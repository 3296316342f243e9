"""The background sync of "process" durability: what was written is on the disk at most `max_lag` seconds later."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from ...ending import enduring, start_thread
from ...interrupts import Flag

if TYPE_CHECKING:
    from .core import Core

_IDLE_ROUNDS = 10
_PATIENCE = 5.0  #: seconds for a sync that is under way


class Syncer:
    """A daemon thread that runs while there is something to sync, and keeps no store alive."""

    def __init__(self, core: Core, lag: float) -> None:
        self._stopped = Flag()
        self.lag = lag
        self._thread = threading.Thread(
            target=enduring(_run),
            args=(weakref.ref(core), self, self._stopped),
            name="pqadapters-sync",
            daemon=True,
        )

    def start(self) -> None:
        """Raises RuntimeError when the interpreter is shutting down."""
        start_thread(self._thread)

    def stop(self) -> None:
        self._stopped.set()

    def end(self) -> None:
        """Stop it, and wait for it: a thread that the interpreter stops for good may have the store's lock."""
        self.stop()
        if self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)


def _run(ref: weakref.ref[Core], syncer: Syncer, stopped: Flag) -> None:
    idle = 0
    while not stopped.wait(syncer.lag):
        core = ref()
        if core is None:
            return
        idle = 0 if core.sync_written() else idle + 1
        if idle >= _IDLE_ROUNDS and core.retire_syncer(syncer):
            return
        del core  # between rounds the store may go
