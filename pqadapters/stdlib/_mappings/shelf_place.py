"""Where a shelf lives: a file, a table of a store, or a dbm file of the standard library that has its name."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

from ... import telling, wording
from ...errors import DiskError, NotDurableWarning, StoreError
from ...opening import begin_conversion, is_there, open_database, open_frozen
from ...store import Store
from .._where import is_url, open_where
from . import dbm as _dbm
from .dbm import ShelfError
from .table import Table

_TABLE = "shelf"
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def letter_of(flag: str) -> str:
    """The first letter; those behind it ("f", "s", "u") are dbm.gnu's, and have no meaning here."""
    if not isinstance(flag, str) or flag[:1] not in ("r", "w", "c", "n") or set(flag[1:]) - set("fsu"):
        raise ValueError(f"flag is 'r', 'w', 'c' or 'n', not {flag!r}")
    return flag[0]


def foreign(filename: Any, mode: str) -> tuple[str, str] | None:
    """Path and kind of a dbm file that is to be used as it is."""
    path = os.fsdecode(filename)
    kind = _dbm.kind_of(path)
    if not kind:
        return None
    if mode == "n":
        _remove(path)
        return None
    return path, kind


def _remove(path: str) -> None:
    """Not under who is moving it over: the file that he puts there would take the place of the new shelf."""
    with closing(begin_conversion(os.path.realpath(path))) as conversion:
        kind = _dbm.kind_of(path)
        if not kind:
            return
        try:
            _dbm.remove(path, kind)
        except BaseException:
            conversion.withdraw()
            raise


def as_it_is(path: str, kind: str, flag: str) -> Any:
    opened = _dbm.open_dbm(path, kind, flag)
    telling.warn(
        f"{path} is a file of {kind}: it is used as it is, and what was set may be lost in a crash. Move it over with "
        f"pqadapters.stdlib.shelve.migrate({path!r})",
        NotDurableWarning,
    )
    return opened


def open_table(filename: Any, mode: str, store: Any, options: dict[str, Any]) -> Table:
    if store is None and is_url(filename):
        return _table_in(filename, mode, "default", options)
    if store is not None:
        return _table_in(store, mode, os.fsdecode(filename), options)
    path = os.fsdecode(filename)
    kind = _dbm.kind_of(path)
    if kind:
        raise ShelfError(f"{path} is a file of {kind}: move it over with pqadapters.stdlib.shelve.migrate({path!r})")
    if mode in "rw" and (_is_missing(path) or (os.path.isfile(path) and not os.path.getsize(path))):
        raise ShelfError(f"there is no shelf {path}: open it with flag 'c' to make one")
    directory = os.path.dirname(path)
    if directory and _is_missing(directory):  # a mistyped path would be a new, empty shelf
        raise FileNotFoundError(errno.ENOENT, "there is no such directory; make it first", directory)
    try:
        opened, owned = open_where(path, None, options, what="the shelf's file", open_path=open_database)
    except DiskError as error:
        if mode != "r" or error.errno not in _NOT_WRITABLE:
            raise
        opened, owned = cast("Store", open_frozen(path)), True  # all that is asked of one that is only read
    return Table(opened, _TABLE, label=f"shelf {path}", owned=owned)


def _is_missing(path: str) -> bool:
    """Not where the system doesn't tell: that is for who opens it to say."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def _table_in(store: Any, mode: str, name: str, options: dict[str, Any]) -> Table:
    if mode in "rw" and isinstance(store, str) and not is_there(store):
        raise ShelfError(f"there is no store {wording.shown(store)}: open the shelf with flag 'c' to make one")
    opened, owned = open_where(None, store, options, what="the shelf's store", open_path=open_database)
    label = f"shelf {name!r} in {opened.place}"
    return Table(opened, f"{_TABLE}/{name}", label=label, owned=owned)


@contextmanager
def as_dbm_errors() -> Iterator[None]:
    """Raise what programs look for that open shelves: `dbm.error`, which stands for its own class and OSError."""
    try:
        yield
    except (ShelfError, OSError):
        raise
    except StoreError as error:
        raise ShelfError(str(error)) from error
