"""What stands beside a database: SQLite's own files, and the directory of ours.

When a database is gone and another one gets its name, they are the old one's still: its WAL would be put into the new
one, and its mark know of ids that this has never given.
"""

from __future__ import annotations

import os
from contextlib import suppress

from .._disk import Disk

SIDE = "-owners"  #: behind the database's path: the directory of what stands beside it


def make_way(path: str, disk: Disk) -> None:
    """Before a database gets that name. On the disk when this returns: a power cut may keep a rename, and bring back
    what was removed before it. Raises OSError."""
    remove_sides(path, disk)
    disk.sync_directory(os.path.dirname(os.path.abspath(path)))
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
    for side in ("-journal", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            disk.unlink(path + side)
