"""A dbm file of the standard library, as `shelve` makes it: looked at, made a shelf of ours, or moved elsewhere."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext, suppress

from ...stdlib import shelve
from ...stdlib._mappings.dbm import ShelfError, check_own, dbm_kind, kind_of
from ...stdlib._mappings.readable import pairs_in
from ...store import Damage, Store
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
    """What is in it; all of it is read. `own`: it has to be this user's, as when it is converted. Raises ShelfError."""
    path = os.path.realpath(path)
    kind = dbm_kind(path)
    if own:
        check_own(path, kind)
    damage = list[Damage]()
    with closing(pairs_in(path, kind, damage)) as pairs:
        count = sum(1 for _ in pairs)
    return Report(path, [Part("shelf", kind, {SET: count} if count else {})], damage)


def convert_shelf(path: str, *, progress: Progress) -> Report:
    """Make a shelf of ours of it: see `pqadapters.stdlib.shelve.migrate`. Raises ShelfError, StoreError."""
    path = os.path.realpath(path)
    kind = dbm_kind(path)
    damage = list[Damage]()
    count = shelve.migrate(path, progress=progress, damage=damage)
    report = Report(path, [Part("shelf", kind, {SET: count} if count else {})], damage)
    report.settle(f"{path}.old")
    return report


def move_shelf(path: str, store: Store, name: str, *, progress: Progress) -> Report:
    """Put it into the shelf of that name in another store; the file stays as it is. Raises StoreError."""
    path = os.path.realpath(path)
    kind = dbm_kind(path)
    table = Table(kind, SHELF, name)
    damage = list[Damage]()
    with goes_on(path), closing(pairs_in(path, kind, damage)) as pairs:
        counts = Mover(store, path, progress).move(table, (Item(key, value) for key, value in pairs))
    return Report(path, [Part(table.target, kind, counts)], damage)
