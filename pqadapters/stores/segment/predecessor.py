"""A directory of another program's files, whose place a store is to take; they are kept in a directory beside it.

    .converting   the store that is being made, with its files; whoever finds one without `.converted` makes it anew
    .converted    the same, whole and on the disk: from the moment that it has this name the store is what counts.
                  Its files go up into the directory, then those of the other program go where they are kept

Until then the other program's files are as they were. As long as one of them is there, nobody takes the directory for
a store; `finish` carries on with what was broken off. One process at a time holds the directory's lock.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress

from ... import telling
from ...errors import DiskError
from .._directory import check_unshared, refused
from .._disk import Disk, is_there
from .._kept import free_name
from . import directory as directories

logger = telling.logger("pqadapters.conversion")
BUILDING, READY = ".converting", ".converted"
#: In it: the directory where the other program's files go, as a path from the one that they are in, and their sizes.
_NOTE = "kept"
_OURS = (_NOTE, directories.LOCK)

IsTheirs = Callable[[str], bool]  #: whether a file of that name is the other program's


class Predecessor:
    """To be closed."""

    def __init__(self, directory: str, is_theirs: IsTheirs, *, disk: Disk | None = None) -> None:
        """Raises StoreLocked with the holder's pid, StoreRefused where no store may be, DiskError. What was broken off
        is finished."""
        if os.path.isdir(directory):
            check_unshared(directory, os.stat(directory))
        self.directory, self._is_theirs, self._disk = directory, is_theirs, disk or Disk()
        self._hold = directories.lock(directory, self._disk)
        try:
            _finish_locked(directory, is_theirs, self._disk)
        except BaseException:
            self.close()
            raise

    def begin(self) -> str:
        """The directory for a new store: it isn't there."""
        building = os.path.join(self.directory, BUILDING)
        shutil.rmtree(building, ignore_errors=True)
        return building

    def hand_over(self, suffix: str) -> str:
        """The store, which is closed, takes the place of the other program's files. They are kept beside the directory
        under its name with this suffix, or where nothing can be put there, inside, under the suffix alone.

        Returns where. Raises DiskError; then the other program's files are as they were, or the next opening finishes.
        """
        building, disk = os.path.join(self.directory, BUILDING), self._disk
        try:
            kept = self._place(suffix)
            sizes = json.dumps(_sizes(self.directory, self._is_theirs))
            _write(os.path.join(building, _NOTE), f"{os.path.relpath(kept, self.directory)}\0{sizes}", disk)
            for name in os.listdir(building):
                disk.sync_file(os.path.join(building, name))
            disk.sync_directory(building)
            disk.rename(building, os.path.join(self.directory, READY))
            disk.sync_directory(self.directory)
            _finish_locked(self.directory, self._is_theirs, disk)
            return kept
        except OSError as error:
            raise _refused(self.directory, error) from error

    def set_aside(self, suffix: str) -> str:
        """There is a store already: the other program's files go where `hand_over` would keep them. Returns where."""
        try:
            kept = self._place(suffix)
            _move_theirs(self.directory, kept, self._is_theirs, self._disk)
            return kept
        except OSError as error:
            raise _refused(self.directory, error) from error

    def _place(self, suffix: str) -> str:
        """A directory on the same filesystem, made. A directory that is a volume has none beside it."""
        beside, inside = (free_name(path) for path in (self.directory + suffix, os.path.join(self.directory, suffix)))
        disk = self._disk
        with suppress(OSError):
            if not os.path.isdir(beside):
                disk.mkdir(beside)
        if os.path.isdir(beside):
            if os.stat(beside).st_dev == os.stat(self.directory).st_dev:
                disk.sync_directory(os.path.dirname(beside))
                return beside
            disk.rmdir(beside)
        if not os.path.isdir(inside):
            disk.mkdir(inside)
        return inside

    def give_up(self) -> None:
        """The directory is as it was."""
        shutil.rmtree(os.path.join(self.directory, BUILDING), ignore_errors=True)
        if not is_unfinished(self.directory) and not directories.segment_files(self.directory):
            with suppress(OSError):
                self._disk.unlink(os.path.join(self.directory, directories.LOCK))

    def close(self) -> None:
        """Let go of the lock."""
        self._hold.close()


def is_unfinished(directory: str) -> bool:
    """Whether a conversion was broken off at its end. Raises DiskError where the system doesn't tell."""
    try:
        return is_there(os.path.join(directory, READY))
    except OSError as error:
        raise _refused(directory, error) from error


def _finish_locked(directory: str, is_theirs: IsTheirs, disk: Disk) -> None:
    """Each step may have been done before."""
    ready = os.path.join(directory, READY)
    try:
        if not is_there(ready):
            return
        names = os.listdir(ready)
        if _NOTE in names:
            where, _, sizes = _read(os.path.join(ready, _NOTE), disk).partition("\0")
            kept = os.path.normpath(os.path.join(directory, where))
            _move_up(ready, names, directory, disk)
            if sizes:
                _tell_of_late_ones(directory, kept, json.loads(sizes), is_theirs)
            _move_theirs(directory, kept, is_theirs, disk)
        for name in _OURS:
            with suppress(FileNotFoundError):
                disk.unlink(os.path.join(ready, name))
        disk.rmdir(ready)
        disk.sync_directory(directory)
    except OSError as error:
        raise _refused(directory, error) from error


def _move_up(ready: str, names: list[str], directory: str, disk: Disk) -> None:
    """The checkpoint last, which would tell that segments are missing."""
    for name in sorted(names, key=lambda name: (name == directories.CHECKPOINT, name)):
        if name not in _OURS:
            disk.rename(os.path.join(ready, name), os.path.join(directory, name))
    disk.sync_directory(directory)


def _sizes(directory: str, is_theirs: IsTheirs) -> dict[str, int]:
    """Of the other program's files."""
    names = sorted(filter(is_theirs, os.listdir(directory)))
    return {name: os.path.getsize(os.path.join(directory, name)) for name in names}


def _tell_of_late_ones(directory: str, kept: str, sizes: dict[str, int], is_theirs: IsTheirs) -> None:
    """The other program may have been used between the crash of a conversion and this, its end."""
    late = [name for name, size in _sizes(directory, is_theirs).items() if sizes.get(name) != size]
    if late:
        logger.error(
            "%s was used by another program after a conversion was broken off, and before it was ended: what was put "
            "there since isn't in the store, but in %s (%s)",
            directory,
            kept,
            ", ".join(late),
        )


def _move_theirs(directory: str, kept: str, is_theirs: IsTheirs, disk: Disk) -> None:
    if not os.path.isdir(kept):  # somebody has taken it away
        disk.mkdir(kept)
    for name in sorted(filter(is_theirs, os.listdir(directory))):
        disk.rename(os.path.join(directory, name), free_name(os.path.join(kept, name)))
    disk.sync_directory(kept)
    disk.sync_directory(directory)


def _write(path: str, text: str, disk: Disk) -> None:
    fd = disk.open(path, create=True)
    try:
        disk.write(fd, os.fsencode(text), 0)
    finally:
        disk.close(fd)


def _read(path: str, disk: Disk) -> str:
    fd = disk.open(path, write=False)
    try:
        return os.fsdecode(disk.read(fd, disk.size(fd), 0))
    finally:
        disk.close(fd)


def _refused(directory: str, error: OSError) -> DiskError:
    if isinstance(error, DiskError):
        return error
    return refused(directory, error, "put a store into")
