"""The items of an acknowledging queue as bytes: records, tickets, and rows of a table. See _states.py."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from ..store import Claim, Record, Store

FRESH, TICKET = b"\1", b"\0"  #: ranks; a ticket's goes on with its place
KEY, WHEN = Struct(">q"), Struct(">d")
_BEHIND_ALL = 1 << 42  #: ids are counted up


class Row(NamedTuple):
    """An item: its id, when it was put (seconds since the epoch), its bytes; `done`: the state in which it was that."""

    id: int
    when: float
    payload: bytes
    done: str | None = None


def within(id: int) -> int:
    """An id as a caller gives it: one that no item can have is one in front of all, or behind all."""
    return min(max(id, 0), _BEHIND_ALL)


def id_of(record: Claim | Record) -> int:
    """The item's id."""
    return record.id if record.rank == FRESH else int(KEY.unpack(record.payload)[0])


def payload_of(data: bytes) -> bytes:
    """Of a row."""
    return data[WHEN.size :]


def row_of(id: int, data: bytes | None) -> Row | None:
    return None if data is None else Row(id, WHEN.unpack(data[: WHEN.size])[0], payload_of(data))


def ids_in(store: Store, table: str) -> list[int]:
    """The items that are keys of a table."""
    return [KEY.unpack(key)[0] for key in store.keys(table)]
