"""Looking at a directory that another process may hold and write at that moment, and at the slots in one.

Nothing is changed and no lock is taken. The files are read as a crash would have left them: what is in the middle of
being written counts as never written. A segment that is deleted meanwhile, or bytes that were read before and behind a
write and so make no sense together, are no reason to worry: the look is taken again. What is damaged is so each time.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from ... import telling
from ...errors import DiskError, StoreError, StoreRefused
from ...sight import Sight
from ...store import Damage, Depth, Record, State
from .._disk import ReadingDisk
from .._holders import holder_of
from . import directory as directories
from . import format
from .estates import ADOPTED
from .slots import SLOT
from .store import SegmentStore

T = TypeVar("T")
_TRIES = 100


class SegmentSight:
    """One reading of the directory."""

    kind = "directory"
    version = format.VERSION
    hosts: Sequence[str] = ()

    def __init__(self, directory: str) -> None:
        pid = holder_of(os.path.join(directory, directories.LOCK))
        self.pids: Sequence[int] = [] if pid is None else [pid]
        with telling.silence():
            self._store = SegmentStore(directory, disk=ReadingDisk(), trust_directory=True)
        self._core = self._store._core
        self._queues, self._tables = list(self._core.catalog.queues), list(self._core.catalog.tables)

    @property
    def place(self) -> str:
        return self._store.place

    @property
    def damage(self) -> Sequence[Damage]:
        kept = sorted(name for name in os.listdir(self.place) if name.startswith("damaged-"))
        earlier = [os.path.join(self.place, name) for name in kept]
        return [
            *(each._replace(quarantine="") for each in self.found),
            *(Damage(self.place, 0, os.path.getsize(path), "put aside", path) for path in earlier),
        ]

    @property
    def found(self) -> tuple[Damage, ...]:
        """What this reading couldn't make sense of."""
        return tuple(self._store.damage)

    def queues(self) -> list[str]:
        return list(self._queues)

    def tables(self) -> list[str]:
        return list(self._tables)

    def depth(self, queue: str) -> Depth:
        return self._store.depth(queue)

    def browse(self, queue: str, *, state: State | None) -> Iterator[Record]:
        return self._store.browse(queue, state=state)

    def count(self, table: str) -> int:
        return self._store.count(table)

    def close(self) -> None:
        self._store.discard()


def is_store(directory: str) -> bool:
    """Whether there is a store in the directory. Raises DiskError where it can't be listed."""
    return any(name == directories.CHECKPOINT or name.endswith(".seg") for name in _names(directory))


def see(directory: str, look: Callable[[Sight], T]) -> T:
    """What `look` makes of the store, which must take from it all that it needs. Raises StoreError."""
    if not is_store(directory):
        raise StoreRefused(f"{directory} is a directory in which there is no store")
    damage: tuple[Damage, ...] | None = None
    for _ in range(_TRIES):
        before = _state(directory)
        try:
            with closing(SegmentSight(directory)) as sight:
                found, now = look(sight), sight.found
        except (StoreError, OSError) as error:
            if not (_is_of_a_move(error) or _state(directory) != before):
                raise
            damage = None
            continue
        if not now or (now == damage and _state(directory) == before):
            return found
        damage = now
    raise StoreError(f"{directory} changes faster than it can be read: look at it again")


def slot_directories(directory: str) -> list[str]:
    """The slots in a directory of slots, each before those that it has adopted; [] where there are none."""
    numbers = sorted((name for name in _names(directory) if SLOT.fullmatch(name)), key=int)
    found: list[str] = []
    for name in numbers:
        found += _with_adopted(os.path.join(directory, name))
    return found


def _with_adopted(directory: str) -> list[str]:
    names = sorted(filter(ADOPTED.fullmatch, _names(directory)))
    nested = [_with_adopted(os.path.join(directory, name)) for name in names]
    return [directory, *(each for group in nested for each in group)]


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DiskError(error.errno, f"can't be listed: {os.strerror(error.errno or 0)}", directory) from error


def _state(directory: str) -> list[str]:
    """What changes when the holder begins a segment, removes one, or writes a checkpoint."""
    names = sorted(name for name in _names(directory) if name != directories.LOCK)
    try:
        saved = os.stat(os.path.join(directory, directories.CHECKPOINT))
    except OSError:
        return names
    return [*names, f"{saved.st_ino} {saved.st_mtime_ns}"]


def _is_of_a_move(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOENT
