"""Damaged files: everything undamaged is served, what isn't is counted, told once and kept aside (I8)."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import pytest

from pqadapters.durability import Durability
from pqadapters.store import Ack, Damage, Put, Set
from pqadapters.stores.segment import SegmentStore, format

from .faulty import FaultyDisk
from .promises import POWER, PROCESS, Ruins, contents, die
from .states import State

LOGGER = "pqadapters.stores.segment"


class Original(NamedTuple):
    """A healthy store: its files, what is in it, and where each live record stands."""

    files: State
    records: dict[int, bytes]
    keys: dict[bytes, bytes]
    places: dict[int | bytes, tuple[str, int, int]]  #: of an id or a key: file, start and end of its frame


def _original(directory: Path, durability: Durability, *, closed: bool, size: int = 60) -> Original:
    directory.mkdir()
    disk = FaultyDisk(str(directory))
    store = SegmentStore(directory, durability=durability, segment_bytes=4096, disk=disk)
    for n in range(120):
        store.commit(Put("q", b"%d " % n + bytes(i * n % 255 + 1 for i in range(size))))
        if n % 3 == 0:
            store.commit(*map(Ack, store.claim("q", ids=[store.commit(Put("q", b"done %d" % n))[0]])))
        if n % 10 == 0:
            store.commit(Set("t", b"%d" % n, b"value %d" % n * 5))
    records = {record.id: record.payload for record in store.browse("q")}
    keys = dict(store.scan("t"))
    log, table = store._core.log, store._core.catalog.tables["t"]
    ids: dict[int | bytes, int] = {**{id: id for id in records}, **{key: table.keys[key].id for key in keys}}
    places = {}
    for subject, id in ids.items():
        segment, offset = log.locate(id) or (log.tail, 0)
        length = format.FRAME.unpack(log.read(segment, offset, 16))[3] + format.FRAME_COST
        places[subject] = (Path(segment.path).name, offset, offset + length)
    if closed:
        store.close()
    else:
        die(store)
    return Original(contents(directory), records, keys, places)


class Wound(NamedTuple):
    """Bytes of a file that were changed; `data` is the file as it is now."""

    name: str
    start: int
    end: int
    data: bytes


def _flip(name: str, data: bytes, rng: random.Random) -> Wound:
    at = rng.randrange(len(data))
    return Wound(name, at, at + 1, data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1 :])


def _overwrite(name: str, data: bytes, rng: random.Random) -> Wound:
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice([1, 20, 200, 2000]))
    fill = rng.choice([bytes(end - start), rng.randbytes(end - start), (format.MAGIC * end)[: end - start]])
    return Wound(name, start, end, data[:start] + fill + data[end:])


def _repeat(name: str, data: bytes, rng: random.Random) -> Wound:
    """An older part of the file stands in a later place: healthy frames, where none belong."""
    source, start = sorted((rng.randrange(format.DATA, len(data)), rng.randrange(format.DATA, len(data))))
    part = data[source : source + rng.choice([100, 700])][: min(start - source, len(data) - start)]
    return Wound(name, start, start + len(part), data[:start] + part + data[start + len(part) :])


def _cut(name: str, data: bytes, rng: random.Random) -> Wound:
    at = rng.randrange(len(data))
    return Wound(name, at, len(data), data[:at])


def _header(name: str, data: bytes, rng: random.Random) -> Wound:
    """The first copy of the header, or both."""
    end = rng.choice([format.HEADER_COPY, format.DATA])
    return Wound(name, 0, end, rng.randbytes(end) + data[end:])


WOUNDS = (_flip, _overwrite, _repeat, _cut, _header)


def _segments(files: State) -> list[str]:
    return sorted(name for name in files if name.endswith(".seg"))


@pytest.mark.parametrize("wound", WOUNDS)
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "killed"])
@pytest.mark.parametrize("durability", [POWER, PROCESS], ids=["power", "process"])
def test_i8_damage_anywhere(
    wound: Callable[[str, bytes, random.Random], Wound],
    closed: bool,
    durability: Durability,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    original, ruins = _original(tmp_path / "store", durability, closed=closed), Ruins(tmp_path / "ruins")
    rng = random.Random(f"{wound.__name__}{closed}")
    names = _segments(original.files)
    assert len(names) > 2
    for _ in range(40):
        name = rng.choice([*names, names[-1]])
        hit = wound(name, original.files[name], rng)
        if hit.data != original.files[name]:
            unsynced = name == names[-1] and durability is PROCESS and not closed
            files = {**original.files, name: hit.data}
            if rng.random() < 0.3:
                files.pop("checkpoint", None)
            _examine(original, files, hit, ruins, caplog, told=not unsynced)


def _examine(
    original: Original, files: State, hit: Wound, ruins: Ruins, caplog: pytest.LogCaptureFixture, *, told: bool
) -> None:
    """Open damaged files and look for what must be there and what can't be."""
    before = original.files[hit.name]
    lost = {
        subject
        for subject, (name, start, end) in original.places.items()
        if name == hit.name and hit.data[start:end] != before[start:end]
    }
    mark = before.rfind(format.MAGIC + bytes([format.SYNC]))  # without it nobody knows that there was more
    told = told and ("checkpoint" in files or mark < 0 or hit.data[mark : mark + 28] == before[mark : mark + 28])
    with ruins.build(files) as directory:
        caplog.clear()
        with caplog.at_level(logging.INFO, LOGGER):
            records, keys, damage = served(directory)
        for id, payload in original.records.items():
            assert id in lost or records.get(id) == payload, f"record {id} was not damaged, and is lost ({hit[:3]})"
        for key, value in original.keys.items():
            assert key in lost or keys.get(key) == value, f"key {key!r} was not damaged, and is lost ({hit[:3]})"
        for id in records.keys() - original.records.keys():  # its acknowledgement was damaged
            assert records[id].startswith(b"done"), f"{records[id]!r} was never put"
        assert all(records.get(id, original.records.get(id)) == original.records.get(id) for id in original.records)
        assert not lost & (records.keys() | keys.keys()), "a damaged record was served"
        assert damage or not lost or not told, "damage that nobody tells of"
        _check_kept(directory, damage, files, caplog)
        again = served(directory)
        assert again == (records, keys, ()), "the next opening finds something else"


def served(directory: Path) -> tuple[dict[int, bytes], dict[bytes, bytes], tuple[Damage, ...]]:
    store = SegmentStore(directory, segment_bytes=4096, disk=FaultyDisk(str(directory)))
    records = {record.id: record.payload for record in store.browse("q")}
    keys = dict(store.scan("t"))
    assert store.depth("q").ready == len(records), "the depth counts what isn't served"
    damage = tuple(store.damage)
    die(store)
    return records, keys, damage


def _told(directory: Path, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What the log says of this store: others may be collected, or go on, meanwhile."""
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    return [record for record in errors if str(directory) in record.getMessage()]


def _check_kept(
    directory: Path, damage: tuple[Damage, ...], files: State, caplog: pytest.LogCaptureFixture
) -> None:
    """Each damage is in the log once, and its bytes are in a file."""
    assert len(_told(directory, caplog)) == len(damage)
    for item in damage:
        data = files[Path(item.path).name][item.offset : item.offset + item.length]
        assert not item.length or Path(item.quarantine).read_bytes() == data


@pytest.mark.parametrize("gone", ["first", "middle", "last", "all"])
def test_i8_segments_that_are_gone(gone: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    original, ruins = _original(tmp_path / "store", POWER, closed=True), Ruins(tmp_path / "ruins")
    names = _segments(original.files)
    removed = {"first": names[:1], "middle": names[1:2], "last": names[-1:], "all": names}[gone]
    files = {name: data for name, data in original.files.items() if name not in removed}
    with ruins.build(files) as directory:
        with caplog.at_level(logging.ERROR, LOGGER):
            records, _, damage = served(directory)
        assert [(Path(item.path).name, item.reason) for item in damage] == [
            (name, "the segment is missing") for name in removed
        ]
        assert len(_told(directory, caplog)) == len(damage)
        for id, payload in original.records.items():
            assert original.places[id][0] in removed or records.get(id) == payload
        assert served(directory)[2] == ()
        with SegmentStore(directory, segment_bytes=4096) as store:
            (new,) = store.commit(Put("q", b"new"))
            assert new > max(original.records), "an id was used again (I6)"
        assert new in served(directory)[0]


@pytest.mark.parametrize("blank", [b"", bytes(5000)], ids=["empty", "zeros"])
def test_i8_a_segment_without_a_byte(blank: bytes, tmp_path: Path) -> None:
    original, ruins = _original(tmp_path / "store", POWER, closed=False), Ruins(tmp_path / "ruins")
    for name in _segments(original.files):
        with ruins.build({**original.files, name: blank}) as directory:
            records, _, damage = served(directory)
            assert damage
            assert all(records.get(id) == p for id, p in original.records.items() if original.places[id][0] != name)
            assert served(directory)[0] == records


def test_a_damaged_checkpoint_costs_time_only(tmp_path: Path) -> None:
    """At its right length, or it is of no use whatever its checksum says."""
    original, ruins = _original(tmp_path / "store", POWER, closed=True), Ruins(tmp_path / "ruins")
    data, rng = original.files["checkpoint"], random.Random(0)
    for make in (_flip, _overwrite, _cut, _repeat):
        for _ in range(25):
            wound = make("checkpoint", bytes(format.DATA) + data, rng)  # as if it had two headers, as segments have
            files = {**original.files, "checkpoint": wound.data[format.DATA :]}
            with ruins.build(files) as directory:
                records, keys, damage = served(directory)
                assert (records, keys, damage) == (original.records, original.keys, ())


def test_i8_the_name_of_a_queue_is_damaged(tmp_path: Path) -> None:
    """The number that stands for the name is made from it, so the records are found by the name all the same."""
    original, ruins = _original(tmp_path / "store", POWER, closed=False), Ruins(tmp_path / "ruins")
    files = dict(original.files)
    files.pop("checkpoint", None)
    for name in _segments(files):
        for kind, called in ((0, b"q"), (1, b"t")):
            named = format.NAME_FIELDS.pack(crc32(called, kind), kind)
            files[name] = files[name].replace(named + called, named + b"!")
    with ruins.build(files) as directory:
        records, keys, damage = served(directory)
        assert damage
        assert (records, keys) == (original.records, original.keys)
        assert served(directory) == (records, keys, ())
        (directory / "checkpoint").unlink()
        assert served(directory) == (records, keys, ())


def _neighbours(directory: Path, inner: bytes) -> Iterator[tuple[State, int, bytes]]:
    """A store with `inner` in the middle of a payload, with damage in each part of that record's frame."""
    directory.mkdir()
    store = SegmentStore(directory, segment_bytes=65536, disk=FaultyDisk(str(directory)))
    store.commit(Put("q", b"before"))
    (id,) = store.commit(Put("q", b"around " + inner + b" around"))
    store.commit(Put("q", b"behind"))
    store.commit(Put("q", b"last"))
    segment, offset = store._core.log.locate(id) or (store._core.log.tail, 0)
    die(store)
    files = contents(directory)
    name = Path(segment.path).name
    for at in (offset, offset + 5, offset + 9, offset + 20, offset + 30):
        data = files[name]
        yield {**files, name: data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]}, id, inner


@pytest.mark.parametrize("whose", ["another store's", "its own"])
def test_frames_in_a_payload_are_never_taken_for_records(whose: str, tmp_path: Path) -> None:
    """A backup of a segment is stored in a queue, and the record with it is damaged."""
    ruins = Ruins(tmp_path / "ruins")
    own = _original(tmp_path / "store", POWER, closed=False)
    inner = own.files[_segments(own.files)[0]]
    if whose == "its own":
        _check_own_bytes(ruins)
        return
    for files, id, _ in _neighbours(tmp_path / "outer", inner):
        with ruins.build(files) as directory:
            records, _, damage = served(directory)
            assert sorted(records.values()) == [b"before", b"behind", b"last"]
            assert len(damage) == 1
            assert id not in records


def _check_own_bytes(ruins: Ruins) -> None:
    """The segment's own bytes are put into the very same segment; found when opened, or when read."""
    for at_opening in (True, False):
        with ruins.build({}) as directory:
            store = SegmentStore(directory, segment_bytes=65536, disk=FaultyDisk(str(directory)))
            store.commit(Put("q", b"before"))
            log = store._core.log
            for _ in range(3):
                store.commit(Put("q", b"copy " + log.read(log.tail, format.DATA, log.tail.end - format.DATA)))
            (id,) = store.commit(Put("q", b"copy " + log.read(log.tail, format.DATA, log.tail.end - format.DATA)))
            store.commit(Put("q", b"behind"))
            store.checkpoint()
            offset = (log.locate(id) or (log.tail, 0))[1]
            path = Path(log.tail.path)
            die(store)
            data = path.read_bytes()
            path.write_bytes(data[: offset + 20] + bytes([data[offset + 20] ^ 0x55]) + data[offset + 21 :])
            if at_opening:
                (directory / "checkpoint").unlink()
            records, _, damage = served(directory)
            assert len(damage) == 1
            assert id not in records
            assert [payload[:6] for payload in records.values()] == [b"before", *[b"copy \xab"] * 3, b"behind"]
            assert served(directory) == (records, {}, ())


def test_i8_a_record_damaged_after_it_was_acknowledged_behind_a_checkpoint(tmp_path: Path) -> None:
    """The checkpoint lists it, its acknowledgement follows: the way of the checkpoint is left for the long one."""
    directory = tmp_path / "store"
    directory.mkdir()
    store = SegmentStore(directory, disk=FaultyDisk(str(directory)))
    first, *_ = [store.commit(Put("q", b"%d" % n * 50))[0] for n in range(3)]
    store.checkpoint()
    store.commit(Ack(store.claim("q")[0]))
    segment, offset = store._core.log.tail, format.DATA + format.FRAME_COST + 6
    die(store)
    path = Path(segment.path)
    data = path.read_bytes()
    path.write_bytes(data[: offset + 40] + b"!" + data[offset + 41 :])
    records, _, damage = served(directory)
    assert len(damage) == 1
    assert first not in records
    assert len(records) == 2


def test_damaged_records_take_no_room_in_a_queue_that_was_empty_since(tmp_path: Path) -> None:
    """Nobody knows how many bytes they had: they counted for ever, and less and less had room."""
    with SegmentStore(tmp_path / "q") as store:
        store.commit(Put("q", b"a" * 5000), Put("q", b"b"))
    segment = next((tmp_path / "q").glob("*.seg"))
    segment.write_bytes(segment.read_bytes().replace(b"a" * 5000, b"!" * 5000))
    with SegmentStore(tmp_path / "q") as store:
        (claim,) = store.claim("q", limit=9)
        store.commit(Ack(claim))
        store.commit(Put("q", b"c" * 2000, limit_bytes=4000))
        assert store.depth("q").bytes == 2000
        store.commit(Put("q", b"c" * 2000, limit_bytes=4000))
        store.commit(*(Ack(claim) for claim in store.claim("q", limit=9)))
    with SegmentStore(tmp_path / "q") as store:
        assert store.depth("q").bytes == 0


def test_i8_damage_at_work_of_a_record_that_was_written_again(tmp_path: Path) -> None:
    """It stands among records of other numbers; who claims meets it once."""
    with SegmentStore(tmp_path / "q", segment_bytes=4096) as store:
        (id,) = store.commit(Put("q", b"precious" * 20))
        while not (guests := store._core.log.tail.guests):
            store.commit(Put("churn", bytes(200)))
            store.commit(*map(Ack, store.claim("churn")))
        assert list(guests) == [id]
    with SegmentStore(tmp_path / "q", segment_bytes=4096) as store:
        path = Path(store._core.log.tail.path)
        assert list(store._core.log.tail.guests) == [id]
        path.write_bytes(path.read_bytes().replace(b"precious" * 20, b"prexious" * 20))
        store.commit(Put("q", b"whole"))
        assert [claim.payload for claim in store.claim("q", limit=2)] == [b"whole"]
        assert len(store.damage) == 1
    with SegmentStore(tmp_path / "q") as store:
        assert [record.payload for record in store.browse("q")] == [b"whole"]


def test_i8_blocks_in_each_others_places_are_told_of(tmp_path: Path) -> None:
    """The last block, with zeros behind the last frame, stood before others: that was taken for a write that no sync
    had covered, and what the other one had was lost without a word."""
    ruins, block = Ruins(tmp_path / "ruins"), 1024
    store = SegmentStore(tmp_path / "store", segment_bytes=65536, disk=FaultyDisk(str(tmp_path / "store")))
    for n in range(40):
        store.commit(Put("q", b"%d " % n * 20))
    die(store)
    files = contents(tmp_path / "store")
    (name,) = _segments(files)
    data = files[name].rstrip(b"\0") + bytes(2 * block)
    first, last = format.DATA, (len(data) // block - 2) * block
    swapped = data[last : last + block] + data[first + block : last] + data[first : first + block]
    with ruins.build({**files, name: data[:first] + swapped + data[last + block :]}) as directory:
        records, _, damage = served(directory)
        assert any(each.offset == first for each in damage)
        assert served(directory) == (records, {}, ())
