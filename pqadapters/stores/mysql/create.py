"""The tables: made, checked, brought up to date; and whether the server's settings give what is promised.

Any number of processes may come at once: the first one to get a named lock of the server's makes what is missing, with
the version last, and the others find it.
"""

from __future__ import annotations

from typing import Any

from ...errors import StoreRefused, StoreUnreachable
from ...store import LOCK_TIMEOUT
from . import schema
from .errors import is_missing, newer
from .wire import Failed, Wire

_PATIENCE = 60.0  #: seconds that another process may take for it
_SHORT_PATIENCE = 4  #: seconds that tables which are there may be locked: less than an answer may take


def prepare(wire: Wire, lock: str, place: str) -> None:
    """See that the tables are there, in our version. Raises FormatError for newer ones, StoreRefused for those of
    another engine, StoreError, Failed."""
    wire.ask(wire.sql.WAIT_FOR_TABLES, _SHORT_PATIENCE)
    if _version(wire) != schema.VERSION:
        _with_lock(wire, lock, place)
        wire.give(LOCK_TIMEOUT)
    found = _version(wire)
    if found != schema.VERSION:
        raise newer(place, found or 0, schema.VERSION)
    _check_engines(wire, place)


def _check_engines(wire: Wire, place: str) -> None:
    """A copy of the database may have been made where there was no InnoDB: nothing is undone there, nor locked."""
    strange = [f"{_text(table)} ({_text(engine)})" for table, engine in wire.ask(wire.sql.STRANGE).rows]
    if strange:
        raise StoreRefused(
            f"{place}: tables of the store are of an engine without its transactions: {', '.join(strange)}. While "
            "nobody uses them: ALTER TABLE ... ENGINE=InnoDB"
        )


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _version(wire: Wire) -> int | None:
    try:
        rows = wire.ask(wire.sql.VERSION).rows
    except Failed as error:
        if is_missing(error):
            return None
        raise
    wire.ask(wire.sql.COMMIT)
    return int(rows[0][0]) if rows else None


def _with_lock(wire: Wire, lock: str, place: str) -> None:
    wire.give(_PATIENCE + 10)
    wire.ask(wire.sql.WAIT_FOR_TABLES, int(_PATIENCE))
    if wire.ask(wire.sql.GET_LOCK, lock.encode(), _PATIENCE).rows[0][0] != 1:
        raise StoreUnreachable(f"{place}: another process has been making its tables for {_PATIENCE:.0f} seconds")
    try:
        found = _version(wire)
        if found is None:
            for statement in wire.sql.created():
                wire.ask(statement)
            found = schema.VERSION
        elif not 0 < found < schema.VERSION:
            return
        for version in range(found, schema.VERSION):
            for statement in schema.UPGRADES[version]:
                wire.ask(statement.replace("{p}", wire.sql.prefix))
        wire.ask(wire.sql.SET_VERSION, schema.VERSION)
        wire.ask(wire.sql.COMMIT)
    finally:
        wire.ask(wire.sql.RELEASE_LOCK, lock.encode())


def check_power(settings: Any, place: str) -> None:
    """Raises StoreRefused where a commit that the server has answered may be gone in a power cut."""
    flush, binary_log, sync = settings
    wanted = []
    if int(flush) not in (1, 3):
        wanted.append(f"innodb_flush_log_at_trx_commit=1 (it is {flush})")
    if int(binary_log) and not int(sync):
        wanted.append("sync_binlog=1 (it is 0, and the server recovers by its binary log)")
    if wanted:
        raise StoreRefused(
            f'{place}: durability "power" needs a server that syncs each commit: set {" and ".join(wanted)} in its '
            'configuration, or open the store with durability="process"'
        )
