"""Reading records back: their frames, checked, with a look ahead for those who read in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from . import format
from .format import decode_puts
from .log import Log
from .places import Segment
from .queues import Queue

_SHORT, _LONG = 4096, 128 * 1024
_BRING = frozenset({format.PUT, format.RECORD, format.SET})  #: frames with a record; a stale checkpoint names others


class Unreadable(Exception):
    """The bytes of a live record are damaged."""

    def __init__(self, segment: Segment, offset: int) -> None:
        super().__init__(segment, offset)
        self.segment = segment
        self.offset = offset


class _Window(NamedTuple):
    segment: Segment
    start: int
    data: bytes

    def holds(self, segment: Segment, offset: int) -> bool:
        return self.segment is segment and self.start <= offset < self.start + len(self.data)


class Reader:
    """Frames of one log by record id. Needs the store's lock."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._window: _Window | None = None
        self._ahead = _SHORT

    def forget(self) -> None:
        """The bytes of a segment were changed in place."""
        self._window = None

    def run(self, ids: Sequence[int], queue: Queue) -> list[tuple[bytes, float]]:
        """Payload and time of the first of these, in rising order, as far as they are plain PUTs of the queue and their
        frames are at hand."""
        window = self._window
        if window is None or not ids:
            return []
        segment, start, data = window
        base, index = segment.base, segment.index
        first, behind = ids[0] - base, ids[-1] - base + 1
        if first < 0:
            return []
        if behind - first == len(ids):
            offsets: Sequence[int] = index[first:behind]
        else:
            frames = len(index)
            offsets = [index[id - base] for id in ids if id - base < frames]
        return decode_puts(data, offsets, ids, queue.number, segment.seed, start)

    def body(self, id: int) -> tuple[int, memoryview]:
        """The kind and body of the frame that brought a live record.

        Raises Unreadable where it is damaged, OSError where the system can't read it.
        """
        place = self._log.locate(id)
        assert place is not None, f"record {id} is not live"
        segment, offset = place
        window = self._window
        if window is not None and window.holds(segment, offset):
            found = self._decode(window, offset)
            if found is not None:
                return found
        return self._load(segment, offset)

    def _load(self, segment: Segment, offset: int) -> tuple[int, memoryview]:
        last = self._window
        onward = last is not None and last.segment is segment and 0 <= offset - last.start <= 2 * len(last.data)
        self._ahead = min(2 * self._ahead, _LONG) if onward else _SHORT
        window = self._read(segment, offset, self._ahead)
        found = self._decode(window, offset)
        if found is None and len(window.data) >= format.FRAME_HEAD:
            length = format.FRAME.unpack_from(window.data)[3] + format.FRAME_COST
            if len(window.data) < length <= segment.end - offset:
                found = self._decode(self._read(segment, offset, length), offset)
        if found is None:
            raise Unreadable(segment, offset)
        self._window = window
        return found

    def _read(self, segment: Segment, offset: int, length: int) -> _Window:
        return _Window(segment, offset, self._log.read(segment, offset, min(length, segment.end - offset)))

    @staticmethod
    def _decode(window: _Window, offset: int) -> tuple[int, memoryview] | None:
        at = offset - window.start
        frame = format.frame_at(window.data, at, window.segment.seed)
        if frame is None or frame[0] not in _BRING:
            return None
        start = at + format.FRAME_HEAD
        return frame[0], memoryview(window.data)[start : start + frame[3]]

    def record(self, id: int) -> format.Fields:
        """A live record of a queue as its frame tells it; for a table's, fields of no queue."""
        kind, body = self.body(id)
        if kind == format.SET:
            return format.Fields(0, 0.0, b"")
        return format.decode_record(kind, body)

    def value(self, id: int) -> bytes:
        """A live value of a table."""
        return format.decode_entry(self.body(id)[1]).value
