"""Where each live record stands: segments and the offsets in them. In memory alone; all methods need the store's lock.

A record's id is the sequence number of the frame that brought it, so a segment keeps one offset for each of its
frames, by id minus base. A record that was written again is a guest in another segment.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from . import format


class Segment:
    """A segment file and the places of its frames."""

    __slots__ = ("base", "end", "fd", "few", "guests", "index", "live", "names", "number", "path", "seed", "spare")

    def __init__(self, path: str, header: format.Header) -> None:
        self.path = path
        self.number = header.number
        self.base = header.base
        self.seed = header.seed
        self.end = format.DATA  #: where the next frame goes
        self.index = array("I")  #: offset of frame base+i where it brought a record that is live, else 0
        self.guests: dict[int, int] = {}  #: offsets of live records whose ids are from elsewhere
        self.live = 0  #: how many live records stand here
        self.few = 0  #: so many are too few to keep the file for; known once another segment follows
        self.spare = 0  #: how many bytes of what is allocated behind it are for an empty segment
        self.names: set[int] = set()  #: the queue and table numbers that it names
        self.fd = -1

    @property
    def next(self) -> int:
        """The sequence number behind its last frame."""
        return self.base + len(self.index)


class Places:
    """Segments from `segments[0]`, the front, to `tail`."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.tail: Segment  #: the last one
        self._bases: list[int] = []
        self.ended = 0  #: bytes of all segments that another one was added to, those that are gone included
        self.moved: dict[int, Segment] = {}  #: where records stand that were written again
        self.more_bytes = 0  #: what live records take beside payload and PUT_COST: ranks, notes, keys, values
        self.key_bytes = 0  #: the keys among that: to delete one it is written once more

    @property
    def live(self) -> int:
        """How many records are live, in queues and tables."""
        return sum(segment.live for segment in self.segments)

    @property
    def size(self) -> int:
        """What all frames take, live or not."""
        return sum(segment.end - format.DATA for segment in self.segments)

    def add_segment(self, segment: Segment) -> None:
        if self.segments:
            frames = len(self.tail.index)
            self.tail.few = max(frames // 1000, int(frames >= 100))
        segments, bases = [*self.segments, segment], [*self._bases, segment.base]
        if self.segments:  # no call from here on, in which a signal handler might raise
            self.ended += self.tail.end
        self.segments, self._bases, self.tail = segments, bases, segment

    def locate(self, id: int) -> tuple[Segment, int] | None:
        """Where a live record stands."""
        segment = self.moved.get(id) if self.moved else None
        if segment is not None:
            return segment, segment.guests[id]
        segment = self._home(id)
        if segment is None:
            return None
        offset = segment.index[id - segment.base]
        return (segment, offset) if offset else None

    def _home(self, id: int) -> Segment | None:
        segment = self.tail
        if id < segment.base:
            segment = self.segments[0]
            if not segment.base <= id < segment.next:
                at = bisect_right(self._bases, id) - 1
                if at < 0:
                    return None
                segment = self.segments[at]
        return segment if id < segment.next else None

    def place(self, id: int, segment: Segment, offset: int) -> None:
        """A record's frame stands in `segment` at `offset` from now on, wherever it stood before."""
        self.displace(id)
        if segment.base <= id < segment.next:
            segment.index[id - segment.base] = offset
        else:
            segment.guests[id] = offset
            self.moved[id] = segment
        segment.live += 1

    def displace(self, id: int) -> Segment | None:
        """A record is no longer live; the segment it stood in."""
        if self.moved and (segment := self.moved.get(id)) is not None:
            del segment.guests[id]
            del self.moved[id]
            segment.live -= 1
            return segment
        tail = self.tail  # most acknowledgements are for the last segment or the first
        segment = tail if id >= tail.base else self.segments[0]
        index = segment.index
        at = id - segment.base
        if not 0 <= at < len(index):
            found = self._home(id)
            if found is None:
                return None
            segment, index, at = found, found.index, id - found.base
        if not index[at]:
            return None
        index[at] = 0
        segment.live -= 1
        return segment

    def displace_all(self, ids: Sequence[int]) -> None:
        """As `displace`, for one or many, most of which stand in the same segment, one behind the other."""
        if not self.moved and self._displace_run(ids):
            return
        segment: Segment | None = None
        for id in ids:
            if segment is None or self.moved or not 0 <= id - segment.base < len(segment.index):
                segment = self.displace(id)
            elif segment.index[id - segment.base]:
                segment.index[id - segment.base] = 0
                segment.live -= 1

    def _displace_run(self, ids: Sequence[int]) -> bool:
        """Where they are live and stand behind one another in one segment: all in one go. Whether they did."""
        first, behind = ids[0], ids[0] + len(ids)
        segment = self._home(first)
        if segment is None or behind > segment.next or ids != [*range(first, behind)]:
            return False
        at, count = slice(first - segment.base, behind - segment.base), len(ids)
        nowhere = array("I", bytes(4 * count))
        if not all(segment.index[at]):
            return False
        segment.live -= count  # no call between this line and the next, in which a signal handler might raise
        segment.index[at] = nowhere
        return True

    @property
    def dead(self) -> list[Segment]:
        """The first segments in which nothing is live; never the tail."""
        found = []
        for segment in self.segments[:-1]:
            if segment.live:
                break
            found.append(segment)
        return found

    @property
    def front(self) -> Segment:
        """The first segment in which something is live, or the tail. Dead ones may stand before it for a while."""
        return self.segments[len(self.dead)]

    def remove_segment(self, segment: Segment) -> None:
        """A dead segment is gone."""
        segments = [each for each in self.segments if each is not segment]
        bases = [each.base for each in segments]
        self.segments, self._bases = segments, bases  # in one run, without a call
