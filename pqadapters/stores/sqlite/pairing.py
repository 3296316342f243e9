"""Whether a database and the WAL beside it belong together.

SQLite puts the pages of a WAL into whatever file has the database's name. Who restores a backup over a database whose
last process was killed, and leaves its WAL where it is, gets a mixture of both, and isn't told. So the mark knows which
two files were open together: where the WAL is still that one and the database isn't, opening is refused. A copy of all
of them has two other files, and is trusted.

"How To Corrupt An SQLite Database File", section 1.4, has more of such ways.
"""

from __future__ import annotations

import os
from contextlib import suppress

from ...errors import StoreRefused
from .processes.mark import Mark

NONE = (0, 0)


def file_of(path: str) -> tuple[int, int]:
    """Which file has that name, by device and inode. Raises OSError."""
    info = os.stat(path)
    return info.st_dev, info.st_ino


def file_at(path: str) -> tuple[int, int]:
    """As `file_of`; NONE where there is none, or the system doesn't tell."""
    with suppress(OSError):
        return file_of(path)
    return NONE


def is_at(path: str, file: tuple[int, int]) -> bool:
    """Whether that file has that name; also where this process may not look any more."""
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return (info.st_dev, info.st_ino) == file


def note(path: str, mark: Mark) -> None:
    """The database is open, and its WAL there."""
    mark.pair = (*file_at(path), *file_at(f"{path}-wal"))


def check(path: str, mark: Mark) -> None:
    """Before it is opened. Raises StoreRefused."""
    database, wal = mark.pair[:2], mark.pair[2:]
    if wal == NONE or wal != file_at(f"{path}-wal") or database == file_at(path):
        return
    with suppress(FileNotFoundError):  # somebody has just removed it
        if os.path.getsize(f"{path}-wal"):
            raise StoreRefused(
                f"{path} was put in the place of another database, whose last changes still are in {path}-wal: SQLite "
                f"would mix the two. If this is the one that you want, a restored backup, say, move {path}-wal and "
                f"{path}-shm away; if it isn't, put the other one back"
            )
