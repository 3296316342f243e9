"""Opening the database: made, checked, in WAL mode; and the connections to it.

SQLite locks the file by POSIX locks, which a process loses when it closes *any* descriptor of that file: nothing here
opens an existing database but SQLite. A forked child can't use a connection of its parent: core.py closes them before.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import quote

from ...apart import is_shared
from ...clock import SYSTEM, spread
from ...errors import StoreRefused
from .._directory import is_mount, make, refused, unsafe_filesystem
from .._disk import Disk, is_there
from . import schema
from .beside import SIDE, check_sides, make_way, remove_files
from .errors import ERRORS, foreign, is_busy, locked, newer, translated

T = TypeVar("T")
_yield: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))
MIN_SQLITE = (3, 24, 0)
#: How a file that nobody has open is looked at; without the first of them one that is gone meanwhile would be made.
FROZEN = "mode=ro&immutable=1"
_OPENING = 60.0  #: seconds that an opening waits for others, who may be recovering a large WAL
_CACHED = 256  #: statements
_SHORTEST, _LONGEST = 0.0002, 0.003  #: seconds between two tries
_AT_ONCE = 30  #: tries without a pause


def prepare(path: str, disk: Disk, trust: bool) -> None:
    """Make the file's directory, and see that a file that is there may be used.

    Raises StoreRefused for somebody else's file, a directory, or a filesystem without locks that work; DiskError.
    """
    directory = os.path.dirname(path)
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        wanted = ".".join(map(str, MIN_SQLITE))
        raise StoreRefused(f"this Python has SQLite {sqlite3.sqlite_version}; the store needs {wanted} or newer")
    if not os.path.isdir(directory):
        make(directory, disk)
    kind = unsafe_filesystem(directory)
    if kind:
        raise StoreRefused(
            f"{path} lies on {kind}, a network filesystem, where locks don't keep processes apart: the database would "
            "be damaged. Put it on a local disk, or use a database server"
        )
    _check_file(path, trust)
    check_sides(path, trust=trust)
    with suppress(OSError):  # a directory that we may not open was synced by whoever made it
        disk.sync_directory(directory)


def _check_file(path: str, trust: bool) -> None:
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(os.path.dirname(path), error, "look at a file in") from error
    if not stat.S_ISREG(info.st_mode):
        raise foreign(path, "is a directory" if stat.S_ISDIR(info.st_mode) else "is no regular file")
    _check_names(path, info.st_nlink)
    if trust or not hasattr(os, "geteuid"):
        return
    if info.st_uid != os.geteuid():
        raise StoreRefused(
            f"{path} belongs to user {info.st_uid}, and this process runs as user {os.geteuid()}: whoever owns it can "
            "read and change what is stored. Run as that user, give a file of your own, or pass trust_directory=True"
        )


def make_private(path: str) -> None:
    """The database, which is ours by now, and what SQLite has beside it. Raises DiskError."""
    try:
        _close_to_others(path)
    except OSError as error:
        raise refused(os.path.dirname(path), error, "make private the database in") from error
    for side in ("-wal", "-shm"):  # as readable as the database was when they were made
        with suppress(OSError):
            _close_to_others(path + side)


def _close_to_others(file: str) -> None:
    mode = os.stat(file).st_mode
    if mode & 0o077 and hasattr(os, "geteuid"):
        os.chmod(file, mode & 0o700)  # one that its owner may not write stays so


def _check_names(path: str, names: int) -> None:
    """SQLite's WAL and its locks are found by the file's name: under two names one of them loses what is stored."""
    if names > 1:
        raise StoreRefused(
            f"{path} is one of {names} names of the same file (hard links), and what is stored by one of them would be "
            "lost for the others. Remove the others; make copies with store.backup(to=...), second names by symlinks"
        )
    if is_mount(path):
        raise StoreRefused(
            f"{path} is mounted from elsewhere without its directory, and what is stored here would be lost there: its "
            "WAL and its locks are files beside it. Mount the directory that it is in"
        )


def patiently(call: Callable[[], T], path: str, seconds: float = _OPENING) -> T:
    """The call's result, with another try while somebody else has a lock. Raises StoreLocked after `seconds`."""
    deadline = SYSTEM.monotonic() + seconds
    pause = 0.0
    while True:
        try:
            return call()
        except ERRORS as error:
            if not is_busy(error):
                raise translated(error, path) from error
            if SYSTEM.monotonic() >= deadline:
                raise locked(path) from error
        pause = rest(pause)


def rest(pause: float) -> float:
    """Sleep about so long in seconds; the next pause. At first none, then short ones: a commit of others takes some
    dozens of microseconds, and a sleep, even one of no time, takes more than that."""
    if pause < _SHORTEST:
        if is_shared():
            time.sleep(0)
        else:
            _yield()
        return pause + _SHORTEST / _AT_ONCE
    time.sleep(spread(0.5 * pause, 1.5 * pause))
    return min(pause * 1.5, _LONGEST)


def connect(path: str) -> sqlite3.Connection:
    """A connection for any thread, one at a time, without transactions of Python's own. It makes no file where there is
    none any more. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        address(path, "mode=rw"),
        uri=True,
        timeout=0.0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED,
    )
    try:
        connection.text_factory = as_text
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # keeper.py does it, under a lock of our own
        connection.execute("PRAGMA cache_size = -8192")
        connection.execute("PRAGMA temp_store = MEMORY")  # no file elsewhere, where there may be no room
        connection.execute(schema.UNSYNCED)
    except BaseException:
        connection.close()
        raise
    return connection


def as_text(data: bytes) -> str:
    """What a column has where bytes are to be, by a flipped bit: then they needn't be UTF-8, and SQLite's error for
    that would be one for the whole table."""
    return data.decode("utf-8", "replace")


def read_only(path: str, how: str) -> sqlite3.Connection:
    """A connection that looks, for any thread, one at a time. Raises sqlite3.Error."""
    connection = sqlite3.connect(
        address(path, how), uri=True, timeout=0.0, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = as_text
    return connection


def address(path: str, how: str) -> str:
    """The file's URI, which SQLite takes options by. A name needn't be text."""
    return f"file:{quote(os.fsencode(path))}?{how}"


def open_database(path: str) -> sqlite3.Connection:
    """A first connection, to a database that is checked. Raises FormatError, StoreRefused, StoreLocked, DiskError."""
    connection = patiently(lambda: connect(path), path)
    try:
        patiently(lambda: _check(connection, path), path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: str) -> None:
    check_version(connection, path)
    if _mode(connection) != "wal":
        raise foreign(path, "isn't in WAL mode any more, which the store needs")


def check_version(connection: sqlite3.Connection, path: str) -> None:
    """Raises StoreRefused for another program's database, FormatError for one of another version, sqlite3.Error."""
    application, version = _number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version")
    if application != schema.APPLICATION:
        raise foreign(path, "is a database of another program")
    if version != schema.VERSION:
        raise newer(path, version, schema.VERSION)


def make_database(path: str, disk: Disk) -> None:
    """Make an empty one where there is none, in our own directory first: it is there, whole and on the disk, or not at
    all. The caller holds the lock of openings. Raises DiskError."""
    new, directory = os.path.join(path + SIDE, "new"), os.path.dirname(path)
    try:
        emptied = is_there(path)
        if emptied and os.path.getsize(path):
            return
        remove_files(new, disk)  # left by who died in the middle of this
        disk.close(disk.open(new, create=True))
        patiently(lambda: _fill(new), path)
        disk.sync_file(new)
        make_way(path, disk, emptied=emptied)
        disk.rename(new, path)
        disk.sync_directory(directory)
    except OSError as error:
        raise refused(directory, error, "make a database in") from error


def _fill(path: str) -> None:
    """Without a WAL until the end: what can't be copied from it as the connection is closed, nobody would be told."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")  # the file is synced as a whole, before it gets its name
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute(f"PRAGMA page_size = {schema.PAGE_SIZE}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(schema.BEGIN)
        for statement in _statements(schema.SCHEMA):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION}")
        connection.execute(f"PRAGMA user_version = {schema.VERSION}")
        connection.execute(schema.COMMIT)
        if _mode(connection) != "wal":
            raise foreign(path, "can't be put into WAL mode, which the store needs")
    finally:
        connection.close()


def _mode(connection: sqlite3.Connection) -> str:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    return str(mode)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (number,) = connection.execute(pragma).fetchone()
    return int(number)


def _statements(script: str) -> list[str]:
    """The statements of a script; those of a trigger belong together."""
    found: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
