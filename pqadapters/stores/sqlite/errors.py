"""What SQLite's errors mean: words for people, and which of them are worth another try."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import ExitStack

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

from ...errors import DiskError, FormatError, StoreError, StoreLocked, StoreRefused, TooLarge
from .._disk import Disk

# By the words of sqlite3_errstr(): before Python 3.11 an exception has no code.
_BUSY = ("database is locked", "database table is locked", "database schema is locked")
FULL = "database or disk is full"
_IO = "disk I/O error"
_DAMAGED = (
    "database disk image is malformed",
    "file is not a database",
    "unsupported file format",
    "malformed database schema",
    "no such table",  # all our statements fit our schema
    "no such column",
    "no such index",
)
#: Before Python 3.11 it is the latter; whatever else we bind is of a type that SQLite has.
_TOO_LARGE = ("string or blob too big", "Error binding parameter")
_UNWRITTEN = 778  #: SQLITE_IOERR_WRITE
_UNSYNCED = 1034  #: SQLITE_IOERR_FSYNC
_NOT_SHARED = 4874  #: SQLITE_IOERR_SHMSIZE
_SHARED = 32768  #: bytes by which the file of SQLite's shared memory grows
_LONGEST = 493  #: bytes of a path: SQLite takes 504, and a database is made as "<path>-owners/new"
_MADE = 2  #: files that SQLite makes beside the database: its WAL and shared memory
_FILES = 4  #: that SQLite opens: the database, its WAL and shared memory, and for a moment their directory
_MUCH = 1 << 20  #: bytes for which a user's quota is to have room where it wasn't why a write was refused
_BLOCK = 4096  #: bytes below a limit of file sizes in which a write may have been refused
READ_ONLY = "attempt to write a readonly database"
_NUMBERS = {FULL: errno.ENOSPC, _IO: errno.EIO, READ_ONLY: errno.EROFS}
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})  #: of a DiskError: what is drained gives space back
_ADVICE = {
    errno.ENOSPC: "free some space there, or drain the queue; of a mapping, delete keys",
    errno.EDQUOT: "free some space of this user's there, or drain the queue; of a mapping, delete keys",
    errno.EFBIG: "raise this process's limit of file sizes (ulimit -f)",
    errno.EIO: "look at the disk and at the system's log; close the store before it is tried again",
    errno.EROFS: "the user that this process runs as must be allowed to write the file and its directory",
}


#: What Python's sqlite3 raises; the second where not even an error's text, which names what is damaged, is one; the
#: third of what is too large for an int of C.
ERRORS = (sqlite3.Error, UnicodeDecodeError, OverflowError)


#: Those that only damage can have brought about: no statement of ours breaks a constraint of the tables.
_UNREADABLE = (UnicodeDecodeError, sqlite3.IntegrityError)


def malformed() -> sqlite3.DatabaseError:
    """What SQLite says of a damaged database, for a value that it hasn't noticed itself."""
    return sqlite3.DatabaseError(_DAMAGED[0])


def is_busy(error: Exception) -> bool:
    """Somebody else has a lock: it is a matter of time."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith(_BUSY)


def is_io(error: Exception) -> bool:
    """The system refused a read, a write or a sync."""
    return str(error).startswith(_IO)


def is_read_only(error: Exception) -> bool:
    """Its connection is one for reading."""
    return str(error).startswith(READ_ONLY)


def is_unsure(error: Exception, path: str) -> bool:
    """Of a commit with a sync: nobody knows what of it is on the disk. What couldn't be written hasn't come to the
    sync; that it was a write, Python tells from 3.11 on."""
    return is_io(error) and not (getattr(error, "sqlite_errorcode", 0) == _UNWRITTEN or _is_limited(error, path))


def is_failed_sync(error: Exception, path: str) -> bool:
    """Of a checkpoint: maybe of the WAL. That it is a sync, Python tells from 3.11 on."""
    return is_unsure(error, path) and getattr(error, "sqlite_errorcode", _UNSYNCED) == _UNSYNCED


def is_full(error: Exception, path: str) -> bool:
    """There is no space left, for this process at least."""
    if str(error).startswith(FULL):
        return True
    return _is_limited(error, path) or _has_no_room(error, path) or _is_over_quota(error, path)


def _is_over_quota(error: Exception, path: str) -> bool:
    """SQLite calls that an I/O error. That it is of a write, Python tells from 3.11 on."""
    if not is_io(error) or getattr(error, "sqlite_errorcode", _UNWRITTEN) != _UNWRITTEN:
        return False
    return Disk().is_over_quota(os.path.dirname(path) or os.curdir, _MUCH)


def _has_no_room(error: Exception, path: str) -> bool:
    """The file of the shared memory can't grow, for which SQLite has no words of its own. That it is that file, Python
    tells from 3.11 on."""
    if not is_io(error) or getattr(error, "sqlite_errorcode", _NOT_SHARED) != _NOT_SHARED:
        return False
    try:
        return Disk().free(os.path.dirname(path) or os.curdir) < _SHARED
    except OSError:
        return False


def _is_limited(error: Exception, path: str) -> bool:
    """A file has come to the size that this process may give one."""
    if not is_io(error) or resource is None:
        return False
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return limit != resource.RLIM_INFINITY and any(_size(file) > limit - _BLOCK for file in (path, f"{path}-wal"))


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def translated(error: Exception, path: str) -> StoreError:
    """The error that a user sees in place of SQLite's own."""
    text = str(error)
    if is_busy(error):
        return locked(path)
    unreadable = isinstance(error, _UNREADABLE) or (type(error) is sqlite3.DatabaseError and not text)
    if text.startswith(_DAMAGED) or unreadable:  # of a damaged schema Python 3.10 has no text
        return FormatError(
            f"{path} is damaged, or no database: {text}. Where the system's log tells of a disk that can't be read, "
            "that is why: SQLite has the same words for it. Keep a copy of it and of the files beside it, bring out "
            "what is whole with pqadapters.stores.sqlite.salvage(path, to=...), and go on with that"
        )
    number = next((number for words, number in _NUMBERS.items() if text.startswith(words)), None)
    if _is_limited(error, path):
        number = errno.EFBIG
    elif _has_no_room(error, path):
        number, text = errno.ENOSPC, FULL
    elif _is_over_quota(error, path):
        number, text = errno.EDQUOT, FULL
    if number is not None:
        return DiskError(number, f"{text} ({os.strerror(number)}); {_ADVICE[number]}", path)
    if text.startswith("unable to open database file"):
        number = _why_not_opened(path)
        advice = (
            "this user must be allowed to write the file and its directory, or to read them where they are only looked "
            "at, and have descriptors left (ulimit -n)"
        )
        if number == errno.ENOSPC:
            advice = "the filesystem has no room for more files (df -i): remove some"
        return DiskError(number, f"{text} ({os.strerror(number)}); {advice}", path)
    if text.startswith(_TOO_LARGE) or isinstance(error, OverflowError):
        return TooLarge(f"{path}: {_TOO_LARGE[0]}; nothing was stored. Put a smaller item, or the path of a file")
    return StoreError(f"{path}: {type(error).__name__}: {text}")


def _why_not_opened(path: str) -> int:
    """SQLite doesn't say. The file itself isn't opened: its closing would give up this process's locks on it."""
    try:
        _want_descriptors()
        os.stat(path if os.path.lexists(path) else os.path.dirname(path) or ".")
        if _has_no_files(os.path.dirname(path) or "."):
            return errno.ENOSPC
    except OSError as error:
        return error.errno or errno.ENOENT
    return errno.ENAMETOOLONG if len(os.fsencode(path)) > _LONGEST else errno.EACCES


def _has_no_files(directory: str) -> bool:
    """Whether there are fewer left than SQLite makes; some filesystems don't count them."""
    if not hasattr(os, "statvfs"):
        return False
    found = os.statvfs(directory)
    return found.f_files > 0 and found.f_favail < _MADE


def _want_descriptors() -> None:
    """Raises OSError where there aren't as many as SQLite may have wanted."""
    with ExitStack() as opened:
        for _ in range(_FILES):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))


def locked(path: str) -> StoreLocked:
    return StoreLocked(
        f"{path}: another process has had the database locked all the time; nothing was stored. "
        "Look for a process that is stopped in the middle of a commit, or a transaction that another program left open"
    )


def newer(path: str, found: int, known: int) -> FormatError:
    return FormatError(
        f"{path} is written in format version {found}, and this pqadapters reads version {known}: upgrade pqadapters, "
        "or open the store with the version that wrote it"
    )


def foreign(path: str, what: str) -> StoreRefused:
    return StoreRefused(f"{path} {what}: give the store a database of its own, or move the file away")
