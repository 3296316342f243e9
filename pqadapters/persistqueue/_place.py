"""Where the classes of persist-queue live: a directory that is a file queue, or one with a database in it.

What persist-queue itself has written is converted when it is opened (`conversion`).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from ..durability import Durability
from ..errors import StoreError, StoreRefused
from ..opening import is_directory_store, is_unfinished, open_database, open_snapshot
from ..paths import absolute
from ..serializers import Serializer
from ..stdlib._where import check_name, open_where
from ..store import Store

if TYPE_CHECKING:
    from .conversion import Report

T = TypeVar("T")
MEMORY = ":memory:"
DATABASE = "data.db"
_CHUNK = re.compile(r"q\d{5,}")
_THEIRS = (
    "SELECT 1 FROM sqlite_master WHERE type = 'table' AND (name GLOB '*queue_*' OR name GLOB '*dict_*' "
    "OR name GLOB '*filo_queue*' OR name GLOB '*unique_queue*') AND name NOT GLOB 'kept_*'"
)


def open_home(
    path: Any, name: str, db_file_name: str | None, default: Durability | None = None, prefetch: int | None = None
) -> Store:
    """The store in the directory's database, or one in memory. Raises StoreError, and ValueError for a bad name."""
    name = f"{name}"  # persist-queue makes a table's name of it, whatever it is
    check_name(name)
    if path == MEMORY:
        return open_where(None, "memory:", {}, what="", open_path=open_database)[0]
    file = database_in(path, db_file_name)

    def opening() -> Store:
        what = "the directory of the queue's database"
        options = {} if prefetch is None else {"prefetch": prefetch}
        return open_where(file, None, options, what=what, open_path=open_database, default=default)[0]

    return converted(file, opening, name)


def database_in(path: Any, db_file_name: str | None = None) -> str:
    """The database's file; who opens it makes its directory. A path that is a file is the database: the async classes
    of persist-queue take such a one. Raises StoreRefused where a new one would stand in a file queue."""
    directory = os.fsdecode(path)
    if os.path.isfile(directory):
        return directory
    if not directory:
        raise FileNotFoundError(errno.ENOENT, "path is the directory of the queue's database, and '' names none")
    file = f"{directory}/{db_file_name or DATABASE}"  # in it, however the name begins, as persist-queue's is
    if os.path.isdir(directory) and not os.path.exists(file) and _is_file_queue(directory):
        raise StoreRefused(
            f"{directory} is a file queue, which couldn't be opened any more with a database in it: give the database "
            "a directory of its own"
        )
    return file


def _is_file_queue(directory: str) -> bool:
    """Of ours or of persist-queue's."""
    return is_directory_store(directory) or any(map(_CHUNK.fullmatch, os.listdir(directory)))


def converted(file: str, opening: Callable[[], T], name: str) -> T:
    """What `opening` gives, of a database that is converted first where persist-queue wrote it. A queue of an async
    class, which has no name there, gets this one."""
    with suppress(StoreRefused):
        opened = opening()
        _look_beside(file)
        return opened
    from . import conversion  # here: it is needed once in the life of a place

    if not conversion.is_theirs(file):
        _check_own(file)
        return opening()  # refused for good, or another process has converted it at this moment
    report = conversion.convert_database(file, bare=name)
    opened = opening()
    if report is not None:
        report.note(opened)
    return opened


def _look_beside(file: str) -> None:
    """Say so where persist-queue was used on a database that had become ours: an old program that was started again."""
    with suppress(StoreError), closing(open_snapshot(file)) as snapshot:
        if snapshot.connection.execute(_THEIRS).fetchone() is None:
            return
        from .conversion import strays

        strays.tell(file)


def converted_directory(path: Any, serializer: Serializer, opening: Callable[[], object]) -> Report | None:
    """Do `opening`, of a directory that is converted first where persist-queue wrote it; what is to be said of that."""
    directory = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
    with suppress(StoreRefused):
        if not is_unfinished(directory):
            opening()
            return None
    from . import conversion

    if not conversion.is_file_queue(directory):
        _check_own(directory)
        opening()  # refused for good, or another process has converted it at this moment
        return None
    report = conversion.convert_directory(directory, serializer)
    opening()
    return report


def _check_own(path: str) -> None:
    """Raises StoreRefused for somebody else's, where the stores' own words advise an option that these classes lack."""
    if not hasattr(os, "geteuid") or not os.path.exists(path):
        return
    if (owner := os.stat(path).st_uid) != os.geteuid():
        raise StoreRefused(
            f"{path} belongs to user {owner}, and this process runs as user {os.geteuid()}: whoever owns it can "
            "read and change what is stored. Run as that user, or give a directory of your own"
        )


def check_tempdir(path: Any, tempdir: Any) -> None:
    """As persist-queue does, though nothing is written there. Raises ValueError, and OSError where there is none."""
    if not tempdir:
        return
    there = absolute(os.fsdecode(path))
    if not os.path.exists(tempdir) and f"{there}/".startswith(f"{absolute(os.fsdecode(tempdir))}/"):
        return  # it is made with the queue's directory
    while not os.path.exists(there):  # the queue's directory is made when this has been found right
        there = os.path.dirname(there)
    if os.stat(there).st_dev != os.stat(tempdir).st_dev:
        raise ValueError(f"tempdir has to be located on same path filesystem: {tempdir!r} isn't on that of {path!r}")
