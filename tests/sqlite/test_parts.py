"""Values that are longer than SQLite takes in one piece stand in parts; here a part is 1,000 bytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pqadapters.errors import ConditionFailed
from pqadapters.store import Clear, Delete, Set
from pqadapters.stores.sqlite import SqliteStore, salvage
from pqadapters.stores.sqlite.database import connect

LONG = random.Random(1).randbytes(5120)
EXACT, LONGER = LONG[:1000], LONG[:1001]


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("entries", "alone"):
        monkeypatch.setattr(f"pqadapters.stores.sqlite.{module}.PART", 1000)


def _parts(path: Path) -> int:
    connection = connect(str(path))
    (count,) = connection.execute("SELECT count(*) FROM part").fetchone()
    connection.close()
    return int(count)


def test_they_come_back_whole_and_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with SqliteStore(path) as store:
        values = {b"a": LONG, b"b": b"short", b"c": EXACT, b"d": LONGER}
        for key, value in values.items():
            store.commit(Set("t", key, value))
        assert _parts(path) == 6 + 2
        assert [store.get("t", key) for key in values] == list(values.values())
        assert dict(store.scan("t")) == store.snapshot("t") == values
        assert list(store.scan("t", reverse=True)) == list(values.items())[::-1]
        assert store.snapshot("t", [b"d", b"x"]) == {b"d": LONGER}
        assert list(store.keys("t")) == list(values)
        store.commit(Set("t", b"a", LONGER), Set("t", b"d", b"short"))
        assert (store.get("t", b"a"), store.get("t", b"d")) == (LONGER, b"short")
        assert _parts(path) == 2
        store.commit(Set("t", b"b", LONG), Delete("t", b"a"))
        assert (store.get("t", b"b"), _parts(path)) == (LONG, 6)
        store.commit(Clear("t"))
        assert (store.count("t"), _parts(path)) == (0, 0)


def test_conditions_see_all_of_them(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "s.db") as store:
        store.commit(Set("t", b"a", LONG))
        for wrong in (LONG[:-1], LONG[:-1] + b"!", b""):
            with pytest.raises(ConditionFailed):
                store.commit(Set("t", b"a", b"new", wrong))
        store.commit(Set("t", b"a", LONG[::-1], LONG))
        store.commit(Delete("t", b"a", LONG[::-1]))
        assert store.count("t") == 0


def test_salvage_puts_them_together(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with SqliteStore(path) as store:
        store.commit(Set("t", b"a", LONG), Set("t", b"b", LONGER), Set("t", b"c", b"short"), Clear("u"))
        store.checkpoint()
    found = salvage(path, to=tmp_path / "to.db")
    assert (found.keys, found.lost) == (3, 0)
    with SqliteStore(tmp_path / "to.db") as store:
        assert store.snapshot("t") == {b"a": LONG, b"b": LONGER, b"c": b"short"}
    content = path.read_bytes()
    path.write_bytes(content.replace(LONG[2000:2100], b"?" * 100))
    found = salvage(path, to=tmp_path / "again.db")
    assert (found.keys, found.lost) == (2, 1)


def test_a_damaged_part_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with SqliteStore(path) as store:
        store.commit(Set("t", b"a", LONG), Set("t", b"b", b"1"))
    content = path.read_bytes()
    assert LONG[2000:2100] in content
    path.write_bytes(content.replace(LONG[2000:2100], b"?" * 100))
    with SqliteStore(path) as store:
        assert (store.get("t", b"a"), store.get("t", b"b"), store.count("t")) == (None, b"1", 1)
        assert "key b'a' of table 't'" in store.damage[0].reason
