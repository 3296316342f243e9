"""A thread that hears of other processes: begun by who is about to wait, over when nobody has waited for a while. What
it looks at is each store's own. It keeps no store alive.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from ..clock import SYSTEM
from ..ending import enduring, start_thread
from ..interrupts import Flag
from ._bells import Bells

_PATIENCE = 5.0  #: seconds that its end is waited for


class Waited(Protocol):
    """What the handles of a process share."""

    @property
    def bells(self) -> Bells: ...


C = TypeVar("C", bound=Waited)
Look = Callable[["weakref.ref[Any]", Flag], object]


class LookoutBase(Generic[C]):
    """The thread, if there is one. `look` is what it does, with a reference to this, until the event is set or
    `core_to_serve` gives none; `linger`: seconds that it stays when nobody waits."""

    def __init__(self, core: C, look: Look, linger: float) -> None:
        self._core = weakref.ref(core)
        self._look, self._linger = look, linger
        self._guard = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended = Flag()
        self.wanted = 0.0  #: when somebody has last come, or was seen to wait, in monotonic seconds

    def ensure(self) -> None:
        """Somebody is about to wait, or has found nothing, and may come again. Without a thread, at the end of the
        interpreter or in one beside the main one, nothing of others is heard."""
        self.wanted = SYSTEM.monotonic()
        if self._thread is not None or self._ended.is_set():
            return
        try:
            thread = threading.Thread(target=enduring(self._look), args=(weakref.ref(self), self._ended), daemon=True)
            thread.name = "pqadapters-lookout"
            with self._guard:
                if self._thread is not None:
                    return
                self._thread = thread
            start_thread(thread)  # with nothing held: a signal handler that comes here may wait, too
        except RuntimeError:
            self._thread = None
        except BaseException:  # of a signal handler: nobody knows whether it runs; it ends if so, and is begun again
            self._thread = None
            raise

    @property
    def runs(self) -> bool:
        thread = self._thread
        return thread is not None and thread.is_alive()

    def core_to_serve(self) -> C | None:
        """The core, if there is still somebody to look out for; else the thread is let go."""
        core = self._core()
        if core is None or self._ended.is_set():
            return None
        with self._guard:
            if self._thread is not threading.current_thread():  # see `ensure`
                return None
            if core.bells.waiting or SYSTEM.monotonic() - self.wanted < self._linger:
                return core
            self._thread = None
            return None

    def stop(self, *, wait: bool) -> None:
        """No more from here on. With `wait` it has let go of the store when this returns, if it isn't what asks."""
        self._ended.set()
        with self._guard:
            thread = self._thread
        if wait and thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_PATIENCE)
