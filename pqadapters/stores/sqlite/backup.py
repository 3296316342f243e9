"""A copy of a database that is being used: as it was at one moment, made while others read and write."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

from .._directory import Hold, refused
from .._disk import Disk
from .beside import check_apart, check_free, make_way, remove_files
from .database import connect, patiently
from .errors import translated
from .processes.owners import Owners

_NOTE = "backup-"  #: and a random number: a file that says where a copy is being made, which its maker has locked
_PATH = 16  #: where in it the copy's path stands, behind the maker's pid


def back_up(path: str, to: str, disk: Disk, owners: Owners) -> None:
    """Copy the database to the file `to`, which is whole or not there, and on the disk when this returns. What backups
    of this database have left that were killed goes.

    Raises StoreRefused where `to` exists already, or is the name of what stands beside the database; DiskError.
    """
    check_apart(path, to)
    check_free(to)
    mine = os.urandom(4).hex()
    part = f"{to}.{mine}.part"  # another process may be at it, to the same name
    _clear(owners, disk)
    note = _note(owners, mine, part, disk)
    try:
        disk.close(disk.open(part, create=True))
        _copy(path, part)
        disk.sync_file(part)
        check_free(to)
        make_way(to, disk)
        disk.rename(part, to)
        disk.sync_directory(os.path.dirname(to))
    except sqlite3.Error as error:
        raise translated(error, part) from error
    except OSError as error:
        raise refused(os.path.dirname(to), error, "back up to") from error
    finally:
        with suppress(OSError):
            remove_files(part, disk)
            if note is not None:
                disk.unlink(owners.file(_NOTE + mine))
        if note is not None:
            note.close()


def _note(owners: Owners, mine: str, part: str, disk: Disk) -> Hold | None:
    """For whoever comes when this process has died in the middle. None on a full disk, say."""
    with suppress(OSError):
        hold = owners.lock(_NOTE + mine)
        if hold is not None:
            disk.write(hold.fd, os.fsencode(part), _PATH)
        return hold
    return None


def _clear(owners: Owners, disk: Disk) -> None:
    """Remove what dead processes had begun to copy."""
    with suppress(OSError):
        for name in os.listdir(owners.directory):
            if name.startswith(_NOTE):
                with suppress(OSError):  # then it stays there
                    _clear_one(owners, name, disk)


def _clear_one(owners: Owners, name: str, disk: Disk) -> None:
    hold = owners.lock(name)
    if hold is None:
        return
    try:
        part = os.fsdecode(disk.read(hold.fd, disk.size(hold.fd), _PATH))
        if part.endswith(f".{name[len(_NOTE) :]}.part"):
            remove_files(part, disk)
        disk.unlink(owners.file(name))
    finally:
        hold.close()


def _copy(path: str, part: str) -> None:
    source = patiently(lambda: connect(path), path)
    try:
        target = sqlite3.connect(part)
        try:
            source.backup(target)  # in one go: in steps it would begin anew whenever somebody commits
        finally:
            target.close()
    finally:
        source.close()
