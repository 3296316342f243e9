"""What all processes know without asking the database, in a file of 64 bytes beside it, little-endian::

    0    u64 u64        the highest id that was ever given, and the same with all its bits turned
    16   u8             1 while there is no room on the disk
    17   u64 x 4        device (the inode's generation in its upper half) and inode of the database and its WAL, when
                        it was opened last (see `pairing.py`)
    49   u8             1 since a sync of the WAL failed, until all of it is in the database
    56   4 bytes, u32   the last commit that was told of: its process, by chance, and its number there

A WAL whose checksums don't hold is taken for one that was never finished, and its commits are gone without a word. Then
the mark knows of ids that the database doesn't. It is memory that all processes share, written when a commit is done,
and never synced: it may lag behind.

Room that one process gives up, so that an acknowledgement can be stored, would be taken by the puts of another one that
doesn't know of it.

The system tells of a sync that failed once, to one process, and has what it couldn't write in memory, as if it were on
the disk: what is committed and synced behind that would be gone with it after a power cut.

Who waits for others' commits looks whether the last one is another than before, which costs next to nothing. No two of
them are the same, so that nobody has to add to what others may write just now.
"""

from __future__ import annotations

import itertools
import os
import struct
from contextlib import suppress

from ..._disk import Disk

_MARK = struct.Struct("<QQ")
_ALL = (1 << 64) - 1
_CROWDED = _MARK.size  #: where that byte stands
_PAIR = struct.Struct("<QQQQ")
_PAIRED = _CROWDED + 1  #: where they stand
_DOUBTED = _PAIRED + _PAIR.size  #: where the other byte stands
_TOLD = slice(56, 64)  #: at once, where a machine's word begins
_COMMIT = struct.Struct("<4sI")
_COMMITS = 1 << 32
_SIZE = 64


class _Word:
    """Whether a byte of the mark is 1; False where that was closed just now."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, mark: Mark, kind: type[Mark]) -> bool:
        try:
            return mark._memory[self._place] == 1
        except ValueError:
            return False

    def __set__(self, mark: Mark, is_so: bool) -> None:
        with suppress(ValueError):
            mark._memory[self._place] = is_so


class Mark:
    """One process's way to the file. Any thread may note; who is late is of no harm. Raises OSError."""

    crowded = _Word(_CROWDED)  #: there is no room but for what frees some
    doubted = _Word(_DOUBTED)  #: nobody knows what of the WAL is on the disk

    def __init__(self, path: str, disk: Disk) -> None:
        fd = disk.open(path, create=True)
        try:
            have = disk.size(fd)
            if have < _SIZE:
                disk.write(fd, bytes(_SIZE - have), have)
            self._memory = disk.share(fd, _SIZE)
            self._is_own = True
            self._numbered()
        finally:
            disk.close(fd)

    def read(self) -> int:
        """The id; 0 where none was noted."""
        id, turned = _MARK.unpack_from(self._memory)
        return int(id) if id ^ turned == _ALL else 0

    def note(self, id: int) -> None:
        """A commit that gave this id is done."""
        try:
            _MARK.pack_into(self._memory, 0, id, id ^ _ALL)
        except (TypeError, ValueError):  # it was closed just now
            pass

    def _numbered(self) -> None:
        self._process, self._commits = os.urandom(4), itertools.count(1)

    def tell(self) -> None:
        """A commit of this process is done, which others may wait for."""
        number = next(self._commits) % _COMMITS
        try:
            self._memory[_TOLD] = _COMMIT.pack(self._process, number)  # pack_into() writes it byte by byte
        except (TypeError, ValueError):  # it was closed just now
            pass

    @property
    def told(self) -> bytes:
        """Another one when any process has told of a commit; nothing where it was closed."""
        try:
            return bytes(self._memory[_TOLD])
        except ValueError:
            return b""

    @property
    def pair(self) -> tuple[int, ...]:
        """Device and inode of the database, and of its WAL, as `pairing` has them; zeros where that isn't known."""
        return _PAIR.unpack_from(self._memory, _PAIRED)

    @pair.setter
    def pair(self, files: tuple[int, ...]) -> None:
        _PAIR.pack_into(self._memory, _PAIRED, *files)

    def close(self) -> None:
        """In a forked child it stays open: a daemon has closed all descriptors that it had inherited, and this one's
        number may be another file's."""
        if self._is_own:
            self._memory.close()

    def begin_again(self) -> object:
        """In a forked child. What is to be kept for ever there."""
        self._is_own = False
        self._numbered()
        return self._memory
