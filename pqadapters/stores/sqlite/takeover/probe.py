"""What a file is, before anything is made of it (only SQLite opens it: see database.py), and putting one elsewhere."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from typing import NamedTuple

from ....errors import DiskError, FormatError, StoreError, StoreLocked
from ....paths import absolute
from ..._directory import refused
from ..._disk import Disk, is_there
from .. import schema
from ..beside import SIDE, check_sides, make_way, remove_files, state_of
from ..database import FROZEN, address, check_version, patiently, read_only
from ..errors import ERRORS, is_busy, translated

_NOT_SQLITE = "file is not a database"
_NOT_WRITABLE = "unable to open database file"  #: SQLite makes a file beside one in WAL mode even to read it


class Probe(NamedTuple):
    """`sqlite`: it is a database of SQLite; `ours`: one that this store has made; `tables`: the names of its tables."""

    sqlite: bool
    ours: bool = False
    tables: tuple[str, ...] = ()


def probe(path: str) -> Probe:
    """Look at a file that is there; nothing is changed. Raises DiskError where it can't be read, StoreRefused,
    StoreLocked."""
    check_sides(path)
    if (before := _alone(path)) is not None:
        try:
            return _look(path, FROZEN)
        except (StoreError, *ERRORS) as error:
            if isinstance(error, FormatError) and _alone(path) == before:  # with locks SQLite makes files beside it
                raise
    try:
        return patiently(lambda: _look(path, "mode=ro"), path)
    except DiskError as error:
        if not str(error.__cause__).startswith(_NOT_WRITABLE):
            raise
        return patiently(lambda: _look(path, FROZEN), path)


def refuse_others(path: str) -> None:
    """Before anything is made beside a file that never was a store's, as far as that can be known without waiting for
    whoever has it: what opens the file knows the rest. Raises StoreRefused, FormatError."""
    with suppress(OSError, StoreLocked):  # a DiskError is one of the former
        if is_there(path + SIDE) or not os.path.getsize(path):
            return
        how = "mode=ro" if _alone(path) is None else "mode=rw"  # of one in WAL mode the latter removes what it makes
        patiently(lambda: _check(path, how), path, 0.0)


def _check(path: str, how: str) -> None:
    with closing(read_only(absolute(path), how)) as connection:
        check_version(connection, path)


def move(path: str, to: str) -> None:
    """Put a database that nobody has open in the place of whatever stands there; on the disk when this returns."""
    disk = Disk()
    try:
        make_way(to, disk)
        disk.rename(path, to)
        disk.sync_directory(os.path.dirname(absolute(to)))
        shutil.rmtree(f"{path}{SIDE}", ignore_errors=True)
    except OSError as error:
        raise refused(os.path.dirname(to), error, "put a database into") from error


def remove(path: str) -> None:
    """A database that nobody has open goes, with what stands beside it."""
    try:
        remove_files(path, Disk())
        shutil.rmtree(f"{path}{SIDE}", ignore_errors=True)
    except OSError as error:
        raise refused(os.path.dirname(path), error, "remove a database in") from error


def _alone(path: str) -> tuple[int, ...] | None:
    """The state of a file that nobody has open; None where somebody may have it, or it isn't there."""
    if any(os.path.exists(path + side) for side in ("-wal", "-journal")):
        return None
    return state_of(path) or None


def _look(path: str, how: str) -> Probe:
    connection = sqlite3.connect(address(absolute(path), how), uri=True, timeout=0.0)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application == schema.APPLICATION:
            return Probe(True, ours=True)
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return Probe(True, tables=tuple(str(name) for (name,) in rows))
    except ERRORS as error:
        if str(error).startswith(_NOT_SQLITE):
            return Probe(False)
        if is_busy(error):
            raise
        raise translated(error, path) from error
    finally:
        connection.close()
