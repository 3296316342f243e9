"""Files of the standard library's dbm modules, which a shelf may have been: told apart, read in place, moved over."""

from __future__ import annotations

import dbm
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ..errors import StoreError
from ..opening import probe_file

_Error: Any = dbm.error[0]
_SUFFIXES = {
    "dbm.dumb": (".dat", ".dir", ".bak"),
    "dbm.ndbm": (".db", ".dir", ".pag"),
    "dbm.gnu": ("",),
    "dbm.sqlite3": ("", "-wal", "-journal"),
}
SQLITE = "dbm.sqlite3"


class ShelfError(StoreError, _Error):  # type: ignore[misc]  # a member of a tuple
    """A shelf can't be opened. Also the `dbm.error` that the standard library raises."""


def kind_of(path: str) -> str | None:
    """What stands under that name: "" for a shelf of ours (or an empty file, which becomes one), "dbm.gnu" and the like
    for another one, None for nothing. Raises ShelfError for what is none."""
    if not os.path.isfile(path):
        return None if os.path.lexists(path) else dbm.whichdb(path) or None
    if not os.path.getsize(path):
        return ""
    found = probe_file(path)
    if found.ours:
        return ""
    kind = dbm.whichdb(path) if not found.sqlite else SQLITE if found.tables == ("Dict",) else None
    if not kind:
        raise ShelfError(f"{path} is no shelf, and no dbm file that Python knows; it was left alone. Give another name")
    return kind


def open_dbm(path: str, kind: str, flag: str) -> Any:
    """The dbm, by its own module. Raises ShelfError where this Python hasn't got it."""
    try:
        module = importlib.import_module(kind)
    except ImportError as error:
        raise ShelfError(
            f"{path} is a file of {kind}, which this Python hasn't got ({error}). Move it over once with a Python that "
            f"has it: pqadapters.stdlib.shelve.migrate({path!r})"
        ) from error
    return module.open(path, flag)


def pairs_of(database: Any) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a dbm that is open."""
    for key in database.keys():  # noqa: SIM118  # what all of them have
        yield bytes(key), bytes(database[key])


def put_aside(path: str, kind: str, put_new: Callable[[], object]) -> None:
    """Put the new file of that name in the place of a dbm, which is kept under the name with ".old" behind it. Whenever
    this breaks off, one of the two is there. Raises ShelfError where that name is taken."""
    suffixes = [suffix for suffix in _SUFFIXES[kind] if os.path.lexists(path + suffix)]
    kept = f"{path}.old"
    for suffix in suffixes:
        if os.path.lexists(kept + suffix):
            raise ShelfError(f"the old shelf is to be kept as {kept}, and {kept + suffix} is there: move that away")
    if "" in suffixes:  # the new one takes its place in one step
        for suffix in suffixes:
            os.link(path + suffix, kept + suffix)
        put_new()
    else:
        put_new()
        for suffix in suffixes:
            os.rename(path + suffix, kept + suffix)


def remove(path: str, kind: str) -> None:
    """The files of a dbm, whose content isn't wanted."""
    for suffix in _SUFFIXES[kind]:
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)
