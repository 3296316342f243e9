"""The directory of a store: made private, checked for what doesn't belong, and locked for one process.

LOCK                       the lock, with the holder's pid
0000000000000001.seg ...   segments (format.py)
checkpoint                 a shortcut for the next opening (checkpoint.py)
damaged-*.bin              bytes that could not be read, kept for a person to look at
adopted-*                  another store, whose records are being moved here (slots.py)
*.tmp                      a file that was being written; removed at the next opening
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import weakref

from ... import telling
from ...errors import DiskError, StoreLocked, StoreRefused, UnsafeFilesystemWarning
from .disk import Disk, no_fork

LOCK = "LOCK"
ADOPTED = r"adopted-\d+-[0-9a-f]{8}"
CHECKPOINT = "checkpoint"
_SEGMENT = re.compile(r"\d{16}\.seg")
_OURS = re.compile(r"(\d{16}\.seg|checkpoint|damaged-.*\.bin)(\.tmp)?|LOCK|" + ADOPTED)
_HARMLESS = re.compile(r"\..*|lost\+found")  # what filesystems, editors and volumes leave
_UNSAFE_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "fuse.s3fs"})


def prepare(path: str, disk: Disk, trust: bool) -> None:
    """Make the directory, or see that the one that is there may hold a store; raises StoreRefused or DiskError.

    One that others own is refused unless `trust`; our own is made private (0700).
    """
    try:
        info = os.stat(path)
    except FileNotFoundError:
        _make(path, disk)
        return
    except OSError as error:
        raise refused(path, error, "open") from error
    if not stat.S_ISDIR(info.st_mode):
        raise StoreRefused(f"{path} is a file; a store is a directory: give the path of a new or empty directory")
    _check_content(path)
    if not trust:
        _make_private(path, info)
    with contextlib.suppress(OSError):  # a parent that we may not open was synced by whoever made the directory
        disk.sync_directory(os.path.dirname(path))


def prepare_parent(path: str, disk: Disk, trust: bool) -> None:
    """As `prepare`, for a directory of stores: whatever else is in it doesn't matter."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return _make(path, disk)
    except OSError as error:
        raise refused(path, error, "open") from error
    if not stat.S_ISDIR(info.st_mode):
        raise StoreRefused(f"{path} is a file, where a directory of stores is to be: move it away")
    if not trust:
        _make_private(path, info)


def _make(path: str, disk: Disk) -> None:
    """Make a directory and those above it that are missing, each synced into its parent."""
    parent = os.path.dirname(path)
    try:
        if not os.path.isdir(parent):
            _make(parent, disk)
        with contextlib.suppress(FileExistsError):  # another process makes the same one
            disk.mkdir(path)
        disk.sync_directory(parent)
    except OSError as error:
        raise refused(path, error, "make") from error


def refused(path: str, error: OSError, what: str) -> DiskError:
    """The error for a directory that the system doesn't let us use."""
    advice = _ADVICE.get(error.errno or 0, "give a directory that this user may create and write")
    return DiskError(
        error.errno, f"can't {what} the directory of the store: {os.strerror(error.errno or 0)}; {advice}", path
    )


_ADVICE = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space there",
    errno.EMFILE: "a store that is open takes two files: raise this process's limit (ulimit -n), or close some",
    errno.ENFILE: "the whole system's limit of open files is reached",
}


def _check_content(path: str) -> None:
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


def _make_private(path: str, info: os.stat_result) -> None:
    if not hasattr(os, "geteuid"):
        return  # Windows: the directory's access list is inherited from the user's own
    if info.st_uid != os.geteuid():
        raise StoreRefused(
            f"{path} belongs to user {info.st_uid}, and this process runs as user {os.geteuid()}: whoever owns it can "
            "read and change what is stored. Give a directory of your own, or pass trust_directory=True"
        )
    if info.st_mode & stat.S_ISVTX:
        raise StoreRefused(f"{path} is shared by all users (its sticky bit is set): give a directory below it")
    if info.st_mode & 0o077:
        try:
            os.chmod(path, 0o700)
        except OSError as error:
            raise refused(path, error, "make private") from error


class Hold:
    """The lock on a file, for as long as this object lives: whatever interrupts its holder lets go of it."""

    def __init__(self, file: str, disk: Disk) -> None:
        self.fd = disk.open(file, create=True)
        self._dropped = weakref.finalize(self, _let_go, disk, self.fd, os.getpid())
        self._dropped.atexit = False

    def close(self) -> None:
        """Let go of the lock."""
        end = self._dropped.detach()  # to call it would do nothing at the interpreter's end
        if end is not None:
            end[1](*end[2])

    def is_of(self, file: str) -> bool:
        """Whether that is the file that is locked, and not another one that has taken its place."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(file))
        except FileNotFoundError:
            return False


def _let_go(disk: Disk, fd: int, process: int) -> None:
    if process == os.getpid():  # a forked child has closed it already
        disk.close(fd)


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


def try_lock(file: str, disk: Disk, *, name: bool = True) -> Hold | None:
    """The lock; None where somebody has it. OSError.

    `name`: our pid is written to the file, for people.
    """
    with no_fork():
        hold = Hold(file, disk)
        taken = disk.lock(hold.fd)
    if not taken:
        hold.close()
        return None
    if name:
        with contextlib.suppress(OSError):  # a full disk must not keep a store shut
            disk.truncate(hold.fd, 0)
            disk.write(hold.fd, b"%d\n" % os.getpid(), 0)
    return hold


def holder(file: str) -> int | None:
    """The pid that a lock's file names: of its holder, or of the last one."""
    try:
        with open(file, "rb") as text:
            return int(text.read(32))
    except (OSError, ValueError):
        return None


def segment_files(path: str) -> dict[int, str]:
    """The segments in the directory: path by number, in order."""
    names = sorted(name for name in os.listdir(path) if _SEGMENT.fullmatch(name))
    return {int(name[:16]): os.path.join(path, name) for name in names}


def remove_leftovers(path: str, disk: Disk) -> None:
    """Remove what was being written when the last process died."""
    for name in os.listdir(path):
        if name.endswith(".tmp") and _OURS.fullmatch(name):
            with contextlib.suppress(OSError):
                disk.unlink(os.path.join(path, name))


def remove(path: str, disk: Disk) -> None:
    """Take the directory of a store away: the checkpoint first, which would tell that segments are missing, and the
    lock's file last, which others may wait for. Raises OSError."""
    for name in sorted(os.listdir(path), key=lambda name: (name == LOCK, name != CHECKPOINT, name)):
        disk.unlink(os.path.join(path, name))
    disk.rmdir(path)


def warn_unsafe_filesystem(path: str) -> None:
    """Say so where locks and fsync are not to be relied on."""
    kind = _filesystem(path)
    if kind in _UNSAFE_FILESYSTEMS:
        telling.warn(
            f"{path} lies on {kind}, a network filesystem: its locks and syncs are not to be relied on, and what is "
            "promised for a store does not hold there. Put the store on a local disk",
            UnsafeFilesystemWarning,
        )


def _filesystem(path: str) -> str:
    """The type of the filesystem, from the kernel's table of mounts (Linux; elsewhere unknown)."""
    return _filesystem_of(os.stat(path).st_dev)


@functools.lru_cache(maxsize=16)
def _filesystem_of(device: int) -> str:
    wanted = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        for line in table:
            fields = line.split()
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return ""
