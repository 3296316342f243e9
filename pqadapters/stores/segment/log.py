"""The log: the segment files of one directory, where each live record stands, and the end where frames are added.

All methods need the store's lock. Order of work, always: make room, write, then change memory; a write that fails is
undone on disk and leaves memory as it was, so that both agree.

Room: the tail is allocated ahead, so that an fdatasync writes no metadata, and further ahead than puts may use: the
rest is the reserve, enough to acknowledge what one segment holds, so that a full disk can be drained.

Space comes back from the front: the first segment goes when none of its records is live. Acknowledgements stand
behind what they acknowledge, so nothing that is still needed goes with it (`space.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import NamedTuple

from ...clock import Clock
from ...errors import StoreError
from ...interrupts import SuppressRefusals, check_refusal, is_refusal
from .._disk import Disk
from . import format
from .files import NO_SPACE, Files
from .places import Segment

FIRST_ALLOCATION = 64 * 1024
SPARE = 16 * 1024  #: enough for an empty segment and its place in the directory
MIN_RESERVE = SPARE + 4096
_RESERVE_STEP = 4096  # on a full disk space is looked for once for so many bytes of acknowledgements
_TRIES = 1000
_MIN_PUT = format.PUT_COST


_LARGE_RECORDS = 64  #: to end a segment takes longer than to write some large records: so many don't fill one


class _Ends(NamedTuple):
    """At which sizes segments end."""

    small: int = 2 << 20  #: of small records
    most: int = 8 << 20  #: of large ones

    def of(self, each: int) -> int:
        """Where records of so many bytes come next."""
        return self.next_to(_LARGE_RECORDS * each)

    def next_to(self, size: int) -> int:
        """That size, or the one of these that is nearest to it."""
        return min(max(self.small, size), self.most)


class Log(Files):
    """The segments as files, and what may be written to them."""

    def __init__(self, directory: str, disk: Disk, store: bytes, segment_bytes: int | None, clock: Clock) -> None:
        super().__init__(directory, disk)
        self.store = store
        self._ends = _Ends() if segment_bytes is None else _Ends(segment_bytes, segment_bytes)
        self.clock = clock
        self.put_room = 0  #: a put may end here at most
        self.ack_room = 0  #: and an acknowledgement here; further than a put when the disk is full
        self._allocated = 0
        self._torn = 0  #: up to where the tail has what a write that failed has left, which couldn't be wiped out; or 0
        self.is_full = False  #: the disk had no room to go ahead, when room was last made
        self._full_at: int | None = None  #: where in the log that was so for the last time
        self._checkpointed = 0  #: where in the log the last checkpoint was written
        self.saved: tuple[int, list[Segment], int] | None = None  #: the next id and the segments it speaks of, its size

    @property
    def segment_bytes(self) -> int:
        """The size at which segments of small records end."""
        return self._ends.small

    def slack(self, segment: Segment) -> int:
        """So much of the log may be dead for no other reason than that the segment isn't dead as a whole."""
        return self._ends.next_to(segment.end)

    def reopened(self) -> None:
        """The segments were read from files, and synced: go on behind the last frame."""
        self._allocated = self.put_room = self.ack_room = self.tail.end
        self.synced = self.next - 1
        self.checkpointed()
        if self.live:
            with SuppressRefusals():
                self._allocate(self.tail, 0)  # the reserve, while what was cut off is still free

    @property
    def since_checkpoint(self) -> int:
        """How many bytes were written since the last checkpoint."""
        return self._written - self._checkpointed

    @property
    def _written(self) -> int:
        return self.ended + self.tail.end

    @property
    def is_tight(self) -> bool:
        """Whether the disk had no room a short while ago, as the log is long: what isn't needed isn't written."""
        return self._full_at is not None and self._written - self._full_at <= self.size

    @property
    def saved_bytes(self) -> int:
        """The size of the last checkpoint, which the next one has, too, about."""
        return 0 if self.saved is None else self.saved[2]

    def checkpointed(self) -> None:
        """A checkpoint is being written: count from here."""
        self._checkpointed = self._written

    def open_tail(self) -> None:
        """Open the last segment for writing; a reader may have opened it for reading. Raises OSError."""
        tail = self.tail
        if tail in self._reading:
            self._reading.remove(tail)
        self.retire(tail)
        tail.fd = self.disk.open(tail.path)

    # Writing

    def add(self, data: bytes, count: int) -> int:
        """Write so many frames at the end; the first one's number. An interrupt leaves all of them, or nothing."""
        first, offset = self.next, self.tail.end
        try:
            self.write(data, offset)
            self._advance(count, len(data))
        except BaseException as error:
            if self.next == first and not isinstance(error, StoreError):
                self._undo(offset, len(data))
            raise
        return first

    def land(self, data: bytes, count: int, changes: list[Callable[[], object]]) -> None:
        """Write frames, and make the changes in memory that belong to them, from the last one in the list on. An
        interrupt is raised when all of it is done, or nothing: there is no instruction at which it could come in
        between. Where a change fails for another reason, want of memory, say, the files alone know what is true: the
        store is poisoned."""
        first, tries = self.next, 0
        try:
            if count:
                self.add(data, count)
            while changes:
                changes[-1]()
                del changes[-1]  # behind an interrupt in between it is made twice, which changes nothing
        except BaseException:
            while changes and (self.next > first or not count):  # no call before the next try: another one may come
                try:
                    changes[-1]()
                    del changes[-1]
                except BaseException as error:
                    tries += 1
                    if tries == _TRIES:
                        changes.clear()
                        self.give_up(error)
            raise

    def _advance(self, count: int, size: int) -> None:
        tail = self.tail
        places = [0] * count
        tail.end += size  # no call from here on, in which a signal handler might raise
        self.next = behind = self.next + count
        try:
            tail.index.extend(places)
        except BaseException:
            while tail.next < behind:
                tail.index.append(0)
            raise

    def write(self, data: bytes, offset: int) -> None:
        """Write at the tail; what could not be written whole is wiped out.

        Raises DiskError, which names the directory.
        """
        try:
            self.disk.write(self.tail.fd, data, offset)
        except BaseException as error:
            raise self.undone(error, offset, len(data))  # noqa: B904  # it has its cause

    def undone(self, error: BaseException, offset: int, length: int) -> BaseException:
        """Wipe out what a write that failed has left, now or before the next one; the error to raise for it."""
        self._undo(offset, length)
        if not isinstance(error, OSError):
            return error
        refusal = self.refused(error, "write to")
        refusal.__cause__ = error
        return refusal

    def _undo(self, offset: int, length: int) -> None:
        try:
            self._torn = max(self._torn, offset + length)
            with SuppressRefusals():  # as on a disk that can only be read by now
                self._wipe()
        finally:
            if self._torn:  # whoever comes next makes room, and wipes it out first
                self.put_room = self.ack_room = offset

    def _wipe(self) -> None:
        """Zeros behind the last frame in place of what a write has left there, or nothing. Raises OSError."""
        offset = self.tail.end
        try:
            end = min(self._torn, self.disk.size(self.tail.fd))
            if end > offset:
                self.disk.write(self.tail.fd, bytes(end - offset), offset)
        except OSError as error:
            check_refusal(error)
            self.disk.truncate(self.tail.fd, offset)
            self._allocated = self.put_room = self.ack_room = offset
        self._torn = 0

    # Room

    def make_room(self, size: int, each: int = 0) -> None:
        """See that `size` more bytes fit at the tail: allocate further, or begin another segment. `each`: the size of
        records that may be large.

        Raises DiskError where the disk is full; acknowledgements may then `use_reserve`.
        """
        try:
            if self._torn:
                self._wipe()
            if self.tail.end > format.DATA and self.tail.end + size > self._ends.of(each):
                self.roll(size)
            else:
                self._allocate(self.tail, size, each)
        except OSError as error:
            self._note_full(self.is_full or error.errno in NO_SPACE)
            raise self.refused(error, "make room in") from error

    def use_reserve(self, size: int) -> bool:
        """Let acknowledgements of `size` bytes go beyond `put_room`, a little further each time; False at the end.

        The last of the reserve isn't for them: it makes room for an empty segment (`start_over`).
        """
        if self._torn:
            return False
        need = self.tail.end + max(size, _RESERVE_STEP)
        if need + SPARE > self._allocated:
            try:  # segments that went may have left a little
                self.disk.allocate(self.tail.fd, need + SPARE)
                self._allocated, self.tail.spare = need + SPARE, SPARE
            except OSError as error:
                check_refusal(error)
                need = min(need, self._allocated - self.tail.spare)
        if self.tail.end + size > need:
            return False
        self.ack_room = need
        return True

    @property
    def in_reserve(self) -> int:
        """How many bytes `use_reserve` may give in all, while there is room for an empty segment."""
        return self._allocated - SPARE - self.tail.end

    def start_over(self, moved: int = 0) -> bool:
        """Where nothing is live, begin an empty segment; on a full disk in the room that the tail gives up. It has room
        for so many bytes that are to be `moved` there, where they are all that is live, and what acknowledges those has
        room in both: others may take what is given up.

        The old one is dead then, and can go. False where something else is live or the tail is as good as new.
        """
        tail = self.tail
        if (self.live and not moved) or tail.end <= format.DATA + SPARE:
            return False
        acks = self._acks(0)
        try:
            if self._torn:
                self._wipe()
            self.sync_here()
            try:
                self._begin_segment(tail.number + 1, moved, acks)
            except OSError as error:
                if error.errno not in NO_SPACE or not is_refusal(error):
                    raise
                left = min(self._allocated, tail.end + acks)
                self.disk.truncate(tail.fd, left)  # else that goes with it
                self._allocated, tail.spare = left, 0
                self.put_room = self.ack_room = tail.end
                self._begin_segment(tail.number + 1, moved, acks)
        except OSError as error:
            raise self.refused(error, "make room in") from error
        self.retire(tail)
        return True

    def _allocate(self, segment: Segment, size: int, each: int = 0) -> None:
        """Allocate `segment` for `size` more bytes: well ahead, or on a full disk just that."""
        need = segment.end + size
        ahead = min(max(FIRST_ALLOCATION, 2 * segment.end), self._ends.of(each))
        self.is_full = False
        for room in (max(need, ahead), need + FIRST_ALLOCATION, need + _RESERVE_STEP, need):
            total = room + self._reserve(room - segment.end, room)
            try:
                if total > self._allocated:
                    self.disk.allocate(segment.fd, total)
                    self._allocated = total
            except OSError as error:
                check_refusal(error)
                self._note_full(error.errno in NO_SPACE)
                if room == need:
                    raise
            else:
                segment.spare = SPARE
                self.put_room = self.ack_room = room
                if self.is_full:  # else each acknowledgement looks for space, which takes ten times its time
                    self.ack_room = max(room, min(segment.end + _RESERVE_STEP, self._allocated - SPARE))
                return

    def _note_full(self, is_full: bool) -> None:
        self.is_full = is_full
        if is_full and self.segments:
            self._full_at = self._written

    def _reserve(self, more: int, end: int = 0) -> int:
        """Beyond the room for puts: for acknowledgements, and an empty segment."""
        return MIN_RESERVE + self._acks(more, end)

    def _acks(self, more: int, end: int = 0) -> int:
        """Bytes for acknowledging and deleting what is live and what may come, up to what one segment holds, or can
        hold where it has room up to `end`."""
        holds = max((segment.live for segment in self.segments), default=0)  # small ones in the room of large ones
        records = min(self.live + more // _MIN_PUT, max(holds, self._ends.next_to(end) // _MIN_PUT))
        largest = max(end, max((segment.end for segment in self.segments), default=0))
        return records * format.ACK_FRAME + min(self._key_bytes(more), self._ends.next_to(largest))

    def _key_bytes(self, more: int) -> int:
        """Of the keys that there are, which a deletion names again, and of as many among what may come in a segment."""
        more = min(more, self.segment_bytes)
        return self.key_bytes + more * self.key_bytes // max(1, self.live * _MIN_PUT + self.more_bytes)

    def roll(self, size: int = 0, number: int = 0) -> None:
        """End the tail and begin another segment, by default the next one, with room for `size` bytes.

        The old one is synced before the new one exists: a segment that isn't the last is whole.
        """
        if not self.segments:
            self._begin_segment(number or 1, size)
            return
        old = self.tail
        self.sync_here()
        self._begin_segment(number or old.number + 1, size)
        with SuppressRefusals():
            self.disk.truncate(old.fd, old.end)
        self.retire(old)

    def _begin_segment(self, number: int, size: int, acks: int | None = None) -> None:
        """A new tail with room for `size` bytes; with `acks`, for so many of acknowledgements and nothing else. An
        interrupt leaves it the tail, or not there."""
        self.check_place()
        header = format.Header(self.store, number, self.next, self.clock.wall())
        path = os.path.join(self.directory, f"{number:016d}.seg")
        segment = Segment(path, header)
        before = self._allocated, self.put_room, self.ack_room
        segment.fd = self.disk.open(path + ".tmp", create=True)
        try:
            self._allocated = 0
            if acks is None:
                self._allocate(segment, size)
            elif size:
                self.disk.allocate(segment.fd, format.DATA + size + acks)
            data = format.encode_header(header)
            self.disk.write(segment.fd, data, 0)
            self.disk.write(segment.fd, data, format.HEADER_COPY)
            self.disk.sync(segment.fd)
            with self.changing_names():
                self.disk.rename(path + ".tmp", path)
            if acks is not None:
                self.put_room = self.ack_room = format.DATA + size
                self._allocated = self.put_room + acks
            self.add_segment(segment)
        except BaseException:
            if segment in self.segments:
                raise
            self._allocated, self.put_room, self.ack_room = before
            self.disk.close(segment.fd)
            for leftover in (path + ".tmp", path):
                with contextlib.suppress(OSError):
                    self.disk.unlink(leftover)
            raise

    # Syncing

    def mark(self) -> None:
        """Behind a sync: leave the mark. Where more was written meanwhile, whoever syncs that will."""
        (tail, end), self.unmarked = self.unmarked or (None, 0), None
        if tail is self.tail and self.synced == self.next - 1:
            self._mark_synced(tail, end)

    def _mark_synced(self, tail: Segment, end: int) -> int:
        """Say behind the last frame how far the log is known to be whole; the next frame is written over it.

        With the mark in place, damage to the last record is told from a record that was never finished.
        Its size; 0 where there is no room for it.
        """
        offset = tail.end
        if self.trouble is None and offset + format.SYNC_FRAME <= self.put_room:
            with SuppressRefusals():
                self.disk.write(tail.fd, format.encode_sync(self.next, end, tail.seed), offset)
                return format.SYNC_FRAME
        return 0

    def mark_here(self) -> None:
        """Sync the tail, with the mark: for who is about to remove the checkpoint, which says the same."""
        self.sync_here()
        if self._mark_synced(self.tail, self.tail.end):
            self.synced -= 1  # the mark isn't yet
            self.sync_here()

    # Space

    def drop(self, segments: list[Segment]) -> None:
        """Remove these first segments, which no checkpoint on the disk needs.

        What replaced their records is synced first, and each removal before the next: a directory never holds
        a record without the acknowledgement that a later segment has for it. Raises DiskError, StorePoisoned.
        """
        self.sync_here()
        for segment in segments:
            try:
                with self.changing_names():
                    self.check_place()
                    with SuppressRefusals(FileNotFoundError):
                        self.disk.unlink(segment.path)
                    self.retire(segment)
                    self.remove_segment(segment)
            except OSError as error:
                raise self.refused(error, "give back space in") from error

    def trim(self, *, sync: bool) -> None:
        """Give back the tail's room beyond its end, the reserve aside. The next put makes room again."""
        tail = self.tail
        is_done = self.put_room == self.ack_room == tail.end and not self._torn  # it was, just now
        if self.trouble is None and not is_done:
            with SuppressRefusals():
                mark = self._mark_synced(tail, tail.end) if self.synced >= self.next - 1 else 0
                reserve = self._reserve(0) if self.live and not self._torn else 0
                self._allocated = min(self._allocated, tail.end + max(mark, reserve))
                self.put_room = self.ack_room = tail.end
                self.disk.truncate(tail.fd, self._allocated)
                self._torn = 0
                if sync:
                    self.disk.sync(tail.fd)

    def close(self) -> None:
        """Give back the tail's room beyond its end, the reserve aside, and close all files."""
        self.trim(sync=False)
        self.close_files()
