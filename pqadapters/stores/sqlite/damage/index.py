"""Whether the index leads to every key of the tables. SQLite's pages have no checksums, and a bit that is flipped in
the index would hide keys that are there, without a word; the rows themselves have theirs.

The keys of a small database are looked up whenever a process opens it, those of another one by a thread beside the
work, once a day. An index that doesn't lead to a key that is whole is made anew.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from ....clock import SYSTEM
from ....ending import start_thread
from ....errors import StoreError
from .. import schema
from ..database import connect
from ..entries import make_index_anew
from ..schema import is_whole_entry
from ..work import Work

if TYPE_CHECKING:
    from ..core import Core

_FEW = 1_000  #: keys, which take a millisecond
_AT_ONCE = 10_000
_EVERY = 24 * 3600.0  #: seconds
_HIDES = -1  #: no place


def check(core: Core, connection: sqlite3.Connection) -> None:
    """Look the keys up, here and now if they are few. sqlite3.Error."""
    if connection.execute(schema.ARE_MORE, (_FEW,)).fetchone() is None:
        if _look(connection, 0, _FEW) == _HIDES:
            _make_anew(core)
    elif _is_time(core):
        thread = threading.Thread(target=_check, args=(weakref.ref(core),), daemon=True)
        thread.name = "pqadapters-index"
        with suppress(RuntimeError):  # the interpreter is shutting down
            start_thread(thread)


def _look(connection: sqlite3.Connection, after: int, most: int) -> int | None:
    """Look so many keys up, from the place behind `after` on: the last one's place, None where that was all, or _HIDES
    where one isn't found."""
    (last,) = connection.execute(schema.SOME_PLACES, (after, most)).fetchone()
    if last is None:
        return None
    rows = connection.execute(schema.NOT_FOUND, (after, last)).fetchall()
    if any(value is None or is_whole_entry(kind, key, crc, value) for kind, key, crc, value in rows):
        return _HIDES
    return int(last)


def _make_anew(core: Core) -> None:
    core.writer.do(Work(make_index_anew, synced=False))
    core.index_was_damaged()


def _is_time(core: Core) -> bool:
    """Whether nobody has looked for a day; who asks is about to."""
    path = core.owners.file("checked")
    with suppress(OSError):
        if abs(SYSTEM.wall() - os.stat(path).st_mtime) < _EVERY:
            return False
    with suppress(OSError):
        core.disk.close(core.disk.open(path, create=True))
        os.utime(path)
    return True


def _check(ref: weakref.ref[Core]) -> None:
    after: int | None = 0
    with suppress(StoreError, sqlite3.Error, OSError):
        while after is not None:
            core = ref()
            if core is None or core.writer.trouble is not None:
                return
            with core.aside:  # no fork comes in the middle of it
                connection = connect(core.path)
                try:
                    after = _look(connection, after, _AT_ONCE)
                finally:
                    connection.close()
            if after == _HIDES:  # with the lock free: on a full disk whoever writes waits for it
                return _make_anew(core)
            del core
