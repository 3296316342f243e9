"""`SimpleQueue` in a store: unbounded, FIFO, without task_done(), so with ack="next".

A put is durable when it returns, and never waits for room. An item is done when the same thread asks for its next one,
at close(), and at a normal exit; after a crash the last ones come again. There is no lock: put() may be called from a
finalizer or signal handler in the middle of put() or get() of the same thread, and is carried out right behind it.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ...apart import out_of_hub
from ...durability import Durability, Survives
from ...errors import PqadaptersError
from ...overriding import Yielding
from ...serializers.signed import Key
from ...store import Order, Put, Store
from .._lines.exit import dropped, finish_at_exit
from .._lines.line import name_of, weak
from .._lines.place import open_line
from .._lines.policy import AckPolicy, Markers, Volatile
from . import originals as stdlib

T = TypeVar("T")


class _Made(stdlib.SimpleQueue[T]):
    """The standard library's, which takes no arguments. Apart, so that the signature is that of `__init__`."""

    if not TYPE_CHECKING:  # a subclass has an `__init__` of its own

        def __new__(cls, *args: object, **options: object) -> Any:
            return super().__new__(cls)


class SimpleQueue(_Made[T]):
    """An unbounded FIFO queue in a store. The arguments are those of `Queue`, but for `maxsize` and `ack`: an item is
    done when the same thread asks for its next one, at close(), and at a normal exit."""

    __module__ = "pqadapters.stdlib.queue"  # where programs import it from
    _made = False

    def __init__(
        self,
        *,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        store: Store | str | None = None,
        name: str | None = None,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        serializer: Any = "pickle",
        signing_key: Key | Sequence[Key] | None = None,
        max_attempts: int | None = None,
        markers: str | Markers | None = None,
        volatile: str | Volatile | None = None,
        trust_directory: bool = False,
    ) -> None:
        if self._made:  # of a singleton, once more: the standard library's has no __init__
            return
        self._line = open_line(
            self,
            order=Order.OLDEST,
            path=path,
            store=store,
            name=name,
            ack=AckPolicy.NEXT,
            serializer=serializer,
            signing_key=signing_key,
            max_attempts=max_attempts,
            markers=markers,
            volatile=volatile,
            options={"durability": durability, "max_lag": max_lag, "trust_directory": trust_directory or None},
            keep_items=False,
        )
        self._putting: set[int] = set()  # idents of the threads in put()
        self._nested: dict[int, list[Put]] = {}  # what came in the middle of theirs
        finish_at_exit(self._line)
        weakref.finalize(self, out_of_hub, dropped, self._line).atexit = False
        self._line.renewed = weak(self._begin_again)
        self._made = True

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Store an item. `block` and `timeout` are ignored: this never waits for room. Raises NotSerializable."""
        me = threading.get_ident()
        if me in self._putting and self._is_putting():  # a finalizer or signal handler, in the middle of a put
            self._nested.setdefault(me, []).append(self._line.make(item))
            return
        try:
            self._putting.add(me)
            self._line.stow(item, self._line.make(item))
        finally:
            self._leave(me)

    def _is_putting(self) -> bool:
        """Whether a put() of this thread is under way below the one that asks. The table alone doesn't tell: a signal
        handler's exception may have ended one before it could take its thread out."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame.f_code is _PUT and frame.f_locals.get("self") is self:
                return True
            frame = frame.f_back
        return False

    def _begin_again(self) -> None:
        """In a forked child: the threads that were in put() are the parent's, and their idents are used again."""
        self._putting.clear()
        self._nested.clear()

    def _leave(self, me: int) -> None:
        """The end of this thread's put: those that came in its middle follow it, in their order."""
        try:
            while waiting := self._nested.get(me):
                self._stow_first(waiting)
        finally:
            self._putting.discard(me)  # what the store refused is left to this thread's next put
        if self._nested.get(me):  # one came right before the line above
            self._putting.add(me)
            self._leave(me)

    def _stow_first(self, waiting: list[Put]) -> None:
        """It waits on if a signal handler interrupts this: it may come twice then."""
        try:
            self._line.stow(None, waiting[0])
        except PqadaptersError:
            del waiting[0]
            raise
        del waiting[0]

    def put_nowait(self, item: T) -> None:
        """As put()."""
        self.put(item)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the next item, and acknowledge what this thread got before. Raises queue.Empty after `timeout` seconds,
        or at once if `block` is false; ValueError for a negative timeout."""
        if not block:
            timeout = 0.0
        elif timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        return self._line.take(timeout)  # type: ignore[no-any-return]

    def get_nowait(self) -> T:
        """As get(block=False)."""
        return self.get(False)

    def qsize(self) -> int:
        """How many items are ready."""
        return self._line.ready()

    def empty(self) -> bool:
        """Whether no item is ready."""
        return self._line.is_empty()

    def stats(self) -> dict[str, Any]:
        """What is in the queue, and what this handle did: counts, `bytes`, and `oldest_age` in seconds."""
        return self._line.stats()

    name = Yielding(name_of)

    def close(self) -> None:
        """What was handed out is done, save what another live thread still holds. Closes the store if it opened it."""
        self._line.close()

    def __enter__(self) -> SimpleQueue[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close(normal=kind is None)

    def __repr__(self) -> str:
        kind = type(self)
        return f"<{kind.__module__}.{kind.__qualname__} {self._line.name!r} in {self._line.store.place}>"


_PUT = SimpleQueue.put.__code__
