"""What one consumer has changed in a table and not committed yet: its own reads see it, nobody else's do."""

from __future__ import annotations

from collections.abc import Iterator

from ...store import Claim, Clear, Delete, Expect, Op, Set


class Batch:
    """Keys that were set (to bytes) or deleted (None), in the order in which they would come into the table.

    What an operation has found of a key, and built on (`pop`, `setdefault`), is found again at the commit, or nothing
    of the batch is stored.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self.changes: dict[bytes, bytes | None] = {}
        self.moved: set[bytes] = set()  #: deleted, then set again: they stand at the end
        self.cleared = False  #: first of all
        self.expected: dict[bytes, bytes | Expect] = {}
        self.more: list[Op] = []  #: beside the keys, and behind them
        self.held: dict[bytes, Claim] = {}  #: the locks of keys that were edited
        self.edited: dict[bytes, bool] = {}  #: those that are being edited, and whether they were set or deleted since

    def copy(self) -> Batch:
        """As it is now, to go back to."""
        other = Batch(self._table)
        other.restore(self)
        return other

    def restore(self, other: Batch) -> None:
        """Be as it was; locks that were taken since are kept to the end."""
        self.changes, self.moved = dict(other.changes), set(other.moved)
        self.cleared, self.expected, self.more = other.cleared, dict(other.expected), list(other.more)
        self.edited = dict(other.edited)

    def set(self, key: bytes, value: bytes) -> None:
        if self.changes.get(key, b"") is None:
            del self.changes[key]
            self.moved.add(key)
        self.changes[key] = value
        self._has_changed(key)

    def delete(self, key: bytes) -> None:
        self.changes.pop(key, None)
        self.moved.discard(key)
        self.changes[key] = None
        self._has_changed(key)

    def clear(self) -> None:
        self.changes.clear()
        self.moved.clear()
        self.cleared = True
        self._has_changed(*self.edited)

    def _has_changed(self, *keys: bytes) -> None:
        for key in keys:
            if key in self.edited:
                self.edited[key] = True

    def expect(self, key: bytes, found: bytes | None) -> None:
        """The key was found so in the store; the first one who looked counts."""
        self.expected.setdefault(key, Expect.ABSENT if found is None else found)

    def ops(self) -> Iterator[Op]:
        """What carries it out, but for `more`."""
        if not (self.changes or self.cleared or self.more):
            return  # nothing is stored, so nothing need be made sure of
        table, expected = self._table, dict(self.expected)
        for key in [key for key in expected if self.cleared or key not in self.changes]:
            found = expected.pop(key)  # to be checked, and left as it is
            yield Set(table, key, found, found) if isinstance(found, bytes) else Delete(table, key, found)
        if self.cleared:
            yield Clear(table)
        for key, value in self.changes.items():
            expect = expected.get(key, Expect.ANY)
            if value is None or key in self.moved:
                yield Delete(table, key, expect)
                expect = Expect.ANY
            if value is not None:
                yield Set(table, key, value, expect)
