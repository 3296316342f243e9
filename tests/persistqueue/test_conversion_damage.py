"""Of what is damaged everything readable is taken, and the rest is reported with its place."""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
import struct
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters.errors import FormatError, StoreRefused
from pqadapters.persistqueue import serializers
from pqadapters.persistqueue.conversion import rows
from pqadapters.persistqueue.conversion.framing import FRAMINGS, Broken

from . import theirs

NAMES = ["pickle", "json", "msgpack", "cbor2"]
ITEMS = [{"n": n, "text": f"text of {n}"} for n in range(30)]


def all_of(q: Any) -> list[Any]:
    return [q.get(block=False) for _ in range(q.qsize())]


def numbers(path: str, name: str = "pickle") -> tuple[list[int], list[Any]]:
    """The items that are there, by number, and the damage."""
    with ours.Queue(path, serializer=getattr(serializers, name)) as q:
        return [item["n"] for item in all_of(q)], list(q._line.store.damage)


def offsets(path: str, chunk: str, name: str) -> list[int]:
    """Where the items of a chunk begin, and where the last one ends."""
    data = Path(path, chunk).read_bytes()
    framing, found = FRAMINGS[name](), [0]
    while found[-1] < len(data):
        found.append(framing.end(data, found[-1], len(data)))
    return found


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_chunk_that_is_cut_off(path: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    theirs.file_queue(path, ITEMS, chunksize=10, name=name)
    at = offsets(path, "q00001", name)
    os.truncate(f"{path}/q00001", at[5] + 3)
    found, damage = numbers(path, name)
    assert found == [*range(15), *range(20, 30)]
    [each] = damage
    assert (each.path, each.offset) == (f"{path}.persist-queue/q00001", at[5])
    assert f"q00001 at {at[5]}" in caplog.text


def test_the_last_chunk_is_cut_off(path: str, name: str) -> None:
    """A power cut that came before the data did."""
    theirs.file_queue(path, ITEMS, chunksize=100, name=name)
    at = offsets(path, "q00000", name)
    os.truncate(f"{path}/q00000", at[7])
    found, damage = numbers(path, name)
    assert found == list(range(7))
    assert [(each.offset, each.length) for each in damage] == [(at[7], at[30] - at[7])]


@pytest.mark.parametrize("garbage", [b"\xff" * 10, b"\0" * 10, b"}\n\x00\x80\x04.q\x80\x04]", "bits"])
def test_garbage_in_the_middle(path: str, name: str, garbage: bytes | str) -> None:
    """An item whose bytes make no sense is left out, with as few others as can be; where they make a value of some kind
    nobody can tell, and the consumer finds out."""
    theirs.file_queue(path, ITEMS, chunksize=100, name=name)
    at = offsets(path, "q00000", name)
    data = bytearray(Path(path, "q00000").read_bytes())
    if isinstance(garbage, str):
        for place in range(at[10] + 4, at[11] - 1):
            data[place] ^= 0x81
    else:
        data[at[10] + 1 : at[10] + 1 + len(garbage)] = garbage
    Path(path, "q00000").write_bytes(data)
    with ours.Queue(path, serializer=getattr(serializers, name)) as q:
        damage = list(q._line.store.damage)
        found = []
        for _ in range(q.qsize()):
            item = q.get(block=False)
            found.append(item["n"] if isinstance(item, dict) and isinstance(item.get("n"), int) else None)
    assert [n for n in found if n is not None and n != 10] == [*range(10), *range(11, 30)]
    assert found.count(None) <= 1
    assert all(at[10] <= each.offset < at[11] and each.offset + each.length <= at[11] for each in damage)
    assert damage


def test_the_only_item_left_is_damaged(path: str, name: str) -> None:
    """It was refused as another serializer's, and nobody could open the queue again. By its `info` it is this one's."""
    theirs.file_queue(path, ITEMS[:3], got=2, name=name)
    os.truncate(f"{path}/q00000", offsets(path, "q00000", name)[2] + 3)
    found, damage = numbers(path, name)
    assert found == []
    assert [Path(each.path).name for each in damage] == ["q00000", "q00000"]
    with ours.Queue(path, serializer=getattr(serializers, name)) as q:
        q.put(ITEMS[5])
        assert all_of(q) == [ITEMS[5]]


def test_an_own_serializer_that_reads_no_item(path: str) -> None:
    """All of them were taken for damaged, and the queue began empty, where a module that they need was missing."""
    missing = True

    class Own:
        dump = staticmethod(pickle.dump)

        @staticmethod
        def load(fp: Any) -> Any:
            found = pickle.load(fp)
            if isinstance(found, str) and missing:
                raise ModuleNotFoundError("No module named 'jobs'")
            return found

    own: Any = Own
    writer = old.Queue(path, serializer=own)
    writer.put("a")
    del writer
    with pytest.raises(StoreRefused, match="No module named 'jobs'"):
        ours.Queue(path, serializer=own)
    missing = False
    with ours.Queue(path, serializer=own) as q:
        assert all_of(q) == ["a"]


def test_pickles_inside_of_a_damaged_item_are_no_items(path: str) -> None:
    """Where to go on is looked for by what pickles begin with, and an item may hold pickles as bytes."""
    inner = pickle.dumps({"n": 1000}, 4)
    items = [{"n": 0}, {"n": 1, "inner": [inner, inner * 3]}, {"n": 2}]
    theirs.file_queue(path, items)
    at = offsets(path, "q00000", "pickle")
    data = bytearray(Path(path, "q00000").read_bytes())
    data[at[1] + 2 : at[1] + 14] = b"\xff" * 12  # its length as well
    Path(path, "q00000").write_bytes(data)
    found, damage = numbers(path)
    assert found == [0, 2]
    assert [(each.offset, each.length) for each in damage] == [(at[1], at[2] - at[1])]


def test_a_length_that_takes_in_the_next_items(path: str) -> None:
    """A flipped bit makes a string longer: its pickle would go on into the next ones."""
    theirs.file_queue(path, ITEMS)
    at = offsets(path, "q00000", "pickle")
    data = bytearray(Path(path, "q00000").read_bytes())
    place = data.index(b"text of", at[3]) - 1
    data[place] += 70
    Path(path, "q00000").write_bytes(data)
    found, damage = numbers(path)
    assert found == [n for n in range(30) if n != 3]
    assert [each.offset for each in damage] == [at[3]]


_DEEP = pytest.param(b"[" * 200_000 + b"\n", id="deep")  # no JSON that Python reads: a RecursionError


@pytest.mark.parametrize("info", [None, b"", b"\x80\x04garbage", b"{}\n", _DEEP, "other numbers"])
def test_an_info_that_is_missing_or_makes_no_sense(path: str, name: str, info: bytes | str | None) -> None:
    theirs.file_queue(path, ITEMS, got=15, chunksize=10, name=name)
    file = Path(path, "info")
    if info is None:
        file.unlink()
    elif isinstance(info, str):
        head, tail = [0, 1, 2], [7, 1, -3]
        numbers_ = {"chunksize": 10, "size": 5, "head": head, "tail": tail}
        with open(file, "wb") as out:
            theirs.serializer(name).dump(numbers_, out)
    else:
        file.write_bytes(info)
    found, damage = numbers(path, name)
    assert found == list(range(10, 30)), "the chunk in which the tail was is taken whole"
    assert [Path(each.path).name for each in damage] == ["info"]


def test_an_info_that_has_counted_other_items(path: str, name: str) -> None:
    """What is there is taken over, and that some may be missing is said."""
    theirs.file_queue(path, ITEMS, got=5, chunksize=10, name=name)
    file, how = Path(path, "info"), theirs.serializer(name)
    with open(file, "rb") as info:
        numbers_ = how.load(info)
    with open(file, "wb") as info:
        how.dump({**numbers_, "size": numbers_["size"] + 3}, info)
    found, damage = numbers(path, name)
    assert found == list(range(5, 30))
    assert [each.reason for each in damage] == ["it says that there are 28 items, and 25 were found"]


def test_a_chunk_that_is_missing(path: str) -> None:
    theirs.file_queue(path, ITEMS, chunksize=10)
    Path(path, "q00001").unlink()
    found, damage = numbers(path)
    assert found == [*range(10), *range(20, 30)]
    assert [each.reason for each in damage] == ["1 of the files q00000 to q00003 are missing"]


def test_chunks_that_its_info_says_nothing_of_are_not_read(path: str) -> None:
    """Such as one that is done with, when persist-queue is killed before it removes it."""
    theirs.file_queue(path, ITEMS, chunksize=10, got=15)
    for name in ("q00000", "q00009"):
        Path(path, name).write_bytes(Path(path, "q00001").read_bytes())
    assert numbers(path) == (list(range(15, 30)), [])


def test_an_info_that_was_being_written_goes_with_the_rest(path: str) -> None:
    theirs.file_queue(path, ITEMS)
    Path(path, "tmpab_12xyz").write_bytes(b"half")
    assert numbers(path) == (list(range(30)), [])
    assert "tmpab_12xyz" in os.listdir(f"{path}.persist-queue")


def test_random_damage_never_loses_more_than_it_hit(path: str, name: str, tmp_path: Path) -> None:
    theirs.file_queue(path, ITEMS, chunksize=100, name=name)
    at = offsets(path, "q00000", name)
    data = Path(path, "q00000").read_bytes()
    framing, rng = FRAMINGS[name](), random.Random(5)
    for _ in range(150):
        hit, length = rng.randrange(len(data)), rng.randrange(1, 12)
        ruin = bytearray(data)
        ruin[hit : hit + length] = rng.randbytes(length)
        ruin = ruin[: len(data)]
        begun, place = [], 0
        while place < len(data):
            try:
                end = framing.end(bytes(ruin), place, len(data))
                begun.append(place)
            except Broken:
                end = framing.again(bytes(ruin), place, len(data))
            place = end
        whole = [start for start, end in pairwise(at) if end <= hit or start >= hit + length]
        lost = set(whole) - set(begun)
        assert len(lost) <= {"pickle": 0, "json": 1}.get(name, 2), (hit, length, lost)  # a line's end may be hit


@pytest.mark.parametrize("name", ["msgpack", "cbor2"])
def test_to_look_for_the_next_item_reads_no_value_in_vain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a damaged length of 2 MB each byte may be the next one: a value was read at each, for 23 seconds."""
    framing: Any = FRAMINGS[name]()
    read, loads = [], framing._loads
    monkeypatch.setattr(framing, "_loads", lambda data: (read.append(len(data)), loads(data))[1])
    value = getattr(serializers, name).dumps({"n": 1})
    item = len(value).to_bytes(4, "little") + value
    garbage = b"\xff\xff\xff\xff" + b"\x00\x07\x03\x00" * 5000
    data = garbage + item * 3
    assert framing.again(data, 0, len(data)) == len(garbage)
    assert len(read) < 10


# Databases


def _rows(path: str, count: int = 4000) -> None:
    theirs.database(path, old.SQLiteQueue, [])
    connection = sqlite3.connect(f"{path}/data.db")
    rows = [(pickle.dumps(f"item {n} ".ljust(60), 4), float(n)) for n in range(count)]
    connection.executemany("INSERT INTO queue_default (data, timestamp) VALUES (?, ?)", rows)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _pages(path: str) -> dict[str, list[int]]:
    """Pages by what they are: leaves and inner pages of tables."""
    data = Path(path, "data.db").read_bytes()
    kinds: dict[str, list[int]] = {"leaf": [], "inner": []}
    for page in range(1, len(data) // 4096):
        kind = {0x0D: "leaf", 0x05: "inner"}.get(data[page * 4096])
        if kind:
            kinds[kind].append(page)
    return kinds


def _ruin(path: str, page: int, data: bytes = b"\xff" * 4096) -> None:
    with open(f"{path}/data.db", "r+b") as file:
        file.seek(page * 4096)
        file.write(data)


def _page(path: str, page: int) -> bytes:
    return Path(path, "data.db").read_bytes()[page * 4096 : (page + 1) * 4096]


def _check_each_once(path: str) -> None:
    """Of the rows only those of one leaf are missing."""
    with ours.SQLiteQueue(path) as q:
        found = [int(item.split()[1]) for item in all_of(q)]
        assert found == sorted(set(found))
        assert 3900 < len(found) < 4000
        assert q._store.damage


def test_a_damaged_leaf_costs_its_own_rows(path: str) -> None:
    _rows(path)
    leaves = _pages(path)["leaf"]
    for page in (leaves[10], leaves[20]):
        _ruin(path, page)
    with ours.SQLiteQueue(path) as q:
        found = [int(item.split()[1]) for item in all_of(q)]
        assert found == sorted(found)
        assert 3800 < len(found) < 4000
        damage = [(each.path, each.offset, each.length) for each in q._store.damage]
        kept = f"{path}/data.db.persist-queue"
        assert damage == [(kept, leaves[10] * 4096, 4096), (kept, leaves[20] * 4096, 4096)]


def test_a_damaged_inner_page_costs_nothing(path: str) -> None:
    """The leaves that it leads to are found without it, and in their order."""
    _rows(path, 60_000)
    inner = _pages(path)["inner"]
    assert len(inner) > 2
    _ruin(path, inner[-1])
    with ours.SQLiteQueue(path) as q:
        times = [record.put_at for record in q._store.browse("queue_default")]
        assert times[1:] == [float(n) for n in range(1, 60_000)]
        assert [each.offset for each in q._store.damage] == [inner[-1] * 4096]


@pytest.mark.parametrize(("kind", "number", "at"), [("leaf", 10, 8), ("inner", 0, 12)])
def test_a_pointer_that_leaves_its_page_costs_nothing(path: str, kind: str, number: int, at: int) -> None:
    """SQLite leaves such bits out and reads all of the rows, while its check finds the table damaged."""
    _rows(path)
    page = _pages(path)[kind][number]
    data = bytearray(_page(path, page))
    data[at + 6] ^= 0x40
    _ruin(path, page, bytes(data))
    assert len(theirs.rows(f"{path}/data.db", "queue_default")) == 4000
    with ours.SQLiteQueue(path) as q:
        assert [each.offset for each in q._store.damage] == [0]  # the table's
        assert [int(item.split()[1]) for item in all_of(q)] == list(range(4000))


def test_a_leaf_that_is_damaged_while_it_is_read_gives_no_row_twice(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite has handed out those in front of it."""
    _rows(path)
    _ruin(path, _pages(path)["leaf"][10])
    monkeypatch.setattr(rows.Source, "_is_whole", lambda source, table: True)
    _check_each_once(path)


def test_text_beside_a_damaged_leaf(path: str) -> None:
    """SQLite keeps as text what a serializer of the program's own has given it as such."""
    _rows(path)
    with closing(sqlite3.connect(f"{path}/data.db")) as connection:
        connection.execute("UPDATE queue_default SET data = '\"item ' || _id || '                 \"'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _ruin(path, _pages(path)["leaf"][10])
    with ours.SQLiteQueue(path, serializer=serializers.json) as q:
        found = [int(item.split()[1]) for item in all_of(q)]
        assert found == sorted(set(found))
        assert 3800 < len(found) < 4000


def test_a_damaged_root_page(path: str) -> None:
    _rows(path)
    connection = sqlite3.connect(f"{path}/data.db")
    [(root,)] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'queue_default'").fetchall()
    connection.close()
    _ruin(path, root - 1)
    with ours.SQLiteQueue(path) as q:
        assert [int(item.split()[1]) for item in all_of(q)] == list(range(4000))
        assert [each.offset for each in q._store.damage] == [(root - 1) * 4096]


def test_damage_in_one_table_is_not_anothers(path: str) -> None:
    _rows(path)
    theirs.each_state(path)
    _ruin(path, _pages(path)["leaf"][10])
    with ours.SQLiteAckQueue(path, auto_resume=False) as q:
        assert len(q.queue()) == 10
    with ours.SQLiteQueue(path) as queue:
        assert 3900 < queue.size < 4000


@pytest.mark.parametrize("alone", [True, False])
def test_an_older_first_page_is_noticed(path: str, alone: bool) -> None:
    """SQLite found nothing wrong with the table, and its other pages were left out without a word."""
    _rows(path, 40)
    first = next(page for page in _pages(path)["leaf"] if b"item 7 " in _page(path, page))
    older = _page(path, first)
    _rows(path)
    if not alone:
        theirs.database(path, old.FILOSQLiteQueue, ["x"])
    with closing(sqlite3.connect(f"{path}/data.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _ruin(path, first, older)
    with ours.SQLiteQueue(path) as q:
        found = [int(item.split()[1]) for item in all_of(q)]
        assert found == [*range(40), *(range(4000) if alone else [])]
        assert "pages that belong to no table" in q._store.damage[0].reason


def test_a_page_in_the_place_of_another_gives_no_item_twice(path: str) -> None:
    _rows(path)
    leaves = _pages(path)["leaf"]
    _ruin(path, leaves[20], _page(path, leaves[10]))
    _check_each_once(path)


def test_a_time_that_is_no_number_costs_nothing(path: str) -> None:
    """To SQLite it is NULL; from the raw pages it came as it was, and nothing could be converted."""
    _rows(path)
    leaves = _pages(path)["leaf"]
    leaf, time = _page(path, leaves[10]), struct.Struct(">d")
    number = next(n for n in range(4000) if f"item {n} ".encode() in leaf)
    with closing(sqlite3.connect(f"{path}/data.db")) as connection, connection:
        connection.execute("UPDATE queue_default SET timestamp = 12345.678 WHERE timestamp = ?", (float(number),))
    with closing(sqlite3.connect(f"{path}/data.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    changed = _page(path, leaves[10]).replace(time.pack(12345.678), time.pack(float("nan")))
    _ruin(path, leaves[10], changed)
    _ruin(path, leaves[20])
    with ours.SQLiteQueue(path) as q:
        assert number in [int(item.split()[1]) for item in all_of(q)]


def test_a_pointer_to_another_page_is_noticed(path: str) -> None:
    """SQLite read one leaf twice and another one never, and said nothing: items were lost, and others there twice."""
    _rows(path)
    data = bytearray(Path(path, "data.db").read_bytes())
    at = _pages(path)["inner"][0] * 4096
    cells = [int.from_bytes(data[at + 12 + 2 * nth :][:2], "big") for nth in (4, 5)]
    data[at + cells[0] : at + cells[0] + 4] = data[at + cells[1] : at + cells[1] + 4]
    Path(path, "data.db").write_bytes(data)
    with ours.SQLiteQueue(path) as q:
        assert [int(item.split()[1]) for item in all_of(q)] == list(range(4000))
        assert "a page of the table is damaged" in q._store.damage[0].reason


@pytest.mark.parametrize(
    ("key", "words"), [(b"key 2", "two rows have the key 'key 2'"), (b"key \x94", "its key is no text")]
)
def test_a_key_with_other_bits_costs_itself(path: str, key: bytes, words: str) -> None:
    """A mapping with one could not be converted at all: as many keys were there as rows, or no text was no key."""
    d = old.PDict(path, "m")
    for n in range(10):
        d[f"key {n}"] = n
    d.close()
    with closing(sqlite3.connect(f"{path}/data.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = Path(path, "data.db").read_bytes()
    for page in _pages(path)["leaf"]:  # the index has pages of its own, and isn't changed
        _ruin(path, page, data[page * 4096 : (page + 1) * 4096].replace(b"key 1", key))
    with ours.PDict(path, "m") as m:
        expected = {f"key {n}": n for n in range(10) if n != 1}
        assert dict(m.items()) in (expected, {**expected, "key 2": 1})
        assert words in m._table.store.damage[0].reason


def test_rows_that_are_no_items(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, ["a"])
    theirs.each_state(path)
    connection = sqlite3.connect(f"{path}/data.db")
    connection.execute("INSERT INTO queue_default (data, timestamp) VALUES (NULL, 1.0)")
    connection.execute("INSERT INTO queue_default (data, timestamp) VALUES (?, NULL)", (pickle.dumps("b", 4),))
    connection.execute("UPDATE ack_queue_default SET status = 7 WHERE _id = 8")
    connection.commit()
    connection.close()
    with ours.SQLiteQueue(path) as q, ours.SQLiteAckQueue(path) as acks:
        assert all_of(q) == ["a", "b"]
        assert [row["status"] for row in acks.queue()][7] == 9
        assert sorted(each.reason for each in q._store.damage) == [
            "row 2 of table queue_default: its data is NoneType, no bytes",
            "row 8 of table ack_queue_default: its status is 7: it was taken over as ack_failed",
        ]


def test_an_item_that_cannot_be_decoded_is_moved_and_met_by_who_gets_it(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, ["a", "b"])
    connection = sqlite3.connect(f"{path}/data.db")
    connection.execute("UPDATE queue_default SET data = x'00' WHERE _id = 1")
    connection.commit()
    connection.close()
    with ours.SQLiteQueue(path) as q:
        assert q.size == 2
        assert q.get() == "b"


def test_a_file_that_is_no_database_any_more(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, ["a"])
    _ruin(path, 0)
    before = Path(path, "data.db").read_bytes()
    with pytest.raises(StoreRefused):
        ours.SQLiteQueue(path)
    assert Path(path, "data.db").read_bytes() == before


def test_where_the_names_of_tables_are_damaged_the_error_says_what_brings_out_the_rows(path: str) -> None:
    # It named what salvages a database of ours, which finds nothing in one of persist-queue's, and says so in peace.
    theirs.database(path, old.SQLiteQueue, list(range(300)))
    file = Path(path, "data.db")
    data = bytearray(file.read_bytes())
    data[100] = 0x55  # the kind of the first page
    file.write_bytes(data)
    with pytest.raises(StoreRefused, match=r"data\.db \.recover"):
        ours.SQLiteQueue(path)
    assert file.read_bytes() == data


def test_where_a_database_is_cut_off_the_error_says_what_brings_out_the_rows(path: str) -> None:
    """It named what salvages a database of ours, which finds nothing in one of persist-queue's."""
    theirs.database(path, old.SQLiteQueue, [f"{n:0500}" for n in range(300)])
    file = Path(path, "data.db")
    os.truncate(file, file.stat().st_size // 2)
    before = file.read_bytes()
    with pytest.raises(FormatError, match=r"data\.db \.recover"):
        ours.SQLiteQueue(path)
    assert file.read_bytes() == before
