"""A file queue of persist-queue's: looked at, converted in place, or moved into another store.

In place: its items go into a new store inside of the directory; once that is whole and on the disk it takes the place
of the old files, which go into `NAME.persist-queue` beside the directory. Whoever is killed on the way leaves the old
files as they were, or the new store, which the next opening finishes. The directory is locked meanwhile; persist-queue
has no locks, so a process that has the old files open is looked for (Linux shows those of the same user).
"""

from __future__ import annotations

import os
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from ... import telling
from ...errors import StoreLocked, StoreRefused
from ...opening import (
    is_directory_store,
    is_unfinished,
    is_written_here,
    open_path,
    take_over_directory,
    users_of,
)
from ...serializers import Serializer
from ...store import Clear, Store
from .chunks import INFO, FileQueue, chunks_in, guess, is_theirs, writers_of
from .databases import SUFFIX, quiet, room_for
from .framing import framing_of, name_of
from .moving import MOVED, Mover, goes_on
from .report import Part, Progress, Report
from .rows import WAITING
from .tables import FILES, Table
from .turns import turn

if TYPE_CHECKING:
    from ...stores.segment.predecessor import Predecessor

_log = telling.logger("pqadapters.conversion")
QUEUE = "default"
_HARMLESS = ("LOCK", "lost+found")


def is_file_queue(directory: str) -> bool:
    """Whether persist-queue wrote what is in the directory, or it is being converted. Raises StoreRefused where that is
    somebody else's."""
    if not os.path.isdir(directory):
        return False
    owner = os.stat(directory).st_uid
    mine = not hasattr(os, "geteuid") or owner == os.geteuid()
    if not mine and not os.access(directory, os.R_OK | os.X_OK):
        return False
    if not (chunks_in(directory) or is_unfinished(directory)):
        return False
    if not mine:
        raise StoreRefused(
            f"{directory} is a file queue of persist-queue that belongs to user {owner}, and this process runs as user "
            f"{os.geteuid()}. It was left as it is: convert it as that user"
        )
    return True


def convert_directory(directory: str, serializer: Serializer, *, progress: Progress = quiet) -> Report | None:
    """Make a store of ours of a file queue; None where it is one by now.

    Raises StoreRefused where there is something else in it, or nothing can be read by the serializer; StoreLocked where
    others use it, DiskError: then it is as it was.
    """
    directory = os.path.realpath(directory)
    with turn(), closing(take_over_directory(directory, is_theirs)) as old:
        if not chunks_in(directory):
            return None
        if is_directory_store(directory) and not os.path.lexists(os.path.join(directory, INFO)):
            _set_aside(directory, old)
            return None
        try:
            _check(directory)
            return _convert(directory, old, serializer, progress)
        except BaseException:
            old.give_up()
            raise


def _set_aside(directory: str, old: Predecessor) -> None:
    """Chunks without an `info`, beside a store of ours: persist-queue was opened here, put nothing to its end, and
    would read nothing of them."""
    _check_unused(directory)
    names = ", ".join(sorted(filter(is_theirs, os.listdir(directory))))
    kept = old.set_aside(SUFFIX)
    _log.warning(
        "%s: files of persist-queue's, beside the store, that it has no %s for, were moved to %s: %s",
        directory,
        INFO,
        kept,
        names,
    )


def _convert(directory: str, old: Predecessor, serializer: Serializer, progress: Progress) -> Report:
    before, source, new = _state(directory), _opened(directory, serializer), old.begin()
    with room_for(directory), open_path(new, durability="process") as store:
        part = _moved(source, serializer, store, QUEUE, progress)
        store.commit(Clear(MOVED))
        store.checkpoint()
    _check(directory, before)
    kept = old.hand_over(SUFFIX)
    report = Report(directory, [part], source.damage)
    report.settle(kept)
    report.tell()
    return report


def move_directory(
    directory: str, serializer: Serializer, store: Store, queue: str, *, progress: Progress = quiet
) -> Report:
    """Put its items into a queue of another store; the directory stays as it is. What was broken off goes on where it
    was. Raises StoreError, ValueError for pickles that would have to be signed."""
    directory = os.path.realpath(directory)
    if is_unfinished(directory):
        raise StoreRefused(
            f"{directory} is being converted in its place, and that was broken off: open it, or call pqadapters "
            "migrate without --to, which ends it"
        )
    _check(directory)
    before, source = _state(directory), _opened(directory, serializer)
    with goes_on(directory):
        part = _moved(source, serializer, store, queue, progress)
    _check(directory, before)
    return Report(directory, [part], source.damage)


def look_at_directory(directory: str, serializer: Serializer) -> Report:
    """What is in it; nothing is changed. Raises StoreRefused, DiskError."""
    directory = os.path.realpath(directory)
    _check(directory)
    source = _opened(directory, serializer)
    count = sum(1 for _ in source.items())
    _check_read(source, count, serializer)
    return Report(directory, [Part(QUEUE, "file queue", {WAITING: count} if count else {})], source.damage)


def _opened(directory: str, serializer: Serializer) -> FileQueue:
    """Raises StoreRefused where its `info` is another serializer's: items of both may look alike."""
    source = FileQueue(directory, framing_of(serializer))
    words = writers_of(directory) if source.info is None else []
    if words:
        raise StoreRefused(
            f"{directory} is a file queue of persist-queue, and its {INFO} can't be read by the serializer that was "
            f"given; it seems to be {words[0]}'s. It was left as it is"
        )
    return source


def _moved(source: FileQueue, serializer: Serializer, store: Store, queue: str, progress: Progress) -> Part:
    mover = Mover(store, source.directory, progress)
    counts = mover.move(Table("file queue", FILES, queue), source.items())
    _check_read(source, sum(counts.values()), serializer)
    return Part(queue, "file queue", counts)


def _check_read(source: FileQueue, count: int, serializer: Serializer) -> None:
    """Raises StoreRefused where nothing of it could be read: it may well be another serializer's. An `info` that could
    is by this one, and all that is left is damaged; but a program's own may fail for all items and read numbers, as
    where their module is missing."""
    known = source.info is not None and name_of(serializer) is not None
    if source.damage and not known and not count and not source.is_blank():
        words = guess(source.directory)
        seems = f"; it seems to be {words}'s" if words and words != name_of(serializer) else ""
        where = source.damage[-1]
        raise StoreRefused(
            f"{source.directory} is a file queue of persist-queue, and none of its items can be read by the serializer "
            f"that was given{seems} ({where.path} at {where.offset}: {where.reason}). It was left as it is: give the "
            "serializer that has written it, or, if this one has, move the directory away"
        )


def _state(directory: str) -> set[tuple[str, int, int, int]]:
    """What changes when persist-queue puts, or a get is done."""
    found = set()
    for name in filter(is_theirs, os.listdir(directory)):
        with suppress(FileNotFoundError):  # at this moment
            info = os.stat(os.path.join(directory, name))
            found.add((name, info.st_ino, info.st_size, info.st_mtime_ns))
    return found


def _check(directory: str, before: set[tuple[str, int, int, int]] | None = None) -> None:
    """Raises StoreRefused where there is more in it, StoreLocked where another process has its files open, or has
    changed them since they were as `before`."""
    names = [name for name in os.listdir(directory) if not name.startswith(".")]
    others = sorted(name for name in names if not is_theirs(name) and name not in _HARMLESS)
    if others:
        raise StoreRefused(
            f"{directory} is a file queue of persist-queue, and holds {others[0]!r} as well"
            f"{' (and what a store of ours had: persist-queue has been used on it)' * is_directory_store(directory)}: "
            "move that away, or the queue"
        )
    _check_unused(directory)
    if before is not None and _state(directory) != before:
        raise StoreLocked(f"{directory} was changed by another program meanwhile: end that first")


def _check_unused(directory: str) -> None:
    chunks = list(chunks_in(directory).values())
    if is_written_here(chunks):
        raise StoreLocked(
            f"{directory} is a file queue that this program has open by another library, persist-queue itself: drop "
            "that object first",
            os.getpid(),
        )
    pids = users_of(chunks)
    if pids:
        raise StoreLocked(
            f"{directory} is a file queue that process {min(pids)} has open, and would be taken away under it: end "
            "that process first",
            min(pids),
        )
