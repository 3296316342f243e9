"""The rows of persist-queue's tables in their order, by SQLite, or from raw pages where that finds them damaged."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from itertools import chain, dropwhile
from typing import TYPE_CHECKING, Any, NamedTuple

from ...store import Damage
from .tables import DICT, PRIORITY, Table

if TYPE_CHECKING:
    from ...stores.sqlite.damage.pages import Row
    from ...stores.sqlite.damage.trees import Raw

WAITING, SET = "waiting", "set"
STATES = {0: "inited", 1: "ready", 2: "unack", 5: "acked", 9: "ack_failed"}
_FAILED = 9


class Item(NamedTuple):
    """A row: its id, or a mapping's key; when it was put, in seconds since the epoch; status or priority."""

    key: Any
    payload: bytes
    when: float = 0.0
    mark: Any = None


class Source:
    """The tables of one database. `damage` grows while they are read."""

    def __init__(self, connection: sqlite3.Connection, path: str, raw: Callable[[], Raw]) -> None:
        self.path, self.damage = path, list[Damage]()
        self.connection, self._open_raw = connection, raw
        self._tables: list[Table] = []
        self._pages_lost: bool | None = None

    def knows(self, tables: list[Table]) -> None:
        """All tables that there are: what of a damaged one has gone astray is told apart by them."""
        self._tables = tables

    def count(self, table: Table) -> dict[str, int] | None:
        """How many rows there are in each state; None where that can't be counted."""
        try:
            if table.acknowledges:
                counts: dict[str, int] = {}
                for status, count in self.connection.execute(
                    f"SELECT status, COUNT(*) FROM {table.quoted} GROUP BY status"
                ):
                    state = STATES[status_of(status)]
                    counts[state] = counts.get(state, 0) + count
                return counts
            (count,) = self.connection.execute(f"SELECT COUNT(*) FROM {table.quoted}").fetchone()
        except sqlite3.DatabaseError:
            return None
        return {SET if table.kind == DICT else WAITING: count} if count else {}

    def items(self, table: Table) -> Generator[Item, None, None]:
        """Everything readable. To be closed: a row that is being read keeps the database locked."""
        whole = self._is_whole(table) and not (self._has_lost_pages() and self._alone(table))
        with closing(self._whole(table) if whole else self._raw(table, None)) as items:
            yield from self._once(table, items) if table.kind == DICT else items

    def _has_lost_pages(self) -> bool:
        """Whether no table leads to some pages, and none is known to be torn: where an older state of a table's first
        page is back, the table is whole by itself, and most of its rows are on such pages. Which one's they were only
        their columns tell."""
        if self._pages_lost is None:
            lost = bool(self._tables) and any(b"never used" in found for found in self._found_wrong())
            self._pages_lost = lost and all(map(self._is_whole, self._tables))
            if self._pages_lost:
                reason = "it has pages that belong to no table: rows may be missing"
                self.damage.append(Damage(self.path, 0, 0, reason))
        return self._pages_lost

    def _found_wrong(self) -> list[bytes]:
        """What SQLite has to say of the database as a whole."""
        try:
            return [found for (found,) in self.connection.execute("PRAGMA quick_check")]
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return []

    def _is_whole(self, table: Table) -> bool:
        """Where a bit of a pointer isn't as it was, SQLite reads a page twice and another one never. It says nothing of
        that unless it is asked."""
        try:
            (found,) = self.connection.execute(f"PRAGMA quick_check({table.quoted})").fetchone()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            return False
        return bool(found == b"ok")

    def _once(self, table: Table, items: Iterable[Item]) -> Iterator[Item]:
        """Each key of a mapping; its index is what kept it from having one twice."""
        seen = set[Any]()
        for item in items:
            if item.key in seen:
                reason = f"table {table.table}: two rows have the key {item.key!r:.200}, of which one was taken over"
                self.damage.append(Damage(self.path, 0, 0, reason))
                continue
            seen.add(item.key)
            yield item

    def _whole(self, table: Table) -> Generator[Item, None, None]:
        last: int | None = None
        try:
            with closing(self.connection.execute(_select(table))) as rows:
                for row in rows:
                    item = self._item(table, *row)
                    last = row[0]
                    if item is not None:
                        yield item
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            yield from self._raw(table, last)

    def _item(self, table: Table, row: int, key: Any, data: Any, when: Any = None, mark: Any = None) -> Item | None:
        payload = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        if table.kind == DICT and (key := _key(key, mark)) is None:
            self._lost(table, row, "its key is no text")
            return None
        if not isinstance(payload, bytes):
            self._lost(table, row, f"its data is {type(data).__name__}, no bytes")
            return None
        if table.acknowledges and (not isinstance(mark, int) or mark not in STATES):
            self._lost(table, row, f"its status is {mark!r}: it was taken over as ack_failed")
        return Item(key, payload, float(when) if isinstance(when, (int, float)) else 0.0, mark)

    def _lost(self, table: Table, row: int, reason: str) -> None:
        self.damage.append(Damage(self.path, 0, 0, f"row {row} of table {table.table}: {reason}"))

    def _raw(self, table: Table, last: int | None) -> Generator[Item, None, None]:
        """The rows behind `last`, of which SQLite reads no more."""
        raw, known = self._open_raw(), len(self.damage)
        tree = raw.tree(table.root)
        seen = tree.walked()
        astray: list[list[Row]] = []
        if (tree.torn or self._pages_lost) and self._alone(table):
            for root in [1, *(other.root for other in self._tables if other.root != table.root)]:
                seen |= raw.tree(root).walked()
            astray = [rows for rows in raw.astray(seen) if len(rows[0].columns) == len(table.columns)]
        leaves = sorted(astray, key=lambda rows: rows[0].key)
        found = self._reported(table, raw.tree(table.root).rows())
        rows = heapq.merge(found, chain.from_iterable(leaves), key=lambda row: row.key)
        for row in _each_once(dropwhile(lambda row: last is not None and row.key <= last, rows)):
            yield from self._from_pages(table, row.key, row.columns)
        if len(self.damage) == known:
            reason = f"table {table.table} is damaged: rows of it may be missing"
            self.damage.append(Damage(self.path, 0, 0, reason))

    def _reported(self, table: Table, found: Iterable[Row | Damage]) -> Iterator[Row]:
        for row in found:
            if isinstance(row, Damage):
                self.damage.append(row._replace(reason=f"table {table.table}: {row.reason}"))
            else:
                yield row

    def _alone(self, table: Table) -> bool:
        """Whether no other table has rows that look like this one's."""
        return not any(len(other.columns) == len(table.columns) for other in self._tables if other.root != table.root)

    def _from_pages(self, table: Table, row: int, columns: tuple[Any, ...]) -> Iterator[Item]:
        if len(columns) != len(table.columns):
            self._lost(table, row, "it has other columns")
            return
        item = self._item(table, row, columns[0] if table.kind == DICT else row, *columns[1:])
        if item is not None:
            yield item


def _each_once(rows: Iterable[Row]) -> Iterator[Row]:
    """Though two pages have a row: where an older state of a page is there as well, or one in another one's place."""
    seen = set[Any]()
    for row in rows:
        item = row.key, hash(row.columns[1:3])
        if item not in seen:
            seen.add(item)
            yield row


def _key(key: Any, kind: Any) -> Any:
    """A mapping's; None where it is none."""
    if kind != b"text":
        return key
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def status_of(mark: Any) -> int:
    """The status of a row; what none of persist-queue's says is no item to be handed out."""
    return mark if isinstance(mark, int) and mark in STATES else _FAILED


def _select(table: Table) -> str:
    """Row, key, data, time of the put, and what `Item.mark` is; of a mapping the key's type."""
    if table.kind == DICT:
        return f"SELECT rowid, CAST(key AS BLOB), data, 0.0, typeof(key) FROM {table.quoted} ORDER BY rowid"
    more = ", status" if table.acknowledges else ", priority" if table.kind == PRIORITY else ", NULL"
    order = "timestamp, _id" if table.kind == PRIORITY else "_id"
    return f"SELECT _id, _id, data, timestamp{more} FROM {table.quoted} ORDER BY {order}"
