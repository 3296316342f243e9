"""Whether a database and the WAL beside it belong together.

SQLite puts the pages of a WAL into whatever file has the database's name. Who restores a backup over a database whose
last process was killed, and leaves its WAL where it is, gets a mixture of both, and isn't told. So the mark knows which
two files were open together: where the WAL is still that one and the database isn't, opening is refused. A copy of all
of them has two other files, and is trusted. A file that is made where another one was removed often has its inode, and
then another generation of it (name_to_handle_at(2)), where the file system tells.

"How To Corrupt An SQLite Database File", section 1.4, has more of such ways.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from zlib import crc32

from ...errors import StoreRefused
from ...interrupts import SuppressRefusals, check_refusal
from .processes.mark import Mark

NONE = (0, 0)
_HANDLE = struct.Struct("=Ii")  #: of a struct file_handle: how many bytes there are, their type
_MAX_HANDLE = 128
_AT_FDCWD, _AT_SYMLINK_FOLLOW = -100, 0x400  # of Linux


def file_of(path: str) -> tuple[int, int]:
    """Which file has that name, by device and inode. Raises OSError."""
    info = os.stat(path)
    return info.st_dev, info.st_ino


def file_at(path: str) -> tuple[int, int]:
    """As `file_of`; NONE where there is none, or the system doesn't tell."""
    with SuppressRefusals():
        return file_of(path)
    return NONE


def is_at(path: str, file: tuple[int, int]) -> bool:
    """Whether that file has that name; also where this process may not look any more."""
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        check_refusal(error)
        return False
    except OSError as error:
        check_refusal(error)
        return True
    return (info.st_dev, info.st_ino) == file


def is_gone(path: str) -> bool:
    """Whether nothing has that name. Not by os.stat(), as long as it is there: a file whose times were asked for takes
    longer to sync."""
    if os.access(path, os.F_OK):
        return False
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        check_refusal(error)
        return True
    except OSError as error:
        check_refusal(error)
    return False


def note(path: str, mark: Mark) -> None:
    """The database is open, and its WAL there."""
    mark.pair = (*_very_file_at(path), *_very_file_at(f"{path}-wal"))


def is_empty(path: str) -> bool:
    """Whether the file is there, and has nothing in it."""
    with SuppressRefusals():
        return not os.path.getsize(path)
    return False


def was_open_last(path: str, mark: Mark) -> bool:
    return mark.pair[:2] == _very_file_at(path)


def check(path: str, mark: Mark) -> None:
    """Before it is opened. Raises StoreRefused."""
    database, wal = mark.pair[:2], mark.pair[2:]
    if wal == NONE or wal != _very_file_at(f"{path}-wal") or database == _very_file_at(path):
        return
    with suppress(FileNotFoundError):  # somebody has just removed it
        if os.path.getsize(f"{path}-wal"):
            raise StoreRefused(
                f"{path} was put in the place of another database, whose last changes still are in {path}-wal: SQLite "
                f"would mix the two. If this is the one that you want, a restored backup, say, move {path}-wal and "
                f"{path}-shm away; if it isn't, put the other one back"
            )


def _very_file_at(path: str) -> tuple[int, int]:
    """As `file_at`, and none that was made since in the place of a removed one: the generation is mixed into the
    device."""
    device, inode = file_at(path)
    return (device ^ _generation(path) << 32) & (1 << 64) - 1, inode


def _generation(path: str) -> int:
    """A number of 32 bits for the file, other than that of the inode's next one; 0 where there is none, or the system
    doesn't tell."""
    try:
        import ctypes

        ask = getattr(ctypes.CDLL(None), "name_to_handle_at", None)
    except (ImportError, OSError):  # of a Python that was built without it, or can't load anything
        return 0
    if ask is None:
        return 0
    handle, mount = ctypes.create_string_buffer(_HANDLE.size + _MAX_HANDLE), ctypes.c_int()
    _HANDLE.pack_into(handle, 0, _MAX_HANDLE, 0)
    if ask(_AT_FDCWD, os.fsencode(path), handle, ctypes.byref(mount), _AT_SYMLINK_FOLLOW):
        return 0
    size, _ = _HANDLE.unpack_from(handle)
    return crc32(handle.raw[: _HANDLE.size + min(size, _MAX_HANDLE)])
