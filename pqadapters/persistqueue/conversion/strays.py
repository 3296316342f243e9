"""What persist-queue has put into a database that is ours already: found, and taken over when `migrate` is called.

persist-queue makes its own tables beside ours, as an old program does that was started once more, and nobody here reads
them. A table TABLE is called `converting_TABLE#NUMBER` first, in one step: from then on persist-queue gets none of it.
Then its rows are copied into the store, some hundred in a commit, each of which says how far it has come, and it is
called `kept_TABLE#NUMBER`. Whoever is killed on the way leaves the rest to the next call; no item is there twice.
Programs of ours may use the database meanwhile.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ... import telling
from ...errors import FormatError, StoreError, StoreRefused
from ...opening import open_database, open_snapshot, take_over_database, words_of
from ...store import Store
from .databases import PATIENCE, quiet
from .moving import Mover, goes_on, in_store
from .report import Part, Progress, Report
from .rows import Source
from .tables import DICT, Table, named
from .turns import turn

if TYPE_CHECKING:
    from ...stores.sqlite.damage.trees import Raw

_log = telling.logger("pqadapters.conversion")
_CONVERTING, _KEPT = "converting_", "kept_"
_NAMES = "SELECT CAST(name AS BLOB) FROM sqlite_master WHERE type = 'table' ORDER BY name"


def tell(path: str) -> None:
    """Say in the log what there is that nobody gets."""
    with suppress(StoreError):
        parts = look_at_strays(path).parts
        if parts:
            _log.error(
                "%s: persist-queue was used on it after it had become ours, and nobody here gets what it has put (%s). "
                "End the programs that use persist-queue, and call: pqadapters migrate %s",
                path,
                ", ".join(f"{part.was}: {part.total}" for part in parts),
                path,
            )


def look_at_strays(path: str) -> Report:
    """What there is; nothing is changed. Raises StoreError."""
    with _reading(path) as source:
        counted = [(table, source.count(table)) for table in _tables(source.connection)]
        parts = [
            Part(table.target, _first_name(table.table), counts) for table, counts in counted if counts
        ]
        return Report(path, parts)


def convert_strays(path: str, *, progress: Progress = quiet) -> Report:
    """Take it over. Raises StoreRefused for a mapping whose name there is already, StoreLocked, DiskError."""
    report = Report(path)
    with turn(), closing(take_over_database(path, seconds=PATIENCE)), open_database(path) as store:
        _set_aside(path, store)
        kept = {table: _KEPT + table.removeprefix(_CONVERTING) for table in _move(path, store, report, progress, True)}
        _rename(path, kept)
        report.kept = f"tables in it: {', '.join(kept.values())}" if kept else ""
        store.checkpoint()
    return report


def move_strays(path: str, store: Store, *, progress: Progress = quiet) -> Report:
    """Put it into another store; the tables stay as they are. What was broken off goes on. Raises StoreError."""
    report = Report(path)
    with goes_on(path):
        _move(path, store, report, progress, False)
    return report


def _move(path: str, store: Store, report: Report, progress: Progress, begun: bool) -> list[str]:
    """The tables that were moved."""
    moved = []
    with _reading(path) as source:
        for table in _tables(source.connection, begun=begun):
            expected, lost = source.count(table), len(source.damage)
            with closing(source.items(table)) as items:
                counts = Mover(store, f"{path}#{table.table}", progress).move(table, items)
            if expected is not None and counts != expected and len(source.damage) == lost:
                raise StoreError(f"{path}: table {table.table} has {expected}, and {counts} arrived in {store.place}")
            moved.append(table.table)
            report.parts.append(Part(table.target, _first_name(table.table), counts))
        report.damage += source.damage
    return moved


def _tables(connection: sqlite3.Connection, *, begun: bool = False) -> list[Table]:
    """Those that have rows; `begun`: only those that have been set aside."""
    found = []
    for (data,) in connection.execute(_NAMES).fetchall():
        name = data.decode("utf-8", "surrogateescape")
        table = named(_first_name(name))
        if table is None or (begun and not name.startswith(_CONVERTING)):
            continue
        table = table._replace(table=name)
        columns = tuple(row[1].decode() for row in connection.execute(f"PRAGMA table_info({table.quoted})"))
        if columns == table.columns and connection.execute(f"SELECT 1 FROM {table.quoted} LIMIT 1").fetchone():
            found.append(table)
    return found


def _first_name(table: str) -> str:
    """What persist-queue called it."""
    return table.removeprefix(_CONVERTING).rpartition("#")[0] if table.startswith(_CONVERTING) else table


def _set_aside(path: str, store: Store) -> None:
    with _reading(path) as source:
        tables = [table for table in _tables(source.connection) if not table.table.startswith(_CONVERTING)]
    for table in tables:
        if table.kind == DICT and in_store(store, table):
            raise StoreRefused(
                f"{path} has a mapping {table.name!r} of ours and one of persist-queue's, in the table {table.table}: "
                "keys would be lost. Put the latter elsewhere: pqadapters migrate PATH --to URL"
            )
    number = time.time_ns()
    _rename(path, {table.table: f"{_CONVERTING}{table.table}#{number}" for table in tables})


def _rename(path: str, names: dict[str, str]) -> None:
    """All of them, in one step. Raises StoreLocked, DiskError."""
    where = f"{Path(path).absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(where, uri=True, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            for old, new in names.items():
                connection.execute(f"ALTER TABLE {_quoted(old)} RENAME TO {_quoted(new)}")
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise words_of(error, path) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _reading(path: str) -> Iterator[Source]:
    """Its tables at one moment, by a connection that changes nothing."""

    def raw() -> Raw:
        """To close its file would end the locks that this process has on it."""
        raise FormatError(f"{path} is damaged, in tables of persist-queue's; nothing more is taken over of it")

    with closing(open_snapshot(path)) as snapshot:
        try:
            yield Source(snapshot.connection, path, raw)
        except sqlite3.Error as error:
            raise words_of(error, path) from error
        except UnicodeEncodeError as error:  # no statement can have it
            raise FormatError(f"{path} is damaged: a table of persist-queue's has a name that is no text") from error
