"""Where log records wait: a slot of this process below a directory, or the queues of a shared store.

    <path>/0, 1, ...      slots (pqadapters/stores/segment/slots.py), each the store of one process

A record is on the disk when `put` returns, as the durability says. What a dead process left in its slot is delivered
by whoever starts in that slot next, or by a listener that looks for such slots. Any thread may use it; a forked child
goes on with a slot of its own, or with the same shared store.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from functools import partial
from queue import Queue
from typing import TYPE_CHECKING, Any

from ...clock import SYSTEM
from ...durability import Durability
from ...ending import has_ended
from ...errors import StoreClosed, StoreError, StoreForked, StorePoisoned
from ...living import living
from ...opening import is_memory, load_for, load_slots, open_slots, open_store
from ...paths import absolute
from ...store import Put, Store
from ...telling import logger, silence
from ...wording import shown
from .._records.records import Codec
from .forks import forking, put_off
from .limits import Limit
from .names import Names
from .place import is_url, refuse_store

if TYPE_CHECKING:
    from ...stores.segment.slots import Slot, Slots

    _Used = tuple[Store | None, Slots | None, Slot | None, threading.Event]  #: a store, or a slot with its store

_log = logger("pqadapters.logging")
_NAMES = Names()
_INBOX = _NAMES.inbox
_PLAIN = Put(_INBOX, b"")[2:]
_AGAIN = 1.0  #: seconds between two tries to open a store again that failed
_LEAVES = 1.0  #: seconds that who opens it waits for another thread that lets go of it
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path
_spools: weakref.WeakValueDictionary[str, Spool] = weakref.WeakValueDictionary()
_open: set[Spool] = set()  #: those that are open: what logs in a finalizer may be collected together with its handler
_lock = threading.RLock()


def spool_at(place: str, durability: Durability, limit: Limit, *, given: bool, trust_directory: bool) -> Spool:
    """The spool of this process in a directory, or in the store of a URL: one for all that ask for it. `given`: the
    durability was asked for. ValueError where another one was before."""
    where = place if is_url(place) else absolute(place)
    if not has_lock_of_logging():
        _close_forgotten(where)
    with _lock:
        spool = _spools.get(where)
        if spool is None:
            spool = _spools[where] = Spool(where, durability, limit, trust_directory)
        else:
            if spool.limit.tighten(limit):
                spool.close()  # the next record opens it with segments as small as this limit wants them
            if given:
                spool.be(durability)
        spool.durability_given |= given
        return spool


def _close_forgotten(but: str) -> None:
    """Those whose handlers the program has let go of, without closing them. What logs in a finalizer opens them
    again. Never with the lock of `logging`: see `QueueHandler.close`."""
    for spool in list(_open):
        if spool.where != but and not spool.is_used_beside():
            with suppress(StoreError):
                spool.let_go(None)


class Spool:
    """Records of this process on their way; see `_names.Spooled`."""

    names = _NAMES
    diverts = True
    refused = False
    left = False

    def __init__(self, where: str, durability: Durability, limit: Limit, trust_directory: bool) -> None:
        self.where, self.durability, self.limit = where, durability, limit
        self.place = shown(where) if is_url(where) else where  #: for people
        self.codec = Codec()
        self.durability_given = False
        self.turn = threading.Lock()  #: of the listener that delivers in this process
        self._users: weakref.WeakSet[object] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._trust = trust_directory
        self._may_reopen = 0.0  #: when a store that failed may be opened again; 0: none did
        self._failed: StoreError | None = None  #: why that was in vain
        load_for(where)
        self._begin()

    def be(self, durability: Durability) -> None:
        """It has this durability from now on. ValueError where somebody else wants another one."""
        if durability == self.durability:
            return
        if self.durability_given:
            raise ValueError(f"{self.place} is used with {self.durability} in this process, and not with {durability}")
        self.durability = durability
        self.close()  # the next record opens it so

    def _begin(self) -> None:
        self._store: Store | None = None
        self._slots: Slots | None = None
        self._slot: Slot | None = None
        self._opening: int | None = None  #: the thread that opens it
        self._leaving: tuple[threading.Event, int] | None = None  #: until it is let go of, by which thread
        self._early: deque[bytes] = deque()
        self.limit.begin_again()
        _open.discard(self)

    @property
    def shared(self) -> bool:
        """Whether other processes put into the same queues."""
        return is_url(self.where)

    @property
    def is_open(self) -> bool:
        return self._store is not None

    @property
    def store(self) -> Store:
        """This process's store, opened now if it isn't yet. Raises StoreError."""
        return self._store or self._open()

    def _open(self) -> Store:
        with silence(), self._lock:
            self._opening = threading.get_ident()  # before the look: what comes in between may open it
            try:
                self._let_leave_locked()
                self._store = store = self._store or self._opened()
            finally:
                self._opening = None
            _open.add(self)
            self._failed, self.left, self.refused = None, False, False
            while self._early:
                store.commit(Put(_INBOX, self._early[0]))
                self._early.popleft()
            return store

    def _let_leave_locked(self) -> None:
        """In another slot the next records would overtake what waits in this one. Not for ever, and with the lock held,
        which who lets go doesn't need: the store may be locked by a thread that is in the middle of a commit, and in
        which a finalizer logs and comes here."""
        leaving, self._leaving = self._leaving, None
        if leaving is not None and self._store is None and leaving[1] != threading.get_ident():
            leaving[0].wait(_LEAVES)

    def _open_for_record(self) -> Store:
        if self._failed is not None and SYSTEM.monotonic() < self._may_reopen:
            raise copy(self._failed)
        try:
            return self._open()
        except BaseException as error:
            self.refused = True
            self._put_off_opening(error)
            raise

    def _put_off_opening(self, error: BaseException) -> None:
        """Where it can't be opened again: who logs a thousand records a second doesn't try that as often."""
        if self._may_reopen and isinstance(error, StoreError):
            self._failed, self._may_reopen = copy(error), SYSTEM.monotonic() + _AGAIN

    def _opened(self) -> Store:
        if self.shared:
            query = self.where.partition("?")[2]
            if is_memory(self.where):
                return open_store(self.where)
            if "durability=" not in query:
                return open_store(self.where, durability=self.durability)
            return open_store(self.where, max_lag=None if "max_lag=" in query else self.durability.max_lag)
        refuse_store(self.where)
        load_slots()
        options: dict[str, Any] = {"durability": self.durability, "trust_directory": self._trust}
        slots = open_slots(self.where, **options, segment_bytes=self.limit.segment_bytes, ours_above=False)
        slots.prepare()
        slot = slots.take()
        self._slots, self._slot = slots, slot
        self.limit.watch(slot.directory, self.names.all)
        return slot.store

    def put(self, record: Any) -> None:
        """Store a record. Raises queue.Full where the limit says so, and StoreError. From a finalizer or a signal
        handler in the middle of opening the store, it is stored when that is done, before the record for which it is
        opened; in the middle of a fork, behind that."""
        if forking and put_off(partial(self.put, copy(record))):
            return
        payload = self.codec.dumps(record)
        while True:
            store = self._store
            if store is None:
                if self._opening == threading.get_ident():
                    self._early.append(payload)
                    return
                store = self._open_for_record()
            limit = self.limit
            try:
                if limit.max_bytes and not limit.admits(len(payload), record.levelno, store):
                    return
                store.commit(_new(Put, (_INBOX, payload) + _PLAIN))  # noqa: RUF005  # faster
            except StoreForked:
                self.begin_again()
                self.store.commit(Put(_INBOX, payload))
            except StoreClosed:
                if store is self._store:
                    raise
                continue  # another thread has let go of it in between
            except StorePoisoned as error:
                with silence():  # until it is stored: a handler that fails costs no record
                    self._reopened(store, error).commit(Put(_INBOX, payload))
            finally:
                if limit.coming:
                    limit.came()
            return

    def _reopened(self, store: Store, error: StorePoisoned) -> Store:
        """Another store, where one refuses all work until it is opened again: who logs can't do that. Raises
        StoreError; `error` where that was tried a moment ago."""
        with self._lock:
            mine = self._store is store
            if mine and SYSTEM.monotonic() < self._may_reopen:
                raise error
            if mine:
                self._may_reopen = SYSTEM.monotonic() + _AGAIN
                used = self._take_away_locked()
        if mine:
            self._leave(*used)
        if mine:
            _log.warning("%s is opened again for log records: %s", self.place, error)
        return self._store or self._open_for_record()

    def left_behind(self) -> Iterator[Left]:
        """Slots of dead processes in which something waits, held until they are let go of."""
        store = self.store
        slots = self._slots
        if slots is None:
            return
        del store
        while (slot := slots.take_left(_waits)) is not None:
            yield Left(slots, slot)

    def renew_lock(self) -> None:
        """In a forked child: a thread of the parent may have had it."""
        self._opening = None
        self._lock = threading.RLock()
        self._leave_threads_behind()

    def begin_again(self) -> None:
        """The slot is the parent's: the next record takes one."""
        self._lock = threading.RLock()
        self._leave_threads_behind()
        self._begin()

    def _leave_threads_behind(self) -> None:
        """Those that deliver are the parent's. What they had in their hands is never collected."""
        self.turn = threading.Lock()
        self.limit.forked()
        self._users = weakref.WeakSet(user for user in living(self._users) if isinstance(user, Queue))

    def use(self, user: object) -> None:
        """It stays open for that one."""
        self._users.add(user)

    def is_used_beside(self, *users: object) -> bool:
        """Whether others than these use it."""
        return any(user not in users for user in living(self._users))

    def let_go(self, user: object) -> None:
        """That one is done with it: the store is closed where nobody uses it any more. At the end of the process it
        stays open: finalizers and daemon threads log to the very end. So does one in memory, which would be lost."""
        if user is not None:
            self._users.discard(user)
        with self._lock:
            store = self._store
            if store is None or not store.capabilities.persistent or self._users or has_ended():
                return
            used = self._take_away_locked()
        self._leave(*used)

    def close(self) -> None:
        """Let go of the store; the next record opens it again."""
        with self._lock:
            used = self._take_away_locked()
        self._leave(*used)

    def _take_away_locked(self) -> _Used:
        """What it has; it has nothing from here on."""
        used = self._store, self._slots, self._slot, threading.Event()
        self.left = self.left or self._store is not None  # as far as anybody knows; `_leave` looks
        self._begin()
        self._leaving = None if self.shared else (used[3], threading.get_ident())
        return used

    def _leave(self, store: Store | None, slots: Slots | None, slot: Slot | None, is_left: threading.Event) -> None:
        """With the lock free: who is in the middle of a commit there may have a finalizer that logs, and opens it."""
        with silence():
            try:
                left = store is not None and not _is_done(store)
                if store is not None and self._store is None:
                    self.left = left
                if slots is not None and slot is not None:
                    slots.leave(slot, empty=_is_empty(slot.store), unless=partial(_waits, slot.store))
                elif store is not None:
                    store.close()
            finally:
                is_left.set()


class Left:
    """The slot of a dead process, held by this one."""

    def __init__(self, slots: Slots, slot: Slot) -> None:
        self._slots, self._slot = slots, slot
        self.store: Store = slot.store

    def leave(self) -> None:
        """Let go of it; it goes if it is known that nothing is left in it."""
        self._slots.leave(self._slot, empty=_is_empty(self._slot.store))


def _waits(store: Store) -> bool:
    """Whether there is anything in it that is to be delivered, or looked at."""
    depths = map(store.depth, _NAMES.all(store))
    return any(depth.unfinished or depth.dead for depth in depths)


def _is_done(store: Store) -> bool:
    """Whether it is known that everything in it was delivered."""
    try:
        return not _NAMES.unfinished(store)
    except StoreError:
        return False


def _is_empty(store: Store) -> bool:
    """Whether it is known that nothing is in it."""
    try:
        return not _waits(store)
    except StoreError:
        return False


def has_lock_of_logging() -> bool:
    """Whether this thread does: `dictConfig` and `basicConfig` make and close handlers so."""
    lock: Any = logging._lock  # type: ignore[attr-defined]
    return bool(lock._is_owned())


def _begin_again() -> None:
    global _lock
    _lock = threading.RLock()
    for spool in living(_spools):
        if spool.shared:
            spool.renew_lock()
        else:
            spool.begin_again()


load_slots()  # before the next line: what is loaded first looks after its own forks first
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
