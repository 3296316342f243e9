"""The format doesn't change unnoticed: bytes that other code made are read, and the package writes the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from pqadapters.errors import FormatError
from pqadapters.store import Ack, Order, Put, State
from pqadapters.stores.segment import SegmentStore, format
from tests.contract.maker import ManualClock

from . import literal
from .literal import ACK, CREATED, DELETE, FIRST, LAST, NAME, PAD, PUT, RECORD, SET, STATE, frame

PAGE = Path(__file__).parents[2] / "docs" / "format.md"
LINE = re.compile(r"([0-9a-f]{8})  ((?:[0-9a-f]{2} )*[0-9a-f]{2}) {2,}\S")


def _write(directory: Path, *segments: bytes) -> Path:
    directory.mkdir()
    for number, data in enumerate(segments, 1):
        (directory / f"{number:016d}.seg").write_bytes(data)
    return directory


def test_the_page_shows_the_example_byte_by_byte() -> None:
    lines = [LINE.match(line) for line in PAGE.read_text(encoding="utf-8").splitlines()]
    shown = {int(line[1], 16): bytes.fromhex(line[2]) for line in lines if line is not None}
    data = bytearray(len(literal.example()))
    for at, part in shown.items():
        data[at : at + len(part)] = part
    data[512:568] = data[:56]
    assert bytes(data) == literal.example()
    assert sum(map(len, shown.values())) == len(data) - 1024 + 56, "lines overlap, or are missing"


def test_the_page_names_every_kind_of_frame() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for number, name in enumerate(("PUT", "RECORD", "ACK", "STATE", "SET", "DELETE", "NAME", "SYNC", "PAD"), 1):
        assert f"| {number} | {name} |" in text
        assert getattr(format, name) == number
    assert f"Version {format.VERSION}." in text


def test_the_example_is_a_store(tmp_path: Path) -> None:
    with SegmentStore(_write(tmp_path / "store", literal.example())) as store:
        assert [(r.id, r.payload, r.put_at) for r in store.browse("jobs", state=None)] == [(3, b"world", CREATED + 1)]
        assert store.commit(Put("jobs", b"next")) == (5,)
        assert store.damage == ()


def test_the_package_writes_the_example(tmp_path: Path) -> None:
    """The same bytes, by the commits that it shows."""
    clock = ManualClock()
    directory = _write(tmp_path / "store", literal.header())
    with SegmentStore(directory, clock=clock) as store:
        store.commit(Put("jobs", b"hello"))
        clock.advance(1)
        store.commit(Put("jobs", b"world"))
        store.commit(Ack(store.claim("jobs")[0]))
    (segment,) = directory.glob("*.seg")
    header = format.encode_header(format.Header(literal.STORE, 1, 1, CREATED))
    assert header.ljust(512, b"\0") * 2 == literal.header()
    assert segment.read_bytes()[: len(literal.example())] == literal.example()


@pytest.mark.parametrize(
    "fields",
    [
        format.Fields(7, 1.5, b"payload"),
        format.Fields(7, 1.5, b"", 9, 2.5, 3, b"rank\0", "a note, ö and \ud800"),
    ],
)
def test_records_come_back_as_they_were(fields: format.Fields) -> None:
    assert format.decode_record(format.RECORD, memoryview(format.encode_record(fields))) == fields


def _everything() -> bytes:
    """A store with each kind of frame, and commits of several."""
    frames: Sequence[tuple[int, bytes, int]] = [
        (NAME, literal.queue_name(b"q"), 3),
        (NAME, literal.queue_name(b"q.dead"), 3),
        (NAME, literal.table_name(b"t"), 3),
        (PUT, literal.put(b"q", b"four"), 3),
        (PUT, literal.put(b"q", b"five"), FIRST),
        (PUT, literal.put(b"q", b"six"), 0),
        (SET, literal.set_key(b"t", b"k", b"old"), LAST),
        (RECORD, literal.record(b"q", b"eight", rank=b"r", attempts=2, note=b"n"), 3),
        (STATE, literal.state(5, b"q.dead", attempts=3, note="it broke, ö".encode()), 3),
        (SET, literal.set_key(b"t", b"l", b"later"), FIRST),
        (SET, literal.set_key(b"t", b"k", b"new", place=7), LAST),
        (ACK, literal.ack(4), 3),
        (RECORD, literal.record(b"q", b"six, updated", id=6, attempts=1), 3),
        (STATE, literal.state(8, b"q", due=4e9, attempts=2), 3),
        (SET, literal.set_key(b"t", b"gone", b""), 3),
        (DELETE, literal.delete_key(b"t", b"gone"), 3),
        (PAD, bytes(30), 3),
        (PUT, literal.put(b"q", b"never ended"), FIRST),
    ]
    return literal.header() + b"".join(
        frame(kind, number, body, flags=flags) for number, (kind, body, flags) in enumerate(frames, 1)
    )


def test_an_old_store_is_read(tmp_path: Path) -> None:
    directory = _write(tmp_path / "store", _everything())
    for turn in range(3):  # from the log, from the log without its torn end, from the checkpoint
        store = SegmentStore(directory)
        assert [(r.id, r.payload, r.attempts) for r in store.browse("q")] == [(6, b"six, updated", 1)]
        (dead,) = store.browse("q.dead")
        assert (dead.id, dead.payload, dead.attempts, dead.note) == (5, b"five", 3, "it broke, ö")
        (late,) = store.browse("q", state=State.DELAYED)
        assert (late.id, late.payload, late.rank, late.not_before, late.attempts) == (8, b"eight", b"r", 4e9, 2)
        assert list(store.scan("t")) == [(b"k", b"new"), (b"l", b"later")]
        assert store.damage == ()
        if turn == 0:
            assert store.commit(Put("r", b"")) == (19,), "the numbers go on behind the last frame of a whole commit"
        store.close()


def test_sequence_numbers_go_on_across_segments(tmp_path: Path) -> None:
    first = literal.header() + frame(NAME, 1, literal.queue_name(b"q")) + frame(PUT, 2, literal.put(b"q", b"a"))
    second = literal.header(2, 3) + b"".join(
        [
            frame(NAME, 3, literal.queue_name(b"q"), number=2),
            frame(PUT, 4, literal.put(b"q", b"b"), number=2),
            frame(RECORD, 5, literal.record(b"q", b"a", id=2), number=2),
        ]
    )
    with SegmentStore(_write(tmp_path / "store", first, second)) as store:
        claims = store.claim("q", limit=9, order=Order.OLDEST)
        assert [(claim.id, claim.payload) for claim in claims] == [(2, b"a"), (4, b"b")]
        store.commit(*map(Ack, claims))


@pytest.mark.parametrize("version", [0, 2, 999])
def test_other_versions_are_refused(version: int, tmp_path: Path) -> None:
    directory = _write(tmp_path / "store", literal.header(version=version))
    with pytest.raises(FormatError, match=f"format version {version}, .* reads version 1: upgrade"):
        SegmentStore(directory)


@pytest.mark.parametrize(("first", "length"), [(0, 56), (12, 1), (28, 1), (36, 1), (52, 4)])
def test_one_copy_of_the_header_is_enough(first: int, length: int, tmp_path: Path) -> None:
    for copy in (0, 512):
        data, at = literal.example(), copy + first
        data = data[:at] + b"?" * length + data[at + length :]
        with SegmentStore(_write(tmp_path / str(copy), data)) as store:
            assert [record.payload for record in store.browse("jobs")] == [b"world"]
            assert store.damage == ()


@pytest.mark.parametrize("offset", [0, 190, 297, 5000])
def test_what_stands_elsewhere_ends_the_records_that_are_read_ahead(offset: int) -> None:
    """Behind one that was written again in its own segment the offsets don't rise; a dead one's is 0."""
    assert format.decode_puts(bytes(100), [offset], [1], 1, 0, 200) == []
