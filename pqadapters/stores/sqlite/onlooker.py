"""Looking at a database without taking part: read-only, also on a read-only disk, also while others write.

Others' connections have "-shm" and "-wal" beside the file. Where they are, SQLite reads by them, with a lock that keeps
nobody from writing, and writes nothing to them if it can do without. Where they aren't, nobody has it open: the file
is whole by itself, and is read as one that doesn't change, else SQLite would make both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from ...clock import SYSTEM
from ...errors import DiskError, FormatError, StoreError, StoreRefused
from ...sight import Sight
from ...store import Damage, Depth, Order, Record, State
from .._holders import holder_of, holders_of
from .._pages import PAGE
from . import schema
from .beside import SIDE, check_sides, is_other
from .damage.wal import has_magic
from .database import FROZEN, check_version, read_only
from .errors import foreign
from .looks import Looks
from .names import Names
from .reader import Reader
from .tables import Tables

T = TypeVar("T")
_TRIES = 100
_QUEUES = "SELECT name FROM queue WHERE number > 0 ORDER BY number"
_TABLES = "SELECT name FROM kind ORDER BY number"
_DAMAGED = "SELECT reason, coalesce(length(payload), 0) FROM damaged"
_WAYS = ("mode=ro&readonly_shm=1", "mode=ro")


class SqliteSight:
    """A connection that reads."""

    kind = "database"
    version = schema.VERSION
    hosts: Sequence[str] = ()

    def __init__(self, path: str, how: str) -> None:
        self.place = os.path.realpath(path)
        self._reader = Reader(self.place, lambda path: read_only(path, how))
        try:
            self._reader.at_one_moment(lambda connection: check_version(connection, self.place))
        except BaseException:
            self._reader.end()
            raise
        names = Names(self._reader)
        self._looks = Looks(self._reader, names, SYSTEM.wall, PAGE)
        self._tables = Tables(self._reader, names, lambda *_: None)

    @property
    def pids(self) -> Sequence[int]:
        """Those that have claimed something have a lock of ours; those that have it open, one of SQLite's, as this
        process has now."""
        side = f"{self.place}{SIDE}"
        names = sorted(os.listdir(side)) if os.path.isdir(side) else []
        claimed = [holder_of(os.path.join(side, name)) for name in names if name.startswith("process-")]
        opened = holders_of(f"{self.place}-shm") - {os.getpid()}
        return sorted({pid for pid in claimed if pid is not None} | opened)

    @property
    def damage(self) -> Sequence[Damage]:
        rows = self._reader.rows(_DAMAGED)
        return [Damage(self.place, 0, int(length), str(reason), "its table damaged") for reason, length in rows]

    def queues(self) -> list[str]:
        return self._listed(_QUEUES)

    def tables(self) -> list[str]:
        return self._listed(_TABLES)

    def _listed(self, question: str) -> list[str]:
        try:
            return [schema.name_text(name) for (name,) in self._reader.rows(question)]
        except (AttributeError, UnicodeDecodeError):
            raise self._reader.damaged() from None

    def depth(self, queue: str) -> Depth:
        return self._looks.depth(queue)

    def browse(self, queue: str, *, state: State | None) -> Iterator[Record]:
        return self._looks.browse(queue, Order.OLDEST, state, 0)

    def count(self, table: str) -> int:
        return self._tables.count(table)

    def close(self) -> None:
        self._reader.end()


def see(path: str, look: Callable[[Sight], T]) -> T:
    """What `look` makes of the store, which must take from it all that it needs. Raises StoreError."""
    path = os.path.realpath(path)
    if is_other(path):
        raise foreign(path, "is no regular file")
    check_sides(path)
    if os.path.exists(path) and not os.path.getsize(path):
        raise StoreRefused(f"{path} is an empty file, in which there is no store")
    for _ in range(_TRIES):
        before = _state(path)
        alone = _is_alone(path)
        try:
            found = _see(path, FROZEN, look) if alone else _see_beside_others(path, look)
        except StoreError:
            if alone and (not _is_alone(path) or _state(path) != before):  # somebody has opened it meanwhile
                continue
            raise
        if not alone or (_is_alone(path) and _state(path) == before):
            return found
    raise StoreError(f"{path} is opened and closed faster than it can be read: look at it again")


def _see_beside_others(path: str, look: Callable[[Sight], T]) -> T:
    ways = _WAYS if has_magic(f"{path}-wal") else _WAYS[::-1]  # else SQLite tries the first for ten seconds
    for how in ways:
        try:
            return _see(path, how, look)
        except (FormatError, StoreRefused):
            raise
        except (DiskError, StoreError) as error:
            refusal = error
    if not os.path.exists(f"{path}-shm"):
        raise StoreRefused(
            f"{path} can't be read here: its WAL isn't empty, so it isn't whole by itself, and to read that a file is "
            "needed beside it. Copy both to where this process may write"
        ) from refusal
    raise refusal


def _see(path: str, how: str, look: Callable[[Sight], T]) -> T:
    with closing(SqliteSight(path, how)) as sight:
        return look(sight)


def _is_alone(path: str) -> bool:
    """Whether nobody has it open, and nothing is in its WAL."""
    wal = f"{path}-wal"
    return not os.path.exists(f"{path}-shm") and not (os.path.exists(wal) and os.path.getsize(wal))


def _state(path: str) -> tuple[Any, ...]:
    try:
        info = os.stat(path)
    except OSError as error:
        raise DiskError(error.errno, f"can't be opened: {os.strerror(error.errno or 0)}", path) from error
    return info.st_ino, info.st_size, info.st_mtime_ns
