"""Another program's files in the place where a store is to be."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import StoreError

if TYPE_CHECKING:
    from sqlite3 import Error

    from ..stores.segment.predecessor import Predecessor as OldFiles
    from ..stores.sqlite.damage.trees import Raw
    from ..stores.sqlite.takeover.conversion import Conversion
    from ..stores.sqlite.takeover.predecessor import Predecessor, Snapshot


def begin_conversion(path: str) -> Conversion:
    """For who is to put a database in the place of what has that name: nobody else does, until it is closed. Waits for
    who is about that. Raises StoreLocked where that takes too long, StoreRefused, DiskError."""
    from ..stores._disk import Disk
    from ..stores.sqlite.takeover.conversion import Conversion

    return Conversion(path, Disk())


def take_over_database(path: str, *, seconds: float) -> Predecessor:
    """Another program's database, in whose place one of ours is to be put: see `stores.sqlite.takeover`. Raises
    StoreLocked, DiskError."""
    from ..stores.sqlite.takeover.predecessor import Predecessor

    return Predecessor(path, seconds=seconds)


def take_over_directory(directory: str, is_theirs: Callable[[str], bool]) -> OldFiles:
    """A directory of another program's files (those of which `is_theirs` says so by their names), in which a store is
    to be put in their place: see `stores.segment.predecessor`. Raises StoreLocked, DiskError."""
    from ..stores.segment.predecessor import Predecessor

    return Predecessor(directory, is_theirs)


def is_unfinished(directory: str) -> bool:
    """Whether a store that was to take the place of another program's files was all but there."""
    from ..stores.segment.predecessor import is_unfinished

    return is_unfinished(directory)


def open_snapshot(path: str) -> Snapshot:
    """Another program's database as it is now, to be read: see `stores.sqlite.takeover`. Raises StoreError."""
    from ..stores.sqlite.takeover.predecessor import Snapshot

    return Snapshot(path)


def open_raw(path: str) -> Raw:
    """The raw pages of a database, whatever SQLite says of it: see `stores.sqlite.damage.trees`. Raises DiskError."""
    from ..stores.sqlite.damage.trees import Raw

    return Raw(path)


def roll_back(path: str) -> None:
    """What a killed process has left half-written in a database is undone. Raises StoreError."""
    from ..stores.sqlite.takeover.predecessor import roll_back

    roll_back(path)


def words_of(error: Error, path: str) -> StoreError:
    """The error of ours for one of SQLite's."""
    from ..stores.sqlite.errors import translated

    return translated(error, path)


def move_database(path: str, to: str) -> None:
    """Put a database that nobody has open in the place of another file, on the disk. Raises DiskError."""
    from ..stores.sqlite.takeover.probe import move

    move(path, to)


def remove_database(path: str) -> None:
    """A database that nobody has open goes, if it is there. Raises DiskError."""
    from ..stores.sqlite.takeover.probe import remove

    remove(path)


def keep_second_name(path: str, kept: str) -> None:
    """The file is there under the name `kept` as well, as a copy where the filesystem has no second names; on the disk.
    One of that name that is there stays. Raises DiskError."""
    from ..stores._directory import refused
    from ..stores._disk import Disk
    from ..stores._kept import keep_file

    try:
        keep_file(path, kept, Disk())
    except OSError as error:
        raise refused(os.path.dirname(kept), error, "keep the old file in") from error
