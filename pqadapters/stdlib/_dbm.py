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
    "dbm.sqlite3": ("", "-wal", "-shm", "-journal"),
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


def files_of(path: str, kind: str) -> list[str]:
    """The files that are there of a dbm of that kind."""
    return [path + suffix for suffix in _SUFFIXES[kind] if os.path.lexists(path + suffix)]


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


def pairs_of(path: str, kind: str) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a dbm."""
    database = open_dbm(path, kind, "r")
    try:
        for key in database.keys():  # noqa: SIM118  # what all of them have
            yield bytes(key), bytes(database[key])
    finally:
        database.close()


def put_aside(path: str, kind: str, put_new: Callable[[], object]) -> None:
    """Put the new file of that name in the place of a dbm, whose files have ".old" behind their names then. Whenever
    this breaks off, one of the two is there. Raises ShelfError where there are such files already."""
    names = files_of(path, kind)
    for name in names:
        if os.path.lexists(f"{name}.old"):
            raise ShelfError(f"{name}.old is there already: move it away, so that {name} can be kept under that name")
    if path in names:
        os.link(path, f"{path}.old")
    put_new()
    for name in names:
        if name != path:
            os.rename(name, f"{name}.old")


def remove(path: str, kind: str) -> None:
    """The files of a dbm, whose content isn't wanted."""
    for name in files_of(path, kind):
        with suppress(FileNotFoundError):
            os.unlink(name)

