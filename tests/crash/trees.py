"""`TreeDisk`: as `FaultyDisk`, for a tree of directories in which whole directories are renamed.

It remembers what was done to it, and can end its process or refuse at the nth change. What a power cut may leave is
worked out from the record: a change that no sync covers has happened or hasn't, each by itself. A rename between two
directories is one change, which the sync of either covers; a write is lost whole (`states.py` tears sectors).
"""

from __future__ import annotations

import errno
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pqadapters.stores._disk import Disk

Entries = dict[int, dict[str, int]]  #: directory -> name -> file or directory
Keep = Callable[[int], bool]


class Change(NamedTuple):
    """One call. Files and directories go by numbers, which stay theirs when names change."""

    kind: str  #: "link" (made, or renamed), "unlink" (a file or a directory), "write", "size", "sync"
    node: int
    before: tuple[int, str] | None = None  #: the entry that goes: directory and name
    after: tuple[int, str] | None = None  #: the entry that comes
    at: int = 0  #: offset of a write, size
    data: bytes = b""

    @property
    def synced_by(self) -> set[int]:
        """Whose sync covers it."""
        places = {place[0] for place in (self.before, self.after) if place is not None}
        return places or {self.node}


class TreeDisk(Disk):
    """Works on the tree below one directory, which is there. Syncs are remembered and not carried out."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self.changes: list[Change] = []
        self.before: Callable[[int, Change], None] = lambda at, change: None  #: called before each change
        self.refused: list[Change] = []
        self._last = 0
        self._entries: Entries = {0: {}}
        self._open: dict[int, int] = {}
        self.contents: dict[int, bytes] = {}
        self._read(self.root, 0)
        self.entries = {node: dict(names) for node, names in self._entries.items()}

    def _read(self, directory: str, node: int) -> None:
        for name in sorted(os.listdir(directory)):
            path = os.path.join(directory, name)
            child = self._entries[node][name] = self._new(os.path.isdir(path))
            if child in self._entries:
                self._read(path, child)
            else:
                self.contents[child] = Path(path).read_bytes()

    def _new(self, directory: bool) -> int:
        self._last += 1
        if directory:
            self._entries[self._last] = {}
        return self._last

    def _place(self, path: str) -> tuple[int, str]:
        """The directory and the name of a path."""
        *above, name = os.path.relpath(path, self.root).split(os.sep)
        node = 0
        for part in above:
            node = self._entries[node][part]
        return node, name

    def _do(self, change: Change) -> None:
        self.before(len(self.changes), change)
        self.changes.append(change)
        if change.before is not None and self._entries[change.before[0]].get(change.before[1]) == change.node:
            del self._entries[change.before[0]][change.before[1]]
        if change.after is not None:
            self._entries[change.after[0]][change.after[1]] = change.node

    # What stores ask

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        if create and not os.path.exists(path):
            self._do(Change("link", self._new(directory=False), after=self._place(path)))
        fd = super().open(path, create=create, write=write)
        directory, name = self._place(path)
        self._open[fd] = self._entries[directory][name]
        return fd

    def write(self, fd: int, data: bytes, offset: int) -> None:
        self._do(Change("write", self._open[fd], at=offset, data=bytes(data)))
        super().write(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        self._do(Change("size", self._open[fd], at=size))
        super().truncate(fd, size)

    def allocate(self, fd: int, size: int) -> None:
        if size > self.size(fd):
            self._do(Change("size", self._open[fd], at=size))
            super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self._do(Change("sync", self._open[fd]))

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        if os.path.realpath(path) == self.root:
            self._do(Change("sync", 0))
        elif os.path.realpath(path).startswith(self.root + os.sep):
            directory, name = self._place(path)
            self._do(Change("sync", self._entries[directory][name]))

    def rename(self, source: str, target: str) -> None:
        before, after = self._place(source), self._place(target)
        self._do(Change("link", self._entries[before[0]][before[1]], before, after))
        super().rename(source, target)

    def link(self, source: str, target: str) -> None:
        directory, name = self._place(source)
        self._do(Change("link", self._entries[directory][name], after=self._place(target)))
        super().link(source, target)

    def unlink(self, path: str) -> None:
        self._remove(path)
        super().unlink(path)

    def rmdir(self, path: str) -> None:
        self._remove(path)
        super().rmdir(path)

    def _remove(self, path: str) -> None:
        directory, name = self._place(path)
        if name not in self._entries[directory]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self._do(Change("unlink", self._entries[directory][name], before=(directory, name)))

    def mkdir(self, path: str) -> None:
        self._do(Change("link", self._new(directory=True), after=self._place(path)))
        super().mkdir(path)


def die_at(disk: TreeDisk, nth: int) -> None:
    """The process is killed before the nth change; of a write half is done then."""

    def die(at: int, change: Change) -> None:
        if at == nth:
            if change.kind == "write":
                fd = next(fd for fd, node in disk._open.items() if node == change.node)
                os.pwrite(fd, change.data[: len(change.data) // 2], change.at)
            os.kill(os.getpid(), signal.SIGKILL)

    disk.before = die


def refuse_at(disk: TreeDisk, nth: int, code: int, times: int = 1) -> None:
    """The nth change is refused, and those behind it up to `times`."""

    def refuse(at: int, change: Change) -> None:
        nonlocal times
        if at >= nth and times:
            times -= 1
            disk.refused.append(change)
            raise OSError(code, os.strerror(code))

    disk.before = refuse


# Power cuts


def power_cuts(disk: TreeDisk, count: int, rng: random.Random, samples: int) -> Iterator[Keep]:
    """Which of the first `count` changes the disk has: those that were synced, and of the others some."""
    changes, durable = disk.changes[:count], _durable(disk.changes[:count])
    names = {at for at in range(count) if changes[at].kind in ("link", "unlink")}
    choices: list[set[int]] = [set(), set(range(count)), names, set(range(count)) - names]
    for _ in range(samples):
        chance = rng.random()
        choices.append({at for at in range(count) if rng.random() < chance})
    for chosen in choices:
        yield (chosen | durable).__contains__


def one_by_one(disk: TreeDisk, count: int) -> Iterator[Keep]:
    """As `power_cuts`: of what wasn't synced one change alone, and all but that one, for each of them."""
    changes, durable = disk.changes[:count], _durable(disk.changes[:count])
    for at in set(range(count)) - durable:
        if changes[at].kind != "sync":
            yield ({at} | durable).__contains__
            yield (set(range(count)) - {at}).__contains__


def _durable(changes: list[Change]) -> set[int]:
    synced: set[int] = set()
    durable = set()
    for at in reversed(range(len(changes))):
        if changes[at].kind == "sync":
            synced.add(changes[at].node)
        elif changes[at].synced_by & synced:
            durable.add(at)
    return durable


def build(disk: TreeDisk, count: int, keep: Keep, target: Path) -> None:
    """The tree after the first `count` changes as far as they are kept, in a new directory."""
    entries = {node: dict(names) for node, names in disk.entries.items()}
    contents = {node: bytearray(data) for node, data in disk.contents.items()}
    for at, change in enumerate(disk.changes[:count]):
        if not keep(at):
            continue
        if change.before is not None and entries.get(change.before[0], {}).get(change.before[1]) == change.node:
            del entries[change.before[0]][change.before[1]]
        if change.after is not None:
            entries.setdefault(change.after[0], {})[change.after[1]] = change.node
        _change_content(change, contents)
    _write(0, target, entries, contents, set(disk._entries))


def _change_content(change: Change, contents: dict[int, bytearray]) -> None:
    if change.kind in ("write", "size"):
        data = contents.setdefault(change.node, bytearray())
        data.extend(bytes(max(0, change.at - len(data))))
        if change.kind == "size":
            del data[change.at :]
        else:
            data[change.at : change.at + len(change.data)] = change.data


def _write(node: int, path: Path, entries: Entries, contents: dict[int, bytearray], directories: set[int]) -> None:
    path.mkdir(mode=0o700)
    for name, child in entries.get(node, {}).items():
        if child in directories:
            _write(child, path / name, entries, contents, directories)
        else:
            (path / name).write_bytes(contents.get(child, b""))
