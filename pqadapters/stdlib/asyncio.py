"""Durable asyncio queues: `asyncio.Queue` and its kin, whose items survive the process.

    from pqadapters.stdlib.asyncio import Queue      # was: from asyncio import Queue
    from pqadapters.stdlib import asyncio            # was: import asyncio; all but the queues is the standard library's

Durability is "process" by default, with a sync at most 50 ms later: a put is written when it returns, which SIGKILL
can't undo, and the loop isn't stopped for a disk. With durability="power" `put` awaits the sync, which it shares with
all other puts of the moment; `put_nowait` stops the loop for one.

A queue belongs to one event loop, as asyncio's do. On a store that others use (a path, a name, a URL) threads, other
loops and other processes may have handles of their own. What a task has fetched is its own until `task_done()`: after a
crash it comes again. A get that is cancelled has taken nothing; a put that is cancelled has stored nothing, unless its
sync was under way.
"""

from __future__ import annotations

import asyncio as stdlib
import os
import sys
import weakref
from asyncio import QueueEmpty, QueueFull
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import count
from queue import Empty
from typing import TYPE_CHECKING, Any, TypeVar

from .. import telling
from ..apart import out_of_hub
from ..durability import Durability, Survives
from ..errors import (
    LimitReached,
    OutcomeUnknown,
    ShutDown,
    Stopped,
    StoreError,
    StoreLocked,
    StoreUnreachable,
)
from ..living import living
from ..overriding import declared_as, told
from ..serializers.signed import Key
from ..store import Op, Order, Put, Store
from ._lines.exit import dropped, finish_at_exit
from ._lines.held import Consumer
from ._lines.line import Line, weak
from ._lines.owed import AT_ONCE, AWAY, Owed
from ._lines.place import open_line
from ._lines.policy import AckPolicy, Markers, Volatile
from ._loops.asking import as_coroutine_function, caller
from ._loops.beyond import ABSENT
from ._loops.committer import Committer
from ._loops.owing import Reminder
from ._loops.seam import LoopSeam
from ._loops.waiting import Asking, Finished, stand_aside, until
from ._loops.watcher import Watcher
from ._where import check_maxsize

if TYPE_CHECKING:  # what `__getattr__` finds; asyncio's own star has its queues, too
    from asyncio import base_events as base_events
    from asyncio import events as events
    from asyncio import exceptions as exceptions
    from asyncio import futures as futures
    from asyncio import locks as locks
    from asyncio import protocols as protocols
    from asyncio import queues as queues
    from asyncio import runners as runners
    from asyncio import streams as streams
    from asyncio import subprocess as subprocess
    from asyncio import tasks as tasks
    from asyncio import transports as transports
    from asyncio.base_events import *  # noqa: F403
    from asyncio.coroutines import *  # noqa: F403
    from asyncio.events import *  # noqa: F403
    from asyncio.exceptions import *  # noqa: F403
    from asyncio.futures import *  # noqa: F403
    from asyncio.locks import *  # noqa: F403
    from asyncio.protocols import *  # noqa: F403
    from asyncio.runners import *  # noqa: F403
    from asyncio.streams import *  # noqa: F403
    from asyncio.subprocess import *  # noqa: F403
    from asyncio.tasks import *  # noqa: F403
    from asyncio.threads import *  # noqa: F403
    from asyncio.transports import *  # noqa: F403

    if sys.version_info >= (3, 11):
        from asyncio.taskgroups import *  # noqa: F403
        from asyncio.timeouts import *  # noqa: F403

    if sys.platform == "win32":
        from asyncio.windows_events import *  # noqa: F403
    else:
        from asyncio.unix_events import *  # noqa: F403

if sys.version_info >= (3, 13):
    from asyncio import QueueShutDown
else:

    class QueueShutDown(Exception):
        """Raised when put or get is used with a queue that was shut down (`asyncio.QueueShutDown` before 3.13)."""


__all__ = ["LifoQueue", "PriorityQueue", "Queue", "QueueEmpty", "QueueFull", "QueueShutDown"]
__all__ += stdlib.__all__  # for `from asyncio import *`; each is passed on


def __getattr__(name: str) -> Any:
    """All else is the standard library's."""
    if name.startswith("__"):  # as `__path__`, which this module hasn't
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(stdlib, name)


T = TypeVar("T")
Q = TypeVar("Q", bound="Queue[Any]")
_MANY_UNCOVERED = 1000
_NONE = Put("", b"")  #: the record that `_put` of a subclass makes itself
_all: weakref.WeakValueDictionary[int, Queue[Any]] = weakref.WeakValueDictionary()  # by id: some can't be hashed
_BUSY = (StoreLocked, StoreUnreachable)  #: nothing of the call was stored, and it may go through a moment later
SOFT = Durability(Survives.PROCESS, 0.05)  #: where nobody says otherwise: the loop isn't stopped for a disk


class Queue(LoopSeam[T]):
    """A FIFO queue in a store. The arguments, and the errors, are those of `pqadapters.stdlib.queue.Queue`; durability
    is "process" where nobody says otherwise, with a `max_lag` of 0.05 seconds."""

    _order = Order.OLDEST

    if TYPE_CHECKING:  # what asyncio's has, and typeshed doesn't tell
        _loop: stdlib.AbstractEventLoop | None

        def _get_loop(self) -> stdlib.AbstractEventLoop: ...

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
        line = self._line = open_line(
            self,
            order=self._order,
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
            default=SOFT,
        )
        self._joiners: deque[stdlib.Future[bool | None]] = deque()
        super().__init__(maxsize)
        self._ready_made = True
        if self._in_memory:
            self._keep_in_memory()
        else:
            self._finished = Finished(self)
        self._look_at_overrides()
        self._connect_line(line, maxsize)
        _all[id(self)] = self
        finish_at_exit(line)
        weakref.finalize(self, out_of_hub, dropped, line).atexit = False
        weakref.finalize(self, self._watcher.end).atexit = False

    def _look_at_overrides(self) -> None:
        self._puts_itself, self._gets_itself = self._overrides("_put"), self._overrides("_get")
        self._puts_now = self._overrides("put_nowait")
        self._says_empty, self._says_full = self._overrides("empty"), self._overrides("full")

    def _connect_line(self, line: Line, maxsize: int) -> None:
        self._shared = not line.store.capabilities.exclusive
        self._hasty_claim = partial(line.store.claim, patience=0.0)
        line.look = None  # its acknowledgement would wait for others in the loop; a claim comes again
        self._power = line.store.capabilities.persistent and line.store.durability.survives is Survives.POWER
        #: without a `maxsize`, a put waits for nobody
        self._direct = not (self._power or self._shared or self._puts_itself or self._puts_now or self._says_full)
        #: that there is no room: a server that is asked before is one more to wait for
        self._told_by_store = line.store.capabilities.hosts and not (
            self._power or self._puts_itself or self._overrides("qsize")
        )
        self._asking: dict[stdlib.Future[Any], Asking] = {}  #: who waits, or is woken and didn't run yet
        self._places = count()
        self._standing: set[int] = set()  #: the places of puts that stand aside, or that such ones let in
        watcher = self._watcher = Watcher(line.store, line.name, until(weakref.ref(self)), weak(self._changed))

        def stow_all(items: list[Any], puts: list[Put]) -> None:
            watcher.own += 1
            line.stow_all(items, puts)

        def ready() -> int:
            try:
                return line.ready() if maxsize > 0 else 0
            except StoreError:  # which the puts have to meet
                return sys.maxsize

        self._reminder = Reminder(weak(self._settle_owed))
        if self._shared:  # an exclusive store is locked by nobody
            line.owed = Owed(_commits(line), self._reminder.later)
        self._committer = Committer(stow_all, weak(self._serve), weak(self._admit), ready)
        line.passed_over = weak(self._record_went)

    def __copy__(self) -> Queue[T]:
        """The same queue. It keeps the one that it is a copy of, which is told what others do, and whose end is the
        queue's."""
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self), _original=self)
        return copied

    def _begin_again(self) -> None:
        """In a forked child: who waits and what is under way are the parent's, and so is the loop."""
        for waiters in (self._getters, self._putters, self._joiners, self._asking, self._standing):
            waiters.clear()
        self._loop = self._finished._loop = None
        self._line.look = None  # as above: the line has begun again by now
        self._committer.begin_again()
        self._watcher.begin_again()

    # What asyncio's queue has

    def qsize(self) -> int:
        """How many items are ready."""
        return super().qsize() if self._in_memory else self._line.ready()

    def empty(self) -> bool:
        """Whether no item is ready."""
        return not super().qsize() if self._in_memory else self._line.is_empty()

    def full(self) -> bool:
        """Whether a put would wait."""
        if self._in_memory:
            return super().full()
        return self._is_full(lambda ready: len(self._committer))

    async def put(self, item: T) -> None:
        """Store an item; waits for room where there is a `maxsize`, and at "power" for the sync.

        Raises QueueShutDown, NotSerializable, and the store's DiskError; nothing was stored then.
        """
        if self._in_memory:
            return await super().put(item)
        if self._direct and self._maxsize <= 0:
            return self._put_directly(item)
        if self._puts_now:
            return await self._put_through(item)
        put, place = self._make(item), next(self._places)
        stows = False
        try:
            while True:
                self._check_not_shut()
                looks = self._watcher.looks
                full = self._says_full and self.full()
                if not full and not self._told_by_store:
                    full = self._is_full(self._committer.coming)
                if full or self._is_behind(place):
                    await self._wait(self._putters, looks, place)
                    continue
                stows = True
                try:
                    return await self._stow(item, put, place)
                except LimitReached:  # another put was faster; there may be room again, of which nobody would tell us
                    stows = False
                    if self._told_by_store:
                        await self._wait(self._putters, looks, place)
                    elif not self._power:  # where those that were refused are told in their order
                        await stdlib.sleep(0)
        except BaseException as error:
            if not stows or isinstance(error, Exception):  # else it may be stored
                self._line.objects.forget([put.payload])
            if isinstance(error, Exception):
                self._admit()
            raise
        finally:
            if place in self._standing:
                self._go_on(place)

    def put_nowait(self, item: T) -> None:
        """Store an item now. Raises QueueFull, QueueShutDown, NotSerializable, and the store's DiskError."""
        if self._in_memory:
            return super().put_nowait(item)
        put = self._make(item)
        try:
            self._check_not_shut()
            if self.full():
                raise QueueFull
            self._stow_now(item, put)
        except BaseException as error:
            self._line.objects.forget([put.payload])
            if isinstance(error, LimitReached):
                raise QueueFull from None
            raise

    if TYPE_CHECKING:  # to which it isn't the same

        async def get(self) -> T: ...
    else:

        @as_coroutine_function
        def get(self) -> Coroutine[Any, Any, T]:
            """Take the next item; this task holds it until `task_done()`. Waits for one. Raises QueueShutDown.

            It is the task's that has called this, also where another one waits for it, as in `create_task(q.get())`
            and, before Python 3.12, in `wait_for(q.get(), 5)`.
            """
            return self._get_for(caller())

    async def _get_for(self, asker: Consumer | None) -> T:
        if self._in_memory:
            return await super().get()
        begun: float | None = None
        place: int | None = None
        while True:
            looks = self._watcher.looks
            try:
                return self._get_in_haste(asker)
            except QueueEmpty:
                begun = None
            except _BUSY as error:
                if self._line.flags.cut:
                    raise QueueShutDown from None
                turn = stdlib.get_running_loop().create_future()
                turn.set_result(None)
                place = next(self._places) if place is None else place
                self._asking[turn] = Asking(self._getters, place)  # the item is still ours: nobody is woken for it
                try:
                    begun = await stand_aside(begun, error, for_ever=True)
                finally:
                    self._asking.pop(turn, None)
                continue
            except Exception:
                self._serve()
                raise
            place = next(self._places) if place is None else place
            await self._wait(self._getters, looks, place)  # out here: who is cancelled knows nothing of the exception

    def get_nowait(self) -> T:
        """Take the next item, if one is ready. Raises QueueEmpty, QueueShutDown."""
        if self._in_memory:
            return super().get_nowait()
        if self._says_empty and self.empty():
            raise QueueShutDown if self._line.flags.shut else QueueEmpty
        self._watcher.own += 1
        item = self._get() if self._gets_itself else self._take()
        if self._putters and not self._committer.unsettled:  # else they are told later, behind those that come again
            self._wakeup_next(self._putters)
        return item

    @declared_as(told)
    def task_done(self, item: Any = ABSENT) -> None:
        """Acknowledge the oldest item of this task, or exactly the item given. ValueError if called too often."""
        if self._in_memory:
            return super().task_done()
        line = self._line
        if item is not ABSENT:
            line.done_exactly(item)
        elif not line.done() and line.done_for_another() == _MANY_UNCOVERED:
            telling.warn(
                f"task_done() was called {_MANY_UNCOVERED} times on {line.label} by tasks that hold no item of it: "
                "those that others hold stay outstanding and would come again after a crash. Call task_done(item)",
                RuntimeWarning,
            )
        if line.owed:  # so it isn't the end, and the store needn't be asked
            return
        if line.unkept or line.counts.owing:
            self._settle_later()
        self._tell_joiners()

    def _settle_later(self) -> None:
        line = self._line
        try:
            line.settle_later(AT_ONCE if self._shared else None)
        except AWAY:
            if not self._reminder.later():
                line.settle_later()

    def _settle_owed(self) -> None:
        """From time to time, while something is owed or unkept."""
        line = self._line
        if line.owed:
            line.owed.settle(0.0)
        if line.unkept or line.counts.owing:
            line.settle_later(0.0)
        self._tell_joiners()

    async def join(self) -> None:
        """Wait until nothing is unfinished: no item ready or handed out, dead letters aside."""
        if self._in_memory:
            return await super().join()
        await self._wait_for_the_end()

    def shutdown(self, immediate: bool = False) -> None:
        """No more puts; gets serve what is there, and then raise QueueShutDown. `immediate`: gets raise at once, and
        `join` waits only for what was handed out. What is in the queue stays in its store, for the next handle."""
        if self._in_memory:
            theirs: Any = super()  # which has it from 3.13 on
            return theirs.shutdown(immediate)  # type: ignore[no-any-return]
        flags = self._line.flags
        flags.shut = True
        flags.cut = flags.cut or immediate
        for waiters in (self._getters, self._putters):
            self._wake_all(waiters)
        self._tell_joiners()

    # Storing and taking

    def _check_not_shut(self) -> None:
        if self._line.flags.shut:
            raise QueueShutDown
        if self._line.stopped():
            raise self._line.ending()

    def _make(self, item: T) -> Put:
        """The item's record. Where a subclass stores something in its place, the item itself needn't be storable."""
        return _NONE if self._puts_itself else self._line.make(item)

    def _is_full(self, coming: Callable[[int], int]) -> bool:
        if self._maxsize <= 0:
            return False
        ready = self.qsize()
        return self._line.is_full(self._maxsize, ready + coming(ready))

    def _limited(self, put: Put) -> Put:
        return put._replace(limit=self._line.bound(self._maxsize)) if self._maxsize > 0 else put

    async def _put_through(self, item: T) -> None:
        """By the `put_nowait` of a subclass, which asyncio's `put` calls, too."""
        place = next(self._places)
        while True:
            looks = self._watcher.looks
            if self.full():
                self._check_not_shut()
                await self._wait(self._putters, looks, place)
                continue
            try:
                return self.put_nowait(item)
            except QueueFull:
                if not self.full():
                    raise  # it is the subclass's own word; else another put was faster

    def _put_directly(self, item: T) -> None:
        put = self._line.make(item)
        try:
            self._check_not_shut()
            self._stow_now(item, put)
        except Exception:  # behind an interrupt it may be stored
            self._line.objects.forget([put.payload])
            raise

    async def _stow(self, item: T, put: Put, place: int) -> None:
        if self._puts_itself or (not self._power and not self._shared):
            return self._stow_now(item, put)
        if not self._power:
            return await self._stow_in_haste(put, place)
        try:
            await self._committer.put(item, self._limited(put), place)
        except ShutDown:
            raise QueueShutDown from None

    def _stow_now(self, item: T, put: Put) -> None:
        self._watcher.own += 1
        if self._puts_itself:
            self._put_counted(item)
        else:
            try:
                self._line.stow(item, self._limited(put))
            except ShutDown:
                raise QueueShutDown from None
        self._item_came()

    def _put_counted(self, item: T) -> None:
        """By the `_put` of a subclass. Whatever that makes of the item: it counts as one task, as ever."""
        counts = self._line.counts
        counts.add(adjustment=1)
        try:
            self._put(item)
        except BaseException:
            counts.add(adjustment=-1)
            self._tell_joiners()
            raise

    async def _stow_in_haste(self, put: Put, place: int) -> None:
        """On a store that others may have locked: the loop goes on meanwhile, and puts that come later wait."""
        line, begun = self._line, None
        self._watcher.own += 1
        while True:
            try:
                line.commit(self._limited(put), stop=line.stopped, timeout=0.0)
                return self._item_came()
            except Stopped:
                self._check_not_shut()
                raise
            except OutcomeUnknown:  # it may be stored
                raise
            except _BUSY as error:
                self._check_not_shut()
                self._standing.add(place)
                begun = await stand_aside(begun, error)

    def _get_in_haste(self, asker: Consumer | None) -> T:
        line = self._line
        line.held.asker = asker
        try:
            if not self._shared:
                return self.get_nowait()
            line.claim = self._hasty_claim
            try:
                if line.owed:  # what was given back stands in its place before the next one is taken
                    self._settle_first(line.owed)
                return self.get_nowait()
            finally:
                line.claim = line.store.claim
        finally:
            line.held.asker = None

    @staticmethod
    def _settle_first(owed: Owed) -> None:
        try:
            owed.settle(0.0)
        except _BUSY:
            raise
        except StoreError:  # which is told of when it comes again
            pass

    def _take(self) -> T:
        try:
            item: T = self._line.take(0.0)
        except Empty:
            if self._line.flags.shut:
                raise QueueShutDown from None
            raise QueueEmpty from None
        except ShutDown:
            raise QueueShutDown from None
        self._committer.had -= 1
        return item

    def _overrides(self, hook: str) -> bool:
        return getattr(type(self), hook) is not getattr(Queue, hook)


def _commits(line: Line) -> Callable[..., object]:
    """Its commit, for what the line itself keeps."""
    ref = weakref.ref(line)

    def commit(*ends: Op, timeout: float | None = None) -> object:
        found = ref()
        return None if found is None else found.commit(*ends, timeout=timeout)

    return commit


def _begin_again() -> None:
    for queue in living(_all):
        queue._begin_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


class LifoQueue(Queue[T], stdlib.LifoQueue[T]):
    """A stack: the item put last leaves first. Else as `Queue`."""

    _order = Order.NEWEST


class PriorityQueue(Queue[T], stdlib.PriorityQueue[T]):  # type: ignore[type-var]  # ours takes any item
    """The least item leaves first, in Python's order; among equals the one put first. Else as `Queue`."""

    _order = Order.RANK
