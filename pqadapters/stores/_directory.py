"""Directories of stores: made, made private, locked; and the filesystems on which locks are not to be relied on."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import weakref
from collections.abc import Callable

from ..apart import insist
from ..clock import SYSTEM
from ..errors import DiskError, StoreRefused
from ..interrupts import SuppressRefusals, check_refusal
from ._disk import Disk, disk_of, no_fork, open_file

SEGMENT = re.compile(r"\d{16}\.seg")  #: a file of a store in a directory
STOPPED = 1.0  #: seconds between two tries in which this process was stopped, or had no processor
_OBJECT_STORES = frozenset(f"fuse.{each}" for each in ("s3fs", "rclone", "gcsfuse", "goofys", "blobfuse", "blobfuse2"))
_UNSAFE_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs"}) | _OBJECT_STORES


def prepare_parent(path: str, disk: Disk, trust: bool, is_ours: Callable[[], bool] = lambda: True) -> None:
    """As `prepare`, for a directory of stores: whatever else is in it doesn't matter. One that isn't ours alone is left
    as open as it is: others read there what isn't the stores'."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return make(path, disk)
    except OSError as error:
        raise refused(path, error, "open") from error
    if not stat.S_ISDIR(info.st_mode):
        raise StoreRefused(f"{path} is a file, where a directory of stores is to be: move it away")
    if not trust and check_owner(path, info) and is_ours():
        make_private(path, info)
    sync_name(path, disk)


def make(path: str, disk: Disk) -> None:
    """Make a directory and those above it that are missing, where symbolic links lead, each synced into its parent. So
    is the first one that there is: a process may have made it, and been killed right then.

    Raises DiskError, and StoreRefused in a store's own directory.
    """
    missing = [os.path.realpath(path)]
    while not os.path.isdir(parent := os.path.dirname(missing[-1])) and parent not in ("", missing[-1]):
        missing.append(parent)
    check_around(parent, os.path.basename(missing[-1]))
    sync_name(parent, disk)
    for each in reversed(missing):
        try:
            with contextlib.suppress(FileExistsError):  # another process makes the same one
                disk.mkdir(each)
            disk.sync_directory(os.path.dirname(each))
        except OSError as error:
            raise refused(each, error, "make") from error


def sync_name(path: str, disk: Disk) -> None:
    """Of a directory that is there: whoever made it may have been killed before it was synced into its parent. A parent
    that we may not open was synced by whoever made the directory."""
    with SuppressRefusals():
        disk.sync_directory(os.path.dirname(path))


def check_around(directory: str, name: str) -> None:
    """Before that name is made there: a store with a foreign one in it is refused, at the next start, and with all that
    it has. Raises StoreRefused."""
    with contextlib.suppress(OSError):
        if not name.startswith(".") and any(map(SEGMENT.fullmatch, os.listdir(directory))):
            raise StoreRefused(
                f"{directory} is the directory of a store, which couldn't be opened any more with {name!r} in it: "
                "give a place that isn't below it"
            )


def refused(path: str, error: OSError, what: str) -> DiskError:
    """The error for a directory that the system doesn't let us use. Raises what a signal handler has raised."""
    check_refusal(error)
    advice = _whose(error) or _ADVICE.get(error.errno or 0, _GIVE)
    reason = os.strerror(error.errno or 0)
    if isinstance(error.filename, str) and os.path.dirname(error.filename) == path:
        reason += f" ({os.path.basename(error.filename)})"
    return DiskError(error.errno, f"can't {what} the directory of the store: {reason}; {advice}", path)


def _whose(error: OSError) -> str | None:
    """What is to be done about a file that another user has made there: root, who trusted the directory."""
    try:
        owner = os.lstat(error.filename).st_uid if error.errno == errno.EACCES and hasattr(os, "geteuid") else None
    except (OSError, TypeError):
        return None
    if owner is None or owner == os.geteuid():
        return None
    return (
        f"it belongs to user {owner}, and this process runs as user {os.geteuid()}: have its owner changed (chown), or "
        "run as that user"
    )


_GIVE = "give a directory that this user may create and write"
_ELSEWHERE = "its filesystem lacks what a store needs, as locks and syncs: give a directory on a local disk"
_ADVICE = {
    errno.ENOENT: f"where it was removed, close the store and open it again; else {_GIVE}",
    errno.ENOSPC: "free some space there; where there is some, the filesystem has no room for more files (df -i)",
    errno.EDQUOT: "free some space there",
    errno.EIO: "look at the disk and at the system's log",
    errno.EFBIG: "raise this process's limit of file sizes (ulimit -f)",
    errno.EMFILE: "a store that is open takes two files: raise this process's limit (ulimit -n), or close some",
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL), _ELSEWHERE),
    errno.EISDIR: "move away what stands there in place of a file",
    errno.ENXIO: "move away what stands there in place of a file",
    errno.ELOOP: "a symbolic link stands there in place of a file, and isn't followed: move it away",
    errno.ENAMETOOLONG: "give one with a shorter path: a database's has 493 bytes at most, a name 255",
    errno.ENFILE: "the whole system's limit of open files is reached",
}


def check_owner(path: str, info: os.stat_result) -> bool:
    """Whether the system has owners. Raises StoreRefused for another user's directory, and one like /tmp."""
    if not hasattr(os, "geteuid"):
        return False  # Windows: the directory's access list is inherited from the user's own
    if info.st_uid != os.geteuid():
        raise StoreRefused(
            f"{path} belongs to user {info.st_uid}, and this process runs as user {os.geteuid()}: whoever owns it can "
            "read and change what is stored. Run as that user, give a directory of your own, or pass "
            "trust_directory=True"
        )
    check_unshared(path, info)
    return True


def make_private(path: str, info: os.stat_result) -> None:
    """Raises StoreRefused as `check_owner`, DiskError."""
    if check_owner(path, info) and info.st_mode & 0o077:
        try:
            os.chmod(path, 0o700)
        except OSError as error:
            raise refused(path, error, "make private") from error


def check_unshared(path: str, info: os.stat_result) -> None:
    """Raises StoreRefused for a directory like /tmp."""
    if info.st_mode & stat.S_ISVTX:
        raise StoreRefused(f"{path} is shared by all users (its sticky bit is set): give a directory below it")


class Hold:
    """The lock on a file, for as long as this object lives: whatever interrupts its holder lets go of it."""

    def __init__(self, file: str, disk: Disk, *, create: bool = True) -> None:
        self.fd = disk.open(file, create=create)
        try:
            what = os.fstat(self.fd)
            self._dropped = weakref.finalize(self, _let_go, disk, self.fd, what, os.getpid())
            self._dropped.atexit = False
        except BaseException:
            disk.close(self.fd)
            raise

    def close(self) -> None:
        """Let go of the lock."""
        insist(self._close)

    def _close(self) -> None:
        end = self._dropped.peek()  # to call it would do nothing at the interpreter's end
        if end is not None:
            end[1](*end[2])
            self._dropped.detach()

    def is_of(self, file: str) -> bool:
        """Whether that is the file that is locked, and not another one that has taken its place."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(file))
        except FileNotFoundError as error:
            check_refusal(error)
            return False


def _let_go(disk: Disk, fd: int, file: os.stat_result, process: int) -> None:
    """Once more where an interrupt came: what is closed by then may be another file's number."""
    if process == os.getpid():  # a forked child has closed it already
        try:
            is_there = os.path.samestat(os.fstat(fd), file)
        except OSError as error:  # one that can't be looked at is there
            check_refusal(error)
            is_there = error.errno != errno.EBADF
        if is_there:
            try:
                disk.close(fd)
            except OSError as error:
                check_refusal(error)  # else it may be open still, and locked


def try_lock(file: str, disk: Disk, *, name: bool = True, create: bool = True, shared: bool = False) -> Hold | None:
    """The lock; None where somebody has it. OSError.

    `name`: our pid is written to the file, for people. `create`: the file is made where it is missing. `shared`: beside
    others who share it.
    """
    hold: Hold | None = None
    try:
        with no_fork():
            hold = Hold(file, disk, create=create)
            taken = disk.lock(hold.fd, shared=shared)
        if taken and name:
            with SuppressRefusals():  # a full disk must not keep a store shut
                disk.write(hold.fd, b"%-10d\n" % os.getpid(), 0)  # to empty it first would have ext4 flush it
    except BaseException:  # whose traceback has this frame, for as long as somebody keeps it
        if hold is not None:
            hold.close()
        raise
    if not taken:
        hold.close()
        return None
    return hold


class Patience:
    """So many seconds of trying for a lock that others have. Time in which nothing was tried doesn't count: this
    process was stopped (Ctrl-Z, a frozen container), as a rule with those that have it."""

    def __init__(self, seconds: float) -> None:
        self._tried = SYSTEM.monotonic()
        self._end = self._tried + seconds

    def is_over(self) -> bool:
        """Behind each try."""
        now = SYSTEM.monotonic()
        gap, self._tried = now - self._tried, now
        if gap > STOPPED:
            self._end += gap
        return now > self._end


class Locks:
    """Named locks in a directory of their own, made when it is missing. Raises DiskError, StoreRefused."""

    def __init__(self, directory: str, *, trust: bool = False) -> None:
        self.directory, self._disk = directory, disk_of(directory, trust=trust)
        prepare_parent(directory, self._disk, trust)

    def file(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def names(self) -> list[str]:
        """Those that there ever were. DiskError."""
        try:
            return sorted(os.listdir(self.directory))
        except OSError as error:
            raise refused(self.directory, error, "look into") from error

    def take(self, name: str) -> Hold | None:
        """The lock, for as long as the result lives, in this process alone; None where somebody has it. DiskError."""
        try:
            return try_lock(self.file(name), self._disk)
        except OSError as error:
            raise refused(self.directory, error, "lock") from error

    def join(self, name: str) -> Member:
        """A share in the lock. DiskError."""
        try:
            return self._join(self.file(name))
        except OSError as error:
            raise refused(self.directory, error, "lock") from error

    def _join(self, file: str) -> Member:
        fd = self._disk.open(file, create=True)
        try:
            self._disk.lock_shared(fd)
            return Member(fd)
        except BaseException:
            self._disk.close(fd)
            raise

    def is_shared(self, name: str) -> bool:
        """Whether any process, children included, has a share in the lock. DiskError."""
        try:
            hold = try_lock(self.file(name), self._disk)
        except FileNotFoundError:  # somebody has removed the whole directory
            return False
        except OSError as error:
            raise refused(self.directory, error, "lock") from error
        if hold is not None:
            hold.close()
        return hold is None


class Member:
    """A share in a lock, by a descriptor that holds it. Whoever inherits the descriptor has the share, too: a forked
    child, and a process that is given it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._dropped = weakref.finalize(self, _close, fd, os.fstat(fd))
        self._dropped.atexit = False  # the kernel does it

    def close(self) -> None:
        """Let go of our own share."""
        self._dropped()


def _close(fd: int, file: os.stat_result) -> None:
    """In a daemon, which closes all descriptors that it has inherited, the number may be another file's."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(fd), file):
            os.close(fd)


def holder(file: str) -> int | None:
    """The pid that a lock's file names: of its holder, or of the last one."""
    try:
        with open(file, "rb", opener=open_file) as text:
            return int(text.readline(32))
    except (OSError, ValueError):
        return None


def unsafe_filesystem(path: str) -> str:
    """The type of the filesystem that `path` lies on, where locks and syncs there aren't to be relied on; else ""."""
    kind = _filesystem(path)
    return kind if kind in _UNSAFE_FILESYSTEMS else ""


def _filesystem(path: str) -> str:
    """The type of the filesystem, from the kernel's table of mounts (Linux; elsewhere unknown)."""
    try:
        device = os.stat(path).st_dev
    except OSError as error:
        raise refused(path, error, "look at") from error
    with contextlib.suppress(OSError):  # which isn't remembered
        return _filesystem_of(device)
    return ""


@functools.lru_cache(maxsize=16)
def _filesystem_of(device: int) -> str:
    wanted = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
        for line in table:
            fields = line.split()
            if fields[2] == wanted:
                return fields[fields.index("-") + 1]
    return ""


def is_mount(path: str) -> bool:
    """Whether the file is mounted from elsewhere, by itself: its neighbours here aren't its neighbours there. (Linux;
    elsewhere unknown.)"""
    mount, above = _mount(path), _mount(os.path.dirname(path))
    return None not in (mount, above) and mount != above


def _mount(path: str) -> str | None:
    """The number of the mount that the path leads to. Closing such a descriptor lets go of no locks."""
    flags = getattr(os, "O_PATH", None)
    if flags is None:
        return None
    with contextlib.suppress(OSError):
        fd = os.open(path, flags | os.O_CLOEXEC)
        try:
            with open(f"/proc/self/fdinfo/{fd}", encoding="ascii", errors="replace") as lines:
                return next((line for line in lines if line.startswith("mnt_id:")), None)
        finally:
            os.close(fd)
    return None
