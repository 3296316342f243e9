"""A table of a store as mappings use it: single steps that are atomic, batches, edits. Keys and values are bytes.

A step that depends on what it finds (`pop`, `setdefault`, `popitem`) travels with that as its condition, and is tried
again where somebody else was faster; so it is atomic between threads and processes. In a batch it is part of the
batch. Any thread may call anything; a batch belongs to the consumer that has opened it (thread, greenlet, task).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NoReturn

from ...errors import ConditionFailed, LeaseLost, ReadOnlyError, StoreError
from ...store import Clear, Delete, Expect, Op, Set, Store
from .._lines.held import consumer
from .batch import Batch
from .blocks import BatchBlock
from .locks import Locks


class Table:
    """`label` says where it is, for people. `owned`: the store is closed with it."""

    def __init__(self, store: Store, name: str, *, label: str, owned: bool, writable: bool = True) -> None:
        self.store = store
        self.name = name
        self.label = label
        self.owned = owned
        self.writable = writable
        self.batches: dict[tuple[object, int], Batch] = {}  #: those that are open
        self.locks = Locks(store, name, self.batches)
        self.read: Callable[[bytes], bytes | None] = partial(store.get, name)  #: past all batches
        self.is_over: Callable[[bytes], bool] = lambda value: False  #: whether a value is found missing, and swept
        #: what does for the `more` of a batch, unless others are faster: then all of that is committed
        self.spared: Callable[[list[Op]], list[Op]] = lambda more: more

    # Looking

    def get(self, key: bytes) -> bytes | None:
        """The key's value, or None."""
        if self.batches and (batch := self.batches.get(_caller())) is not None:
            if key in batch.changes:
                return batch.changes[key]
            if batch.cleared:
                return None
        return self.read(key)

    def count(self) -> int:
        batch = self.mine()
        if batch is None:
            return self.store.count(self.name)
        after = sum(value is not None for value in self._seen(batch).values())
        if batch.cleared:
            return after
        return self.store.count(self.name) + after - len(self._there(batch))

    def keys(self, *, reverse: bool = False) -> Iterator[bytes]:
        """In the order in which they were first set."""
        batch = self.mine()
        if batch is None:
            return self.store.keys(self.name, reverse=reverse)
        base = ((key, b"") for key in self.store.keys(self.name, reverse=reverse))
        return (key for key, _ in self._over(batch, base, reverse))

    def items(self, *, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        batch = self.mine()
        base = self.store.scan(self.name, reverse=reverse)
        return base if batch is None else self._over(batch, base, reverse)

    def snapshot(self, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        """The values at one moment: of these keys as far as they are there, or of all."""
        batch = self.mine()
        if batch is None or not (batch.changes or batch.cleared):
            return self.store.snapshot(self.name, keys)
        if keys is None:
            base = {} if batch.cleared else self.store.snapshot(self.name)
            return dict(self._over(batch, iter(base.items()), reverse=False))
        found = {} if batch.cleared else self.store.snapshot(self.name, keys)
        values = ((key, batch.changes.get(key, found.get(key))) for key in keys)
        return {key: value for key, value in values if value is not None}

    def mine(self) -> Batch | None:
        """The batch that the caller has open."""
        return self.batches.get(_caller()) if self.batches else None

    @property
    def in_batch(self) -> bool:
        """Whether what the caller changes now is committed later."""
        return self.mine() is not None

    def _seen(self, batch: Batch) -> dict[bytes, bytes | None]:
        """What a batch has made of keys, as a reader finds it: nobody has swept what it has set."""
        changes = batch.changes.items()
        return {key: None if value is None or self.is_over(value) else value for key, value in changes}

    def _there(self, batch: Batch) -> dict[bytes, bytes]:
        """Those of the keys that a batch has changed that are in the store."""
        return self.store.snapshot(self.name, list(batch.changes))

    def _over(
        self, batch: Batch, base: Iterator[tuple[bytes, bytes]], reverse: bool
    ) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with the changes of a batch over them, as they are now; also when the batch is over, and
        `base` comes to what was new in it."""
        changes = self._seen(batch)
        there = {} if batch.cleared else self._there(batch)
        new = {
            key: value
            for key, value in changes.items()
            if value is not None and (key in batch.moved or key not in there)
        }
        old = ((key, changes.get(key, value)) for key, value in (() if batch.cleared else base) if key not in new)
        kept = ((key, value) for key, value in old if value is not None)
        return chain(reversed(new.items()), kept) if reverse else chain(kept, new.items())

    # Changing

    def set(self, key: bytes, value: bytes) -> None:
        if self.batches and (batch := self.batches.get(_caller())) is not None:
            batch.set(key, value)
        elif self.writable:
            self.store.commit(Set(self.name, key, value))
        else:
            self._refuse()

    def set_all(self, pairs: Iterable[tuple[bytes, bytes]], more: Iterable[Op] = ()) -> None:
        """All of them, or none."""
        self._check_writable()
        batch = self.mine()
        if batch is None:
            ops = [*(Set(self.name, key, value) for key, value in pairs), *more]
            if ops:
                self.store.commit(*ops)
            return
        for key, value in pairs:
            batch.set(key, value)
        batch.more += more

    def clear(self) -> None:
        self._check_writable()
        batch = self.mine()
        if batch is None:
            self.store.commit(Clear(self.name))
        else:
            batch.clear()

    def change(
        self, key: bytes, decide: Callable[[bytes | None], Sequence[Op] | None], *, same: bool = False
    ) -> bytes | None:
        """Look at the key's value, and carry out what `decide` makes of it, if it is still that; else once more.
        `decide` gives the operations, of which those on this key come without a condition, or None to leave it. `same`:
        for who edits the key it isn't set by that. The value that was found."""
        batch = self.mine()
        while True:
            found = self.get(key)
            ops = decide(found)
            if batch is not None and key not in batch.changes and not batch.cleared:
                batch.expect(key, found)  # also where it is left as it is: what comes behind may build on that
            if ops is None:
                return found
            self._check_writable()
            if batch is not None:
                self._note(batch, ops, same)
                return found
            expect = Expect.ABSENT if found is None else found
            try:
                self.store.commit(*(self._conditional(op, key, expect) for op in ops))
                return found
            except ConditionFailed:
                continue

    def _note(self, batch: Batch, ops: Sequence[Op], same: bool) -> None:
        edited = dict(batch.edited)
        for op in ops:
            if isinstance(op, Set) and op.table == self.name:
                batch.set(op.key, op.value)
            elif isinstance(op, Delete) and op.table == self.name:
                batch.delete(op.key)
            else:
                batch.more.append(op)
        if same:
            batch.edited = edited

    def _conditional(self, op: Op, key: bytes, expect: Expect | bytes) -> Op:
        ours = isinstance(op, (Set, Delete)) and op.table == self.name and op.key == key
        return op._replace(expect=expect) if ours else op  # type: ignore[call-arg]

    # Batches

    def batch(self) -> BatchBlock:
        """What the caller changes in this block is committed at its end, all of it or nothing; an exception drops it.
        The end raises ConditionFailed where somebody else has changed what was built on."""
        return BatchBlock(self)

    def begin(self) -> tuple[object, int]:
        """There is to be a batch: whose it is."""
        self._check_writable()
        return _caller()

    def end(self, batch: Batch, *, failed: bool) -> None:
        """Commit what a batch has changed, unless it failed, and give back its locks."""
        away = False
        try:
            if not failed:
                self._commit(batch)
                self.locks.let_go(batch.held)
                batch.held.clear()
        except StoreError:
            away = True
            raise
        finally:
            self.locks.let_go(batch.held)
            self.locks.give_back(batch.held, later=away)

    def _commit(self, batch: Batch, *, spare: bool = True) -> None:
        more = self.spared(batch.more) if spare and batch.more else batch.more
        ops = [*batch.ops(), *more]
        locks = [op for key, claim in batch.held.items() for op in self.locks.release(key, claim)]
        try:
            if ops or locks:
                self.store.commit(*ops, *locks)
        except ConditionFailed as error:
            if self._was_swept(batch):
                return self._commit(batch, spare=spare)
            if more is not batch.more:
                return self._commit(batch, spare=False)
            raise ConditionFailed(
                f"{self.label}: somebody else has changed a key meanwhile that this batch builds on ({error}). Nothing "
                "of it was stored: do it again"
            ) from error
        except LeaseLost as error:
            raise ConditionFailed(
                f"{self.label}: this process was taken for dead meanwhile, and others may have edited a key of this "
                f"block ({error}). Nothing of it was stored: do it again"
            ) from error

    def _was_swept(self, batch: Batch) -> bool:
        """Whether others have deleted what is over, which changes nothing for a batch: now it expects nothing there."""
        over = [key for key, found in batch.expected.items() if isinstance(found, bytes) and self.is_over(found)]
        swept = [key for key in over if self.read(key) is None]
        batch.expected.update(dict.fromkeys(swept, Expect.ABSENT))
        return bool(swept)

    # The whole

    def sync(self) -> None:
        """All that was committed is on the disk when this returns."""
        if self.writable:
            self.store.checkpoint()

    def close(self) -> None:
        if self.owned:
            self.store.close()

    def _check_writable(self) -> None:
        if not self.writable:
            self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnlyError(f"{self.label} was opened for reading only: open it with flag 'w' or 'c' to change it")


def _caller() -> tuple[object, int]:
    """Whose a batch is. A forked child has none of its parent's."""
    return consumer(), os.getpid()


class ClosedTable:
    """In place of the table of a mapping that was closed."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self._error = error

    def __getattr__(self, name: str) -> NoReturn:
        raise self._error()
