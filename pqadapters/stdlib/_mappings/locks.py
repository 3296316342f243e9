"""Locks on the keys of a table, across processes: whoever edits a key holds one, and it ends with its process.

A lock is a record in the queue "edit/<table>", and whoever has it claimed holds the lock; claims end with their owner
by the store's own rules. The table of the same name has each key's record. They are kept for the next time, but for
those that come when there are many.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...astray import give_back_later, give_back_now
from ...clock import SYSTEM
from ...errors import ConditionFailed, LeaseLost, StoreError
from ...store import Ack, Claim, Delete, Expect, Nack, Op, Put, Record, Set, State, Store

if TYPE_CHECKING:
    from .batch import Batch

_MANY = 1000  #: locks that are kept
_LOOK = 0.25  #: seconds after which a waiter looks whether the lock is still the same record
_SURELY = 1.0  #: seconds in which a thread that has claimed a lock has written that down
_IN_VAIN = 100  #: claims in a row that came back at once: there is no waiting in the middle of another call

_IN_THE_MIDDLE = "a key can't be edited by a signal handler or finalizer in the middle of a call"

_Mark = tuple[object, str, bytes]
_editors: dict[tuple[_Mark, int], threading.Thread] = {}  #: which thread of this process edits a key, by the attempt


class Locks:
    """The locks of one table. Any thread may use it."""

    def __init__(self, store: Store, table: str, batches: Mapping[Any, Batch]) -> None:
        self._store = store
        self._name = f"edit/{table}"
        #: all in memory have one name
        self._place: object = store.place if store.capabilities.persistent else store
        self._batches = batches  #: those of this handle that are open, with the locks that they have
        self._tried: dict[int, bytes] = {}  #: by thread: the key whose lock it is about to claim
        self._left: dict[bytes, tuple[float, int]] = {}  #: when one was interrupted, with others about it; the attempt

    def take(self, key: bytes, timeout: float | None, held: dict[bytes, Claim]) -> None:
        """Wait for the key's lock, `timeout` seconds or for ever; then `held` has it. Raises TimeoutError, and
        StoreError where this handle had the lock and the store still refuses to take it back."""
        deadline = None if timeout is None else SYSTEM.monotonic() + timeout
        if self._try(key, 0.0, held):
            return
        mark, me = self._mark(key), threading.current_thread()
        if any(editor is me for (edited, _), editor in list(_editors.items()) if edited == mark):
            raise RuntimeError(
                "this key is being edited by this thread already, through another handle or in another task: to wait "
                "for that would be for ever"
            )
        in_vain = 0
        while True:
            give_back_now(self._store, self._name, self._record(key))
            begun = SYSTEM.monotonic()
            left = _LOOK if deadline is None else min(_LOOK, max(0.0, deadline - begun))
            if self._try(key, left, held):
                return
            if self._was_lost(key):
                continue
            now = SYSTEM.monotonic()
            since, attempt = self._left.get(key, (now, 0))
            if attempt and now - since >= _SURELY:
                self._left.pop(key, None)
                self._put_back(key, attempt)
            if deadline is not None and now >= deadline:
                raise TimeoutError(f"somebody else has edited this key for more than {timeout} seconds")
            in_vain = in_vain + 1 if now - begun < left / 2 else 0
            if in_vain > _IN_VAIN:
                raise RuntimeError(_IN_THE_MIDDLE)

    def _try(self, key: bytes, timeout: float, held: dict[bytes, Claim]) -> bool:
        id, me = self._record(key), threading.get_ident()
        self._tried[me] = key
        try:
            for claim in self._store.claim(self._name, ids=[id], timeout=timeout):
                held[key] = claim
                _editors[self._mark(key), claim.attempt] = threading.current_thread()
            return key in held
        except BaseException:
            self._put_back(key)
            raise
        finally:
            self._tried.pop(me, None)

    def _was_lost(self, key: bytes) -> bool:
        """Whether the key's record is gone, which was damaged or purged: then the next look makes it anew."""
        found = self._store.get(self._name, key)
        if found is None:
            return False
        if self._find(int.from_bytes(found, "big"), None) is not None:
            return False
        with suppress(ConditionFailed):
            self._store.commit(Delete(self._name, key, found))
        return True

    def _put_back(self, key: bytes, attempt: int | None = None) -> None:
        """An interrupt came: the lock that this handle has claimed, and nobody knows of, is free again. It is looked at
        first, and then who may have it: another one's that is claimed behind the look has a later attempt."""
        id, me = self._record(key), threading.get_ident()
        record = self._find(id, State.CLAIMED)
        if record is None or attempt not in (None, record.attempts):
            return
        if attempt is None and any(other == key for who, other in list(self._tried.items()) if who != me):
            self._left[key] = SYSTEM.monotonic(), record.attempts  # another one may be about to write it down
        elif not self._is_known(key, record.attempts):
            with suppress(LeaseLost):  # it is somebody else's
                self._store.commit(Nack(Claim(self._name, id, record.attempts, record.payload)))

    def _is_known(self, key: bytes, attempt: int) -> bool:
        """Whether a thread of this process edits the key, or is about to commit that."""
        editor = _editors.get((self._mark(key), attempt))
        claims = [batch.held.get(key) for batch in list(self._batches.values())]
        held = any(claim is not None and claim.attempt == attempt for claim in claims)
        return held or (editor is not None and editor.is_alive())

    def let_go(self, held: Mapping[bytes, Claim]) -> None:
        """They aren't edited any more. Somebody else may have one by now."""
        for key, claim in list(held.items()):
            _editors.pop((self._mark(key), claim.attempt), None)

    def give_back(self, held: dict[bytes, Claim], *, later: bool) -> None:
        """They are free for others, and `held` is empty: now, or when the store can be used again."""
        while held and not later:
            key = next(iter(held))
            try:
                with suppress(LeaseLost):  # it was committed all the same, when an interrupt came
                    self._store.commit(*self.release(key, held[key]))
            except StoreError:
                later = True
            else:
                del held[key]
        if held:
            claims = list(held.values())
            held.clear()
            give_back_later(self._store, claims)

    def is_held(self, key: bytes) -> bool:
        """Whether somebody edits the key."""
        found = self._store.get(self._name, key)
        return found is not None and self._find(int.from_bytes(found, "big"), State.CLAIMED) is not None

    def _find(self, id: int, state: State | None) -> Record | None:
        record = next(self._store.browse(self._name, state=state, after=id - 1), None)
        return record if record is not None and record.id == id else None

    def _mark(self, key: bytes) -> _Mark:
        return self._place, self._name, key

    def release(self, key: bytes, claim: Claim) -> list[Op]:
        """What gives it back, to be committed with what was changed, if anything was."""
        if self._store.count(self._name) <= _MANY:
            return [Nack(claim)]
        return [Ack(claim), Delete(self._name, key)]

    def _record(self, key: bytes) -> int:
        """The id of the key's record, which is made if there is none."""
        while True:
            found = self._store.get(self._name, key)
            if found is not None:
                return int.from_bytes(found, "big")
            (id,) = self._store.commit(Put(self._name, key))
            if not id:  # it is carried out later
                raise RuntimeError(_IN_THE_MIDDLE)
            try:
                self._store.commit(Set(self._name, key, id.to_bytes(8, "big"), Expect.ABSENT))
            except ConditionFailed:  # somebody else was faster
                for claim in self._store.claim(self._name, ids=[id]):
                    self._store.commit(Ack(claim))
