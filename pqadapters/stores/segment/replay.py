"""Replaying frames: from a log on disk to what is in memory. Nothing is written here; `recover.py` does that."""

from __future__ import annotations

from typing import NamedTuple

from . import format
from .log import Log
from .places import Segment
from .queues import Catalog, Extra, Key, Queue, Table
from .reader import Reader
from .scan import Scan

_RECENT = 200_000

_Frame = tuple[int, int, int, int, int]


class _Known(NamedTuple):
    """A live record of a queue, as a removal needs it."""

    queue: Queue
    size: int  #: payload bytes
    rank: bytes = b""
    note: int = 0  #: bytes of its note


class Replay:
    """Applies the frames of one segment after the other, in the log's order.

    A commit counts when all its frames from FIRST to LAST are there. Of one that damage has torn apart, what adds
    counts and what removes does not: damage may redeliver, it never loses more than it hit.

    Methods raise Unreadable where a record that only a checkpoint tells of is damaged, and OSError.
    """

    def __init__(self, log: Log, catalog: Catalog) -> None:
        self._log = log
        self._catalog = catalog
        self._reader = Reader(log)
        self._recent: dict[int, _Known] = {}
        self._due: dict[int, tuple[float, bytes]] = {}
        self._group: list[_Frame] = []
        self._maimed = False  # the group at hand has lost frames to damage

    def segment(self, segment: Segment, data: bytes, found: Scan, torn: set[int]) -> None:
        """Apply what a scan found. `torn`: the regions, by start, that were never written whole; others are damage."""
        regions = {region.before: region for region in found.regions}
        for at, frame in enumerate(found.frames):
            region = regions.get(at)
            gap = frame[2] - segment.next
            if region is not None:
                self._interrupt(segment, data, lost=region.start not in torn)
            elif frame[0] == format.PAD:
                self._interrupt(segment, data, lost=frame[1] != format.WHOLE)
            elif gap:
                self._interrupt(segment, data, lost=True)
            if gap:
                segment.index.extend([0] * gap)
            self._step(segment, data, frame)
            segment.end = frame[3] + frame[4] + format.FRAME_COST

    def _interrupt(self, segment: Segment, data: bytes, lost: bool) -> None:
        """Frames are missing here. What stood before them in an open commit counts only if damage took the rest."""
        group, self._group = self._group, []
        self._maimed = lost
        if lost:
            self._apply_additions(segment, data, group)

    def _step(self, segment: Segment, data: bytes, frame: _Frame) -> None:
        kind, flags, sequence, offset, length = frame
        if flags == format.WHOLE:
            self._group.clear()
            if kind == format.PUT and not self._catalog.extra:
                self._put(segment, data, sequence, offset, length)
            else:
                segment.index.append(0)
                self._apply(segment, data, frame)
            return
        segment.index.append(0)
        if flags & format.FIRST:
            self._group = [frame]
        elif self._group:
            self._group.append(frame)
        elif self._maimed:
            self._apply_additions(segment, data, [frame])
        if flags & format.LAST:
            group, self._group = self._group, []
            for member in group:
                self._apply(segment, data, member)

    def open_commit(self) -> _Frame | None:
        """The first frame of a commit that has no end, behind the last segment."""
        return self._group[0] if self._group else None

    def keep_open_commit(self, segment: Segment, data: bytes) -> None:
        """Damage took the end of the last commit: what it added counts."""
        self._interrupt(segment, data, lost=True)

    def _apply_additions(self, segment: Segment, data: bytes, frames: list[_Frame]) -> None:
        for frame in frames:
            if frame[0] in (format.PUT, format.RECORD, format.SET, format.NAME):
                self._apply(segment, data, frame)

    def _put(self, segment: Segment, data: bytes, id: int, offset: int, length: int) -> None:
        """The plain case, a million times over."""
        number, _ = format.PUT_FIELDS.unpack_from(data, offset + format.FRAME_HEAD)
        queue = self._queue(number)
        segment.index.append(offset)
        segment.live += 1
        size = length - format.PUT_FIELDS.size
        queue.bytes += size
        queue.insert(id)
        self._remember(id, _Known(queue, size))

    def _remember(self, id: int, known: _Known) -> None:
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[id] = known

    def _apply(self, segment: Segment, data: bytes, frame: _Frame) -> None:
        kind, _, sequence, offset, length = frame
        start = offset + format.FRAME_HEAD
        body = memoryview(data)[start : start + length]
        if kind in (format.PUT, format.RECORD):
            self._record(segment, offset, sequence, format.decode_record(kind, body))
        elif kind == format.ACK:
            for at in range(0, length, format.ID.size):
                self._gone(format.ID.unpack_from(body, at)[0])
        elif kind == format.STATE:
            self._state(body)
        elif kind == format.SET:
            self._set(segment, offset, sequence, format.decode_entry(body))
        elif kind == format.DELETE:
            self._delete(body)
        elif kind == format.NAME:
            self._name(segment, body)

    def _queue(self, number: int) -> Queue:
        found = self._catalog.by_number.get(number)
        if found is None:  # damage took its NAME
            found = self._catalog.add_queue(f"?{number:08x}", number, named=False)
        assert isinstance(found, Queue)
        return found

    def _record(self, segment: Segment, offset: int, sequence: int, fields: format.Fields) -> None:
        id = fields.id or sequence
        if self._log.locate(id) is not None:
            self._gone(id)  # it was written again: an update, or a move to another segment
        queue = self._queue(fields.queue)
        self._log.place(id, segment, offset)
        self._log.more_bytes += format.more_cost(fields.rank, fields.note)
        queue.bytes += len(fields.payload)
        queue.insert(id, fields.rank)
        self._remember(id, _Known(queue, len(fields.payload), fields.rank, len(format.encode_note(fields.note))))
        if fields.not_before:
            self._due[id] = fields.not_before, fields.rank

    def _known(self, id: int) -> _Known:
        known = self._recent.pop(id, None)
        if known is not None:
            return known
        fields = self._reader.record(id)
        extra = self._catalog.extra.get(id)
        number = extra.queue if extra is not None and extra.queue else fields.queue
        note = format.encode_note(extra.note if extra is not None else fields.note)
        return _Known(self._queue(number), len(fields.payload), fields.rank, len(note))

    def _gone(self, id: int) -> None:
        """The record is acknowledged, or stands elsewhere from now on."""
        if self._log.locate(id) is None:
            return
        known = self._known(id)
        self._due.pop(id, None)
        self._log.displace(id)
        self._catalog.extra.pop(id, None)
        self._leave(known, id)
        self._log.more_bytes -= len(known.rank) + known.note

    def _leave(self, known: _Known, id: int) -> None:
        queue = known.queue
        queue.bytes -= known.size
        for at, (_, delayed, _) in enumerate(queue.delayed):  # only what a checkpoint brought
            if delayed == id:
                queue.delayed[at] = queue.delayed[-1]
                queue.delayed.pop()
                queue.delayed.sort()
                return
        queue.take(id)

    def _state(self, body: memoryview) -> None:
        id, number, not_before, attempts = format.STATE_FIELDS.unpack_from(body)
        if self._log.locate(id) is None:
            return
        known = self._known(id)
        self._due.pop(id, None)
        self._leave(known, id)
        queue = self._queue(number)
        queue.bytes += known.size
        queue.insert(id, known.rank)
        text = body[format.STATE_FIELDS.size :]
        self._log.more_bytes += len(text) - known.note
        self._remember(id, known._replace(queue=queue, note=len(text)))
        note = str(text, "utf-8", "surrogatepass")
        self._catalog.extra[id] = Extra(attempts, not_before, number, note)
        if not_before:
            self._due[id] = not_before, known.rank

    def _set(self, segment: Segment, offset: int, sequence: int, entry: format.Entry) -> None:
        table = self._table(entry.table)
        old = table.keys.get(entry.key)
        if old is not None:
            self._log.displace(old.id)
            self._log.more_bytes -= old.size
        else:
            self._log.key_bytes += len(entry.key)
        size = len(entry.key) + len(entry.value)
        place = entry.place or (old.place if old is not None else sequence)
        table.keys[entry.key] = Key(sequence, place, size)
        self._log.place(sequence, segment, offset)
        self._log.more_bytes += size

    def _table(self, number: int) -> Table:
        found = self._catalog.by_number.get(number)
        if found is None:
            found = self._catalog.add_table(f"?{number:08x}", number, named=False)
        assert isinstance(found, Table)
        return found

    def _delete(self, body: memoryview) -> None:
        (number,) = format.DELETE_FIELDS.unpack_from(body)
        key = bytes(body[format.DELETE_FIELDS.size :])
        old = self._table(number).keys.pop(key, None)
        if old is not None:
            self._log.displace(old.id)
            self._log.more_bytes -= old.size
            self._log.key_bytes -= len(key)

    def _name(self, segment: Segment, body: memoryview) -> None:
        number, is_table = format.NAME_FIELDS.unpack_from(body)
        name = str(body[format.NAME_FIELDS.size :], "utf-8", "surrogatepass")
        segment.names.add(number)
        known = self._catalog.by_number.get(number)
        if known is None or not known.named:
            add = self._catalog.add_table if is_table else self._catalog.add_queue
            add(name, number)

    def finish(self, now: float) -> None:
        """Put delayed records and the keys of tables in their places."""
        for id, (not_before, rank) in self._due.items():
            if not_before > now and self._log.locate(id) is not None:
                known = self._known(id)
                known.queue.take(id)
                known.queue.add(id, rank, not_before)
        for queue in self._catalog.queues.values():
            queue.sweep()
        for table in self._catalog.tables.values():
            table.sort()
