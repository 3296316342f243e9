"""Durable `queue`: the standard library's classes, whose items survive the process.

A put is on disk when it returns, as far as the store's durability says ("power": a power cut; "process": SIGKILL). An
item that was handed out and not acknowledged comes again after a crash, in its old place; `ack=` says what acknowledges
it. Items come back as copies. Exactly-once isn't promised: an item may come again after a crash.

Any thread may call anything. `mutex`, `not_empty`, `not_full` and `all_tasks_done` are there for programs that use
them, and are notified of what this handle does; the queue itself waits in its store, which other handles share. `mutex`
is never held across a call of the store, except around hooks that a subclass overrides, where the standard library
promises it. A put from a finalizer or signal handler is carried out as soon as what it interrupted is done, and
notifies nobody who waits on `not_empty` by hand.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Sequence
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, TypeVar

from .. import telling
from ..apart import out_of_hub
from ..durability import Durability, Survives
from ..errors import NotDurableWarning, ShutDown, Stopped
from ..home.listing import Home, homes
from ..overriding import Yielding, declared_as, told
from ..serializers.signed import Key
from ..store import PLAIN, Order, Put, Store
from ._lines.exit import dropped, finish_at_exit
from ._lines.letters import DeadLetter
from ._lines.line import name_of, weak
from ._lines.place import open_line
from ._lines.policy import AckPolicy, Markers, Volatile
from ._lines.stock import Turned, patience_of
from ._lines.view import NothingReady, View, is_plain
from ._queues import originals as stdlib
from ._queues.beyond import ABSENT, Beyond, check_timeout
from ._queues.seam import HOOKS, LOCKS, Hook, Noticed, Seam, Unmade, get_through, is_held, put_through
from ._queues.simple import SimpleQueue
from ._where import check_maxsize

__all__ = [
    "DeadLetter",
    "Empty",
    "Full",
    "Home",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "ShutDown",
    "SimpleQueue",
    "homes",
]

T = TypeVar("T")
_MANY_UNCOVERED = 1000
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path


class Queue(Beyond[T]):
    """A FIFO queue in a store. `maxsize` counts ready items; 0 or less means no limit.

    Where it lives: without any of `path`, `store` and `name` in the home of the application (`homes()` lists what is
    there): private to this process, and found again by the next one that makes a queue in the same place of the source.
    The constructor touches no disk then. `path=` a directory that this process holds alone, or `store=` a store or its
    URL; `name=` one of the queues in it ("default"), or by itself a queue that all processes of the application share.
    `durability=` ("power", "process") and `max_lag=` (seconds) are the store's; `trust_directory=True` takes a
    directory that somebody else owns. A store given as an object isn't closed with the queue.

    `ack=` is what acknowledges an item: "task_done" (after a crash, what isn't done comes again), "get" (gone when
    handed out), "next" (done when the same consumer asks for its next item, at close(), at a normal exit), or "auto",
    the default: the one of the first and the last that the program turns out to mean. PQADAPTERS_ACK and
    PQADAPTERS_DURABILITY stand for arguments that aren't given.
    `markers="drop"`, the default without a place, gives `None` and a bare `object()` back as they are and drops those
    that a dead process left; "keep" takes `None` for an item like any other and refuses a bare `object()`, and is the
    only one where processes share the store.
    `volatile="warn"` keeps items that can't be serialised in memory alone; "raise" refuses them.
    `max_attempts=`: a record handed out that often and never done goes to the dead letters.
    `serializer=`: "pickle", "json", "msgpack", "cbor2", or an object with their functions. `signing_key=` (a secret, or
    several, of which the first one signs): items are signed, and those that aren't, or by another key, go to the dead
    letters unopened. A store of several hosts takes PQADAPTERS_SIGNING_KEY for it, and no pickles without one.

    Raises TypeError and ValueError for arguments, StoreError where the store can't be opened (`StoreLocked`: another
    process holds it), NoHome at the first use where there is no home, RankError and NotSerializable in put() for an
    item, and nothing is stored then.
    """

    _order_of_items = Order.OLDEST

    def __init__(
        self,
        maxsize: int = 0,
        *,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        store: Store | str | None = None,
        name: str | None = None,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        ack: str | AckPolicy | None = None,
        serializer: Any = "pickle",
        signing_key: Key | Sequence[Key] | None = None,
        max_attempts: int | None = None,
        markers: str | Markers | None = None,
        volatile: str | Volatile | None = None,
        trust_directory: bool = False,
    ) -> None:
        check_maxsize(maxsize)
        self.maxsize = maxsize
        self._line = open_line(
            self,
            order=self._order_of_items,
            path=path,
            store=store,
            name=name,
            ack=ack,
            serializer=serializer,
            signing_key=signing_key,
            max_attempts=max_attempts,
            markers=markers,
            volatile=volatile,
            options={"durability": durability, "max_lag": max_lag, "trust_directory": trust_directory or None},
        )
        self._make_locks()
        self._set_up(maxsize)

    def _make_locks(self) -> None:
        self.mutex = threading.Lock()
        self.not_empty = Noticed(self.mutex, self._line)
        self.not_full = Noticed(self.mutex, self._line)
        self.all_tasks_done = Noticed(self.mutex, self._line)
        self._seam = Seam({hook for hook in HOOKS if getattr(type(self), hook) is not _HOOKS[hook]})
        for hook, function in self._early_hooks.items():
            self._seam.replace(hook, function)

    def _make_late(self) -> None:
        """For a subclass that has the standard library's constructor written out, and left out ours. It may have been
        made long ago, somewhere else: there is no place to keep its items by."""
        if "mutex" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'mutex'")
        line = open_line(
            self,
            order=self._order_of_items,
            path=None,
            store="memory:",
            name=None,
            ack=None,
            serializer="pickle",
            max_attempts=None,
            markers=None,
            volatile=None,
            options={},
        )
        unfinished, locks = self._seam.unfinished, {name: vars(self)[name] for name in LOCKS & vars(self).keys()}
        self._line = line
        self._make_locks()
        for name, lock in locks.items():
            setattr(self, name, lock)
        self._seam.unfinished, self._seam.settled = unfinished, True
        self._keep_in_memory(
            "has a constructor of its own that doesn't call super().__init__(), so its items are in memory alone"
        )

    def _set_up(self, maxsize: int) -> None:
        seam = self._seam
        try:
            self._init(maxsize)
            elsewhere = type(self).queue is not Queue.queue and not seam.based
            if self._own_container is not ABSENT or elsewhere or seam.replaced():
                self._keep_in_memory()
        except BaseException:
            self._line.close()
            raise
        seam.settle(in_order=not self._line.ranked)
        finish_at_exit(self._line)
        # shallow copies share the seam: they are one queue
        weakref.finalize(seam, out_of_hub, dropped, self._line).atexit = False
        self._line.renewed = weak(self._renew_locks)

    def _renew_locks(self) -> None:
        """In a forked child: other threads, which may have held them, are the parent's."""
        if self._seam.relocked:
            return  # the program's own, which it renews itself if need be
        reset: Any = self.mutex
        reset._at_fork_reinit()
        for condition in (self.not_empty, self.not_full, self.all_tasks_done):
            condition.forget()

    def _keep_in_memory(self, why: str | None = None) -> None:
        line, seam = self._line, self._seam
        why = why or (
            f"keeps its items in a container of its own, so they are in memory alone and not in {line.label}. "
            "Let _put and _get call super(), or use self.queue as it is"
        )
        seam.volatile = seam.hooked = True
        seam.plain = False
        if line.owned:
            line.store.close()
        telling.warn(f"{type(self).__qualname__} {why}", NotDurableWarning)

    name = Yielding(name_of)

    # What the standard library's queue has

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Store an item; when this returns, it survives what the store's durability names.

        With a `maxsize`, waits for room: for ever, `timeout` seconds, or not at all. A store that is busy or away is
        waited for as long, but for 5 seconds at least, and without a timeout. Raises Full, ShutDown,
        ValueError for a negative timeout, NotSerializable, and the store's DiskError; nothing was stored then.
        """
        line = self._line
        if self._seam.plain and self.maxsize <= 0:
            payload = line.dumps(item) if type(item) in line.simple else line.encode(item)
            patience = None if timeout is None or not block else patience_of(timeout)
            try:
                put = _new(Put, (line.name, payload) + PLAIN)  # noqa: RUF005  # faster
                line.commit(put, stop=line.stopped, timeout=patience)
            except Stopped:
                raise line.ending() from None
        elif self._seam.hooked:
            return put_through(self, item, block, timeout)
        else:
            try:
                self._put_all((item,), block, timeout)
            except Turned as turned:
                return put_through(self, item, block, turned.left)
        if self.not_empty.waiting or self.mutex.locked():
            self._notify_waiting(self.not_empty)

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the next item; the caller holds it until it is acknowledged.

        Waits for one: for ever, `timeout` seconds, or not at all; as long for a store that is busy or away, but for 5
        seconds at least. A record that can't be decoded goes to the dead letters on the way, and the one behind it is
        served. Raises Empty, ShutDown, ValueError for a negative timeout.
        """
        if self._seam.hooked:
            return get_through(self, block, timeout)  # type: ignore[no-any-return]
        if not block:
            timeout = 0.0
        elif timeout is not None and timeout < 0:
            self._refuse_timeout()
        try:
            item: T = self._line.take(timeout)
        except Turned as turned:
            return get_through(self, True, turned.left)  # type: ignore[no-any-return]
        if self.not_full.waiting or self.mutex.locked():
            self._notify_waiting(self.not_full)
        return item

    def _refuse_timeout(self) -> None:
        if self._line.stopped() and not self._line.ready():
            raise self._line.ending()
        check_timeout(-1.0)

    @declared_as(told)
    def task_done(self, item: Any = ABSENT) -> None:
        """Acknowledge the caller's oldest item, or exactly the item given: the caller's own, else anybody's.

        A caller that holds none has the call counted; once all outstanding items are covered by such calls, all are
        acknowledged. Raises ValueError if there is nothing unfinished, or nobody holds the item; LeaseLost if it came
        back to the queue meanwhile.
        """
        line, seam = self._line, self._seam
        if seam.volatile:
            return super().task_done()
        if item is not ABSENT:
            line.done_exactly(item)
        elif not line.done():
            self._done_for_another()
        if line.unkept or line.counts.owing:
            line.settle_later()
        if seam.relocked or self.all_tasks_done.waiting or self.mutex.locked():
            self._notify_joining()

    def _done_for_another(self) -> None:
        line = self._line
        if line.done_for_another() == _MANY_UNCOVERED:
            telling.warn(
                f"task_done() was called {_MANY_UNCOVERED} times on {line.label} by threads that hold no item of it: "
                "those that others hold stay outstanding and would come again after a crash. Call task_done(item), "
                "or call it in the thread that got the item",
                RuntimeWarning,
                )

    def join(self) -> None:
        """Wait until nothing is unfinished: no item ready or handed out, dead letters aside."""
        if self._seam.volatile:
            return super().join()
        self._line.join()

    def qsize(self) -> int:
        """How many items are ready."""
        if self._seam.hooked:
            return super().qsize()
        return self._line.ready()

    def empty(self) -> bool:
        """Whether no item is ready."""
        return not super().qsize() if self._seam.hooked else self._line.is_empty()

    def full(self) -> bool:
        """Whether a put would wait."""
        return self._line.is_full(self.maxsize, Queue.qsize(self))

    def shutdown(self, immediate: bool = False) -> None:
        """No more puts; gets serve what is there, and then raise ShutDown. When this returned, no put succeeds.

        `immediate`: gets raise at once, and join() waits only for what was handed out. What is in the queue stays in
        its store: the next handle on it finds it. It is this handle that is shut down, not the queue.
        """
        line = self._line
        line.flags.shut = True
        line.flags.cut = line.flags.cut or immediate
        if self._seam.volatile:
            self._empty_volatile(immediate)
        else:
            line.store.wake(line.name)
        for condition in (self.not_empty, self.not_full, self.all_tasks_done):
            with condition:
                condition.notify_all()

    def _empty_volatile(self, immediate: bool) -> None:
        with self.not_empty:
            while immediate and self._qsize():
                self._get()
                self._seam.unfinished = max(0, self._seam.unfinished - 1)

    def _get_is_shutdown(self) -> bool:
        """Whether this handle was shut down."""
        return self._line.flags.shut or self._seam.stopped

    def _set_is_shutdown(self, value: bool) -> None:
        if isinstance(self._seam, Unmade):
            return
        if value and sys.version_info < (3, 13):
            self._seam.stopped = value  # the program's own word, which the standard library doesn't know
        else:
            self._line.flags.shut, self._seam.stopped = value, False

    def _get_unfinished_tasks(self) -> int:
        """How many items are ready, delayed, or handed out and not done. May be set, as programs do."""
        if self._seam.volatile:
            return self._seam.unfinished
        found = self._line.unfinished()
        if is_held(self.mutex):
            self._seam.read.count = found
        return found

    def _set_unfinished_tasks(self, value: int) -> None:
        if self._seam.volatile:
            self._seam.unfinished = value
        else:
            self._line.counts.add(adjustment=value - self._told(value))
            self._line.wake_joiners()

    def _told(self, value: int) -> int:
        """What a new count is relative to: what its thread has read with `mutex` held, as `q.unfinished_tasks += 1`
        does. What others do meanwhile, whom `mutex` doesn't keep from it, counts as well. 0 is 0.
        """
        told: int | None = vars(self._seam.read).pop("count", None)
        if told is None or not value or not is_held(self.mutex):
            return self._line.unfinished()
        return told

    def _get_queue(self) -> Any:
        """The live view of what is ready: len, iteration, `in`, [0], [-1], clear, append, popleft, pop, remove."""
        own = self._own_container
        if own is ABSENT and self._seam.volatile:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'queue'")  # its _init made none
        return View(self._line, self).shown() if own is ABSENT else own

    def _set_queue(self, container: Any) -> None:
        seam = self._seam
        if seam.settled and not (seam.volatile or seam.overridden - {"_init"}) and is_plain(container):
            return View(self._line, self).replace(container)
        self._own_container = container
        if seam.settled and not seam.volatile:
            self._keep_in_memory()

    if TYPE_CHECKING:  # as the standard library's, which a subclass may declare to be something else
        queue: Any
        unfinished_tasks: int
        is_shutdown: bool
    else:
        queue = property(_get_queue, _set_queue)
        unfinished_tasks = property(_get_unfinished_tasks, _set_unfinished_tasks)
        is_shutdown = property(_get_is_shutdown, _set_is_shutdown)

    # The seam: called with `mutex` held where a subclass overrides some of it

    def _init(self, maxsize: int) -> None:
        seam = self._seam
        if seam.volatile:
            return super()._init(maxsize)
        if seam.settled:
            View(self._line, self).clear()  # as programs do that call it once more
        seam.based = True

    def _qsize(self) -> int:
        return super()._qsize() if self._seam.volatile else self._line.ready()

    def _put(self, item: T) -> None:
        if self._seam.volatile:
            super()._put(item)
        else:
            View(self._line, self).append(item)

    def _get(self) -> T:
        if self._seam.volatile:
            return super()._get()
        try:
            return self._line.take(0.0)  # type: ignore[no-any-return]
        except (Empty, ShutDown):
            raise NothingReady(f"{self._line.label} is empty") from None

    def __repr__(self) -> str:
        kind = type(self)
        place = "memory, not durable" if self._seam.volatile else self._line.store.place
        return f"<{kind.__module__}.{kind.__qualname__} {self._line.name!r} in {place}>"


_HOOKS = {hook: vars(Queue)[hook] for hook in HOOKS}  # a program may put its own in their place in `Queue` itself
for _hook in HOOKS[1:]:
    setattr(Queue, _hook, Hook(_HOOKS[_hook]))


class LifoQueue(Queue[T], stdlib.LifoQueue[T]):
    """A stack: the item put last leaves first. Else as `Queue`."""

    _order_of_items = Order.NEWEST
    if TYPE_CHECKING:
        queue: list[T]


class PriorityQueue(Queue[T], stdlib.PriorityQueue[T]):  # type: ignore[type-var]  # ours takes any item
    """The least item leaves first, in Python's order; among equals the one put first. Else as `Queue`.

    Items that Python can't compare with each other (1 and "a") are taken all the same, in a fixed order of their types.

    NaN is refused (RankError). Items whose order bytes can't express are ordered in memory, and are refused where
    other processes share the store.
    """

    _order_of_items = Order.RANK
    if TYPE_CHECKING:
        queue: list[T]


_PySimpleQueue = SimpleQueue  # CPython's tests ask for both, and there is one
