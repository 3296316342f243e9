"""Shelves: the standard library's behaviour, its flags and its errors, and what is ours."""

from __future__ import annotations

import dbm
import errno
import gc
import importlib
import os
import pickle
import shelve as stdlib
import shutil
import subprocess
import warnings
import zlib
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, ReadOnlyError, StoreError
from pqadapters.stdlib import shelve
from tests.segment.programs import run
from tests.segment.users import as_root, as_user, open_to_all

from .conftest import Maker


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "shelf")


def _filled(path: str, **values: Any) -> None:
    with shelve.open(path) as shelf:
        shelf.update(values)


def test_it_is_a_file_of_that_name(path: str) -> None:
    _filled(path, a=1)
    assert os.path.isfile(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    with shelve.open(os.fsencode(path)) as shelf:
        assert dict(shelf) == {"a": 1}
    with shelve.open(Path(path)) as shelf:
        assert shelf["a"] == 1


@as_root
@pytest.mark.parametrize("name", ["shelf", "deep/shelf"])
@pytest.mark.parametrize("flag", ["r", "w", "c"])
def test_a_directory_that_may_not_be_looked_into(name: str, flag: Any, tmp_path: Path) -> None:
    """There was "no shelf" in it, or "no such directory; make it first"."""
    open_to_all(tmp_path)
    place = tmp_path / "private"
    (place / "deep").mkdir(parents=True)
    _filled(str(place / name), a=1)
    place.chmod(0o700)
    with as_user(), pytest.raises(OSError, match="Permission denied") as caught:
        shelve.open(str(place / name), flag)
    assert caught.value.errno == errno.EACCES


def test_the_flags(path: str) -> None:
    for flag in ("r", "w"):
        with pytest.raises(dbm.error, match="there is no shelf"):
            shelve.open(path, flag)
        assert os.listdir(os.path.dirname(path)) == []
    _filled(path, a=1)
    with shelve.open(path, "w") as shelf:
        shelf["b"] = 2
    with shelve.open(path, "c") as shelf:
        assert dict(shelf) == {"a": 1, "b": 2}
    with shelve.open(path, "n") as shelf:
        assert dict(shelf) == {}
        shelf["c"] = 3
    with shelve.open(path, "rf") as shelf:  # dbm.gnu's letters behind the first one
        assert dict(shelf) == {"c": 3}
    wrong: list[Any] = ["q", "", "rx", "cr", 5]
    for each in wrong:
        with pytest.raises(ValueError, match="'r', 'w', 'c' or 'n'"):
            shelve.open(path, each)


def test_one_that_is_read_only_is_left_as_it_is(path: str) -> None:
    _filled(path, a=[1])
    with shelve.open(path, "r", writeback=False) as shelf:
        for change in (
            lambda: shelf.__setitem__("a", 2),
            lambda: shelf.__delitem__("a"),
            lambda: shelf.update(a=2),
            lambda: shelf.setdefault("b", 2),
            lambda: shelf.pop("a"),
            shelf.popitem,
            shelf.clear,
        ):
            with pytest.raises(ReadOnlyError, match="reading only"):
                change()
        with pytest.raises(dbm.error), shelf.batch():
            pass
        with pytest.raises(dbm.error), shelf.edit("a"):
            pass
        shelf.sync()
        assert dict(shelf) == {"a": [1]}


def test_what_a_closed_one_says(path: str) -> None:
    shelf = shelve.open(path)
    shelf["a"] = 1
    shelf.close()
    shelf.close()
    for call in (
        lambda: shelf["a"],
        lambda: shelf.__setitem__("a", 1),
        lambda: len(shelf),
        lambda: list(shelf),
        lambda: "a" in shelf,
        lambda: shelf.get("a"),
        lambda: shelf.update(a=1),
        lambda: shelf.pop("a"),
        shelf.clear,
        lambda: shelf.dict[b"a"],
    ):
        with pytest.raises(ValueError, match="closed shelf"):
            call()
    assert repr(shelf.keys()) == f"<Keys of {shelf!r}>"
    shelf.sync()  # the standard library's says nothing, and programs end with it whatever was before


def test_a_shelf_is_as_unhashable_as_the_standard_librarys(path: str) -> None:
    for module, place in ((stdlib, f"{path}-theirs"), (shelve, path)):
        with module.open(place) as shelf, pytest.raises(TypeError, match="unhashable"):
            hash(shelf)


@pytest.mark.parametrize("key", [["u"], {"u"}, None, 5, 1.5, b"u", ("u",), "\udc80"], ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        lambda shelf, key: key in shelf,
        lambda shelf, key: shelf[key],
        lambda shelf, key: shelf.get(key),
        lambda shelf, key: shelf.__setitem__(key, 1),
        lambda shelf, key: shelf.__delitem__(key),
        lambda shelf, key: shelf.setdefault(key, 1),
        lambda shelf, key: shelf.pop(key),
        lambda shelf, key: shelf.pop(key, None),
    ],
    ids=["in", "[]", "get", "[]=", "del", "setdefault", "pop", "pop, default"],
)
def test_what_is_no_key_is_refused_as_by_the_standard_librarys(key: Any, call: Any, path: str) -> None:
    """A list was an AttributeError where its shelves raise TypeError."""
    errors = []
    shelves: list[stdlib.Shelf[Any]] = [stdlib.Shelf({}), shelve.Shelf({}), shelve.open(path)]
    for shelf in shelves:
        with pytest.raises((AttributeError, TypeError, UnicodeEncodeError)) as caught:
            call(shelf, key)
        errors.append((type(caught.value), str(caught.value)))
        shelf.close()
    assert errors[0] == errors[1] == errors[2]


def test_writeback(path: str) -> None:
    shelf = shelve.open(path, writeback=True)
    shelf["a"] = [1]
    shelf["a"].append(2)
    shelf.setdefault("b", []).append(3)
    assert dict(shelf) == {"a": [1, 2], "b": [3]}
    shelf.sync()
    with shelve.open(path) as other:
        assert dict(other) == {"a": [1, 2], "b": [3]}
        shelf["a"].append(4)
        assert shelf.pop("a") == [1, 2, 4]
        shelf["b"].append(5)
        assert dict(shelf.items()) == shelf.copy() == {"b": [3, 5]}
        with shelf.edit("b") as value:
            value.append(6)
        assert shelf["b"] == other["b"] == [3, 5, 6]
        shelf["b"].append(7)
        shelf.close()
        assert other["b"] == [3, 5, 6, 7]


def test_a_dropped_one_stores_what_writeback_holds(path: str) -> None:
    shelf = shelve.open(path, writeback=True)
    shelf["a"] = [1]
    shelf["a"].append(2)
    del shelf
    with shelve.open(path) as other:
        assert other["a"] == [1, 2]


def test_writeback_stores_all_or_nothing(path: str) -> None:
    shelf = shelve.open(path, writeback=True)
    shelf.update(a=[], b=[])
    shelf["a"].append(1)
    shelf["b"].append(lambda: 0)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        shelf.sync()
    with shelve.open(path) as other:
        assert dict(other) == {"a": [], "b": []}
    shelf.cache.clear()
    shelf.close()


def test_values_that_cannot_be_pickled_raise_what_pickle_raises(path: str) -> None:
    with shelve.open(path) as shelf:
        shelf["a"] = 1
        with pytest.raises((pickle.PicklingError, AttributeError)):
            shelf["a"] = lambda: 0
        with pytest.raises((pickle.PicklingError, AttributeError)):
            shelf.update(a=2, b=lambda: 0)
        with pytest.raises(AttributeError):
            shelf[5] = 1  # type: ignore[index]
        assert dict(shelf) == {"a": 1}


def test_a_programs_own_pickler_is_used(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Upper(pickle.Unpickler):
        def load(self) -> Any:
            return str(super().load()).upper()

    class Doubled(pickle.Pickler):
        def dump(self, value: Any) -> None:
            super().dump(value * 2)

    monkeypatch.setattr(shelve, "Pickler", Doubled)
    monkeypatch.setattr(shelve, "Unpickler", Upper)
    with shelve.open(path) as shelf:
        shelf["a"] = "ab"
        assert shelf["a"] == "ABAB"
    assert shelve.Shelf({b"k": pickle.dumps("x")})["k"] == "X"


def test_a_default_is_pickled_only_where_it_is_stored(path: str) -> None:
    """As with the standard library's: the key that is there needs none."""
    with shelve.open(path) as shelf:
        shelf["a"] = 1
        assert shelf.setdefault("a", lambda: 2) == 1
        with pytest.raises(Exception, match="pickle"):
            shelf.setdefault("b", lambda: 2)
        assert dict(shelf) == {"a": 1}


def test_what_it_is_made_of_is_a_mapping_of_bytes(path: str) -> None:
    with shelve.open(path, protocol=2) as shelf:
        shelf["ä"] = [1]
        assert dict(shelf.dict) == {"ä".encode(): pickle.dumps([1], 2)}
        shelf.dict["b"] = pickle.dumps(2)
        assert shelf["b"] == 2
        with pytest.raises(TypeError, match="bytes or str"):
            shelf.dict[5] = b"x"
        with pytest.raises(TypeError, match="values are bytes"):
            shelf.dict[b"x"] = 5


def test_shelves_of_one_store_by_name(place: dict[str, Any], make: Maker) -> None:
    make()["a"] = "of the mapping"
    with shelve.open("one", **place) as one, shelve.open("two", **place) as two:
        one["a"], two["a"] = 1, 2
        with shelve.open("one", "r", **place) as again:
            assert dict(again) == {"a": 1}
    if isinstance(place["store"], str):
        with shelve.open(place["store"]) as shelf:
            shelf["x"] = 1
            assert dict(shelf) == {"x": 1}


def test_a_mapping_and_a_shelf_are_apart_in_one_file(path: str) -> None:
    from pqadapters import PDict

    _filled(path, a=1)
    d: PDict[str, int] = PDict(path)
    with d:
        assert len(d) == 0


@pytest.mark.parametrize("flag", ["c", "w", "r", "n"])
def test_what_is_no_shelf_is_left_alone(path: str, flag: str) -> None:
    Path(path).write_text("notes of mine, which are no shelf, and longer than a header of sixteen bytes\n" * 20)
    before = Path(path).read_bytes()
    with pytest.raises(dbm.error, match="no shelf"):
        shelve.open(path, flag)
    assert Path(path).read_bytes() == before
    assert os.listdir(os.path.dirname(path)) == ["shelf"]


@pytest.mark.parametrize("flag", ["c", "w", "r"])
def test_one_that_was_cut_to_nothing_is_told_of_while_its_wal_has_keys(tmp_path: Path, flag: str) -> None:
    """For "r" and "w" there was no shelf, to be made with "c", though what was set can be brought out."""
    with shelve.open(tmp_path / "here") as shelf:
        shelf["a"] = 1
        for side in ("", "-wal", "-shm"):
            shutil.copy(f"{tmp_path}/here{side}", f"{tmp_path}/there{side}")  # as SIGKILL leaves it
    os.truncate(tmp_path / "there", 0)
    with pytest.raises(dbm.error, match="salvage"):
        shelve.open(tmp_path / "there", flag)


@pytest.mark.parametrize("flag", ["c", "w", "n"])
def test_a_directory_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(dbm.error, match="directory"):
        shelve.open(tmp_path, flag)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("flag", ["c", "w", "r", "n"])
def test_a_missing_directory_is_not_made(tmp_path: Path, flag: str) -> None:
    """As in the standard library: a mistyped path would go unnoticed."""
    with pytest.raises(dbm.error, match="directory" if flag in "cn" else "there is no shelf"):
        shelve.open(tmp_path / "nowhere" / "shelf", flag)
    assert os.listdir(tmp_path) == []


def test_another_programs_database_is_left_alone(path: str) -> None:
    import sqlite3

    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes(x)")
    connection.execute("INSERT INTO notes VALUES (1)")
    connection.commit()
    connection.close()
    before = Path(path).read_bytes()
    for flag in "cn":
        with pytest.raises(dbm.error, match="no shelf"):
            shelve.open(path, flag)
    assert Path(path).read_bytes() == before


def test_a_damaged_one_is_an_error_that_says_so(path: str) -> None:
    _filled(path, a=1)
    content = bytearray(Path(path).read_bytes())
    content[2048:] = bytes(len(content) - 2048)
    Path(path).write_bytes(content)
    with pytest.raises(dbm.error, match="damaged") as caught:
        shelve.open(path)["a"]
    assert isinstance(caught.value, StoreError)
    assert Path(path).read_bytes() == bytes(content)


def test_an_empty_file_becomes_one(path: str) -> None:
    Path(path).touch()
    _filled(path, a=1)
    with shelve.open(path, "r") as shelf:
        assert dict(shelf) == {"a": 1}


def test_threads_hand_a_shelf_around(path: str) -> None:
    import threading

    shelf = shelve.open(path)
    threads = [threading.Thread(target=shelf.__setitem__, args=(f"k{n}", n)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(shelf) == {f"k{n}": n for n in range(20)}
    shelf.close()


def test_nothing_is_said_of_what_is_ours(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        _filled(path, a=1)
        _filled(path, a=2)


def test_the_names_are_there() -> None:
    import shelve as stdlib

    ours = importlib.import_module("pqadapters.stdlib.shelve")
    assert set(stdlib.__all__) <= set(ours.__all__)


CAPACITY = 4 << 20


def test_one_on_a_read_only_disk_is_read(small: Path) -> None:
    path = str(small / "shelf")
    _filled(path, **{f"k{n}": n for n in range(2000)})
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with shelve.open(path, "r") as shelf:
        assert (len(shelf), shelf["k7"], shelf.get("x"), "k8" in shelf) == (2000, 7, None, True)
        assert dict(shelf) == shelf.copy() == {f"k{n}": n for n in range(2000)}
        assert list(shelf)[:2] == ["k0", "k1"]
        assert next(reversed(shelf)) == "k1999"
        with pytest.raises(ReadOnlyError):
            shelf["a"] = 1
    with pytest.raises(ValueError, match="closed"):
        shelf["k7"]
    for flag in "wcn":
        with pytest.raises(dbm.error, match="Read-only"):
            shelve.open(path, flag)


def test_one_on_a_read_only_disk_that_was_not_closed_is_not_half_read(small: Path) -> None:
    path = str(small / "shelf")
    code = "import os, sys; from pqadapters.stdlib import shelve; s = shelve.open(sys.argv[1]); s['a'] = 1; os._exit(0)"
    run(code, path)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(dbm.error, match="WAL isn't empty"):
        shelve.open(path, "r")


def test_reading_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = sorted(os.listdir(tmp_path))
    for flag in "rw":
        for name in ("empty", "dangling", "missing"):
            with pytest.raises(dbm.error, match="no shelf"):
                shelve.open(tmp_path / name, flag)
        for url in (f"sqlite:///{tmp_path}/missing.db", f"file://{tmp_path}/missing"):
            with pytest.raises(dbm.error, match="no store"):
                shelve.open("name", flag, store=url)
            with pytest.raises(dbm.error, match="no store"):
                shelve.open(url, flag)
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "empty").stat().st_size == 0


@pytest.mark.parametrize("missing", ["x", 5])
@pytest.mark.parametrize("writeback", [False, True])
def test_a_missing_key_is_told_as_the_standard_librarys(path: str, missing: Any, writeback: bool) -> None:
    """KeyError has it as dbm has, in bytes."""

    def told(shelf: Any) -> list[BaseException]:
        found: list[BaseException] = []
        for ask in (shelf.__getitem__, shelf.__delitem__, shelf.pop):
            with pytest.raises((KeyError, AttributeError)) as caught:
                ask(missing)
            found.append(caught.value)
        return found

    with shelve.open(path, writeback=writeback) as ours:
        assert list(map(repr, told(ours))) == list(map(repr, told(stdlib.Shelf({}, writeback=writeback))))


def test_looking_for_a_default_is_no_change(path: str) -> None:
    _filled(path, a=1)
    with shelve.open(path, "r") as shelf:
        assert shelf.setdefault("a", 2) == 1
        assert shelf.pop("x", 3) == 3
        with pytest.raises(KeyError):
            shelf.pop("x")
        with pytest.raises(KeyError):
            del shelf["x"]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff ?#%"
    for expected in ({}, {"a": 1}):
        with shelve.open(path) as shelf:
            assert dict(shelf) == expected
            shelf["a"] = 1
    with shelve.open(path, "r") as shelf:
        assert shelf["a"] == 1


def test_a_subclass_has_a_say_in_every_method(path: str) -> None:
    import json

    class Json(shelve.DbfilenameShelf[Any]):
        def __getitem__(self, key: str) -> Any:
            return json.loads(super().__getitem__(key))

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key, json.dumps(value))

    with Json(path) as shelf:
        shelf["a"] = [1]
        shelf.update(b=[2], c=[3])
        assert shelf.setdefault("d", [4]) == shelf["d"] == [4]
        assert shelf.get("a") == shelf["a"] == [1]
        assert dict(shelf) == dict(shelf.items()) == shelf.copy() == {"a": [1], "b": [2], "c": [3], "d": [4]}
        assert list(shelf.values()) == [[1], [2], [3], [4]]
        assert shelf.get_many(["a", "x"]) == {"a": [1]}
        assert shelf.pop("d") == [4]
        assert shelf.dict[b"a"] == pickle.dumps("[1]", pickle.DEFAULT_PROTOCOL)


@pytest.mark.parametrize("ends", ["close", "with", "del"])
def test_a_subclass_has_a_say_in_its_end(path: str, ends: str) -> None:
    """The standard library's close() calls sync(), and one that is dropped calls close(): neither was called."""
    called = []

    class Own(shelve.DbfilenameShelf[int]):
        def sync(self) -> None:
            called.append("sync")
            self["count"] = len(self)
            super().sync()

        def close(self) -> None:
            called.append("close")
            super().close()

    shelf = Own(path)
    shelf["a"] = 1
    if ends == "close":
        shelf.close()
    elif ends == "with":
        with shelf:
            pass
    del shelf
    gc.collect()
    assert called[:2] == ["close", "sync"]
    with shelve.open(path) as found:
        assert found["count"] == 1


def test_several_values_of_a_shelf_with_writeback(path: str) -> None:
    """get_many() gave what was stored, and what it gave was stored by nobody."""
    with shelve.open(path, writeback=True) as shelf:
        shelf.update(x=[0], y=[0], z=[0])
        shelf.sync()
        shelf["x"].append(1)
        found = shelf.get_many(iter(["x", "missing", "y"]))
        assert found == {"x": [0, 1], "y": [0]}
        assert found["x"] is shelf["x"]
        found["y"].append(2)
        assert shelf["y"] == [0, 2]
        assert "z" not in shelf.cache
    with shelve.open(path) as other:
        assert other.get_many(["x", "y", "z"]) == {"x": [0, 1], "y": [0, 2], "z": [0]}


def test_what_the_store_refuses_is_not_left_for_the_next_sync(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with shelve.open(path, writeback=True) as shelf:
        shelf["a"] = [1]

        def full(pairs: Any) -> None:
            raise DiskError(errno.ENOSPC, "no space", path)

        with monkeypatch.context() as patch:
            patch.setattr(shelf._table, "set_all", full)
            with pytest.raises(DiskError):
                shelf.update(a=[2], b=[2])
            with pytest.raises(DiskError):
                shelf["b"] = [2]
        assert shelf["a"] == [1]
        shelf.sync()
        assert dict(shelf) == {"a": [1]}
    with shelve.open(path) as other:
        assert dict(other) == {"a": [1]}


def test_writeback_and_batches(path: str) -> None:
    shelf = shelve.open(path, writeback=True)
    shelf.update(x=[0], y=[0])
    shelf["y"].append(1)
    with pytest.raises(ZeroDivisionError), shelf.batch():
        shelf["a"] = 1
        shelf["x"].append(99)
        raise ZeroDivisionError
    assert ("a" in shelf, shelf.get("a"), shelf["x"], shelf["y"]) == (False, None, [0], [0, 1])
    with shelf.batch():
        shelf["x"].append(1)
        shelf["b"] = [2]
        shelf["b"].append(3)
    with shelve.open(path) as other:
        assert dict(other) == {"x": [0, 1], "y": [0, 1], "b": [2, 3]}
    shelf.close()
    with shelve.open(path) as other:
        assert dict(other) == {"x": [0, 1], "y": [0, 1], "b": [2, 3]}


def test_a_batch_whose_writeback_cant_be_stored_stores_nothing(path: str) -> None:
    with shelve.open(path, writeback=True) as shelf:
        shelf["a"] = []
        with pytest.raises((pickle.PicklingError, AttributeError)), shelf.batch():
            shelf["b"] = 1
            shelf["a"].append(lambda: 0)
        assert dict(shelf) == {"a": []}
        with shelve.open(path) as other:
            assert dict(other) == {"a": []}


def test_writeback_and_edits(path: str) -> None:
    """What a block of `edit` had set stayed in the cache when the block failed, and was stored by the next sync(); what
    it had changed in place there was stored, but later than the rest."""
    shelf = shelve.open(path, writeback=True)
    shelf.update(x=[0], y=[0])
    shelf["y"].append(1)
    with pytest.raises(ZeroDivisionError), shelf.edit("x") as value:
        value.append(99)
        shelf["a"] = 1
        shelf["y"].append(99)
        raise ZeroDivisionError
    shelf.sync()
    with shelve.open(path) as other:
        assert dict(other) == dict(shelf) == {"x": [0], "y": [0, 1]}
        with shelf.edit("x") as value:
            assert shelf["x"] == [0]
            value.append(1)
            shelf["y"].append(2)
            shelf["b"] = 3
        assert dict(other) == dict(shelf) == {"x": [0, 1], "y": [0, 1, 2], "b": 3}
    shelf.close()


def test_writeback_and_a_key_that_its_edit_sets(path: str) -> None:
    """What was changed in place behind that was lost."""
    with shelve.open(path, writeback=True) as shelf:
        with shelf.edit("x", []) as value:
            value.append(0)
            shelf["x"] = [1]
            shelf["x"].append(2)
        with shelf.edit("y", None):
            shelf["y"] = [3]
            with shelf.edit("z", 0):
                shelf["y"].append(4)
            shelf["y"].append(5)
        assert dict(shelf) == {"x": [1, 2], "y": [3, 4, 5], "z": 0}


@pytest.mark.parametrize("writeback", [False, True])
def test_get_asks_no_subclass_for_what_isnt_there(tmp_path: Path, writeback: bool) -> None:
    """One that has a value for each key gave that, and not the default: `get` went by its `__getitem__` alone."""

    class Counts(shelve.DbfilenameShelf[int]):
        def __getitem__(self, key: str) -> int:
            try:
                return super().__getitem__(key)
            except KeyError:
                return 0

    with Counts(tmp_path / "shelf", writeback=writeback) as shelf:
        shelf["a"] = 1
        assert (shelf["b"], shelf.get("b"), shelf.get("b", 7), shelf.get("a", 7)) == (0, None, 7, 1)


@pytest.mark.parametrize("writeback", [False, True])
def test_a_subclass_that_has_other_names_for_its_own(tmp_path: Path, writeback: bool) -> None:
    """What it called `_encode` or `_load` was taken for how keys and values are stored: `in` found nothing."""

    class Squeezed(shelve.DbfilenameShelf[Any]):
        def _encode(self, value: Any) -> bytes:
            return zlib.compress(pickle.dumps(value))

        def _decode(self, data: bytes) -> Any:
            return pickle.loads(zlib.decompress(data))

        _dump, _load = _encode, _decode

        def _find(self, key: str) -> None:
            raise NotImplementedError

        _missing = _find

        def _flush(self) -> None:
            self.sync()

        def __getitem__(self, key: str) -> Any:
            return self._decode(super().__getitem__(key))

        def __setitem__(self, key: str, value: Any) -> None:
            super().__setitem__(key, self._encode(value))

    with Squeezed(tmp_path / "shelf", writeback=writeback) as shelf:
        shelf["a"] = 1
        shelf.update(b=2)
        assert (list(shelf), "a" in shelf, shelf.get("z"), shelf.pop("a")) == (["a", "b"], True, None, 1)
        assert dict(shelf) == {"b": 2}
        with pytest.raises(KeyError):
            shelf["z"]
        del shelf["b"]
        shelf._flush()


def test_a_dbfilename_shelf_over_something_else_is_told_so() -> None:
    class Other(shelve.DbfilenameShelf[Any]):
        def __init__(self) -> None:
            shelve.Shelf.__init__(self, {})

    with pytest.raises(TypeError, match=r"Other is a DbfilenameShelf.* derive it from Shelf, to keep them in a dict"):
        Other()
