"""`with d.edit(key) as value:` from its beginning to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...wording import excerpt_of
from .blocks import Block

if TYPE_CHECKING:
    from .mapping import DurableMapping

V = TypeVar("V")
MISSING: Any = object()  #: no default was given
_UNTOUCHED = object()


class Edit(Block, Generic[V]):
    """What `DurableMapping.edit` gives: a batch that has a key to itself among all that edit it.

    Beginning raises TimeoutError (somebody else edits the key), KeyError (no value, no default) and RuntimeError (it
    is being edited by this thread).
    """

    def __init__(self, mapping: DurableMapping[Any, V], key: Any, default: Any, timeout: float | None) -> None:
        super().__init__(mapping._table)
        self._mapping, self._key, self._default, self._timeout = mapping, key, default, timeout
        self._data = mapping._key_to_bytes(key)

    def __enter__(self) -> V:
        self._begin()
        try:
            if self._data not in self.batch.held:
                self._table.locks.take(self._data, self._timeout, self.batch.held)
            return self._look()
        except BaseException:
            self._leave(failed=True)
            raise

    def _look(self) -> V:
        mapping, data, batch = self._mapping, self._data, self.batch
        if data in batch.edited:
            raise RuntimeError(f"key {excerpt_of(self._key)} is being edited by this thread already")
        self._found = found = self._table.get(data)
        if data not in batch.changes and not batch.cleared:
            batch.expect(data, found)
        alive = self._was = mapping._alive(found)
        load = mapping._value_from_bytes
        value: Any = self._own() if not mapping._direct else _UNTOUCHED if alive is None else load(alive)
        self._missing = value is _UNTOUCHED
        if self._missing and self._default is MISSING:
            raise KeyError(self._key)
        self._value: V = self._default if self._missing else value
        if not mapping._direct:
            self._dumped = self._bytes()
        batch.edited[data] = False
        return self._value

    def _own(self) -> Any:
        """What a subclass that has a say in it gives for the key; _UNTOUCHED for nothing."""
        try:
            return self._mapping[self._key]
        except KeyError:
            return _UNTOUCHED

    def _bytes(self) -> bytes | None:
        """Of the value, which tell whether the block changes it; None where only the subclass can make some of it."""
        try:
            return self._mapping._value_to_bytes(self._value)
        except Exception:
            return None

    def _end(self, *, failed: bool) -> None:
        try:
            if not failed:
                self._store()
            self.batch.edited.pop(self._data, None)
        except BaseException:
            self._leave(failed=True)
            raise
        self._leave(failed=failed)

    def _store(self) -> None:
        batch, data = self.batch, self._data
        if batch.edited[data]:
            return  # the block has set or deleted the key itself
        if not self._mapping._direct:
            missing = self._own() is _UNTOUCHED  # else, or if it wasn't, the block has set or deleted it
            if missing == self._missing and (missing or self._dumped is None or self._bytes() != self._dumped):
                self._mapping[self._key] = self._value
            return
        now = batch.changes.get(data, self._found)  # touch() may have moved its time
        after, more = self._mapping._dump_again(data, self._value, self._was if now is self._found else now)
        if after != now:
            batch.set(data, after)
            batch.more += more
