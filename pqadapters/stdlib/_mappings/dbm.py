"""Files of the standard library's dbm modules, which a shelf may have been: told apart, read in place, moved over."""

from __future__ import annotations

import dbm
import filecmp
import importlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from ...errors import StoreError
from ...opening import keep_second_name, probe_file

Error: Any = dbm.error[0]
_SUFFIXES = {
    "dbm.dumb": (".dat", ".dir", ".bak"),
    "dbm.ndbm": (".db", ".dir", ".pag"),
    "dbm.gnu": ("",),
    "dbm.sqlite3": ("", "-wal", "-journal"),
}
SQLITE, DUMB, GNU = "dbm.sqlite3", "dbm.dumb", "dbm.gnu"
#: What dbm.dumb raises, which reads its index as Python's literals, and takes what there is for what it should be.
UNREADABLE = (SyntaxError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, MemoryError)
_BERKELEY = 0x00061561  #: magic number at byte 12 of a hash, as file(1) knows it; at byte 0 in version 1.85 (macOS)


class ShelfError(StoreError, Error):  # type: ignore[misc]  # a member of a tuple
    """A shelf can't be opened. Also the `dbm.error` that the standard library raises."""


class ShelfDamaged(ShelfError):
    """It isn't whole."""


def kind_of(path: str) -> str | None:
    """What stands under that name: "" for a shelf of ours (or an empty file, which becomes one), "dbm.gnu" and the like
    for another one, None for nothing. Raises ShelfError for what is none."""
    if not os.path.isfile(path):
        return None if os.path.exists(path) else _beside(path)
    found = probe_file(path)  # raises for one that was cut to nothing
    if not os.path.getsize(path):
        return ""
    if found.ours:
        return ""
    kind = dbm.whichdb(path) if not found.sqlite else SQLITE if found.tables == ("Dict",) else None
    if not kind:
        raise ShelfError(f"{path} is no shelf, and no dbm file that Python knows; it was left alone. Give another name")
    return kind


def dbm_kind(path: str) -> str:
    """The kind of one that must be there. Raises ShelfError."""
    kind = kind_of(path)
    if not kind:
        raise ShelfError(f"{path} is no dbm file of the standard library: there is nothing to move over")
    return kind


def _beside(path: str) -> str | None:
    """The kind of a dbm whose files have other names, where there is no file of the name itself."""
    kind = dbm.whichdb(path)
    if kind:
        return kind
    if _is_berkeley(f"{path}.db"):
        return "dbm.ndbm"
    if os.path.isfile(f"{path}.dat") and (os.path.isfile(f"{path}.dir") or _is_dumb_index(f"{path}.bak")):
        raise ShelfError(
            f"{path}.dat seems to be a damaged dbm.dumb: its index {path}.dir is missing or no index. {path}.bak may "
            "be an older one: copy it to that name, or give another name for a new shelf"
        )
    return None


def _is_berkeley(path: str) -> bool:
    """A hash of Berkeley DB, as dbm.ndbm may make it; whichdb() knows it only where this Python has that module."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    magics = [struct.pack(f"{order}I", _BERKELEY) for order in "<>"]
    return len(head) == 16 and (head[:4] in magics or head[12:] in magics)


def _is_dumb_index(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(1) in (b"'", b'"')
    except OSError:
        return False


def open_dbm(path: str, kind: str, flag: str) -> Any:
    """The dbm, by its own module. Raises ShelfError where this Python hasn't got it."""
    try:
        module = importlib.import_module(kind)
    except ImportError as error:
        raise ShelfError(
            f"{path} is a file of {kind}, which this Python hasn't got ({error}). Move it over once with a Python that "
            f"has it: pqadapters.stdlib.shelve.migrate({path!r})"
        ) from error
    try:
        return module.open(path, flag)
    except UNREADABLE as error:
        raise ShelfDamaged(
            f"the index of {path}, {path}.dir, is damaged: {error}. {path}.bak may be an older one: copy it to that "
            "name, or give another name for a new shelf"
        ) from error
    except OSError as error:
        if error.errno is None:  # of the module's own, which name no file
            raise ShelfError(f"{path} can't be opened by {kind}: {error}") from error
        if error.filename is None:  # a read that failed
            error.filename = path
        raise


def pairs_of(database: Any, path: str, kind: str) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values of a dbm that is open. Raises ShelfDamaged for what can't be read, or isn't whole."""
    key: Any = None
    count = 0
    try:
        for key in database.keys():  # noqa: SIM118  # what all of them have
            if kind == DUMB:
                _check_there(database, key, path)
            yield bytes(key), bytes(database[key])
            count += 1
        key = None
        if count != len(database):  # which dbm.gnu refuses where its list of keys has ended at damage
            raise ValueError(f"it says that there are {len(database)}, and {count} were found")
    except (Error, OSError, KeyError, *UNREADABLE) as error:
        where = f"the value of its key {key!r}" if key is not None else "what keys it has"
        reason = "it has none" if isinstance(error, KeyError) else error
        raise ShelfDamaged(f"{path} is damaged: {where} can't be read: {reason}. {_advice(path, kind)}") from error


def _advice(path: str, kind: str) -> str:
    advice = f"It was left as it is: `pqadapters migrate {path}` moves over what can be read"
    if kind == GNU:
        return f"{advice}, and GNU dbm's own program may mend it (gdbmtool {path} recover)"
    return advice


def _check_there(database: Any, key: bytes, path: str) -> None:
    """Raises ValueError where its file ends before the value does: the module passes over that, and asks for as much
    memory as the index says."""
    at, size = database._index[key]
    there = max(0, min(size, os.path.getsize(f"{path}.dat") - at)) if at >= 0 else 0
    if there != size:
        raise ValueError(f"it has {size} bytes at {at} of the .dat file, and {there} of them are there")


def check_own(path: str, kind: str) -> None:
    """Raises ShelfError where it is somebody else's, who couldn't open the shelf that is made of it."""
    for suffix in _SUFFIXES[kind] if hasattr(os, "geteuid") else ():
        with suppress(FileNotFoundError):
            if (owner := os.stat(path + suffix).st_uid) != os.geteuid():
                raise ShelfError(
                    f"{path} belongs to user {owner}: only what is one's own is moved over; call migrate as that user"
                )


def check_aside(path: str, kind: str) -> None:
    """Raises ShelfError where the name is taken under which the old files are to be kept."""
    for suffix in _SUFFIXES[kind]:
        kept = f"{path}.old{suffix}"
        if _is_there(path + suffix) and _is_there(kept) and not _is_kept(path + suffix, kept):
            raise ShelfError(f"the old shelf is to be kept as {path}.old, and {kept} is there: move that away")


def _is_there(path: str) -> bool:
    """Raises OSError where the system doesn't tell: what is there would be left out of what is kept."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _is_kept(path: str, kept: str) -> bool:
    """By a call that was broken off: another name of the file, or where there are no such names, a copy."""
    return os.path.samefile(path, kept) or filecmp.cmp(path, kept, shallow=False)


def settle(path: str, kind: str) -> None:
    """What a program that was killed has left beside a dbm.sqlite3 goes into it, so that it is one file. Raises
    ShelfError where a program has it open."""
    if kind == SQLITE:
        open_dbm(path, kind, "w").close()
        if os.path.exists(f"{path}-wal"):
            raise ShelfError(f"{path} is being used by another program: end that first")


def put_aside(path: str, kind: str, put_new: Callable[[], object]) -> None:
    """Put the new file of that name in the place of a dbm, which is kept under the name with ".old" behind it. Whenever
    this breaks off, the old one or the new one is there, and the old one is whole under at least one of its names. The
    next call goes on."""
    kept = f"{path}.old"
    suffixes = [suffix for suffix in _SUFFIXES[kind] if _is_there(path + suffix)]
    made = [kept + suffix for suffix in suffixes if not _is_there(kept + suffix)]
    try:
        for suffix in suffixes:
            keep_second_name(path + suffix, kept + suffix)
        put_new()
    except BaseException:
        if kind_of(path):  # still the old one: who goes on to use it writes to it under its own name
            for name in made:
                with suppress(OSError):
                    os.unlink(name)
        raise
    if "" not in suffixes:  # or the new one has taken its place, and all that belongs to it
        for suffix in suffixes:
            with suppress(OSError):  # it was moved over: who was told of an error would try that again
                os.unlink(path + suffix)


def remove(path: str, kind: str) -> None:
    """The files of a dbm, whose content isn't wanted."""
    for suffix in _SUFFIXES[kind]:
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)
