"""A dbm file of the standard library, as `shelve` makes it: looked at, made a shelf of ours, or moved elsewhere."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext, suppress

from ...stdlib import shelve
from ...stdlib._mappings.dbm import ShelfError, check_own, dbm_kind, kind_of, open_dbm, pairs_of
from ...store import Store
from .moving import Mover, goes_on
from .report import Part, Progress, Report
from .rows import SET, Item
from .tables import SHELF, Table


def is_shelf(path: str) -> bool:
    """Whether there is a dbm file under that name; the names of its files may go on behind it. Raises ShelfError where
    those seem to be damaged; what has the very name is another program's then."""
    with suppress(ShelfError) if os.path.isfile(path) else nullcontext():
        return bool(kind_of(path))
    return False


def look_at_shelf(path: str, *, own: bool) -> Report:
    """What is in it; all of it is read. `own`: it has to be this user's, as when it is converted. Raises ShelfError,
    also where it is damaged."""
    path = os.path.realpath(path)
    kind = dbm_kind(path)
    if own:
        check_own(path, kind)
    with closing(open_dbm(path, kind, "r")) as database:
        count = sum(1 for _ in pairs_of(database, path, kind))
    return Report(path, [Part("shelf", kind, {SET: count} if count else {})])


def convert_shelf(path: str, *, progress: Progress) -> Report:
    """Make a shelf of ours of it: see `pqadapters.stdlib.shelve.migrate`. Raises ShelfError, StoreError."""
    path = os.path.realpath(path)
    kind = dbm_kind(path)
    count = shelve.migrate(path, progress=progress)
    return Report(path, [Part("shelf", kind, {SET: count} if count else {})], kept=f"{path}.old")


def move_shelf(path: str, store: Store, name: str, *, progress: Progress) -> Report:
    """Put it into the shelf of that name in another store; the file stays as it is. Raises StoreError."""
    path = os.path.realpath(path)
    kind = dbm_kind(path)
    table = Table(kind, SHELF, name)
    with goes_on(path), closing(open_dbm(path, kind, "r")) as database:
        items = (Item(key, value) for key, value in pairs_of(database, path, kind))
        counts = Mover(store, path, progress).move(table, items)
    return Report(path, [Part(table.target, kind, counts)])
