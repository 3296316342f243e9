"""`FaultyDisk`: a disk that remembers what was done to it, and refuses what a test wants refused.

It works on real files, so the store above it is none the wiser; syncs are remembered and not carried out, for no test
pulls a real plug. What could be on the disk after a crash is worked out from the record by `states.py`.
Any thread may use it.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from pqadapters.stores._disk import Disk

#: What a disk does that outlives a call.
CHANGES = ("create", "write", "truncate", "allocate", "rename", "unlink", "mkdir")
SYNCS = ("sync", "sync_directory")


class Action(NamedTuple):
    """One call. `file` numbers files as they are made, so that a name which is used again is another file."""

    kind: str
    file: int = 0
    name: str = ""
    at: int = 0  #: offset of a write; size of a truncate or an allocate
    data: bytes = b""
    target: str = ""  #: new name of a rename


#: Asked before each call, with how many of its kind came before: what the system answers, or None.
Refusal = Callable[[Action, int], "Exception | None"]


class FaultyDisk(Disk):
    """Works on one directory. `before` is what stood in it, all of it on the disk."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.before: dict[str, bytes] = {}
        self.actions: list[Action] = []
        self.refuse: Refusal | None = None
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._files: dict[str, int] = {}
        self._open: dict[int, tuple[int, str]] = {}
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            with open(os.path.join(directory, name), "rb") as file:
                self.before[name] = file.read()
            self._files[name] = len(self._files) + 1
        self._last = len(self._files)

    # What tests ask

    def fail(self, kind: str, nth: int, code: int, times: int = 1) -> None:
        """Refuse the nth call of this kind from now on (0 is the next), and those behind it up to `times`."""
        first = self._counts[kind] + nth

        def refuse(action: Action, before: int) -> OSError | None:
            hit = action.kind == kind and first <= before < first + times
            return OSError(code, os.strerror(code)) if hit else None

        self.refuse = refuse

    def count(self, kind: str) -> int:
        return self._counts[kind]

    # What stores ask

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        with self._lock:
            name = os.path.basename(path)
            if create and name not in self._files:
                self._last += 1
                self._do(Action("create", self._last, name))
                self._files[name] = self._last
            fd = super().open(path, create=create, write=write)
            self._open[fd] = self._files[name], name
            return fd

    def close(self, fd: int) -> None:
        with self._lock:
            self._open.pop(fd, None)
            super().close(fd)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        with self._lock:
            file, name = self._open[fd]
            action = Action("write", file, name, offset, bytes(data))
            try:
                self._do(action)
            except OSError:
                half = action._replace(data=action.data[: len(data) // 2])  # the system took a part of it
                os.pwrite(fd, half.data, offset)
                self.actions.append(half)
                raise
            super().write(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:
            file, name = self._open[fd]
            self._do(Action("truncate", file, name, size))
            super().truncate(fd, size)

    def allocate(self, fd: int, size: int) -> None:
        with self._lock:
            file, name = self._open[fd]
            self._do(Action("allocate", file, name, size))
            if size > self.size(fd):
                super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        with self._lock:
            self._do(Action("sync", *self._open[fd]))

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        with self._lock:
            if os.path.realpath(path) == os.path.realpath(self.directory):
                self._do(Action("sync_directory"))

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            old, new = os.path.basename(source), os.path.basename(target)
            self._do(Action("rename", self._files[old], old, target=new))
            super().rename(source, target)
            self._files[new] = self._files.pop(old)

    def unlink(self, path: str) -> None:
        with self._lock:
            name = os.path.basename(path)
            if name not in self._files:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self._do(Action("unlink", self._files[name], name))
            super().unlink(path)
            del self._files[name]

    def mkdir(self, path: str) -> None:
        with self._lock:
            self._do(Action("mkdir", name=os.path.basename(path)))
            super().mkdir(path)

    def _do(self, action: Action) -> None:
        """Ask for a refusal; what isn't refused is remembered."""
        before = self._counts[action.kind]
        self._counts[action.kind] += 1
        error = self.refuse(action, before) if self.refuse is not None else None
        if error is not None:
            raise error
        self.actions.append(action)
