"""What a dict does, on every store."""

from __future__ import annotations

import copy
import json
import pickle
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.errors import NotSerializable, StoreClosed, StoreError
from pqadapters.stdlib import PDict as FromStdlib

from .conftest import Maker

Dict = PDict[Any, Any]


def test_it_is_a_mutable_mapping_and_no_dict(d: Dict) -> None:
    assert isinstance(d, MutableMapping)
    assert not isinstance(d, dict)
    assert FromStdlib is PDict


class Large:
    def __reduce__(self) -> Any:
        raise MemoryError


def test_what_there_is_no_memory_for_is_no_fault_of_the_value(d: Dict) -> None:
    """It was told to be what can't be serialised."""
    d["a"] = [1]
    with pytest.raises(MemoryError):
        d["a"] = Large()
    with pytest.raises(MemoryError):
        d[Large()] = 1
    with pytest.raises(MemoryError):
        assert Large() not in d
    with pytest.raises(MemoryError), d.edit("a") as value:
        value.append(Large())
    assert d.copy() == {"a": [1]}


def test_what_was_set_is_there(d: Dict) -> None:
    d["a"] = {"x": [1, 2]}
    assert d["a"] == {"x": [1, 2]}
    assert d.get("a") == {"x": [1, 2]}
    assert (d.get("b"), d.get("b", 7)) == (None, 7)
    assert "a" in d
    assert "b" not in d
    d["a"] = None
    assert d["a"] is None
    assert "a" in d
    assert len(d) == 1


def test_one_and_the_text_1_are_two_keys(d: Dict) -> None:
    d[1], d["1"], d[b"1"], d[(1,)], d[None] = "int", "str", "bytes", "tuple", "none"
    assert [d[1], d["1"], d[b"1"], d[(1,)], d[None]] == ["int", "str", "bytes", "tuple", "none"]
    assert d[True] == d[1.0] == "int"
    assert list(d) == [1, "1", b"1", (1,), None]


def test_a_missing_key_is_a_key_error_everywhere(d: Dict) -> None:
    for call in (lambda: d["x"], lambda: d.pop("x"), lambda: d.__delitem__("x"), d.popitem, lambda: d.expires_in("x")):
        with pytest.raises(KeyError):
            call()
    with pytest.raises(KeyError), d.edit("x"):
        pass
    with pytest.raises(KeyError):
        d.touch("x", expire=1)
    assert d.pop("x", 5) == 5
    assert d.pop("x", None) is None


def test_an_unhashable_key_is_a_type_error_everywhere(d: Dict) -> None:
    for call in (lambda: d[[]], lambda: d.get([]), lambda: [] in d, lambda: d.pop([], 1), lambda: d.setdefault([], 1)):
        with pytest.raises(TypeError, match="unhashable"):
            call()
    with pytest.raises(TypeError, match="unhashable"):
        d[{}] = 1
    assert len(d) == 0


def test_a_key_that_cannot_be_stored_is_not_there(d: Dict) -> None:
    key = object()
    assert key not in d
    assert d.get(key, 3) == 3
    assert d.pop(key, 4) == 4
    with pytest.raises(KeyError):
        d[key]
    with pytest.raises(KeyError):
        del d[key]
    with pytest.raises(NotSerializable, match="Nothing was stored"):
        d[key] = 1


class _Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _Unwilling:
    def __reduce__(self) -> Any:
        raise _Wordless


@pytest.mark.parametrize("pair", [("a", _Unwilling()), (_Unwilling(), 1)], ids=["value", "key"])
def test_why_one_cannot_be_stored_may_be_beyond_words(d: Dict, pair: tuple[Any, Any]) -> None:
    """The RuntimeError was raised."""
    with pytest.raises(NotSerializable, match="_Wordless, whose text can't be had"):
        d[pair[0]] = pair[1]
    assert d == {}


def test_a_value_that_cannot_be_stored_leaves_all_as_it_was(d: Dict) -> None:
    d["a"] = 1
    for change in (
        lambda: d.__setitem__("a", lambda: 0),
        lambda: d.update({"a": 2, "b": lambda: 0}),
        lambda: d.setdefault("c", lambda: 0),
        lambda: d.set_many([("a", 2), ("b", lambda: 0)]),
    ):
        with pytest.raises(NotSerializable, match="Nothing was"):
            change()
    with pytest.raises(NotSerializable), d.edit("a") as value:
        d["a"] = lambda: value
    assert d == {"a": 1}


def test_values_are_copies(d: Dict) -> None:
    value = [1]
    d["a"] = value
    value.append(2)
    d["a"].append(3)
    assert d["a"] == [1]


def test_the_order_is_that_of_the_first_setting(d: Dict) -> None:
    d.update([("c", 1), ("a", 2), ("b", 3)])
    d["a"] = 4
    assert list(d) == list(d.keys()) == ["c", "a", "b"]
    assert list(d.items()) == [("c", 1), ("a", 4), ("b", 3)]
    assert list(d.values()) == [1, 4, 3]
    assert list(reversed(d)) == list(reversed(d.keys())) == ["b", "a", "c"]
    assert list(reversed(d.items())) == [("b", 3), ("a", 4), ("c", 1)]
    assert list(reversed(d.values())) == [3, 4, 1]
    del d["c"]
    d["c"] = 5
    assert list(d) == ["a", "b", "c"]
    assert d.popitem() == ("c", 5)
    assert d.popitem() == ("b", 3)


class Grown:
    """As of a program whose next version gives what is loaded one attribute more."""

    left = 10

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grown) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Grown.left -= 1
        assert Grown.left
        self.__dict__.update(state, region="eu")


def test_popitem_takes_a_key_that_is_pickled_otherwise_by_now(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked for what it had found by another pickle, again and again for ever."""
    monkeypatch.setattr(Grown, "left", 10)
    d["a"], d[Grown("x")] = 1, 2
    assert d.popitem() == (Grown("x"), 2)
    assert d.copy() == {"a": 1}


def test_iteration_while_it_changes_is_defined(d: Dict) -> None:
    d.update({n: n for n in range(50)})
    seen = []
    for key in d:
        seen.append(key)
        d.pop(key + 1 if key % 2 == 0 else -1, None)
        d[f"new {key}"] = 1
        d[key] = "again"
    assert [key for key in seen if isinstance(key, int) and key % 2 == 0] == list(range(0, 50, 2))
    assert len(seen) == len(set(seen))
    for key, _ in d.items():
        del d[key]
    assert not d


def test_views(d: Dict) -> None:
    d.update(a=1, b=[2])
    keys, values, items = d.keys(), d.values(), d.items()
    assert "a" in keys
    assert 1 in values
    assert [2] in values
    assert 3 not in values
    assert ("b", [2]) in items
    assert ("b", 2) not in items
    assert keys & {"a", "z"} == {"a"}
    assert keys | {"z"} == {"a", "b", "z"}
    d["c"] = 3
    assert (len(keys), len(values), len(items)) == (3, 3, 3)
    assert (repr(keys), repr(values)) == ("Keys(['a', 'b', 'c'])", "Values([1, [2], 3])")
    assert repr(items) == "Items([('a', 1), ('b', [2]), ('c', 3)])"
    assert [each in items for each in (5, ("a",), ("a", 2), ("a", 1))] == [False, False, False, True]
    for view in (keys, values, items):
        assert (view.mapping["b"], len(view.mapping)) == ([2], 3)
        with pytest.raises(TypeError):
            view.mapping["a"] = 2


def test_pop_and_setdefault(d: Dict) -> None:
    assert d.setdefault("a", [1]) == [1]
    assert d.setdefault("a", [2]) == [1]
    assert d.setdefault("n") is None
    assert d.pop("a") == [1]
    assert "a" not in d
    assert d == {"n": None}


@pytest.mark.parametrize("expire", [None, 1000.0])
def test_a_default_is_serialised_only_where_it_is_stored(make: Maker, expire: float | None) -> None:
    """`setdefault` of a key that was there raised for a default that can't be serialised."""
    d = make(expire=expire)
    d["a"] = 1
    assert d.setdefault("a", lambda: 2) == 1
    with pytest.raises(NotSerializable):
        d.setdefault("b", lambda: 2)
    assert d == {"a": 1}


def test_update_takes_what_dict_update_takes(d: Dict, make: Maker) -> None:
    class Keyed:
        def keys(self) -> list[str]:
            return ["k"]

        def __getitem__(self, key: str) -> str:
            return key * 2

    d.update({"a": 1}, b=2)
    d.update([("c", 3), ["d", 4]])
    d.update(Keyed())
    d.update(make(name="other"))
    d.update(self=5, other=6)
    d.update()
    assert d == {"a": 1, "b": 2, "c": 3, "d": 4, "k": "kk", "self": 5, "other": 6}
    with pytest.raises(TypeError):
        d.update(5)
    with pytest.raises(ValueError, match="unpack"):
        d.update([("a",)])


def test_the_operators(d: Dict, make: Maker) -> None:
    d.update(a=1, b=2)
    other = make(name="other")
    other.update(b=3, c=4)
    assert d | other == {"a": 1, "b": 3, "c": 4}
    assert other | {"x": 0} == {"b": 3, "c": 4, "x": 0}
    assert {"x": 0, "a": 0} | d == {"x": 0, "a": 1, "b": 2}
    assert type(d | other) is dict
    same = d
    d |= other
    assert d is same
    d |= [("z", 9)]
    assert d == {"a": 1, "b": 3, "c": 4, "z": 9}
    with pytest.raises(TypeError):
        d | 5  # type: ignore[operator]


def test_equality(d: Dict, make: Maker) -> None:
    d.update(a=1, b=2)
    assert d == {"b": 2, "a": 1}
    assert d == make()
    assert d == OrderedDict(a=1, b=2)
    assert d != {"a": 1}
    assert d != make(name="other")
    assert d != [("a", 1), ("b", 2)]
    with pytest.raises(TypeError):
        hash(d)


def test_copies_in_memory(d: Dict) -> None:
    d.update({1: [1], "b": 2})
    assert dict(d) == {**d} == {1: [1], "b": 2}
    assert type(d.copy()) is dict
    assert json.loads(json.dumps(d.copy())) == {"1": [1], "b": 2}
    with pytest.raises(TypeError):
        json.dumps(d)


def test_many_at_once(d: Dict) -> None:
    d.set_many({n: str(n) for n in range(100)})
    assert d.get_many([3, 5, "x", 99]) == {3: "3", 5: "5", 99: "99"}
    assert d.get_many([]) == {}
    d.set_many((key, None) for key in "ab")
    assert len(d) == 102


def test_clear(d: Dict) -> None:
    d.update(a=1, b=2)
    d.clear()
    assert (len(d), list(d), bool(d)) == (0, [], False)
    d["b"] = 1
    assert list(d.items()) == [("b", 1)]


def test_fromkeys(place: dict[str, Any]) -> None:
    with PDict.fromkeys("ab", 0, name="d", **place) as d:
        assert d == {"a": 0, "b": 0}


def test_its_repr_is_a_dicts_and_not_endless(d: Dict) -> None:
    assert repr(d) == "{}"
    d.update({1: "a", "b": [2]})
    assert repr(d) == "{1: 'a', 'b': [2]}"
    d.clear()
    d.update((n, 0) for n in range(1000))
    assert repr(d).endswith("99: 0, ... 900 more}")
    d.close()  # raised StoreClosed, in whatever log line or traceback showed it
    assert repr(d) == f"<PDict {d.name!r}, closed>"


def test_the_repr_of_its_views_is_not_endless(d: Dict) -> None:
    d.update((n, 0) for n in range(1000))
    keys, values, items = d.keys(), d.values(), d.items()
    assert repr(keys).endswith("98, 99, ... 900 more])")
    assert repr(values).endswith("0, 0, ... 900 more])")
    assert repr(items).endswith("(99, 0), ... 900 more])")
    d.close()  # raised StoreClosed, in whatever log line or traceback showed it
    assert list(map(repr, (keys, values, items))) == [f"<{kind} of {d!r}>" for kind in ("Keys", "Values", "Items")]


def test_another_handle_sees_it_at_once(make: Maker) -> None:
    one, two, other = make(), make(), make(name="other")
    one["a"] = 1
    assert two["a"] == 1
    del two["a"]
    assert "a" not in one
    assert len(other) == 0
    other["a"] = 2
    assert len(one) == 0


def test_a_closed_one_says_so(make: Maker) -> None:
    d = make()
    d["a"] = 1
    with d:
        pass
    d.close()
    for call in (lambda: d["a"], lambda: len(d), lambda: list(d), d.clear, lambda: d.update(a=1), lambda: "a" in d):
        with pytest.raises(StoreClosed, match="closed"):
            call()
    with pytest.raises(ValueError, match="closed"):
        d["a"] = 2


def test_a_store_that_was_given_is_not_closed(place: dict[str, Any]) -> None:
    d: Dict = PDict(name="d", **place)
    with d:
        e: Dict = PDict(store=d.store, name="e")
        with e:
            e["x"] = 1
        d["a"] = 1
        e = PDict(store=d.store, name="e")
        assert e["x"] == 1


def test_it_goes_to_other_processes_by_its_place(make: Maker, place: dict[str, Any]) -> None:
    d = make()
    d["a"] = 1
    if not isinstance(place["store"], str):
        with pytest.raises(TypeError, match="URL"):
            pickle.dumps(d)
        return
    for other in (pickle.loads(pickle.dumps(d)), copy.copy(d)):
        with other:
            assert other == {"a": 1}
            other["a"] = 1


def test_it_goes_to_other_processes_with_all_that_it_was_given(tmp_path: Any) -> None:
    with PDict[str, Any](tmp_path / "signed.db", signing_key="k" * 32) as signed:
        signed["a"] = (1,)
        with copy.copy(signed) as other:
            assert other["a"] == (1,)
            other["b"] = 2
        assert signed["b"] == 2
    options = {"serializer": "json", "expire": 100.0, "durability": "process", "trust_directory": True}
    with PDict[str, Any](tmp_path / "plain.db", "d", **options) as d:  # type: ignore[arg-type]
        d["a"] = [1]
        with pickle.loads(pickle.dumps(d)) as other:
            assert other["a"] == [1]
            other["b"] = 2
            assert (d["b"], other.expires_in("b") is not None) == (2, True)
            assert other._again == d._again
            assert copy.copy(other)._again == d._again


@pytest.mark.parametrize("where", [{"path": "memory:"}, {"store": "memory:"}, {"name": "d"}])
def test_one_in_memory_is_in_no_other_process(where: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy was another mapping, and empty."""
    monkeypatch.setenv("PQADAPTERS_URL", "memory:")
    d = PDict[str, int](**where)
    for copied in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="memory"):
            copied(d)


@pytest.mark.parametrize("name", ["pickle", "json", "msgpack", "cbor2"])
def test_serializers(make: Maker, name: str) -> None:
    d = make(serializer=name)
    d.update({"a": {"x": ["1", 2, None]}, 5: True})
    assert list(d["a"]["x"]) == ["1", 2, None]
    assert d[5] is True
    assert list(d) == ["a", 5]
    others = {"pickle": "json", "json": "msgpack", "msgpack": "cbor2", "cbor2": "pickle"}
    with pytest.raises(StoreError, match=f"by the serializer {name}"):
        make(serializer=others[name])["a"]
    assert list(d["a"]["x"]) == ["1", 2, None]


def test_a_serializer_of_the_users_own(make: Maker) -> None:
    class Shout:
        @staticmethod
        def dumps(value: object, sort_keys: bool = False) -> bytes:
            return str(value).upper().encode()

        @staticmethod
        def loads(data: bytes) -> object:
            return data.decode()

        dump = load = None

    Shout.dump = Shout.load = print  # type: ignore[assignment]
    d = make(serializer=Shout)
    d["a"] = "hello"
    assert d["a"] == "HELLO"


def test_a_value_that_cannot_be_read_stays(make: Maker) -> None:
    d = make()
    d["a"] = 1
    d.store.commit(*_raw(d, b"sbad", b"pnot a pickle"))
    for call in (lambda: d["bad"], lambda: d.pop("bad"), d.popitem, d.copy):
        with pytest.raises(pickle.UnpicklingError):
            call()
    assert "bad" in d
    assert d["a"] == 1
    del d["bad"]
    assert d == {"a": 1}


def _raw(d: Dict, key: bytes, value: bytes) -> list[Any]:
    from pqadapters.store import Set

    return [Set("dict/d", key, value)]


@pytest.mark.parametrize("data", [b"", b"?", b"P", b"\x80\x05N.", b"\x80 of a program that knows nothing of mappings"])
def test_a_value_that_something_else_has_written_is_none(make: Maker, data: bytes) -> None:
    """It isn't taken for one whose time is over, either."""
    d = make()
    d["a"] = 1
    d.store.commit(*_raw(d, b"sa", data))
    for look in (lambda: d["a"], lambda: d.get("a"), lambda: d.pop("a"), d.popitem, d.copy, lambda: list(d.items())):
        with pytest.raises(StoreError, match="isn't one that a mapping has stored"):
            look()
    assert ("a" in d, d.expires_in("a")) == (True, None)
    d["a"] = 2
    assert d.pop("a") == 2
    d.store.commit(*_raw(d, b"sa", data))
    del d["a"]
    assert len(d) == 0


def test_large_values(d: Dict) -> None:
    large = bytes(range(256)) * 20_000
    d["large"], d["small"] = large, 1
    assert d["large"] == large
    assert list(d.values()) == [large, 1]
    d["large"] = large[::-1]
    assert d.pop("large") == large[::-1]
    assert len(d) == 1


def test_names_are_apart_from_what_a_mapping_keeps_beside_its_keys(make: Maker) -> None:
    for other in ("d.edit", "d.expiry", "edit/dict/d", "expiry"):
        d, beside = make(), make(name=other)
        with d.edit("k", 0):
            pass
        d.set("t", 1, expire=1000)
        assert len(beside) == 0
        beside["k"] = "theirs"
        beside.clear()
        with d.edit("k", timeout=10):
            pass
        assert (d["k"], d["t"]) == (0, 1)


def test_an_iterator_ends_with_its_mapping(tmp_path: Any) -> None:
    d: Dict = PDict(tmp_path / "d.db")
    d.update((n, n) for n in range(3000))
    keys, items = iter(d), iter(d.items())
    next(keys)
    next(items)
    d.close()
    for each in (keys, items):
        with pytest.raises(StoreClosed):
            list(each)


def test_a_relative_place_stays_that_place(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for place in ("rel.db", "sqlite:///url.db"):
        monkeypatch.chdir(tmp_path / "one")
        d: Dict = PDict(place)
        d["a"] = 1
        monkeypatch.chdir(tmp_path / "two")
        with pickle.loads(pickle.dumps(d)) as other:
            assert other == {"a": 1}
        d.close()
    assert list((tmp_path / "two").iterdir()) == []


def test_sync_is_the_stores(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = list[None]()
    monkeypatch.setattr(d.store, "checkpoint", lambda: synced.append(None))
    d.sync()
    assert synced == [None]


def test_a_dropped_mapping_lets_go_of_its_store(tmp_path: Any) -> None:
    import gc

    url = f"file://{tmp_path}/seg"
    gc.disable()
    try:
        d: Dict = PDict(store=url)
        with d.batch():
            d["a"] = [1]
        with d.edit("a") as value:
            value.append(2)
        del d
        from tests.segment.programs import run

        code = "import sys; from pqadapters import PDict; print(PDict(store=sys.argv[1])['a'])"
        assert run(code, url) == "[1, 2]"
    finally:
        gc.enable()
