"""Whether the index leads to every key of the tables. SQLite's pages have no checksums, and a bit that is flipped in
the index would hide keys that are there, without a word; the rows themselves have theirs.

The first keys are looked up when a process opens the database, the others by a thread beside it, once a day. An index
that doesn't lead to a key that is whole is made anew.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from ...errors import StoreError
from . import schema
from .database import connect
from .schema import is_whole_entry
from .work import Work

if TYPE_CHECKING:
    from .core import Core

_AT_ONCE = 10_000  #: keys
_EVERY = 24 * 3600.0  #: seconds


def check(core: Core, connection: sqlite3.Connection) -> None:
    """Look the first keys up, here and now; and the others later, if there are more. sqlite3.Error."""
    after = _look(core, connection, 0)
    if after is not None and _is_time(core):
        thread = threading.Thread(target=_check_the_others, args=(weakref.ref(core), after), daemon=True)
        thread.name = "pqadapters-index"
        with suppress(RuntimeError):  # the interpreter is shutting down
            thread.start()


def _look(core: Core, connection: sqlite3.Connection, after: int) -> int | None:
    """Look so many keys up, from the place behind `after` on: the last one's place, or None where that was all."""
    (last,) = connection.execute(schema.SOME_PLACES, (after, _AT_ONCE)).fetchone()
    if last is None:
        return None
    rows = connection.execute(schema.NOT_FOUND, (after, last)).fetchall()
    if any(value is None or is_whole_entry(kind, key, crc, value) for kind, key, crc, value in rows):
        core.writer.do(Work(lambda each: each.execute(schema.MAKE_INDEX_ANEW), synced=False))
        core.index_was_damaged()
        return None
    return int(last)


def _is_time(core: Core) -> bool:
    """Whether nobody has looked for a day; who asks is about to."""
    path = core.owners.file("checked")
    with suppress(OSError):
        if abs(time.time() - os.stat(path).st_mtime) < _EVERY:
            return False
    with suppress(OSError):
        core.disk.close(core.disk.open(path, create=True))
        os.utime(path)
    return True


def _check_the_others(ref: weakref.ref[Core], after: int | None) -> None:
    with suppress(StoreError, sqlite3.Error, OSError):
        while after is not None:
            core = ref()
            if core is None or core.writer.trouble is not None:
                return
            with core.aside:  # no fork comes in the middle of it
                connection = connect(core.path)
                try:
                    after = _look(core, connection, after)
                finally:
                    connection.close()
            del core
