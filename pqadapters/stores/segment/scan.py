"""Finding frames in the bytes of a segment, and finding the next one behind bytes that are none."""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from .format import CRC, DATA, FRAME, FRAME_COST, FRAME_HEAD, MAGIC, PAD, SECTOR, SYNC, encode_sync, frame_at

_ZEROS = bytes(4096)


class Region(NamedTuple):
    """Bytes between frames that are no frame."""

    before: int  #: how many frames of the scan stand before it
    start: int
    end: int


class Scan(NamedTuple):
    """What stands in a segment: frames as (kind, flags, sequence, offset, body length), and what is none."""

    frames: list[tuple[int, int, int, int, int]]
    regions: list[Region]
    end: int  #: behind the last frame
    rest: int  #: behind the last byte that isn't zero; `end` where nothing follows the last frame


def scan(data: bytes, at: int, seed: int, expected: int) -> Scan:
    """All frames from `data[at]` on. The first has the number `expected`, or a later one where bytes are damaged.

    Frames with lower numbers are part of a payload; those with numbers too high for what may have stood before them are
    from another place. A PAD is neither: it may stand for more than it has room for.
    """
    view, size = memoryview(data), len(data)
    unpack, check = FRAME.unpack_from, CRC.unpack_from
    frames: list[tuple[int, int, int, int, int]] = []
    regions: list[Region] = []
    while True:
        if at + FRAME_COST <= size:
            magic, kind, flags, length, sequence = unpack(data, at)
            end = at + FRAME_HEAD + length
            if (
                magic == MAGIC
                and end + 4 <= size
                and (sequence == expected or (sequence > expected and kind == PAD))
                and crc32(view[at:end], seed) == check(data, end)[0]
            ):
                frames.append((kind, flags, sequence, at, length))
                at, expected = end + 4, sequence + 1
                continue
        rest = _content_end(data, at)
        found = _next(data, at, seed, expected) if rest > at else None
        if found is None:
            return Scan(frames, regions, at, rest)
        regions.append(Region(len(frames), at, found[0]))
        at, expected = found


def first_number(data: bytes, seed: int, expected: int) -> int:
    """The number of the first whole frame from `expected` on, in a segment whose header is lost; or `expected`."""
    at = DATA - 1
    while (at := data.find(MAGIC, at + 1)) >= 0:
        frame = frame_at(data, at, seed)
        if frame is not None and frame[2] >= expected:
            return frame[2]
    return expected


def _next(data: bytes, start: int, seed: int, expected: int) -> tuple[int, int] | None:
    """Where the next whole frame behind `start` begins, and its number."""
    at = start
    while (at := data.find(MAGIC, at + 1)) >= 0:
        frame = frame_at(data, at, seed)
        if frame is not None:
            skipped = frame[2] - expected
            if 0 <= skipped <= (at - start) // FRAME_COST or (skipped > 0 and frame[0] == PAD):
                return at, frame[2]
    return None


def _content_end(data: bytes, at: int) -> int:
    """Behind the last byte from `at` on that isn't zero; what was allocated ahead is passed over block by block."""
    end = len(data)
    while end - len(_ZEROS) >= at and data[end - len(_ZEROS) : end] == _ZEROS:
        end -= len(_ZEROS)
    return at + len(data[at:end].rstrip(b"\0"))


def holds_later(data: bytes, region: Region, seed: int, number: int) -> bool:
    """Whether a whole frame with a number above this one is in it. None that was written there would have been left
    out: it is from another place of the segment."""
    at = region.start - 1
    while (at := data.find(MAGIC, at + 1, region.end)) >= 0:
        frame = frame_at(data, at, seed)
        if frame is not None and frame[2] > number:
            return True
    return False


def never_written(data: bytes, region: Region, rest: bytes = b"") -> bool:
    """Whether bytes look like what a crash leaves of an unsynced write: with something older where sectors are missing.

    That is zeros up to a sector's ends (fewer may be a record's own), or the SYNC mark that the frame was written over,
    or the `rest` of one, or a PAD that was being written itself.
    """
    start, end = region.start, region.end
    if start == end or data[start : start + 3] in _WRITTEN_OVER:
        return True
    first = start - start % SECTOR
    return any(
        _is_older(data[max(start, at) : min(end, at + SECTOR)], rest[max(start, at) - start :])
        for at in range(first, end, SECTOR)
    )


def _is_older(data: bytes, rest: bytes) -> bool:
    """Whether a sector has nothing but zeros, or the rest of a mark and zeros."""
    return not any(data) or (rest != b"" and data == rest[: len(data)].ljust(len(data), b"\0"))


def rest_of_mark(found: Scan, region: Region, seed: int) -> bytes:
    """What a shorter frame, the last one before the region, leaves of a SYNC mark that it is written over."""
    if not region.before:
        return b""
    _, _, sequence, offset, length = found.frames[region.before - 1]
    return encode_sync(sequence, offset, seed)[FRAME_COST + length :]


_WRITTEN_OVER = (MAGIC + bytes([SYNC]), MAGIC + bytes([PAD]))
