"""The directory of a store: made private, checked for what doesn't belong, and locked for one process.

LOCK                       the lock, with the holder's pid
0000000000000001.seg ...   segments (format.py)
checkpoint                 a shortcut for the next opening (checkpoint.py)
damaged-*.bin              bytes that could not be read, kept for a person to look at
adopted-*                  another store, whose records are being moved here (slots.py)
one of these with .tmp     a file that was being written; removed at the next opening
"""

from __future__ import annotations

import contextlib
import os
import re
import stat

from ... import telling
from ...errors import StoreLocked, StoreRefused, UnsafeFilesystemWarning
from .._directory import (
    SEGMENT,
    Hold,
    check_owner,
    holder,
    make,
    make_private,
    refused,
    sync_name,
    try_lock,
    unsafe_filesystem,
)
from .._disk import Disk

LOCK = "LOCK"
ADOPTED = r"adopted-\d+-[0-9a-f]{8}"
CHECKPOINT = "checkpoint"
_OURS = re.compile(r"(\d{16}\.seg|checkpoint|damaged-.*\.bin)(\.tmp)?|LOCK|" + ADOPTED)
_HARMLESS = re.compile(r"\..*|lost\+found")  # what filesystems, editors and volumes leave


def prepare(path: str, disk: Disk, trust: bool) -> None:
    """Make the directory, or see that the one that is there may hold a store; raises StoreRefused or DiskError.

    One that others own is refused unless `trust`; our own is made private (0700).
    """
    try:
        info = os.stat(path)
    except FileNotFoundError:
        make(path, disk)
        return
    except OSError as error:
        raise refused(path, error, "open") from error
    if not stat.S_ISDIR(info.st_mode):
        raise StoreRefused(f"{path} is a file; a store is a directory: give the path of a new or empty directory")
    names = check_content(path)
    if not trust and check_owner(path, info):
        if info.st_mode & 0o022:
            _check_owners(path, names)
        make_private(path, info)
    sync_name(path, disk)


def check_content(path: str) -> list[str]:
    """What is in the directory. Raises StoreRefused for what is no part of a store, DiskError."""
    try:
        names = os.listdir(path)
    except OSError as error:
        raise refused(path, error, "list") from error
    foreign = sorted(name for name in names if not _OURS.fullmatch(name) and not _HARMLESS.fullmatch(name))
    if foreign:
        raise StoreRefused(
            f"{path} holds {foreign[0]!r}, which is no part of a store"
            f"{f' (and {len(foreign) - 1} more)' if len(foreign) > 1 else ''}: "
            "give a directory of its own to the store, or move the file away"
        )
    return names


def _check_owners(path: str, names: list[str]) -> None:
    """Of the files in a directory that others could write: what they have put there would be taken for the store's."""
    for name in sorted(filter(_OURS.fullmatch, names)):
        try:
            owner = os.lstat(os.path.join(path, name)).st_uid
        except FileNotFoundError:
            continue
        except OSError as error:
            raise refused(path, error, f"look at {name} in") from error
        if owner != os.geteuid():
            raise StoreRefused(
                f"{path} can be written by others, and {name} in it belongs to user {owner}, not {os.geteuid()} as "
                "whom this process runs. If that is right, have its owner changed (chown), or pass "
                "trust_directory=True; else move it away"
            )


def lock(path: str, disk: Disk) -> Hold:
    """The directory's lock. Raises StoreLocked with the holder's pid, or DiskError."""
    file = os.path.join(path, LOCK)
    try:
        hold = try_lock(file, disk)
    except OSError as error:
        raise refused(path, error, "lock") from error
    if hold is None:
        pid = holder(file)
        raise StoreLocked(
            f"{path} is held by {f'process {pid}' if pid else 'another process'}: one process at a time may use a "
            "store in a directory. End that process, or give each its own directory",
            pid,
        )
    return hold


def segment_files(path: str) -> dict[int, str]:
    """The segments in the directory: path by number, in order."""
    names = sorted(name for name in os.listdir(path) if SEGMENT.fullmatch(name))
    return {int(name[:16]): os.path.join(path, name) for name in names}


def remove_leftovers(path: str, disk: Disk) -> None:
    """Remove what was being written when the last process died."""
    for name in os.listdir(path):
        if name.endswith(".tmp") and _OURS.fullmatch(name):
            with contextlib.suppress(OSError):
                disk.unlink(os.path.join(path, name))


def remove(path: str, disk: Disk) -> None:
    """Take the directory of a store away: the checkpoint first, which would tell that segments are missing, and the
    lock's file last, which others may wait for. A power cut keeps to that: no segment without those behind it, whose
    acknowledgements it needs. Raises OSError."""
    for name in sorted(os.listdir(path), key=lambda name: (name == LOCK, name != CHECKPOINT, name)):
        disk.unlink(os.path.join(path, name))
        if name == CHECKPOINT or name.endswith(".seg"):
            disk.sync_directory(path)
    disk.rmdir(path)


def warn_unsafe_filesystem(path: str) -> None:
    """Say so where locks and fsync are not to be relied on."""
    kind = unsafe_filesystem(path)
    if kind:
        telling.warn(
            f"{path} lies on {kind}, a network filesystem: its locks and syncs are not to be relied on, and what is "
            "promised for a store does not hold there. Put the store on a local disk",
            UnsafeFilesystemWarning,
        )
