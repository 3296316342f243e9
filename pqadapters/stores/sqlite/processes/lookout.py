"""Hearing of other processes: while somebody waits here, a thread looks every few milliseconds whether they committed.

SQLite counts commits (PRAGMA data_version), so that a look costs some microseconds. Now and then it also looks whether
a process has died that had records claimed. The thread ends when nobody waits any more, and keeps no store alive.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from ....clock import SYSTEM
from ....ending import start_thread
from ....errors import StoreError
from .. import schema
from ..reader import Reader

if TYPE_CHECKING:
    from ..core import Core

EAGER, CALM = 0.002, 0.008  #: seconds between two looks, when others have just committed and when they haven't
_EAGER_LOOKS = 25
_PER_BURIAL = 0.2  #: seconds between two looks for the dead
_PATIENCE = 5.0  #: seconds that its end is waited for
_LINGER = 2.0  #: seconds that it stays when nobody waits


class Lookout:
    """The thread, if there is one."""

    def __init__(self, core: Core) -> None:
        self._core = weakref.ref(core)
        self.reader = Reader(core.path)
        self._guard = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def ensure(self) -> None:
        """Somebody is about to wait. Without a thread, at the end of the interpreter, nothing of others is heard."""
        if self._thread is not None or self._ended.is_set():
            return
        thread = threading.Thread(target=_look, args=(weakref.ref(self), self._ended), daemon=True)
        thread.name = "pqadapters-lookout"
        try:
            with self._guard:
                if self._thread is not None:
                    return
                self._thread = thread
            start_thread(thread)  # with nothing held: a signal handler that comes here may wait, too
        except RuntimeError:
            self._thread = None
        except BaseException:  # of a signal handler, as in keeper.py
            self._thread = None
            raise

    def core_to_serve(self, since: float) -> Core | None:
        """The core, if there is still somebody to look out for; else the thread is let go."""
        core = self._core()
        if core is None or self._ended.is_set():
            return None
        with self._guard:
            if self._thread is not threading.current_thread():  # see `ensure`
                return None
            if core.bells.waiting or SYSTEM.monotonic() - since < _LINGER:
                return core
            self._thread = None
            return None

    def version(self, known: int) -> int:
        """A number that is another one when anybody has committed."""
        try:
            return int(self.reader.rows(schema.DATA_VERSION)[0][0])
        except StoreError:  # it is locked for a moment
            return known

    def stop(self, *, wait: bool) -> None:
        """No more from here on. With `wait` it has let go of the database when this returns, if it isn't what asks."""
        self._ended.set()
        with self._guard:
            thread = self._thread
        if wait and thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_PATIENCE)


def _look(ref: weakref.ref[Lookout], ended: threading.Event) -> None:
    version, quiet = -1, 0
    waited = buried = SYSTEM.monotonic()
    while not ended.wait(EAGER if quiet < _EAGER_LOOKS else CALM):
        lookout = ref()
        core = lookout.core_to_serve(waited) if lookout is not None else None
        if lookout is None or core is None:
            break
        now = SYSTEM.monotonic()
        if core.bells.waiting:
            waited = now
            before, version = version, lookout.version(version)
            quiet = quiet + 1 if version == before else 0
            if version != before:
                core.bells.ring_all()
            if now - buried > _PER_BURIAL:
                buried = now
                with suppress(StoreError, OSError):  # those who call are told
                    core.bury_dead()
        del lookout, core  # between looks the store may go
    lookout = ref()
    if lookout is not None:
        lookout.reader.close()
