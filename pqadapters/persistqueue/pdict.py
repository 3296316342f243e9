"""persist-queue's `PDict`, over a database: any number of threads and processes may use it.

What was set is on disk when the call returns. It is a whole MutableMapping here; 1 and "1" are two keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..stdlib import pdict as durable
from ._place import MEMORY, converted, database_in

__all__ = ["PDict"]


class PDict(durable.PDict[Any, Any]):
    """The mapping `name` in the directory `path`. `multithreading` is accepted, and threads may use it either way.

    Raises StoreError where the database can't be opened: StoreRefused (another program's database), FormatError,
    StoreLocked, DiskError.
    """

    _takes_serializer = False

    def __init__(self, path: str, name: str, multithreading: bool = False) -> None:
        self.path, self.multithreading = path, multithreading
        name = name if name is None else f"{name}"
        if path == MEMORY:
            super().__init__(name=name, store="memory:")
            return
        file = database_in(path)
        opening = super().__init__
        converted(file, lambda: (opening(file, name), self._table)[1], name)

    def __del__(self) -> None:
        """Nothing, for a subclass whose own calls it, as persist-queue's has one: the store closes itself."""

    def __getitem__(self, key: Any) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            raise KeyError(f"Key: {key} not exists.") from None

    def __delitem__(self, key: Any) -> None:
        try:
            super().__delitem__(key)
        except KeyError:
            raise KeyError(f"Key: {key} not exists.") from None

    def iterkeys(self) -> Iterator[Any]:
        return iter(self.keys())

    def itervalues(self) -> Iterator[Any]:
        return iter(self.values())

    def iteritems(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.items())

    def shrink_disk_usage(self) -> None:
        """Give back space, which otherwise comes back by itself; what is stored is synced."""
        self._table.store.checkpoint()
