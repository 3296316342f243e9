"""Being heard of: a thread that renews this process's promise to live, and notices at once when the connection that
holds its lock is gone. It also gives back what was fetched ahead and nobody asks for (`aheads.py`), and what the dead
had claimed where nobody waits, as beside a backlog (else `lookout.py` does). It keeps no store alive.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from ...clock import SYSTEM
from ...ending import enduring, start_thread
from ...interrupts import SuppressRefusals
from .owners import GRACE, OFTEN
from .wire import readable

try:
    from posix import write  # eventlet's os.write tries again for ever where nobody reads any more
except ImportError:
    from os import write

if TYPE_CHECKING:
    from .core import Core

_PATIENCE = 5.0  #: seconds that its end is waited for
_PER_LOOK = OFTEN  #: seconds between two looks for the dead
_SOON = 0.25  #: seconds until the next try, where the server doesn't know that we live
_WATCH = 0.02  #: seconds between two looks at what lies ahead
_COME, _WATCHED = b"x", b"w"


class Keeper:
    """The thread, if there is one."""

    watches = False  #: it comes again within `_WATCH` seconds
    _called = _call = -1  #: a pipe: whoever writes to it calls the thread

    def __init__(self, core: Core) -> None:
        self._core = weakref.ref(core)
        self._guard = threading.RLock()
        self._thread: threading.Thread | None = None
        self._ended = False

    def ensure(self) -> None:
        """This process has something to be alive for."""
        if self._thread is not None or self._ended:
            return
        given_up: list[bool] = []
        try:
            with self._guard:
                if self._thread is not None or self._ended:
                    return
                if self._called < 0:
                    self._called, self._call = os.pipe()
                    _unblock(self._call)
                thread = threading.Thread(target=_run, args=(weakref.ref(self), self._called, given_up), daemon=True)
                thread.name = "pqadapters-keeper"
                self._thread = thread
            start_thread(thread)
        except RuntimeError:  # the interpreter is shutting down; or there are too many threads, for now
            self._thread = None
        except BaseException:  # of a signal handler: nobody knows whether it runs; it ends if so, and is begun again
            given_up.append(True)
            self._thread = None
            raise

    def core_to_serve(self) -> Core | None:
        return None if self._ended else self._core()

    def call(self) -> None:
        """There is something to do before the next round."""
        self.ensure()
        if not self._ended:  # else nobody reads any more, and SIGPIPE may have its default back
            self._say(_COME)

    def watch(self) -> None:
        """Something lies ahead, or was put off, and is to be seen to should nobody come again."""
        if not self.watches:
            self.watches = True
            try:
                self.ensure()
                self._say(_WATCHED)
            except BaseException:  # of a signal handler: maybe the thread wasn't called
                self.watches = False
                raise

    def _say(self, word: bytes) -> None:
        """To the thread, if it is there."""
        with SuppressRefusals():  # it has ended; or there is more than enough for it to read
            write(self._call, word)

    def tidy(self, core: Core, pause: float) -> float:
        """See to that. Seconds until it is to be looked at again, `pause` at most."""
        self.watches = False  # first: whoever puts something there behind the look calls again
        try:
            self.watches = core.aheads.tidy()
        except Exception:  # see `_round`
            self.watches = True
            return min(pause, _SOON)
        return min(pause, _WATCH) if self.watches else pause

    def stop(self, *, wait: bool) -> None:
        """No more from here on. With `wait` it has let go of the store when this returns, if it isn't what asks."""
        self._ended = True
        with self._guard:
            thread = self._thread
        if thread is None:
            return
        self._say(_COME)
        if wait and thread.is_alive() and thread is not threading.current_thread():
            thread.join(_PATIENCE)

    def abandon(self) -> None:
        """In a forked child: the thread is the parent's, and may never let go of this one here."""
        ended, self._ended = self._ended, True
        fds = [self._call] if ended else [self._call, self._called]  # else the thread may have closed it just now
        self._call = self._called = -1
        for fd in fds:
            with suppress(OSError):
                os.close(fd)

    def __del__(self) -> None:
        self._ended = True
        with suppress(OSError):
            if self._call >= 0:
                os.close(self._call)  # which calls the thread, too
                if self._thread is None:
                    os.close(self._called)


def _unblock(fd: int) -> None:
    with suppress(OSError, AttributeError):  # it is closed already; Windows before 3.12
        os.set_blocking(fd, False)


def _run(ref: weakref.ref[Keeper], called: int, given_up: list[bool]) -> None:
    _unblock(called)  # another thread, that was given up, may have read what there was
    try:
        enduring(_serve)(ref, called, given_up)
    finally:
        if not given_up:  # else it is another thread's by now
            with suppress(OSError):
                os.close(called)


def _serve(ref: weakref.ref[Keeper], called: int, given_up: list[bool]) -> None:
    fd: int | None = None
    due = 0.0  #: when the next round is
    while True:
        keeper = ref()
        core = keeper.core_to_serve() if keeper is not None else None
        if keeper is None or core is None or given_up:
            return
        if SYSTEM.monotonic() >= due:
            fd, pause = _round(core)
            due = SYSTEM.monotonic() + pause
        left = keeper.tidy(core, due - SYSTEM.monotonic())
        del keeper, core  # between rounds the store may go
        if _sleep(fd, called, left):
            due = 0.0


def _round(core: Core) -> tuple[int | None, float]:
    """Be heard of; what to look at until the next time, and how long."""
    with suppress(Exception):  # a signal handler's, too, in another thread that had a work of ours in hand
        core.owners.renew()
        core.catch_up()
        if core.owners.settled:
            return core.owners.fileno(), min(core.owners.pause, _look_for_dead(core))
    return None, _SOON


def _look_for_dead(core: Core) -> float:
    """Seconds until the next time: one whose lock is free is dead when it still is, a moment later."""
    if core.lookout.runs:
        return _PER_LOOK
    with suppress(Exception):  # as above
        core.look_for_dead()
    return 1.1 * GRACE if core.owners.suspects else _PER_LOOK


def _sleep(fd: int | None, called: int, seconds: float) -> bool:
    """Until we are called, or the server has let go of the connection, or so many seconds are over. Whether the next
    round is due."""
    until = SYSTEM.monotonic() + seconds
    with suppress(OSError, ValueError):  # it was closed under us
        both = [called] if fd is None else [called, fd]
        while (left := until - SYSTEM.monotonic()) > 0:
            if found := readable(both, left):
                words = os.read(called, 64) if called in found else b""
                return bool(words.strip(_WATCHED)) or fd in found
        return False
    time.sleep(_SOON)
    return True
