"""Who holds a lock, found out without taking it: whoever is about to take it must not run into somebody who only looks.

Linux lists all locks in /proc/locks. Elsewhere, and where that can't be read, a process that the lock's file names and
that lives is taken for the holder.
"""

from __future__ import annotations

import os

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
        with open(_LOCKS, encoding="ascii") as table:
            lines = [line.split() for line in table]
    except OSError:
        return named if named and _lives(named) else None
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
    for fields in lines:
        if len(fields) < 6 or fields[1] == "->":  # somebody who waits for the lock
            continue
        pid, (on, _, inode) = int(fields[4]), fields[5].rpartition(":")
        if inode == str(info.st_ino) and (on == device or (named is not None and pid == named)):
            return pid if pid > 0 else named or 0  # of another namespace of pids: as it names itself
    return None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
