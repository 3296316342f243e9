"""What stands beside a database: SQLite's own files, and the directory of ours.

When a database is gone and another one gets its name, they are the old one's still: its WAL would be put into the new
one, and its mark know of ids that this has never given.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from ...errors import FormatError, StoreRefused
from ...paths import absolute
from .._directory import check_around, prepare_parent, refused
from .._disk import Disk, is_there
from .errors import foreign

_SIDES = ("-journal", "-wal", "-shm")
SIDE = "-owners"  #: behind the database's path: the directory of what stands beside it


def prepare_side(directory: str, disk: Disk, *, trust: bool) -> None:
    """Make the directory beside a database, private to its owner. Raises StoreRefused, DiskError."""
    if os.path.islink(directory):  # what it leads to would be made private, whoever has put it there
        raise StoreRefused(
            f"{directory} is a symbolic link, and the directory beside a database isn't to be elsewhere: put the one "
            "that it leads to in its place; if there is none, remove the link"
        )
    prepare_parent(directory, disk, trust)


def check_sides(path: str, *, trust: bool = True) -> None:
    """Before SQLite opens a database that may be there: it would wait for the other end of a pipe, say of a link that
    permissions are missing, and remove the WAL of one that was cut to nothing. Without `trust` they are to be this
    user's: in a directory that others write, their WAL would be what is in the database. Raises StoreRefused,
    FormatError."""
    _check_name(path)
    for side in _SIDES:
        if os.path.islink(path + side):
            raise StoreRefused(
                f"{path}{side} is a symbolic link, and SQLite follows none there: put the file that it leads to in its "
                "place; if there is none, remove the link"
            )
        if is_other(path + side):
            raise foreign(path + side, "is no regular file")
        if not trust:
            _check_owner(path + side)
    wal = f"{path}-wal"
    with suppress(OSError):
        # In this order: another one may just be making it. To SQLite a file of one byte is an empty one.
        if os.path.getsize(wal) and os.path.getsize(path) <= 1:
            raise FormatError(
                f"{path} is empty, and wasn't when {wal} was written. Bring out what is whole with "
                "pqadapters.stores.sqlite.salvage(path, to=...), and go on with that; or, to begin with an empty "
                f"database, move {wal} away"
            )


def _check_name(path: str) -> None:
    """No database of ours may have the name of what SQLite keeps beside another one, and removes: "diary-journal"
    beside "diary". Raises StoreRefused."""
    for side in _SIDES:
        base = path.removesuffix(side)
        if base != path and _is_ours(base):
            raise StoreRefused(
                f"{path} is no name for a database: {base} is one, and SQLite would take this for what it keeps beside "
                "that itself, and remove it. Give another name"
            )
        if _is_ours(path + side):
            raise StoreRefused(
                f"{path} is no name for a database: {path}{side} is one, and SQLite would take that for what it keeps "
                f"beside this itself, and remove it. Give another name; if it is none, remove {path}{side}{SIDE}"
            )


def _is_ours(path: str) -> bool:
    """Whether a database has that name. It isn't looked into: to close it would give up this process's locks on it."""
    return os.path.isdir(path + SIDE) and os.path.isfile(path)


def _check_owner(file: str) -> None:
    try:
        owner = os.stat(file).st_uid
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(os.path.dirname(file), error, f"look at {os.path.basename(file)} in") from error
    if hasattr(os, "geteuid") and owner != os.geteuid():
        raise StoreRefused(
            f"{file} belongs to user {owner}, and this process runs as user {os.geteuid()}: whoever has put it there "
            "decides what is in the database. If that is right, have its owner changed (chown), or pass "
            "trust_directory=True; else move it away"
        )


def is_other(path: str) -> bool:
    """Whether something is there that is no regular file. At one look: it goes with who has it open."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def state_of(path: str) -> tuple[int, ...]:
    """What tells whether a file is as it was; () where there is none."""
    try:
        info = os.stat(path)
    except OSError:
        return ()
    return info.st_ino, info.st_size, info.st_mtime_ns


def check_free(path: str) -> None:
    """Raises StoreRefused where anything has the name that a new file is to get, or would be taken for what SQLite
    keeps beside it, or its directory is a store's; DiskError where that isn't told."""
    try:
        is_taken = is_there(path)
    except OSError as error:
        raise refused(os.path.dirname(path), error, "look at a file in") from error
    if is_taken:
        raise StoreRefused(f"{path} exists already: give the name of a new file")
    _check_name(os.path.realpath(path))
    check_around(*os.path.split(os.path.realpath(path)))


def check_apart(path: str, to: str) -> None:
    """Before a new file `to` is made of what is in `path`: neither stands beside the other, where it would be removed,
    or taken by SQLite for what it isn't. Raises StoreRefused."""
    path, to = os.path.realpath(path), os.path.realpath(to)
    beside = [(one + side, other) for side in _SIDES for one, other in ((path, to), (to, path))]
    if any(name == other for name, other in beside) or os.path.dirname(to) == path + SIDE:
        raise StoreRefused(f"{to} is no name for what is made of {path}: one of them stands beside the other")


def make_way(path: str, disk: Disk, *, emptied: bool = False) -> None:
    """Before a database gets that name. On the disk when this returns: a power cut may keep a rename, and bring back
    what was removed before it. `emptied`: it takes the place of one that was cut to nothing; the ids that were given
    there are known from then on. Raises OSError."""
    remove_sides(path, disk)
    disk.sync_directory(os.path.dirname(absolute(path)))
    if emptied:
        return
    with suppress(FileNotFoundError):
        disk.unlink(os.path.join(path + SIDE, "mark"))
    with suppress(FileNotFoundError):
        disk.sync_directory(path + SIDE)


def remove_files(path: str, disk: Disk) -> None:
    """A database that nobody uses, if it is there."""
    with suppress(FileNotFoundError):
        disk.unlink(path)
    remove_sides(path, disk)


def remove_sides(path: str, disk: Disk) -> None:
    """What stands beside a database that isn't there."""
    for side in _SIDES:
        with suppress(FileNotFoundError):
            disk.unlink(path + side)
