"""The only module that writes, syncs, renames and locks files.

`Disk` is an object so that tests can put one in its place that cuts, tears, drops and fails. Every method raises the
operating system's OSError as it is; the callers decide what it means.

A forked child inherits descriptors, and a lock lives as long as any of them: the child closes those that hold one, and
nothing forks between the opening of a file and its lock, or while one is closed (`no_fork`).

Linux is what is tested. On macOS a sync is F_FULLFSYNC (fsync leaves the data in the drive's cache); on Windows
there is no directory to sync, and a rename is tried again while a scanner has the file open.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import threading
import time
from contextlib import nullcontext, suppress

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from ..apart import apart
from ..forking import DESCRIPTORS, hold_at_fork
from ..interrupts import check_refusal, is_refusal, keep
from ..late import late

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # for what is no file: opening a pipe waits for its other end
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # a link in a file's place would have us write to whatever it leads to
_SHARING_VIOLATION_TRIES = 20
_CHUNK = 1 << 20  #: bytes that are copied at once
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM)  # the last one of a sandbox's filter
_PLAIN_SYNC = sys.platform != "darwin" and hasattr(os, "fdatasync")

_forking = threading.RLock()
_locked: set[int] = set()  # descriptors that hold a lock


def no_fork() -> threading.RLock:
    """A lock: while it is held, no other thread forks. For a moment only."""
    return _forking


def open_file(path: str, flags: int) -> int:
    """A descriptor of a file, as an opener for `open()`: a pipe or a device in its place is an OSError, and not waited
    for, and so is a symbolic link."""
    made: list[int] = []
    try:
        how = flags | _BINARY | _NO_WAIT | _NO_LINK
        keep(made, os.open, path, how, 0o600)
        fd = made[0] = _no_stream(made[0])
        if stat.S_ISFIFO(mode := os.fstat(fd).st_mode) or stat.S_ISCHR(mode):
            raise OSError(errno.ENXIO, "it is a pipe or a device, and no file", path)
        return fd
    except BaseException:
        for fd in made:
            with suppress(OSError):
                os.close(fd)
        raise


def _no_stream(fd: int) -> int:
    """Where stdin, stdout or stderr is closed, a file gets its number; and what the program writes to that stream, or a
    daemon that puts another file in its place has what we write."""
    if fd > 2 or fcntl is None:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def is_there(path: str) -> bool:
    """Whether anything has that name. Raises OSError where the system doesn't tell: os.path.exists() says no then, and
    what stands there would be written over."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class Disk:
    """System calls on files, by descriptor and offset."""

    pretends = False  #: nothing is written

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        """A descriptor; a file that is created is readable and writable by its owner alone."""
        flags = os.O_RDWR if write else os.O_RDONLY
        return open_file(path, flags | (os.O_CREAT if create else 0))

    def close(self, fd: int) -> None:
        """An error is of no consequence: it is closed, and what was to be kept was synced before."""
        with _forking if fd in _locked else nullcontext():
            _locked.discard(fd)
            try:
                os.close(fd)
            except OSError as error:
                if error.errno == errno.EBADF or not is_refusal(error):
                    raise

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of `data` at `offset`, however often the system takes only a part."""
        done = os.pwrite(fd, data, offset)
        while done < len(data):
            step = os.pwrite(fd, memoryview(data)[done:], offset + done)  # a copy of 1 GiB would hurt
            if not step:
                raise OSError(errno.EIO, "the system wrote nothing and gave no reason")
            done += step

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end of the file."""
        data = os.pread(fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        have = len(data)
        while have < length:
            part = os.pread(fd, length - have, offset + have)
            if not part:
                break
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def filled(self, fd: int) -> int:
        """Up to where the file has blocks: behind that there are zeros, perhaps more of them than there is memory."""
        if not hasattr(os, "SEEK_DATA"):
            return self.size(fd)
        here, end = os.lseek(fd, 0, os.SEEK_CUR), 0
        try:
            while True:
                end = os.lseek(fd, os.lseek(fd, end, os.SEEK_DATA), os.SEEK_HOLE)
        except OSError as error:  # ENXIO: nothing but a hole from there on
            check_refusal(error)
            if error.errno != errno.ENXIO:  # the filesystem knows of no holes
                end = self.size(fd)
        os.lseek(fd, here, os.SEEK_SET)  # a file object with a buffer relies on it
        return end

    def is_removed(self, fd: int) -> bool:
        """Whether the file has no name any more; what isn't open is taken to be there, and what can't be looked at."""
        try:
            return fd >= 0 and os.fstat(fd).st_nlink == 0
        except OSError as error:
            check_refusal(error)
            return error.errno == errno.ESTALE

    def is_named(self, fd: int, path: str) -> bool:
        """Whether it is that file which has that name. Raises OSError where nothing has it."""
        return os.path.samestat(os.fstat(fd), os.stat(path))

    def free(self, directory: str) -> int:
        """How many bytes there is room for."""
        return int(late("shutil").disk_usage(directory).free)

    def is_over_quota(self, directory: str, size: int) -> bool:
        """Whether a limit of this user's, which `free` knows nothing of, leaves no room for so many bytes more."""
        try:
            fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
        except AttributeError:  # no Linux
            return False
        except OSError as error:
            return error.errno == errno.EDQUOT
        try:
            self.write(fd, bytes(size), 0)
        except OSError as error:
            return error.errno == errno.EDQUOT
        finally:
            os.close(fd)
        return False

    def allocate(self, fd: int, size: int) -> None:
        """Make the file `size` bytes long with blocks behind all of them, so that later writes can't lack space."""
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(fd, 0, size)
                return
            except OSError as error:
                if error.errno not in _NO_FALLOCATE or not is_refusal(error):
                    raise
        have = self.size(fd)
        self.write(fd, bytes(max(0, size - have)), have)

    def share(self, fd: int, size: int) -> mmap.mmap:
        """The first bytes of the file as memory that all processes share; what is written there isn't synced."""
        return mmap.mmap(fd, size)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """The file's data, and its length, are on the disk when this returns."""
        if _PLAIN_SYNC:
            apart(os.fdatasync, fd)
        elif sys.platform == "darwin":
            apart(fcntl.fcntl, fd, fcntl.F_FULLFSYNC)
        else:
            apart(os.fsync, fd)

    def sync_file(self, path: str) -> None:
        """What is in the file is on the disk when this returns."""
        fd = self.open(path)
        try:
            self.sync(fd)
        finally:
            self.close(fd)

    def write_file(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """All of a file, and by default synced; it is made if it is missing."""
        fd = self.open(path, create=True)
        try:
            if self.size(fd):  # else ext4 writes it out at once, where it isn't synced, too
                self.truncate(fd, 0)
            self.write(fd, data, 0)
            if sync:
                self.sync(fd)
        finally:
            self.close(fd)

    def copy_file(self, source: int, size: int, path: str) -> None:
        """So many bytes of an open file as all of another one, synced; that is made if it is missing."""
        fd = self.open(path, create=True)
        try:
            self.truncate(fd, 0)
            for at in range(0, size, _CHUNK):
                self.write(fd, self.read(source, min(_CHUNK, size - at), at), at)
            self.sync(fd)
        finally:
            self.close(fd)

    def open_directory(self, path: str) -> int | None:
        """A descriptor for `sync_directory`: who has it before the first change doesn't lack one behind the last. None
        where it needs none."""
        return open_file(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)) if os.name != "nt" else None

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        """What was created, renamed or removed in the directory is on the disk when this returns."""
        if os.name == "nt":
            return
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _BINARY) if fd is None else fd
        try:
            os.fsync(opened)
        finally:
            if fd is None:
                os.close(opened)

    def rename(self, source: str, target: str) -> None:
        """`target` is replaced at once; it needs `sync_directory` to last."""
        for left in reversed(range(_SHARING_VIOLATION_TRIES)):
            try:
                os.replace(source, target)
                return
            except PermissionError:
                if os.name != "nt" or not left:
                    raise
                time.sleep(0.01)  # another program has the file open; Windows offers nothing to wait on

    def link(self, source: str, target: str) -> None:
        """A second name for the file, which isn't there yet; it needs `sync_directory` to last."""
        os.link(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def mkdir(self, path: str) -> None:
        """For its owner alone, who may enter it whatever the umask takes away."""
        os.mkdir(path, 0o700)
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        if ~mode & 0o700 and os.name != "nt":
            os.chmod(path, mode | 0o700)

    def rmdir(self, path: str) -> None:
        os.rmdir(path)

    def lock(self, fd: int, *, shared: bool = False) -> bool:
        """Take the lock that the kernel drops with the process; False where another process has it.

        `shared`: beside others who share it (not on Windows). To be called with `no_fork` held since before the file
        was opened.
        """
        try:
            _locked.add(fd)
            if fcntl is not None:
                fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            else:
                import msvcrt

                msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
            return True
        except OSError as error:
            _locked.discard(fd)
            check_refusal(error)
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                return False
            raise


    def lock_shared(self, fd: int) -> None:
        """Take the lock together with others who share it. Unlike the exclusive one, forked children have it, too."""
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_SH)


class GivingDisk(Disk):
    """What root makes in another user's place belongs to that user, who couldn't open it else, nor see that root's
    process has ended."""

    def __init__(self, owner: int, group: int) -> None:
        self._owner, self._group = owner, group

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        if create:
            with suppress(FileExistsError):  # which may be any file's second name: nobody is given that
                return self._make(path, write)
        return super().open(path, create=create, write=write)

    def _make(self, path: str, write: bool) -> int:
        fd = open_file(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CREAT | os.O_EXCL)
        with suppress(OSError):  # in a container root need not be allowed to
            os.fchown(fd, self._owner, self._group)
        return fd

    def mkdir(self, path: str) -> None:
        super().mkdir(path)
        with suppress(OSError):
            os.chown(path, self._owner, self._group, follow_symlinks=False)


def disk_of(place: str, *, trust: bool) -> Disk:
    """The disk for a store in that place; `trust`: of whoever owns it, or what it will be made in."""
    owner = _owner_of(place) if trust and hasattr(os, "geteuid") and os.geteuid() == 0 else None
    return GivingDisk(owner.st_uid, owner.st_gid) if owner is not None and owner.st_uid else Disk()


def _owner_of(place: str) -> os.stat_result | None:
    while True:
        try:
            return os.stat(place)
        except OSError:
            above = os.path.dirname(place)
            if above in ("", place):
                return None
            place = above


class ReadingDisk(Disk):
    """Reads, and pretends that it writes: for looking at a directory that nobody else changes, as it is."""

    pretends = True

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        return os.open(os.devnull, os.O_RDWR | _BINARY) if create else super().open(path, write=False)

    def is_named(self, fd: int, path: str) -> bool:
        return True

    def write(self, fd: int, data: bytes, offset: int) -> None:
        pass

    def allocate(self, fd: int, size: int) -> None:
        pass

    def share(self, fd: int, size: int) -> mmap.mmap:
        """The first bytes of the file as memory that all processes share; what is written there isn't synced."""
        return mmap.mmap(fd, size)

    def truncate(self, fd: int, size: int) -> None:
        pass

    def sync(self, fd: int) -> None:
        pass

    def open_directory(self, path: str) -> int | None:
        return None

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        pass

    def rename(self, source: str, target: str) -> None:
        pass

    def link(self, source: str, target: str) -> None:
        pass

    def unlink(self, path: str) -> None:
        pass

    def mkdir(self, path: str) -> None:
        pass

    def rmdir(self, path: str) -> None:
        pass

    def lock(self, fd: int, *, shared: bool = False) -> bool:
        return True


class ScratchDisk(Disk):
    """Syncs nothing: for what needn't survive a power cut."""

    def sync(self, fd: int) -> None:
        pass

    def open_directory(self, path: str) -> int | None:
        return None

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        pass


def _let_go() -> None:
    """In a forked child: the locks are the parent's."""
    global _forking
    _forking = threading.RLock()
    while _locked:
        with suppress(OSError):
            os.close(_locked.pop())


if hasattr(os, "register_at_fork"):
    hold_at_fork(DESCRIPTORS, lambda: _forking.acquire(), lambda: _forking.release())
    os.register_at_fork(after_in_child=_let_go)
