"""Adopted slots: stores inside the slot that found them without a holder, until their records have been moved over.

    0/adopted-3-91c0aa41    what was slot 3; whoever holds slot 0 has it, too

How far one has been moved over stands in a table of the slot that has it, in the same commit as the records themselves;
so does which of the slot's own records have yet to be put again, behind those.
One whose records are all there is marked as ended before its files go: they go one by one, and a part of them would
tell of records that were done long ago. An adopted slot in an adopted one (its holder died in the middle of it) is
lifted out, with what was noted of it there.

For the thread and process that hold the slot. What returns normally survives a power cut, but for the removal of files,
which is carried on by whoever holds the slot next.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import NamedTuple

from ... import telling
from ...errors import StoreError
from ...late import late
from ...store import Delete, Op, Set
from .._disk import Disk, ReadingDisk, disk_of, is_there
from . import directory as directories
from .store import SegmentStore

logger = telling.logger("pqadapters.home")

ADOPTED = re.compile(directories.ADOPTED)
_MOVED = "pqadapters.moved"  #: table: adopted slot -> JSON: {queue: id up to which it has been moved over}, or _ENDED
_ENDED = "ended"
_ASIDE = b"aside"  #: key in that table: JSON: [[first id, id behind the last], ...]

Spans = list[tuple[int, int]]  #: of ids: the first, and the one behind the last


class Estate(NamedTuple):
    """An adopted slot whose records are to be moved over."""

    name: str  #: in the slot that adopted it
    directory: str
    moved: dict[str, int]  #: queue -> the id up to which that has happened
    ended: bool  #: all of them: only its files are left


class Reading:
    """A store that nobody else opens, read as it is; `store` is None where it can't be read."""

    def __init__(self, directory: str) -> None:
        self.store: SegmentStore | None = None
        with contextlib.suppress(StoreError, OSError):
            self.store = SegmentStore(directory, disk=ReadingDisk(), trust_directory=True)

    def close(self) -> None:
        if self.store is not None:
            self.store.discard()


def open_estate(estate: Estate, *, repair: bool) -> SegmentStore:
    """An adopted slot, to be closed by `discard()`. It is only read; with `repair`, what is damaged in it is put aside
    in files of its own. Raises StoreError."""
    disk = disk_of(estate.directory, trust=True) if repair else ReadingDisk()
    return SegmentStore(estate.directory, disk=disk, trust_directory=True)


def adopted(directory: str) -> list[str]:
    """The names of the adopted slots in a slot; a file of such a name is none."""
    names = sorted(name for name in os.listdir(directory) if ADOPTED.fullmatch(name))
    return [name for name in names if os.path.isdir(os.path.join(directory, name))]


def estates(directory: str, store: SegmentStore) -> list[Estate]:
    """The adopted slots in the slot that we hold, and how far each has been moved over."""
    found = []
    for name in adopted(directory):
        mark = json.loads(store.get(_MOVED, name.encode()) or b"{}")
        moved = mark if isinstance(mark, dict) else {}
        found.append(Estate(name, os.path.join(directory, name), moved, mark == _ENDED))
    return found


def moved(estate: Estate) -> Set:
    """The operation that keeps in the slot's store how far an estate has been moved over."""
    return Set(_MOVED, estate.name.encode(), json.dumps(estate.moved).encode())


def ended(found: list[Estate]) -> list[Op]:
    """The operations that keep in the slot's store that there is nothing left to move, and nobody stands aside."""
    marks = [Set(_MOVED, estate.name.encode(), json.dumps(_ENDED).encode()) for estate in found if not estate.ended]
    return [*marks, Delete(_MOVED, _ASIDE)]


def standing_aside(store: SegmentStore) -> Spans:
    """Which records of the slot an adoption, that was broken off, hadn't put behind the others yet."""
    return [(first, behind) for first, behind in json.loads(store.get(_MOVED, _ASIDE) or b"[]")]


def stand_aside(spans: Spans) -> Set:
    """The operation that keeps them in the slot's store, until all that was adopted has been moved over."""
    return Set(_MOVED, _ASIDE, json.dumps(spans).encode())


def lift(directory: str, store: SegmentStore, disk: Disk) -> None:
    """Move adopted slots within adopted slots up to our own. Raises StoreError where our store can't take the notes."""
    names = adopted(directory)
    while names:
        name = names.pop()
        nested = adopted(os.path.join(directory, name))
        if nested:
            names += _lift(directory, name, nested, store, disk)


def _lift(directory: str, name: str, nested: list[str], store: SegmentStore, disk: Disk) -> list[str]:
    """Those that were lifted. Of one that can't be read it isn't known how far those in it were moved over."""
    source = os.path.join(directory, name)
    with contextlib.closing(Reading(source)) as reading:
        if reading.store is None:
            return []
        marks = [(each.encode(), reading.store.get(_MOVED, each.encode())) for each in nested]
    store.commit(*[Set(_MOVED, key, mark) for key, mark in marks if mark is not None])
    store.checkpoint()  # the notes are on the disk before what they are about is where they count
    try:
        for each in nested:
            disk.rename(os.path.join(source, each), os.path.join(directory, each))
        sync_move(source, directory, disk)
    except OSError as error:
        logger.warning("what is in %s can't be moved out of it yet: %s", source, error)
        return []
    return nested


def sync_move(source: str, target: str, disk: Disk) -> None:
    """Sync what was renamed from one directory into another: it must never be in neither."""
    disk.sync_directory(target)
    disk.sync_directory(source)


def bury(directory: str, store: SegmentStore, found: list[Estate], disk: Disk) -> None:
    """Take away adopted slots that have ended, which our store knows for sure; damaged bytes put aside are kept.

    What can't be removed is tried again by whoever adopts next. Raises StoreError, OSError.
    """
    for estate in found:
        try:
            _remove(estate, directory, disk)
        except OSError as error:
            logger.warning("%s can't be removed yet: %s", estate.directory, error)
    forget(directory, store, disk)


def forget(directory: str, store: SegmentStore, disk: Disk) -> None:
    """Forget what was noted of adopted slots that are gone. Raises StoreError, OSError."""
    marks = [key for key, _ in store.scan(_MOVED)]
    gone = [key for key in marks if not is_there(os.path.join(directory, os.fsdecode(key)))]
    if gone:
        disk.sync_directory(directory)  # a slot that came back after a power cut would have to find its mark
        store.commit(*[Delete(_MOVED, key) for key in gone])


def _remove(estate: Estate, directory: str, disk: Disk) -> None:
    names = os.listdir(estate.directory)
    if any(map(ADOPTED.fullmatch, names)):
        return  # it couldn't be lifted out
    damaged = [name for name in names if name.startswith("damaged-")]
    for name in damaged:
        target = f"damaged-of-{estate.name.removeprefix('adopted-')}-{name.removeprefix('damaged-')}"
        disk.rename(os.path.join(estate.directory, name), os.path.join(directory, target))
    if damaged:
        disk.sync_directory(directory)
    try:
        directories.remove(estate.directory, disk)
    except OSError:
        late("shutil").rmtree(estate.directory)
