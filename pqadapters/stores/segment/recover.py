"""Opening: from the files of a directory to a log that can be written to.

Reading comes first and changes nothing. Then what was found is put right: a torn tail is cut; bytes that are no
frames are copied to a quarantine file and overwritten by a PAD frame, so that they are met and reported once.

A *torn* region is what a crash leaves of writes that no sync covered. It is told from damage by four signs: it
stands in the last segment (the others were synced when they were ended), no SYNC frame covers it, blocks are missing
in it, and none is there from elsewhere.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import NamedTuple

from ... import telling
from ...clock import Clock
from ...errors import DiskError, StorePoisoned, StoreRefused
from ...store import Damage
from .._directory import refused
from .._disk import Disk, open_file
from . import checkpoint, format
from .directory import remove_leftovers, segment_files
from .files import NO_SPACE
from .heal import pad, quarantine, was_put_aside
from .log import Log
from .places import Segment
from .queues import Catalog
from .replay import Replay
from .scan import Region, Scan, first_number, holds_later, never_written, rest_of_mark, scan

logger = telling.logger("pqadapters.stores.segment")

_LISTED = 100  #: segments in a row that are missing
_WITHOUT = NO_SPACE | {errno.EMFILE, errno.ENFILE}  # a store has to be opened without room, and with two descriptors
_SLACK = 1 << 16  # a copy that leaves out blocks of zeros may have left out the last bytes of a checksum


class _Fix(NamedTuple):
    """A PAD frame that is to be written."""

    segment: Segment
    start: int
    end: int
    number: int
    damaged: bool


def recover(
    directory: str, disk: Disk, segment_bytes: int | None, clock: Clock, catalog: Catalog
) -> tuple[Log, list[Damage]]:
    """The log of a directory whose lock is held, its catalog filled, and what was found damaged.

    Raises FormatError for a newer format, StoreRefused for segments of another store, DiskError.
    """
    recovery = None
    try:
        recovery = _Recovery(directory, disk, segment_bytes, clock, catalog)
        return recovery.run()
    except BaseException as error:
        if recovery is not None:
            recovery.close_files()
        cause = error.__cause__ if isinstance(error, StorePoisoned) else error  # nothing is open that could be poisoned
        if isinstance(cause, OSError) and not isinstance(cause, DiskError):
            raise refused(directory, cause, "put right") from cause
        raise


def _is_from_elsewhere(segment: Segment, data: bytes, found: Scan, region: Region) -> bool:
    """Blocks that were written to the place of others: no crash does that."""
    before = found.frames[region.before - 1][2] if region.before else segment.next - 1
    return holds_later(data, region, segment.seed, before)


class _Recovery:
    def __init__(self, directory: str, disk: Disk, segment_bytes: int | None, clock: Clock, catalog: Catalog) -> None:
        self._disk = disk
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._catalog = catalog
        self._saved = checkpoint.read(directory)
        self._files = segment_files(directory)
        self._damage: list[Damage] = []
        self._fixes: list[_Fix] = []
        self._superseded: list[int] = []
        self._blank: list[str] = []
        self._known = format.DATA  #: up to where the tail is known to be on the disk
        self._is_clean = False  #: whether all of it is, and nothing behind it, as a close leaves it
        self._headers_by_number = self._headers()
        self._store = self._store_id(self._headers_by_number)
        if self._saved is not None and self._saved.store != self._store:
            self._saved = None
        self._log = self._new_log()

    def close_files(self) -> None:
        self._log.close_files()

    def _new_log(self) -> Log:
        return Log(self._directory, self._disk, self._store, self._segment_bytes, self._clock)

    def run(self) -> tuple[Log, list[Damage]]:
        remove_leftovers(self._directory, self._disk)
        if not self._go_on():
            self._notice_lost()
            self._replay(0)
        self._put_right()
        return self._log, self._damage

    def _go_on(self) -> bool:
        """From where the checkpoint ends; False where there is none to rely on, and nothing has been changed."""
        saved = self._saved
        if saved is None or not saved.numbers or any(self._headers_by_number.get(n) is None for n in saved.numbers):
            return False
        damage = list(self._damage)
        try:
            checkpoint.load(saved, self._log, self._catalog, [self._open(number) for number in saved.numbers])
            self._replay(saved.offset)
        except OSError:
            raise
        except Exception as error:  # it may hold anything; or a record that it tells of is damaged
            logger.info("%s: its checkpoint is of no use (%r): all segments are read", self._directory, error)
            self._start_afresh(damage)
            return False
        self._superseded = [number for number in self._files if number < saved.numbers[0]]
        return True

    def _start_afresh(self, damage: list[Damage]) -> None:
        self._log.close_files()
        self._log = self._new_log()
        self._catalog.clear()
        self._damage, self._fixes = damage, []

    def _replay(self, start: int) -> None:
        """Read the segments: all, or from `start` in the last one that the checkpoint tells of."""
        log = self._log
        replay = Replay(log, self._catalog)
        numbers = [number for number in self._files if not start or number >= log.tail.number]
        for number in numbers:
            self._read(number, replay, start if number == numbers[0] else 0, number == numbers[-1])
        if numbers:
            log.next = log.tail.next  # a mark at an earlier segment's end has the number of the next one's first frame
        replay.finish(log.clock.wall())

    # What is there

    def _headers(self) -> dict[int, format.Header | None]:
        found = {}
        for number, path in list(self._files.items()):
            with open(path, "rb", opener=open_file) as file:
                data = file.read(format.DATA)
            found[number] = format.decode_header(data, path)
            if found[number] is None and self._is_blank(path):
                del found[number], self._files[number]
                self._report(path, 0, 0, "there is nothing in it")  # its header was synced before it had its name
                self._blank.append(path)
        return found

    def _is_blank(self, path: str) -> bool:
        with open(path, "rb", opener=open_file) as file:
            if not self._disk.filled(file.fileno()):
                return True
            file.seek(0)
            return not any(chunk.strip(b"\0") for chunk in iter(lambda: file.read(1 << 20), b""))

    def _store_id(self, headers: dict[int, format.Header | None]) -> bytes:
        ids = [header.store for header in headers.values() if header is not None]
        saved = [self._saved.store] if self._saved is not None else []
        if not ids and not saved and headers:
            path = next(iter(self._files.values()))
            raise StoreRefused(
                f"{path} is no segment that can be read: both copies of its header are damaged, and no other "
                "file tells which store it is from. Nothing was changed; move it elsewhere to begin with an empty store"
            )
        own = next(iter([id for id in saved if id in ids] or ids or saved), os.urandom(16))
        for number, header in headers.items():
            if header is not None and (header.store != own or header.number != number):
                raise StoreRefused(
                    f"{self._files[number]} belongs to another store, or was renamed: move it out of this directory"
                )
        return own

    def _open(self, number: int) -> Segment:
        """The segment of that number, empty yet."""
        path, header = self._files[number], self._headers_by_number[number]
        if header is None:
            header = format.Header(self._store, number, self._guess_base(path, number), 0.0)
            self._report(path, 0, format.DATA, "both copies of the segment's header")
        return Segment(path, header)

    def _guess_base(self, path: str, number: int) -> int:
        """Where a segment without a header begins: behind the one before it, or with its own first frame."""
        if self._log.segments and self._log.tail.number == number - 1:
            return self._log.next
        return first_number(self._content(path), format.seed(self._store, number), self._log.next)

    # Reading

    def _read(self, number: int, replay: Replay, start: int, last: bool) -> None:
        log = self._log
        if start:
            segment = log.tail
        else:
            self._notice_missing(number)
            segment = self._open(number)
            log.add_segment(segment)
        data = self._content(segment.path)
        found = scan(data, start or format.DATA, segment.seed, segment.next)
        marked = max(start, self._marked(number, data, found))
        if last:
            self._known = max(self._known, marked)
            self._is_clean = found.rest == found.end and marked == self._without_mark(found).end
            found = self._without_mark(found)
        torn = {
            r.start
            for r in found.regions
            if last
            and r.start >= marked
            and self._is_torn(segment, data, found, r)
            and not _is_from_elsewhere(segment, data, found, r)  # behind it: it looks for whole frames
        }
        replay.segment(segment, data, found, torn)
        for region in found.regions:
            self._note_region(segment, found, region, torn)
        log.next = max(log.next, segment.next)
        self._finish_segment(segment, data, found, torn, replay, last, marked)

    def _is_torn(self, segment: Segment, data: bytes, found: Scan, region: Region) -> bool:
        """Of bytes that no mark covers."""
        written = not never_written(data, region, rest_of_mark(found, region, segment.seed))
        return not (written or was_put_aside(self._log, segment.path, region.start, region.end - region.start))

    def _content(self, path: str) -> bytes:
        fd = self._disk.open(path, write=False)
        try:
            size = self._disk.size(fd)
            return self._disk.read(fd, min(size, self._disk.filled(fd) + _SLACK), 0)
        except (MemoryError, OverflowError):
            raise StoreRefused(
                f"{path} says that it has {size} bytes, for which there is no memory. Nothing was changed; move it out "
                "of this directory if it isn't the store's own"
            ) from None
        finally:
            self._disk.close(fd)

    def _notice_missing(self, number: int) -> None:
        first = self._log.tail.number + 1 if self._log.segments else number
        for gone in range(first, min(number, first + _LISTED)):
            self._report_missing(gone)
        if number > first + _LISTED:  # a file of a high number need not be ours, and would take hours
            rest = number - first - _LISTED - 1
            self._report_missing(first + _LISTED, f", and so are all {rest} between it and the next one")

    def _notice_lost(self) -> None:
        """Segments that a checkpoint tells of, and that are gone from the front or the end, where no gap shows."""
        for number in self._saved.numbers if self._saved is not None else []:
            if number < min(self._files, default=number + 1) or number > max(self._files):
                self._report_missing(number)

    def _report_missing(self, number: int, more: str = "") -> None:
        self._report(os.path.join(self._directory, f"{number:016d}.seg"), 0, 0, f"the segment is missing{more}")

    def _marked(self, number: int, data: bytes, found: Scan) -> int:
        """Up to where the segment is known to have been synced: a mark says so, or a checkpoint, even a stale one."""
        marks = [
            format.SYNC_FIELDS.unpack_from(data, offset + format.FRAME_HEAD)[0]
            for kind, _, _, offset, _ in found.frames
            if kind == format.SYNC
        ]
        if self._saved is not None and self._saved.segment == number:
            marks.append(self._saved.offset)
        return max(marks, default=0)

    @staticmethod
    def _without_mark(found: Scan) -> Scan:
        """The mark at the end is no part of the log: the next frame is written over it."""
        if not found.frames or found.frames[-1][0] != format.SYNC:
            return found
        return found._replace(frames=found.frames[:-1], end=found.frames[-1][3])

    def _note_region(self, segment: Segment, found: Scan, region: Region, torn: set[int]) -> None:
        follower = found.frames[region.before] if region.before < len(found.frames) else None
        if region.start in torn:
            logger.info("%s: %d bytes at %d were never synced", segment.path, region.end - region.start, region.start)
        else:
            self._report(segment.path, region.start, region.end - region.start, "no record can be read there")
        if follower is not None:
            damaged = region.start not in torn
            self._fixes.append(_Fix(segment, region.start, region.end, follower[2] - 1, damaged))
        else:
            self._pad_end(segment, region.start, region.end)

    def _pad_end(self, segment: Segment, start: int, end: int, lost: int = 0) -> None:
        """Damage at the end of the frames: its records' numbers stay used, however many there were."""
        lost = lost or self._lost_before(segment, end) or max(1, (end - start) // format.FRAME_COST)
        segment.index.extend([0] * lost)
        segment.end = max(end, start + format.FRAME_COST)
        self._fixes.append(_Fix(segment, start, segment.end, segment.next - 1, True))
        self._log.next = max(self._log.next, segment.next)

    def _lost_before(self, segment: Segment, end: int) -> int:
        """How many numbers are missing there, where the checkpoint knows; else 0. The next opening may go on from the
        checkpoint, with the number that it tells, and frames with numbers below that of a PAD before them are none."""
        saved = self._saved
        if saved is None or (saved.segment, saved.offset) != (segment.number, end):
            return 0
        return max(0, saved.next - segment.next)

    def _finish_segment(
        self, segment: Segment, data: bytes, found: Scan, torn: set[int], replay: Replay, last: bool, marked: int
    ) -> None:
        """See to what follows the last frame: a commit without its end, a torn tail, damage."""
        following = None if last else self._base_after(segment.number)
        missing = max(0, following - segment.next) if following is not None else 0
        damaged = segment.end < marked if last else missing > 0
        if self._headers_by_number[segment.number] is None and not found.frames:
            damaged = True  # all that is in it is unreadable
        behind = any(region.before == len(found.frames) and region.start not in torn for region in found.regions)
        first = replay.open_commit()
        if first is not None and (damaged or behind):
            replay.keep_open_commit(segment, data)
        elif first is not None and last:
            self._cut(segment, first)
        if damaged:
            length = max(0, found.rest - segment.end)
            reason = "no record can be read there" if length else "it is cut short"
            self._report(segment.path, segment.end, length, reason)
            self._pad_end(segment, segment.end, max(found.rest, marked if last else 0), missing)

    def _base_after(self, number: int) -> int | None:
        header = self._headers_by_number.get(number + 1)
        return header.base if header is not None else None

    def _cut(self, segment: Segment, first: tuple[int, int, int, int, int]) -> None:
        """The last commit has no end: it never happened."""
        _, _, sequence, offset, _ = first
        del segment.index[sequence - segment.base :]
        segment.end = offset
        self._log.next = sequence

    # Putting right

    def _report(self, path: str, offset: int, length: int, reason: str) -> None:
        self._damage.append(Damage(path, offset, length, reason))

    def _put_right(self) -> None:
        log = self._log
        self._damage = [self._log_damage(quarantine(log, damage)) for damage in self._damage]
        for fix in self._fixes:
            pad(log, fix.segment, fix.start, fix.end, fix.number, damaged=fix.damaged)
        for segment in log.segments:
            if self._headers_by_number[segment.number] is None:
                self._write_header(segment)
        for path in self._blank:
            self._disk.unlink(path)
        for number in self._superseded:  # they were dead when the checkpoint was written
            with log.changing_names():  # each before the next, as in Log.drop
                self._disk.unlink(self._files[number])
        if log.segments:
            self._put_tail_right()
        if not (self._skip_lost_numbers() or self._is_clean):
            log.sync_directory()

    def _put_tail_right(self) -> None:
        log = self._log
        if self._known < log.tail.end:
            self._renew(log.tail)
        log.open_tail()
        if self._disk.size(log.tail.fd) != log.tail.end:
            self._disk.truncate(log.tail.fd, log.tail.end)
        if not self._is_clean:
            self._disk.sync(log.tail.fd)
        log.reopened()

    def _renew(self, tail: Segment) -> None:
        """A new file in place of one of which not all is known to be on the disk. Where a sync of that has failed, and
        be it the system's own, it is in memory and taken for written: no later sync would see to it, nor would one
        behind a write in its place, and of what follows it nothing could be read behind a power cut."""
        try:
            self._copy(tail.path)
        except OSError as error:
            with suppress(OSError):
                self._disk.unlink(tail.path + ".tmp")
            if error.errno not in _WITHOUT:
                raise

    def _copy(self, path: str) -> None:
        source = self._disk.open(path, write=False)
        try:
            self._disk.copy_file(source, self._log.tail.end, path + ".tmp")
        finally:
            self._disk.close(source)
        with self._log.changing_names():
            self._disk.rename(path + ".tmp", path)

    def _skip_lost_numbers(self) -> bool:
        """Begin a segment where there is none, or behind those that are lost: their numbers stay used (I6). Whether it
        did; the directory is synced then."""
        log, saved = self._log, self._saved
        if saved is not None and saved.next > log.next:
            log.next, log.synced = saved.next, saved.next - 1
            log.roll(number=max(saved.segment, *self._files, 0) + 1)
        elif not log.segments:
            log.roll(number=saved.segment + 1 if saved is not None else 1)
        else:
            return False
        return True

    def _write_header(self, segment: Segment) -> None:
        header = format.Header(self._log.store, segment.number, segment.base, self._log.clock.wall())
        fd = self._disk.open(segment.path)
        try:
            for at in (0, format.HEADER_COPY):
                self._disk.write(fd, format.encode_header(header), at)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)

    @staticmethod
    def _log_damage(damage: Damage) -> Damage:
        logger.error(
            "%s: %d bytes at %d are damaged: %s%s; everything else is served",
            damage.path,
            damage.length,
            damage.offset,
            damage.reason,
            f" (copied to {damage.quarantine})" if damage.quarantine else "",
        )
        return damage
