"""`with d.edit(key) as value:` from its beginning to its end."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._blocks import KeyBlock

if TYPE_CHECKING:
    from ._mapping import DurableMapping

V = TypeVar("V")
MISSING: Any = object()  #: no default was given
_UNTOUCHED = object()


class Edit(Generic[V]):
    """What `DurableMapping.edit` gives."""

    def __init__(self, mapping: DurableMapping[Any, V], key: Any, default: Any, timeout: float | None) -> None:
        self._mapping, self._key, self._default = mapping, key, default
        self._data = mapping._encode(key)
        self._block = KeyBlock(mapping._table, self._data, timeout)

    def __enter__(self) -> V:
        block = self._block
        block.__enter__()
        try:
            return self._begin()
        except BaseException:
            block.__exit__(*sys.exc_info())
            raise

    def _begin(self) -> V:
        mapping, data, batch = self._mapping, self._data, self._block.batch
        if data in batch.edited:
            raise RuntimeError(f"key {self._key!r} is being edited by this thread already")
        self._found = found = mapping._table.get(data)
        self._expects = data not in batch.expected and data not in batch.changes and not batch.cleared
        if self._expects:
            batch.expect(data, found)
        alive = self._was = mapping._alive(found)
        if alive is None and self._default is MISSING:
            raise KeyError(self._key)
        self._value: V = self._default if alive is None else mapping._load(alive)
        self._before = batch.changes.get(data, _UNTOUCHED)
        batch.edited.add(data)
        return self._value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del error, trace  # a traceback with this very frame would keep the block, and what it holds
        block = self._block
        try:
            block.batch.edited.discard(self._data)
            if kind is None:
                self._store()
        except BaseException:
            block.__exit__(*sys.exc_info())
            raise
        block.__exit__(kind, None, None)

    def _store(self) -> None:
        batch, data = self._block.batch, self._data
        if batch.changes.get(data, _UNTOUCHED) is not self._before:
            return  # the block has set or deleted the key itself
        after, more = self._mapping._dump_again(data, self._value, self._was)
        if after != self._found:
            batch.set(data, after)
            batch.more += more
        elif self._expects:  # nothing changes, so nothing need be made sure of
            batch.expected.pop(data, None)
