"""Finding frames, and what is none, in the bytes of a segment."""

from __future__ import annotations

import pytest

from pqadapters.stores.segment import format
from pqadapters.stores.segment.scan import Region, first_number, never_written, rest_of_mark, scan

SEED = 12345
START = format.DATA


def _frame(sequence: int, body: bytes = b"body", kind: int = format.PUT) -> bytes:
    return format.encode_frame(kind, format.WHOLE, sequence, body, SEED)


def _numbers(data: bytes, expected: int = 1) -> list[int]:
    return [frame[2] for frame in scan(bytes(START) + data, START, SEED, expected).frames]


def test_healthy_frames() -> None:
    data = bytes(START) + _frame(1) + _frame(2) + _frame(3, b"")
    found = scan(data, START, SEED, 1)
    assert [frame[:3] for frame in found.frames] == [(format.PUT, format.WHOLE, n) for n in (1, 2, 3)]
    assert (found.regions, found.end, found.rest) == ([], len(data), len(data))


def test_zeros_behind_the_last_frame_are_nothing() -> None:
    data = bytes(START) + _frame(1)
    found = scan(data + bytes(1000), START, SEED, 1)
    assert (found.end, found.rest) == (len(data), len(data))


def test_what_stands_behind_the_last_frame_is_told() -> None:
    data = bytes(START) + _frame(1)
    found = scan(data + b"\xabq torn" + bytes(100), START, SEED, 1)
    assert (len(found.frames), found.regions, found.end, found.rest) == (1, [], len(data), len(data) + 7)


@pytest.mark.parametrize("at", range(len(_frame(2))))
def test_a_damaged_frame_is_passed_over(at: int) -> None:
    bad = bytearray(_frame(2))
    bad[at] ^= 1
    data = bytes(START) + _frame(1) + bytes(bad) + _frame(3)
    found = scan(data, START, SEED, 1)
    start = START + len(_frame(1))
    assert [frame[2] for frame in found.frames] == [1, 3]
    assert found.regions == [Region(1, start, start + len(bad))]


def test_lower_numbers_are_part_of_a_payload() -> None:
    inner = _frame(1) + _frame(2)
    bad = bytearray(_frame(3, b"around " + inner))
    bad[17] ^= 1
    assert _numbers(_frame(1) + _frame(2) + bytes(bad) + _frame(4)) == [1, 2, 4]


def test_numbers_that_are_too_high_are_from_elsewhere() -> None:
    bad = bytearray(_frame(2, b"around " + _frame(900)))
    bad[17] ^= 1
    assert _numbers(_frame(1) + bytes(bad) + _frame(3)) == [1, 3]
    assert _numbers(_frame(1) + _frame(7) + _frame(2)) == [1, 2]


def test_a_pad_may_stand_for_more_than_it_has_room_for() -> None:
    assert _numbers(_frame(1) + _frame(500, b"", format.PAD) + _frame(501)) == [1, 500, 501]
    assert _numbers(_frame(1) + b"?" * 30 + _frame(500, b"", format.PAD) + _frame(501)) == [1, 500, 501]


def test_frames_of_another_seed_are_none() -> None:
    assert _numbers(format.encode_frame(format.PUT, 3, 1, b"body", SEED + 1)) == []


def test_the_first_number_of_a_segment_without_a_header() -> None:
    damaged = b"\xabq?" * 9
    assert first_number(bytes(START) + damaged + _frame(77) + _frame(78), SEED, 1) == 77
    assert first_number(bytes(START) + _frame(77), SEED, 78) == 78
    assert first_number(bytes(START), SEED, 5) == 5


def _looks_never_written(data: bytes, start: int) -> bool:
    return never_written(b"x" * start + data + b"x", Region(1, start, start + len(data)))


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"", 1030),
        (bytes(6) + b"abc", 1530),
        (b"abc" + bytes(6), 1533),
        (b"a" * 512 + bytes(512) + b"b" * 20, 1024),
        (b"a" * 100 + bytes(512) + b"b" * 20, 1436),
        (_frame(1, b"x" * 8, format.SYNC)[:12] + b"of a record", 1030),
        (_frame(1, bytes(8), format.PAD)[:12] + b"of a record", 1030),
    ],
)
def test_what_looks_never_written(data: bytes, start: int) -> None:
    assert _looks_never_written(data, start)


def test_the_rest_of_a_mark_looks_never_written() -> None:
    """A name of one letter is shorter than the mark that it was written over."""
    name = _frame(7, bytes(6), format.NAME)
    mark = format.encode_sync(7, START, SEED)
    data = bytes(START) + name + mark[len(name) :] + bytes(1536 - START - len(mark)) + b"abc" * 10 + _frame(9)
    found = scan(data, START, SEED, 7)
    (region,) = found.regions
    rest = rest_of_mark(found, region, SEED)
    assert rest == mark[-2:]
    assert never_written(data, region, rest)
    assert never_written(bytes(1536) + data[1536:], region, rest)  # the mark needn't have been there, either
    other = data.replace(rest + bytes(400), b"?!" + bytes(400))
    assert other != data
    assert not never_written(other, region, rest)


def test_a_longer_frame_leaves_nothing_of_a_mark() -> None:
    data = bytes(START) + _frame(7, bytes(8)) + b"abc" * 10 + _frame(9)
    found = scan(data, START, SEED, 7)
    assert rest_of_mark(found, found.regions[0], SEED) == b""
    assert rest_of_mark(found, Region(0, START, START + 3), SEED) == b""


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"abc", 1030),
        (_frame(1, b"x" * 100), 1030),
        (_frame(1, b"x" * 100)[:-1] + b"\0", 1030),  # one of 256 checksums
        (b"\0" + _frame(1, b"x" * 100)[1:], 1030),
        (b"a" * 100 + bytes(900) + b"b" * 100, 1030),
    ],
)
def test_what_looks_damaged(data: bytes, start: int) -> None:
    assert not _looks_never_written(data, start)
