"""Files that nobody's crash has made: they may cost time, or a refusal that says why, and nothing else."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import shutil
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pqadapters.errors import DiskError, FormatError, StoreRefused
from pqadapters.store import Ack, Nack, Put, Set
from pqadapters.stores._directory import try_lock
from pqadapters.stores._disk import Disk, open_file
from pqadapters.stores.segment import SegmentStore, format

from ..contract.descriptors import open_below
from .faulty import FaultyDisk
from .promises import Ruins, contents, die
from .states import State

HEAD = struct.Struct("<8sHI")


@pytest.fixture
def files(tmp_path: Path) -> State:
    """A store of some segments, closed, that has a bit of everything."""
    directory = tmp_path / "store"
    store = SegmentStore(directory, segment_bytes=4096)
    for n in range(60):
        store.commit(Put("q", b"%d " % n * 30))
    store.commit(*(Put("ranked", b"r%d" % n, rank=b"%d" % (9 - n)) for n in range(5)))
    store.commit(Put("q", b"later", not_before=4e9), Set("t", b"a", b"1"), Set("t", b"b", b"2"))
    store.commit(*map(Ack, store.claim("q", limit=9)))
    store.commit(Nack(store.claim("q")[0], dead="reason"))
    store.close()
    return contents(directory)


def _all(directory: Path) -> tuple[list[tuple[str, int, bytes]], list[tuple[bytes, bytes]], int]:
    """Everything in a store, and how many damages it tells of."""
    store = SegmentStore(directory, segment_bytes=4096, disk=FaultyDisk(str(directory)))
    try:
        names = ("q", "q.dead", "ranked")
        records = [(r.queue, r.id, r.payload) for name in names for r in store.browse(name, state=None)]
        return records, list(store.scan("t")), len(store.damage)
    finally:
        die(store)


def _checkpoint(head: bytes, body: bytes) -> bytes:
    """A checkpoint file with a checksum that is right."""
    data = HEAD.pack(b"PQACKPT\n", 1, len(head)) + head + body
    return data + struct.pack("<I", crc32(data))


def _parts(files: State) -> tuple[dict[str, Any], bytes]:
    data = files["checkpoint"]
    start = HEAD.size + HEAD.unpack_from(data)[2]
    head: dict[str, Any] = json.loads(data[HEAD.size : start])
    assert _checkpoint(json.dumps(head, separators=(",", ":")).encode(), data[start:-4]) == data
    return head, data[start:-4]


BOMBS = {
    "nested lists": b"[" * 200_000,
    "nested dicts": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "a huge number": b'{"next":' + b"9" * 100_000 + b"}",
    "nothing": b"",
    "no JSON": b"\xff\xfe{",
    "a list": b"[]",
    "an empty dict": b"{}",
    "no segments": b'{"segment":1,"offset":1024,"next":1,"segments":[],"store":"00"}',
    "many segments": b'{"segment":1,"offset":1024,"next":1,"store":"00","segments":['
    + b"[1,1,1024,0,[]]," * 100_000
    + b"[1,1,1024,0,[]]]}",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_checkpoint_that_is_a_bomb(bomb: str, files: State, tmp_path: Path) -> None:
    ruins = Ruins(tmp_path / "ruins")
    with ruins.build(files) as directory:
        expected = _all(directory)
    for body in (b"", bytes(100)):
        with ruins.build({**files, "checkpoint": _checkpoint(BOMBS[bomb], body)}) as directory:
            assert _all(directory) == expected


WEIRD: tuple[Any, ...] = (None, -1, 0, 1, 7, 1 << 31, 1 << 70, "x", [], {}, [[]], True, math.nan, math.inf, 1.5)


def _nonsense(value: Any) -> Iterator[Any]:
    """Copies of a JSON value with one place of it changed."""
    yield from WEIRD
    if isinstance(value, dict):
        yield from ({**value, key: other} for key in value for other in _nonsense(value[key]))
        yield from ({name: value[name] for name in value if name != key} for key in value)
    elif isinstance(value, list):
        for at in range(len(value)):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in _nonsense(value[at]))
            yield [*value[:at], *value[at + 1 :]]


def test_a_checkpoint_that_is_nonsense_never_keeps_a_store_shut(files: State, tmp_path: Path) -> None:
    """Whatever it says, the store opens, and without it everything is there as before."""
    ruins = Ruins(tmp_path / "ruins")
    head, body = _parts(files)
    with ruins.build(files) as directory:
        expected = _all(directory)[:2]
    heads = list(_nonsense(head))
    assert len(heads) > 500
    for nonsense in random.Random(0).sample(heads, 200):
        with ruins.build({**files, "checkpoint": _checkpoint(json.dumps(nonsense).encode(), body)}) as directory:
            store = SegmentStore(directory, segment_bytes=4096, disk=FaultyDisk(str(directory)))
            (new,) = store.commit(Put("new", b"new"))
            die(store)
            (directory / "checkpoint").unlink(missing_ok=True)
            assert _all(directory)[:2] == expected, f"a checkpoint has cost records: {nonsense}"
            assert new > max(id for _, id, _ in expected[0])
            with SegmentStore(directory) as store:
                assert [(record.id, record.payload) for record in store.browse("new")] == [(new, b"new")]


def test_a_checkpoint_with_places_where_no_record_is(files: State, tmp_path: Path) -> None:
    """A record that isn't where it should be is told, and no healthy byte is touched for it."""
    ruins = Ruins(tmp_path / "ruins")
    head, body = _parts(files)
    with ruins.build(files) as directory:
        expected = _all(directory)
    places = 4 * sum(entry[3] for entry in head["segments"])
    rng = random.Random(1)
    for _ in range(40):
        at = 4 * rng.randrange(places // 4)
        (old,) = struct.unpack_from("<I", body, at)
        wrong = struct.pack("<I", old + rng.choice([1, 2, 30]) if old else 0)
        changed = _checkpoint(json.dumps(head, separators=(",", ":")).encode(), body[:at] + wrong + body[at + 4 :])
        with ruins.build({**files, "checkpoint": changed}) as directory:
            records, keys, damage = _all(directory)
            lost = len(expected[0]) + len(expected[1]) - len(records) - len(keys)
            assert lost == damage <= 1 or not old
            if not damage:  # else it was found out, and is gone
                (directory / "checkpoint").unlink(missing_ok=True)
            assert _all(directory)[:2] == expected[:2]


def test_random_bytes_as_segments(files: State, tmp_path: Path) -> None:
    ruins, rng = Ruins(tmp_path / "ruins"), random.Random(2)
    with ruins.build(files) as directory:
        expected = _all(directory)
    last = max(int(name[:16]) for name in files if name.endswith(".seg"))
    for size in (1, 56, 600, 1024, 5000, 200_000):
        junk = rng.randbytes(size)
        with ruins.build({**files, f"{last + 1:016d}.seg": junk}) as directory:
            records, keys, damage = _all(directory)
            assert (records, keys) == expected[:2]
            assert damage
            kept = b"".join(path.read_bytes() for path in sorted(directory.glob("damaged-*.bin")))
            assert set(junk) <= set(kept) or len(kept) >= size - 1
            assert _all(directory) == (records, keys, 0)


def test_a_segment_of_a_giant_number(files: State, tmp_path: Path) -> None:
    """Each of those before it was told to be missing, until there was no memory."""
    number, last = 9_999_999_999_999, max(int(name[:16]) for name in files if name.endswith(".seg"))
    ruins = Ruins(tmp_path / "ruins")
    with ruins.build(files) as directory:
        expected = _all(directory)[:2]
    with ruins.build({**files, f"{number:016d}.seg": b"not a segment" * 100}) as directory:
        with SegmentStore(directory, segment_bytes=4096) as store:
            reasons = [damage.reason for damage in store.damage if "missing" in damage.reason]
        assert len(reasons) == 101
        assert reasons[-1].endswith(f"missing, and so are all {number - last - 102} between it and the next one")
        assert _all(directory) == (*expected, 0)


def test_lengths_that_are_giant_or_look_negative(files: State, tmp_path: Path) -> None:
    ruins = Ruins(tmp_path / "ruins")
    name = max(name for name in files if name.endswith(".seg"))
    with ruins.build({n: d for n, d in files.items() if n != "checkpoint"}) as directory:
        expected = _all(directory)
    for length in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFEC):
        for sequence in (0, 1 << 40, (1 << 64) - 1):
            frame = struct.pack("<2sBBIQ", format.MAGIC, 1, 3, length, sequence) + bytes(40)
            changed = {**files, name: files[name].rstrip(b"\0") + frame * 50}
            changed.pop("checkpoint")
            with ruins.build(changed) as directory:
                assert _all(directory)[:2] == expected[:2]


def _with_version(data: bytes, version: int, copies: tuple[int, ...]) -> bytes:
    changed = bytearray(data)
    for at in copies:
        body = changed[at : at + 52]
        body[8:10] = struct.pack("<H", version)
        changed[at : at + 56] = body + struct.pack("<I", crc32(bytes(body)))
    return bytes(changed)


def test_a_newer_format_is_refused_and_not_touched(files: State, tmp_path: Path) -> None:
    ruins = Ruins(tmp_path / "ruins")
    name = max(name for name in files if name.endswith(".seg"))
    newer = _with_version(files[name], format.VERSION + 1, (0, format.HEADER_COPY))
    elsewhere = bytearray(newer)  # a version that keeps its checksum in another place
    for at in (0, format.HEADER_COPY):
        elsewhere[at + 52 : at + 56] = b"\0\0\0\0"
    for data in (newer, bytes(elsewhere)):
        changed = {**files, name: data}
        with ruins.build(changed) as directory:
            with pytest.raises(FormatError, match=rf"{name} is written in format version 2.*upgrade pqadapters"):
                SegmentStore(directory)
            assert contents(directory) == changed


def test_a_segment_of_another_store_is_refused(files: State, tmp_path: Path) -> None:
    ruins = Ruins(tmp_path / "ruins")
    with SegmentStore(tmp_path / "other") as other:
        other.commit(Put("q", b"not yours"))
    stranger = contents(tmp_path / "other")["0000000000000001.seg"]
    for name in ("0000000000000099.seg", "0000000000000001.seg"):
        with ruins.build({**files, name: stranger}) as directory:
            with pytest.raises(StoreRefused, match=r"another store.*move it out"):
                SegmentStore(directory)
            assert contents(directory)[name] == stranger


def test_a_checkpoint_that_contradicts_itself_is_not_used(files: State, tmp_path: Path) -> None:
    """Numbers that can't be true together: all segments are read, and everything is there at once."""
    ruins = Ruins(tmp_path / "ruins")
    head, body = _parts(files)
    with ruins.build(files) as directory:
        expected = _all(directory)
    lies = [
        ({**head, "next": head["next"] - 5}, body),
        ({**head, "offset": head["offset"] - 30}, body),
        ({**head, "segment": head["segment"] - 1}, body),
        ({**head, "segments": head["segments"][1:]}, body),
        ({**head, "segments": head["segments"][:-1]}, body),
        ({**head, "tables": []}, body),
        ({**head, "live_bytes": -1}, body),
        (head, body + bytes(8)),
        (head, body[:-8]),
    ]
    for number, (lie, arrays) in enumerate(lies):
        checkpoint = _checkpoint(json.dumps(lie, separators=(",", ":")).encode(), arrays)
        with ruins.build({**files, "checkpoint": checkpoint}) as directory:
            store = SegmentStore(directory, segment_bytes=4096, disk=FaultyDisk(str(directory)))
            die(store)
            assert store._core.log.synced == store._core.log.next - 1
            assert _all(directory) == expected, f"lie {number}"


@pytest.mark.parametrize("name", ["LOCK", "checkpoint", "0000000000000001.seg", "0000000000000002.seg"])
def test_a_pipe_in_place_of_a_file_is_waited_for_by_nobody(name: str, tmp_path: Path) -> None:
    """Opening one waits for its other end: every get of an application stood still for good."""
    directory = tmp_path / "store"
    SegmentStore(directory).close()
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    opened = subprocess.run([sys.executable, "-c", OPEN, directory], capture_output=True, text=True, timeout=60)
    assert opened.stdout in (["opened\n"] if name == "checkpoint" else ["DiskError\n"]), opened.stderr


def test_a_file_that_cant_be_looked_at_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try to open a store on a filesystem whose server is away left a descriptor."""
    (tmp_path / "file").touch()

    def refuse(fd: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", refuse)
        with pytest.raises(OSError, match=r"Stale"):
            open_file(str(tmp_path / "file"), os.O_RDONLY)
    assert not open_below(tmp_path)


def test_a_lock_on_a_file_that_cant_be_looked_at_is_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was held to the end of the process: nobody copied a database's WAL any more."""
    hold = try_lock(str(tmp_path / "lock"), Disk())
    assert hold is not None

    def refuse(fd: int) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", refuse)
        hold.close()
    again = try_lock(str(tmp_path / "lock"), Disk())
    assert again is not None
    again.close()


@pytest.mark.parametrize("made", [True, False])
@pytest.mark.parametrize("name", ["LOCK", "checkpoint", "0000000000000001.seg", "0000000000000002.seg"])
def test_a_link_in_place_of_a_file_is_not_followed(name: str, made: bool, tmp_path: Path) -> None:
    """What it leads to was taken for a damaged segment, and written over."""
    directory, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    elsewhere.write_text("a user's file\n" * 200)
    directory.mkdir(mode=0o700)
    if made:
        with SegmentStore(directory) as store:
            store.commit(Put("q", b"1"))
        (directory / name).unlink(missing_ok=True)
    (directory / name).symlink_to(elsewhere)
    try:
        with SegmentStore(directory) as store:
            store.commit(Put("q", b"2"))
    except (DiskError, StoreRefused):
        pass
    assert elsewhere.read_text() == "a user's file\n" * 200


OPEN = """
import sys
from pqadapters.errors import DiskError
from pqadapters.stores.segment import SegmentStore

try:
    SegmentStore(sys.argv[1]).close()
    print("opened")
except DiskError as error:
    print(type(error).__name__)
"""


def test_the_hole_at_the_end_of_a_segment_isnt_read(tmp_path: Path) -> None:
    """Any program may make a file of a terabyte that takes no block of the disk, and there isn't as much memory."""
    directory = tmp_path / "store"
    store = SegmentStore(directory)
    store.commit(Put("q", b"1"))
    store.close()
    os.truncate(directory / "0000000000000001.seg", 1 << 40)
    (directory / "0000000000000002.seg").touch()
    os.truncate(directory / "0000000000000002.seg", 1 << 40)
    (directory / "checkpoint").unlink()
    with SegmentStore(directory) as store:
        assert [claim.payload for claim in store.claim("q")] == [b"1"]
        assert [damage.reason for damage in store.damage] == ["there is nothing in it"]
    assert (directory / "0000000000000001.seg").stat().st_size < 1 << 20


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO], ids=["EINVAL", "EIO"])
def test_where_the_system_knows_no_holes_all_is_read(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was taken for one that is empty, and cut; so was one whose blocks couldn't be looked up just then."""
    with SegmentStore(tmp_path / "store") as store:
        store.commit(*[Put("q", bytes(1000))] * 200)
        shutil.copytree(tmp_path / "store", tmp_path / "killed")

    def seek(fd: int, at: int, whence: int) -> int:
        if whence in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(code, os.strerror(code))
        return lseek(fd, at, whence)

    lseek = os.lseek
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(os, "lseek", seek)
            with SegmentStore(tmp_path / "killed") as store:
                assert (store.depth("q").ready, store.damage) == (200, ())


def test_the_hole_at_the_end_of_a_checkpoint_isnt_read(files: State, tmp_path: Path) -> None:
    """As much memory as the file had bytes was filled with nothing."""
    with Ruins(tmp_path / "ruins").build(files) as directory:
        os.truncate(directory / "checkpoint", 1 << 28)
        tracemalloc.start()
        try:
            with SegmentStore(directory) as store:
                assert store.depth("q").ready == 50
                assert store.damage == ()
            assert tracemalloc.get_traced_memory()[1] < 1 << 27
        finally:
            tracemalloc.stop()


def test_a_segment_for_which_there_is_no_memory_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "store"
    SegmentStore(directory).close()
    (directory / "checkpoint").unlink()
    with open(directory / "0000000000000001.seg", "r+b") as file:
        file.truncate(1 << 42)
        file.seek((1 << 42) - 1)
        file.write(b"x")
    with pytest.raises(StoreRefused, match=r"0000000000000001\.seg .* no memory"):
        SegmentStore(directory)
