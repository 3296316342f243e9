"""Who holds a lock, found out without taking it: whoever is about to take it must not run into somebody who only looks.

Linux lists all locks in /proc/locks. Elsewhere, and where that can't be read, a process that the lock's file names and
that lives is taken for the holder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from ._directory import holder

_LOCKS = "/proc/locks"


def holder_of(file: str) -> int | None:
    """The pid of the process that holds the lock on a file: None for nobody, 0 for one that can't be named."""
    try:
        info = os.stat(file)
    except OSError:
        return None
    named = holder(file)
    try:
        locks = list(_locks_on(info))
    except OSError:
        return named if named and _lives(named) else None
    for pid, here in locks:
        if here or (named is not None and pid == named):
            return pid if pid > 0 else named or 0  # of another namespace of pids: as it names itself
    return None


def holders_of(file: str) -> set[int]:
    """The pids of all processes that have locks on a file or on parts of it, as far as Linux lists them; 0 for those
    that can't be named. It isn't opened: who closes a file drops all such locks of its own process."""
    try:
        return {max(pid, 0) for pid, here in _locks_on(os.stat(file)) if here}
    except OSError:
        return set()


def users_of(files: list[str]) -> set[int]:
    """The pids of other processes that have one of these files open, as far as Linux shows them to this user."""
    wanted = {(info.st_dev, info.st_ino) for file in files if (info := _stat(file)) is not None}
    return {pid for pid in _others() if any(each in wanted for each in _open_files(pid))}


def is_written_here(files: list[str]) -> bool:
    """Whether this process has one of these files open for writing, as far as Linux shows it."""
    wanted = {(info.st_dev, info.st_ino) for file in files if (info := _stat(file)) is not None}
    with suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            info = _stat(f"/proc/self/fd/{name}")
            if info is not None and (info.st_dev, info.st_ino) in wanted and _is_writable(name):
                return True
    return False


def _is_writable(fd: str) -> bool:
    with suppress(OSError), open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as told:
        for line in told:
            if line.startswith("flags:"):
                return int(line.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY
    return False


def _others() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()]
    except OSError:
        return []


def _open_files(pid: int) -> Iterator[tuple[int, int]]:
    directory = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(directory):
            info = _stat(f"{directory}/{name}")
            if info is not None:
                yield info.st_dev, info.st_ino


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _locks_on(info: os.stat_result) -> Iterator[tuple[int, bool]]:
    """Who has locks on files of this inode, and whether the device is this one's, too, which some filesystems number
    in two ways. OSError."""
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
    with open(_LOCKS, encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if len(fields) < 6 or fields[1] == "->":  # somebody who waits for the lock
                continue
            on, _, inode = fields[5].rpartition(":")
            if inode == str(info.st_ino):
                yield int(fields[4]), on == device


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
