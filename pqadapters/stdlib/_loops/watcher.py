"""What others do in a queue, told to an event loop: other handles, threads and processes on the same store.

One thread for each handle that has to wait on a store which others share. It sleeps in the store's own `wait` and costs
nothing while nobody waits. It keeps neither the queue nor its store.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from ...ending import enduring, start_thread
from ...errors import StoreError
from ...interrupts import Flag
from ...store import Depth, Store

_LULL, _LONG_LULL = 0.002, 0.01  #: seconds between two looks, where the loop itself is at it: they are in its way
_LULLS = 4  #: in a row, at most, while there is something
_UNWATCHED = 0.05  #: seconds between two looks of those who wait, where no thread can be had


class Watcher:
    """`changed` is called in the loop when something has happened that somebody who waits may have waited for: `until`
    says what, under the store's lock."""

    def __init__(self, store: Store, queue: str, until: Callable[[Depth], bool], changed: Callable[[], object]) -> None:
        self._store, self._queue = weakref.ref(store), queue
        self._until, self._changed = until, changed
        self._found = False  #: the thread's
        self._seen: tuple[Depth, int] | None = None  #: likewise, what it saw last, and `own` then
        self._ended = False
        self.begin_again()

    def begin_again(self) -> None:
        """In a forked child the thread and the loop are the parent's."""
        self._needed = Flag()  #: somebody waits
        self.looks = 0  #: how often the thread has looked
        self.own = 0  #: how often the loop has put or got something, and told those who wait by itself
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._coming: asyncio.AbstractEventLoop | None = None  #: that looks again in a moment, without a thread

    def look_out(self, loop: asyncio.AbstractEventLoop, looks: int | None = None) -> None:
        """Somebody in this loop waits from now on. Called in the loop. `looks`: how many there had been when they
        looked for themselves; one for others since then, which knew nothing of them, is made once more."""
        self._loop = loop
        self._needed.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=enduring(self._run), name="pqadapters-watcher", daemon=True)
            try:
                start_thread(self._thread)
            except RuntimeError:  # as at the end of the interpreter, or of a container's processes
                self._thread = None
                self._look_again(loop)
        elif looks not in (None, self.looks):
            self._wake()

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        """Those who wait do so themselves, in a moment."""

        def look() -> None:
            self._coming = None
            if not self._ended:
                self._changed()

        if self._coming is not loop:
            self._coming = loop
            loop.call_later(_UNWATCHED, look)

    def end(self) -> None:
        """The handle goes."""
        self._ended = True
        self._needed.set()
        self._wake()

    def _wake(self) -> None:
        store = self._store()
        if store is not None:
            with suppress(StoreError):
                store.wake(self._queue)

    def _look(self, depth: Depth) -> bool:
        """Whether the wait is over: there is something, or there was a change that isn't for anybody who waits."""
        self.looks += 1  # before it is looked who waits
        self._found = self._ended or self._until(depth)
        last, self._seen = self._seen, (depth, self.own)
        return self._found or last not in (None, self._seen)  # some stores look twice before they sleep

    def _wait(self, store: Store) -> None:
        """Until there is something for somebody who waits, which the loop doesn't see to by itself. StoreError."""
        self._seen, lulls, lull = None, 0, _LULL
        while True:
            own, looks = self.own, self.looks
            store.wait(self._queue, self._look, None)
            if self._ended or (self._found and (own == self.own or lulls == _LULLS)):
                return
            lulls = lulls + 1 if self._found else 0
            lull = min(2 * lull, _LONG_LULL) if self.looks == looks + 1 else _LULL  # it has waited for more to come
            time.sleep(lull)

    def _run(self) -> None:
        self._needed.set()  # it may have lacked memory to tell
        while True:
            self._needed.wait()
            store = self._store()
            if self._ended or store is None:
                return
            try:
                self._wait(store)
            except StoreError:  # whoever waits will meet it
                pass
            self._needed.clear()  # `changed` asks again for those whom it leaves waiting, whoever they are
            loop = self._loop
            del store
            if self._ended or loop is None:
                return
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._changed)
