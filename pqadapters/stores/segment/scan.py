"""Finding frames in the bytes of a segment, and finding the next one behind bytes that are none."""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from .format import CRC, FRAME, FRAME_COST, FRAME_HEAD, MAGIC, PAD, SYNC, frame_at


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
    """All frames from `data[at]` on; sequence numbers below `expected` are none (they are part of a payload)."""
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
                and sequence >= expected
                and crc32(view[at:end], seed) == check(data, end)[0]
            ):
                frames.append((kind, flags, sequence, at, length))
                at, expected = end + 4, sequence + 1
                continue
        found = _next(data, at + 1, seed, expected)
        if found < 0:
            return Scan(frames, regions, at, max(at, _content_end(data, at)))
        regions.append(Region(len(frames), at, found))
        at = found


def _next(data: bytes, at: int, seed: int, expected: int) -> int:
    """Where the next whole frame begins, or -1."""
    while (at := data.find(MAGIC, at)) >= 0:
        frame = frame_at(data, at, seed)
        if frame is not None and frame[2] >= expected:
            return at
        at += 1
    return -1


def _content_end(data: bytes, at: int) -> int:
    return at + len(data[at:].rstrip(b"\0"))


def never_written(data: bytes) -> bool:
    """Whether bytes look like what a crash leaves of an unsynced write: with something older where blocks are missing.

    That is zeros, or the SYNC mark that the frame was written over, or a PAD that was being written itself.
    """
    return not data or data[0] == 0 or data[-1] == 0 or data[:3] in _WRITTEN_OVER or bytes(64) in data


_WRITTEN_OVER = (MAGIC + bytes([SYNC]), MAGIC + bytes([PAD]))
