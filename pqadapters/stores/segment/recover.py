"""Opening: from the files of a directory to a log that can be written to.

Reading comes first and changes nothing. Then what was found is put right: a torn tail is cut; bytes that are no
frames are copied to a quarantine file and overwritten by a PAD frame, so that they are met and reported once.

A *torn* region is what a crash leaves of writes that no sync covered. It is told from damage by three signs: it
stands in the last segment (the others were synced when they were ended), no SYNC frame covers it, and blocks are
missing in it.
"""

from __future__ import annotations

import logging
import os
from typing import Any, NamedTuple

from ...clock import Clock
from ...errors import StoreRefused
from ...store import Damage
from . import checkpoint, format
from .directory import refused, remove_leftovers, segment_files
from .disk import Disk
from .heal import pad, quarantine
from .log import Log, Segment
from .queues import Catalog
from .replay import Replay
from .scan import Region, Scan, never_written, scan

logger = logging.getLogger("pqadapters.stores.segment")


class _Found(NamedTuple):
    """A segment file."""

    segment: Segment
    header_damage: str


def recover(directory: str, disk: Disk, segment_bytes: int, clock: Clock, catalog: Catalog) -> tuple[Log, list[Damage]]:
    """The log of a directory whose lock is held, its catalog filled, and what was found damaged.

    Raises FormatError for a newer format, StoreRefused for segments of another store, DiskError.
    """
    try:
        return _Recovery(directory, disk, segment_bytes, clock, catalog).run()
    except OSError as error:
        raise refused(directory, error, "read") from error


class _Recovery:
    def __init__(self, directory: str, disk: Disk, segment_bytes: int, clock: Clock, catalog: Catalog) -> None:
        self._disk = disk
        self._saved = checkpoint.read(directory)
        self._files = segment_files(directory)
        self._damage: list[Damage] = []
        headers = self._headers()
        self._log = Log(directory, disk, self._store_id(headers), segment_bytes, clock)
        self._headers_by_number = headers
        self._catalog = catalog
        self._fixes: list[tuple[Segment, int, int, int]] = []  # PAD frames to write: segment, start, end, number

    def run(self) -> tuple[Log, list[Damage]]:
        log = self._log
        remove_leftovers(log.directory, self._disk)
        start = self._load_checkpoint()
        replay = Replay(log, self._catalog)
        numbers = [number for number in self._files if not log.segments or number >= log.tail.number]
        for number in numbers:
            self._read(number, replay, start if log.segments and number == log.tail.number else 0, number == numbers[-1])
        replay.finish(log.clock.wall())
        if not log.segments:
            log.next = self._saved[0]["next"] if self._saved else 1
            log.roll()
        self._put_right()
        self._disk.sync_directory(log.directory)
        return log, self._damage

    # What is there

    def _headers(self) -> dict[int, format.Header | None]:
        found = {}
        for number, path in list(self._files.items()):
            with open(path, "rb") as file:
                data = file.read(format.DATA)
            found[number] = format.decode_header(data, path)
            if found[number] is None and self._is_blank(path):
                del found[number], self._files[number]  # a file without a byte in it: nothing to lose
                self._disk.unlink(path)
        return found

    @staticmethod
    def _is_blank(path: str) -> bool:
        with open(path, "rb") as file:
            return not any(chunk.strip(b"\0") for chunk in iter(lambda: file.read(1 << 20), b""))

    def _store_id(self, headers: dict[int, format.Header | None]) -> bytes:
        ids = [header.store for header in headers.values() if header is not None]
        saved = [bytes.fromhex(self._saved[0]["store"])] if self._saved is not None else []
        if not ids and not saved and headers:
            path = next(iter(self._files.values()))
            raise StoreRefused(
                f"{path} is no segment that can be read: both copies of its header are damaged, and no other file tells "
                "which store it is from. Nothing was changed; move the file elsewhere to begin with an empty store"
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
            base = self._log.next
            header = format.Header(self._log.store, number, base, 0.0)
            self._report(path, 0, format.DATA, "both copies of the segment's header")
        return Segment(path, header)

    def _load_checkpoint(self) -> int:
        """Take over what the checkpoint tells, if it fits what is there. The offset in the last segment to go on from."""
        if self._saved is None:
            return 0
        head, body = self._saved
        numbers = [entry[0] for entry in head["segments"]]
        fits = head["store"] == self._log.store.hex() and all(
            number in self._files and self._headers_by_number[number] is not None for number in numbers
        )
        if not fits or not self._reaches(head):
            return 0
        for number in [number for number in self._files if number < numbers[0]]:
            self._disk.unlink(self._files.pop(number))  # they were dead when the checkpoint was written
        segments = [self._open(number) for number in numbers]
        checkpoint.load(head, body, self._log, self._catalog, segments)
        return int(head["offset"])

    def _reaches(self, head: dict[str, Any]) -> bool:
        return all(os.path.getsize(self._files[entry[0]]) >= entry[2] for entry in head["segments"])

    # Reading

    def _read(self, number: int, replay: Replay, start: int, last: bool) -> None:
        log = self._log
        if start:
            segment = log.tail
        else:
            self._notice_missing(number)
            segment = self._open(number)
            log.add_segment(segment)
        data = self._content(segment)
        found = scan(data, start or format.DATA, segment.seed, segment.next)
        marked = max(start, self._marked(number, data, found))
        if last:
            found = self._without_mark(found)
        torn = {r.start for r in found.regions if last and r.start >= marked and never_written(data[r.start : r.end])}
        replay.segment(segment, data, found, torn)
        for region in found.regions:
            self._note_region(segment, found, region, torn)
        log.next = max(log.next, segment.next)
        self._finish_segment(segment, data, found, replay, last, marked)

    def _content(self, segment: Segment) -> bytes:
        fd = self._disk.open(segment.path, write=False)
        try:
            return self._disk.read(fd, self._disk.size(fd), 0)
        finally:
            self._disk.close(fd)

    def _notice_missing(self, number: int) -> None:
        if self._log.segments and number != self._log.tail.number + 1:
            for gone in range(self._log.tail.number + 1, number):
                path = os.path.join(self._log.directory, f"{gone:016d}.seg")
                self._report(path, 0, 0, "the segment is missing")

    def _marked(self, number: int, data: bytes, found: Scan) -> int:
        """Up to where the segment is known to have been synced: a mark says so, or a checkpoint, even a stale one."""
        marks = [
            format.SYNC_FIELDS.unpack_from(data, offset + format.FRAME_HEAD)[0]
            for kind, _, _, offset, _ in found.frames
            if kind == format.SYNC
        ]
        if self._saved is not None and self._saved[0]["segment"] == number:
            marks.append(int(self._saved[0]["offset"]))
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
            self._fixes.append((segment, region.start, region.end, follower[2] - 1))
        else:
            self._pad_end(segment, region.start, region.end)

    def _pad_end(self, segment: Segment, start: int, end: int, lost: int = 0) -> None:
        """Damage at the end of the frames: its records' numbers stay used, however many there were."""
        segment.index.extend([0] * (lost or max(1, (end - start) // format.FRAME_COST)))
        segment.end = max(end, start + format.FRAME_COST)
        self._fixes.append((segment, start, segment.end, segment.next - 1))
        self._log.next = max(self._log.next, segment.next)

    def _finish_segment(self, segment: Segment, data: bytes, found: Scan, replay: Replay, last: bool, marked: int) -> None:
        """See to what follows the last frame: a commit without its end, a torn tail, damage."""
        following = None if last else self._base_after(segment.number)
        missing = max(0, following - segment.next) if following is not None else 0
        damaged = segment.end < marked if last else missing > 0
        first = replay.open_commit()
        if first is not None and (damaged or segment.end > found.end):
            replay.keep_open_commit(segment, data)
        elif first is not None and last:
            self._cut(segment, first)
        if damaged:
            length = max(0, found.rest - segment.end)
            self._report(segment.path, segment.end, length, "no record can be read there" if length else "it is cut short")
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
        for segment, start, end, number in self._fixes:
            pad(log, segment, start, end, number)
        for segment in log.segments:
            if self._headers_by_number.get(segment.number) is None and segment.number in self._headers_by_number:
                self._write_header(segment)
        tail = log.tail
        if tail.fd < 0:
            tail.fd = self._disk.open(tail.path)
        if self._disk.size(tail.fd) != tail.end:
            self._disk.truncate(tail.fd, max(tail.end, format.DATA))
        self._disk.sync(tail.fd)
        log.reopened()

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
