"""Durable `multiprocessing.queues`: the classes, in a store that processes share.

A put is on the disk when it returns, as far as the store's durability says; there is no feeder thread, and nothing is
lost that a process has put before it ends, is killed, or calls `cancel_join_thread()`. What a killed process had in
hand is ready again in its old place: for whoever finds nothing else at once, for those who go on getting within a
tenth of a second. An item that can't be serialised is refused by `put` itself.

Any thread of any process may call anything. Items come back as copies; one may come again after a crash.
"""

from __future__ import annotations

import _multiprocessing  # type: ignore[import-not-found]  # has no stub
import os
import weakref
from collections.abc import Iterable
from multiprocessing import queues as stdlib
from operator import index
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...apart import out_of_hub
from ...choosing import choice
from ...durability import Durability, Survives
from ...errors import NotSerializable
from ...home.places import made_in, occupy
from ...opening import check_prefetch, given
from ...overriding import Yielding
from ...store import PLAIN, Put, Store
from .._lines.letters import DeadLetter, dead_letters, requeue
from .._lines.line import Line, name_of
from .._lines.policy import AckPolicy
from .._lines.stock import most_of
from .._where import with_durability
from ._shared_line import Address, Kind, SharedLine

__all__ = ["DeadLetter", "Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]

T = TypeVar("T")
_ABSENT: Any = object()
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path
_NO_LIMIT: int = _multiprocessing.SemLock.SEM_VALUE_MAX  # as the standard library's
_HOOK = "_on_queue_feeder_error"  #: what a subclass overrides that deals with such items by itself


class _Durable:
    """Where the queue lives, and how it is given to other processes."""

    _shared: SharedLine
    _closed = False

    def _found(
        self,
        policy: AckPolicy,
        *,
        store: Store | str | None,
        name: str | None,
        serializer: Any,
        max_attempts: int | None,
        options: dict[str, Any],
    ) -> None:
        kind = Kind(policy, serializer, max_attempts, isinstance(self, JoinableQueue))
        kind.check()
        if store is None and name is None:
            Durability.of(options.get("durability", Survives.POWER), options.get("max_lag"))
            if "prefetch" in options:
                check_prefetch(options["prefetch"])
            self._have(SharedLine(kind, occupy(made_in(self)), with_durability(options)))
        else:
            self._have(SharedLine(kind, Address.of(store, name, options), {}))
            self._shared.open()

    def _have(self, shared: SharedLine) -> None:
        self._shared = shared
        weakref.finalize(self, out_of_hub, shared.drop).atexit = False

    @property
    def _line(self) -> Line:
        return self._shared.line or self._shared.open()

    def __getstate__(self) -> Any:
        own = {name: value for name, value in vars(self).items() if name != "_shared"}
        return own, self._shared.given()

    def __setstate__(self, state: Any) -> None:
        own, given = state
        vars(self).update(own, _closed=False)
        self._have(SharedLine.taken(*given))

    name = Yielding(name_of)

    def stats(self) -> dict[str, Any]:
        """What is in the queue, and what this process did: counts, `bytes`, and `oldest_age` in seconds."""
        return self._line.stats()

    def __repr__(self) -> str:
        kind, line = type(self), self._shared.line
        where = f"{line.name!r} in {line.store.place}" if line is not None else "not used yet"
        return f"<{kind.__module__}.{kind.__qualname__} {where}>"


class _End:
    """What programs look at of the pipe's ends, of a queue that has no pipe."""

    def __init__(self, queue: Any) -> None:
        self._queue = weakref.ref(queue)

    @property
    def closed(self) -> bool:
        queue = self._queue()
        return queue is None or queue._closed

    def poll(self, timeout: float | None = 0.0) -> bool:
        queue = self._queue()
        if queue is None or queue._closed:
            raise OSError("handle is closed")
        line: Line = queue._line
        return bool(line.store.wait(line.name, lambda depth: depth.ready > 0, timeout))

    def fileno(self) -> int:
        raise OSError("a durable queue has no pipe to wait for: call get() with a timeout, in a thread if need be")


class Queue(_Durable, stdlib.Queue, Generic[T]):  # type: ignore[type-arg]  # no generic at run time
    """A FIFO queue for any number of processes. `maxsize` counts ready items; 0 or less means no limit.

    Where it lives: without `store` and `name` in the home of the application, private to the process that makes it and
    to those that it gives it to (as an argument of `Process`, by fork, by pickle); the next run of the program goes on
    with what is left, save what workers that have outlived a killed run have in hand. `name=` alone is shared by all
    processes of the application; `store=` a URL of a store that processes share, with `name=` one of the queues in it
    ("default"). `durability=` ("power", "process"), `max_lag=` (seconds), `prefetch=` (so many items are fetched at a
    time) are the store's; `trust_directory=True` takes a directory that somebody else owns.

    `ack=` is what acknowledges an item: "next", the default (done when the same thread asks for its next item, at
    close(), and at a normal end of the process), or "get" (gone when handed out). `max_attempts=`: an item handed out
    that often and never done goes to the dead letters. `serializer=`: "pickle", "json", "msgpack", "cbor2", or an
    object with their functions.

    Raises TypeError and ValueError for arguments, StoreError where the store can't be opened, NoHome at the first use.
    """

    def __init__(
        self,
        maxsize: int = 0,
        *,
        ctx: Any = None,
        store: Store | str | None = None,
        name: str | None = None,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        prefetch: int | None = None,
        ack: str | AckPolicy | None = None,
        serializer: Any = "pickle",
        max_attempts: int | None = None,
        trust_directory: bool = False,
    ) -> None:
        self._limit = index(maxsize)
        self._maxsize = self._limit if self._limit > 0 else _NO_LIMIT  # programs look at it
        self._wrote = False
        self._found(
            self._policy(ack),
            store=store,
            name=name,
            serializer=serializer,
            max_attempts=max_attempts,
            options=given(
                durability=durability, max_lag=max_lag, prefetch=prefetch, trust_directory=trust_directory or None
            ),
        )

    def _policy(self, ack: str | AckPolicy | None) -> AckPolicy:
        if ack is None:
            word = choice(AckPolicy, os.environ.get("PQADAPTERS_ACK") or AckPolicy.AUTO, "PQADAPTERS_ACK")
            return AckPolicy.GET if word is AckPolicy.GET else AckPolicy.NEXT
        policy = choice(AckPolicy, ack, "ack")
        if policy not in (AckPolicy.NEXT, AckPolicy.GET):
            raise ValueError(f"ack={policy.value!r} needs task_done(): use JoinableQueue, or ack='next'")
        return policy

    def _open_line(self) -> Line:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        return self._shared.line or self._shared.open()

    # What the standard library's queue has

    def put(self, obj: T, block: bool = True, timeout: float | None = None) -> None:
        """Store an item; when this returns, it survives what the store's durability names.

        With a `maxsize`, waits for room: for ever, `timeout` seconds (a negative one is 0), or not at all. Raises Full,
        ValueError after close(), NotSerializable, and what the store raises; nothing was stored then.
        """
        if self._shared.line is None and self._shared.puts_off(obj):
            return
        line = self._open_line()
        self._wrote = True
        try:
            if self._limit <= 0:
                line.stow(obj, _new(Put, (line.name, line.encode(obj)) + PLAIN))  # noqa: RUF005  # faster
            else:
                line.put_within(lambda: line.bound(self._limit), (obj,), _seconds(block, timeout))
        except NotSerializable as error:
            hook: Any = getattr(type(self), _HOOK)
            if hook is getattr(stdlib.Queue, _HOOK):
                raise
            hook(error.__cause__ or error, obj)

    def put_many(self, items: Iterable[T], block: bool = True, timeout: float | None = None) -> None:
        """Store all items in one commit, or none. As put(); ValueError if they are more than `maxsize`."""
        given = tuple(items)
        if self._shared.line is None and self._shared.puts_off(*given):
            return
        line = self._open_line()
        if 0 < self._limit < len(given):
            raise ValueError(f"{len(given)} items never fit a queue with maxsize={self._limit}; put them in parts")
        self._wrote = True
        if given:
            line.put_within(lambda: line.bound(self._limit), given, _seconds(block, timeout))

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the next item; this thread has it in hand until it is acknowledged.

        Waits for one: for ever, `timeout` seconds (a negative one is 0), or not at all. An item that can't be decoded
        goes to the dead letters, and the one behind it is served. Raises Empty, and ValueError after close().
        """
        return self._open_line().take(_seconds(block, timeout))  # type: ignore[no-any-return]

    if TYPE_CHECKING:  # the standard library's, which is of no type here

        def put_nowait(self, obj: T) -> None: ...
        def get_nowait(self) -> T: ...

    def get_many(self, most: int, timeout: float | None = None) -> list[T]:
        """At least one item and at most `most`, without waiting for more than the first. As get()."""
        return self._open_line().take_many(most_of(most), _seconds(True, timeout))

    def qsize(self) -> int:
        """How many items are ready."""
        return self._line.ready()

    def empty(self) -> bool:
        """Whether no item is ready. Raises OSError on a queue that was written to and closed."""
        if self._closed and self._wrote:
            raise OSError("handle is closed")
        return self._line.is_empty()

    def full(self) -> bool:
        """Whether a put would wait."""
        return 0 < self._line.bound(self._limit) <= Queue.qsize(self)

    def close(self) -> None:
        """This process puts and gets no more; what it had in hand is done, save what another live thread still holds.
        Other processes are not concerned."""
        self._closed = True
        self._shared.finish()

    def join_thread(self) -> None:
        """Nothing to wait for: what was put is on the disk. Raises AssertionError before close()."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Nothing: what was put is on the disk, and stays there."""

    # Beyond

    def nack(self, item: Any = _ABSENT, delay: float = 0.0) -> None:
        """Give an item back: this thread's oldest, or, in a JoinableQueue, the one given. It is ready again, in its old
        place, after `delay` seconds. Raises ValueError if nobody holds it, and for a negative delay."""
        self._line.nack(*(() if item is _ABSENT else (item,)), delay=delay)

    def dead_letters(self) -> list[DeadLetter]:
        """What was put out of the way, with the reason: it could not be decoded, or was tried too often."""
        return dead_letters(self._line)

    def requeue(self, ids: Iterable[int] | None = None) -> int:
        """Put dead letters (all, or those ids) back at the end of the queue, in one commit. Returns how many."""
        return requeue(self._line, ids)

    @property
    def _reader(self) -> Any:
        return _End(self)

    _writer = _reader

    @property
    def _poll(self) -> Any:
        return self._reader.poll


class JoinableQueue(Queue[T], stdlib.JoinableQueue):  # type: ignore[type-arg]
    """A `Queue` with `task_done` and `join`.

    `ack=` is "task_done" (after a crash of its process, what isn't done comes again), "next", "get", or "auto", the
    default: the one of the first two that the program turns out to mean.
    """

    def _policy(self, ack: str | AckPolicy | None) -> AckPolicy:
        word = ack if ack is not None else os.environ.get("PQADAPTERS_ACK") or AckPolicy.AUTO
        return choice(AckPolicy, word, "ack" if ack is not None else "PQADAPTERS_ACK")

    def task_done(self) -> None:
        """Acknowledge the oldest item that this thread has in hand. Raises ValueError if nothing is unfinished."""
        line = self._line
        if not line.done():
            line.done_for_another()
        if line.unkept or line.counts.owing:
            line.settle_later()

    def join(self) -> None:
        """Wait until nothing is unfinished in any process: no item ready or in hand, dead letters aside."""
        self._line.join()


class SimpleQueue(_Durable, stdlib.SimpleQueue, Generic[T]):  # type: ignore[type-arg]
    """An unbounded FIFO queue for any number of processes, with ack="next". The arguments are those of `Queue`,
    but for `maxsize` and `ack`."""

    def __init__(
        self,
        *,
        ctx: Any = None,
        store: Store | str | None = None,
        name: str | None = None,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        prefetch: int | None = None,
        serializer: Any = "pickle",
        max_attempts: int | None = None,
        trust_directory: bool = False,
    ) -> None:
        self._found(
            AckPolicy.NEXT,
            store=store,
            name=name,
            serializer=serializer,
            max_attempts=max_attempts,
            options=given(
                durability=durability, max_lag=max_lag, prefetch=prefetch, trust_directory=trust_directory or None
            ),
        )

    def _open_line(self) -> Line:
        if self._closed:
            raise OSError("handle is closed")
        return self._shared.line or self._shared.open()

    def put(self, obj: T) -> None:
        """Store an item. Raises NotSerializable, and OSError after close()."""
        if self._shared.line is None and self._shared.puts_off(obj):
            return
        line = self._open_line()
        line.stow(obj, Put(line.name, line.encode(obj)))

    def get(self) -> T:
        """Wait for the next item, and acknowledge what this thread got before."""
        return self._open_line().take(None)  # type: ignore[no-any-return]

    def empty(self) -> bool:
        """Whether no item is ready."""
        return self._open_line().is_empty()

    def close(self) -> None:
        """This process puts and gets no more. Other processes are not concerned."""
        self._closed = True
        self._shared.finish()

    @property
    def _reader(self) -> Any:
        return _End(self)

    _writer = _reader


def _seconds(block: bool, timeout: float | None) -> float | None:
    """How long to wait, as `multiprocessing` takes it: a negative timeout is none."""
    if not block:
        return 0.0
    return None if timeout is None else max(0.0, timeout)
