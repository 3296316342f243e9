"""A copy of a database that is being used: as it was at one moment, made while others read and write."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress

from .._directory import refused
from .._disk import Disk
from .beside import check_apart, check_free, make_way, remove_files
from .database import connect, patiently
from .errors import translated


def back_up(path: str, to: str, disk: Disk) -> None:
    """Copy the database to the file `to`, which is whole or not there, and on the disk when this returns.

    Raises StoreRefused where `to` exists already, or is the name of what stands beside the database; DiskError.
    """
    check_free(to)
    check_apart(path, to)
    part = f"{to}.{os.urandom(4).hex()}.part"  # another process may be at it, to the same name
    try:
        disk.close(disk.open(part, create=True))
        _copy(path, part)
        fd = disk.open(part)
        try:
            disk.sync(fd)
        finally:
            disk.close(fd)
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
