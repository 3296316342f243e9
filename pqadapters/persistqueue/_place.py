"""Where the classes of persist-queue live: a directory that is a file queue, or one with a database in it.

What persist-queue itself has written is refused with a word on what it is; nothing of it is changed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..durability import Durability
from ..errors import StoreError, StoreRefused
from ..opening import open_database, probe_file
from ..stdlib._where import check_name, open_where
from ..store import Store

MEMORY = ":memory:"
DATABASE = "data.db"
_CHUNK = re.compile(r"q\d{5,}")
_TABLE = re.compile(r"(async_)?((ack_)?(filo_|unique_)?queue|priority_queue|dict)(_.*)?")
ADVICE = (
    "It was left as it is: finish it with persist-queue, or move it away and let this program begin in a place of its "
    "own"
)


def open_home(path: Any, name: str, db_file_name: str | None, default: Durability | None = None) -> Store:
    """The store in the directory's database, or one in memory. Raises StoreError, and ValueError for a bad name."""
    check_name(name)
    if path == MEMORY:
        return open_where(None, "memory:", {}, what="", open_path=open_database)[0]
    file = database_in(path, db_file_name)
    with explained(file):
        return open_where(
            file, None, {}, what="the directory of the queue's database", open_path=open_database, default=default
        )[0]


def database_in(path: Any, db_file_name: str | None = None) -> str:
    """The database's file; the directory is made if it is missing. A path that is a file is the database: the async
    classes of persist-queue take such a one."""
    directory = os.fsdecode(path)
    if os.path.isfile(directory):
        return directory
    os.makedirs(directory, exist_ok=True)
    return os.path.join(directory, db_file_name or DATABASE)


@contextmanager
def explained(place: str) -> Iterator[None]:
    """StoreRefused says more where persist-queue has been."""
    try:
        yield
    except StoreRefused as error:
        theirs = _theirs(place)
        if theirs is None:
            raise
        told = f"{place} was written by persist-queue ({theirs}), and isn't read here. {ADVICE}"
        raise StoreRefused(told) from error


def _theirs(place: str) -> str | None:
    """What persist-queue has there, in words."""
    with suppress(StoreError, OSError):
        if os.path.isdir(place):
            names = os.listdir(place)
            found = sorted(name for name in names if _CHUNK.fullmatch(name))
            return f"a file queue: {found[0]}" if found else None
        tables = [table for table in probe_file(place).tables if _TABLE.fullmatch(table)]
        return f"a database with the table {tables[0]}" if tables else None
    return None


def check_tempdir(path: Any, tempdir: Any) -> None:
    """As persist-queue does, though nothing is written there. Raises ValueError, and OSError where there is none."""
    if tempdir and os.stat(path).st_dev != os.stat(tempdir).st_dev:
        raise ValueError(f"tempdir {tempdir!r} has to be on the filesystem of the queue, {path!r}")
