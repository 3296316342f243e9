"""Tables: keys with values, in the order in which the keys were first set."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pqadapters.errors import ConditionFailed
from pqadapters.store import Clear, Delete, Expect, Put, Set, Store

from .maker import Maker
from .threads import Task


def _set(store: Store, *keys: bytes, value: bytes = b"v") -> None:
    store.commit(*(Set("t", key, value) for key in keys))


def _keys(store: Store) -> list[bytes]:
    return [key for key, _ in store.scan("t")]


def test_a_key_has_the_value_it_was_set_to(make_store: Maker) -> None:
    store = make_store()
    assert store.commit(Set("t", b"k", b"1"), Set("t", b"l", b"2")) == (0, 0)
    assert (store.get("t", b"k"), store.get("t", b"l"), store.get("t", b"m")) == (b"1", b"2", None)
    store.commit(Set("t", b"k", b"3"))
    assert store.get("t", b"k") == b"3"
    assert store.count("t") == 2
    assert store.commit(Delete("t", b"k")) == (0,)
    assert (store.get("t", b"k"), store.count("t")) == (None, 1)


def test_a_table_that_never_was_is_empty(make_store: Maker) -> None:
    store = make_store()
    assert (store.get("t", b"k"), store.count("t"), list(store.scan("t"))) == (None, 0, [])
    store.commit(Delete("t", b"k"))
    assert store.count("t") == 0


def test_empty_keys_and_values_are_keys_and_values(make_store: Maker) -> None:
    store = make_store()
    store.commit(Set("t", b"", b""), Set("t", b"k", b""))
    assert (store.get("t", b""), store.get("t", b"k"), store.get("t", b"x")) == (b"", b"", None)
    assert list(store.scan("t")) == [(b"", b""), (b"k", b"")]
    assert list(store.scan("t", after=b"")) == [(b"k", b"")]
    with pytest.raises(ConditionFailed):
        store.commit(Set("t", b"k", b"v", expect=Expect.ABSENT))
    store.commit(Set("t", b"k", b"v", expect=b""), Delete("t", b"", expect=b""))
    assert list(store.scan("t")) == [(b"k", b"v")]


def test_keys_are_bytes_and_nothing_less(make_store: Maker) -> None:
    store = make_store()
    keys = [b"1", b"\x001", b"1\x00", b"\xff\xfe", b"a" * 1000, "ä".encode(), b"A", b"a", b" a", b"\n"]
    for n, key in enumerate(keys):
        _set(store, key, value=b"%d" % n)
    assert list(store.scan("t")) == [(key, b"%d" % n) for n, key in enumerate(keys)]


def test_large_values(make_store: Maker) -> None:
    store = make_store()
    large = bytes(range(256)) * 4096
    store.commit(Set("t", b"k", large), Set("t", b"l", b"small"))
    assert store.get("t", b"k") == large
    store.commit(Set("t", b"k", large[::-1], expect=large))
    assert list(store.scan("t")) == [(b"k", large[::-1]), (b"l", b"small")]


def test_a_scan_is_in_the_order_of_the_first_setting(make_store: Maker) -> None:
    store = make_store()
    _set(store, b"c", b"a")
    _set(store, b"d")
    _set(store, b"b")
    assert _keys(store) == [b"c", b"a", b"d", b"b"]
    assert [key for key, _ in store.scan("t", reverse=True)] == [b"b", b"d", b"a", b"c"]


def test_an_existing_key_keeps_its_place(make_store: Maker) -> None:
    store = make_store()
    _set(store, b"c", b"a", b"b")
    _set(store, b"c", value=b"new")
    store.commit(Set("t", b"a", b"newer", expect=b"v"))
    assert list(store.scan("t")) == [(b"c", b"new"), (b"a", b"newer"), (b"b", b"v")]


def test_a_key_set_after_its_deletion_goes_to_the_end(make_store: Maker) -> None:
    store = make_store()
    _set(store, b"a", b"b", b"c")
    store.commit(Delete("t", b"a"))
    _set(store, b"a")
    assert _keys(store) == [b"b", b"c", b"a"]
    store.commit(Delete("t", b"b"), Set("t", b"b", b"v"))
    assert _keys(store) == [b"c", b"a", b"b"]


def test_a_scan_from_the_one_behind(make_store: Maker) -> None:
    store = make_store()
    _set(store, b"c", b"a", b"d", b"b")
    assert [key for key, _ in store.scan("t", after=b"a")] == [b"d", b"b"]
    assert [key for key, _ in store.scan("t", after=b"b")] == []
    assert [key for key, _ in store.scan("t", after=b"a", reverse=True)] == [b"c"]
    assert [key for key, _ in store.scan("t", after=b"b", reverse=True)] == [b"d", b"a", b"c"]


def test_a_table_is_scanned_page_by_page(make_store: Maker) -> None:
    store = make_store()
    keys = [b"%03d" % (n * 37 % 100) for n in range(100)]
    _set(store, *keys)
    for reverse in (False, True):
        found: list[bytes] = []
        while page := [key for key, _ in store.scan("t", after=found[-1] if found else None, reverse=reverse)][:7]:
            found += page
        assert found == (keys[::-1] if reverse else keys)


def test_a_scan_while_the_table_changes(make_store: Maker) -> None:
    store = make_store()
    keys = [b"%d" % n for n in range(60)]
    for reverse in (False, True):
        _set(store, *keys)
        seen = []
        for n, (key, _) in enumerate(store.scan("t", reverse=reverse)):
            seen.append(key)
            store.commit(Delete("t", keys[(n * 6) % 60]), Set("t", b"new %d" % n, b"v"), Set("t", key, b"again"))
            _set(store, keys[(n * 6) % 60])  # deleted and set again: it has a new place
            if n > 500:  # an iterator that follows the new ones for ever
                break
        assert len(seen) == len(set(seen)), "a key was seen twice"
        assert set(seen) >= {key for n, key in enumerate(keys) if n % 6}, "a key that stayed was not seen"
        store.commit(*(Delete("t", key) for key, _ in store.scan("t")))


def test_i9_what_a_set_expects(make_store: Maker) -> None:
    store = make_store()
    outcomes: dict[Expect | bytes, tuple[bool, bool]] = {
        # expect:      (key absent, key is b"v")
        Expect.ANY: (True, True),
        Expect.ABSENT: (True, False),
        Expect.PRESENT: (False, True),
        b"v": (False, True),
        b"w": (False, False),
        b"": (False, False),
    }
    for expect, expected in outcomes.items():
        for before, goes in zip((None, b"v"), expected, strict=True):
            for op, after in ((Set("t", b"k", b"new", expect), b"new"), (Delete("t", b"k", expect), None)):
                store.commit(Delete("t", b"k") if before is None else Set("t", b"k", before))
                try:
                    store.commit(op)
                except ConditionFailed:
                    assert not goes, f"{op} was refused on {before!r}"
                    after = before
                else:
                    assert goes, f"{op} went ahead on {before!r}"
                assert store.get("t", b"k") == after


def test_a_failed_condition_names_the_table(make_store: Maker) -> None:
    with pytest.raises(ConditionFailed, match="results"):
        make_store().commit(Set("results", b"k", b"v", expect=Expect.PRESENT))


def test_tables_and_queues_of_one_name_are_apart(make_store: Maker) -> None:
    store = make_store()
    store.commit(Set("x", b"k", b"v"), Put("x", b"record"), Set("y", b"k", b"w"))
    assert (store.get("x", b"k"), store.get("y", b"k")) == (b"v", b"w")
    assert (store.count("x"), store.depth("x").ready, store.depth("y").ready) == (1, 1, 0)
    store.commit(Delete("x", b"k"))
    assert (store.count("x"), store.depth("x").ready, store.count("y")) == (0, 1, 1)


def test_a_cleared_table_is_empty_and_goes_on(make_store: Maker) -> None:
    store = make_store()
    assert store.commit(Clear("t")) == (0,)
    _set(store, b"a", b"b")
    store.commit(Set("u", b"a", b"other"), Clear("t"))
    assert (store.get("t", b"a"), store.count("t"), _keys(store)) == (None, 0, [])
    assert (store.get("u", b"a"), store.count("u")) == (b"other", 1)
    store.commit(Set("t", b"x", b"1"), Clear("t"), Set("t", b"b", b"2"), Set("t", b"a", b"3", Expect.ABSENT))
    assert list(store.scan("t")) == [(b"b", b"2"), (b"a", b"3")]
    assert store.count("t") == 2


def test_i2_a_refused_commit_clears_nothing(make_store: Maker) -> None:
    store = make_store()
    _set(store, b"a", b"b")
    with pytest.raises(ConditionFailed):
        store.commit(Clear("t"), Set("t", b"a", b"v", Expect.PRESENT))
    assert (_keys(store), store.count("t")) == ([b"a", b"b"], 2)


def test_keys_are_those_of_a_scan(make_store: Maker) -> None:
    store = make_store()
    assert list(store.keys("t")) == []
    _set(store, b"c", b"a", b"d", b"", b"b")
    choices: list[dict[str, Any]] = [{}, {"after": b"a"}, {"after": b"b"}]
    for options in [*choices, *({**choice, "reverse": True} for choice in choices)]:
        found = list(store.keys("t", **options))
        assert found == [key for key, _ in store.scan("t", **options)]
    assert list(store.keys("t", after=b"c")) == [b"a", b"d", b"", b"b"]


def test_a_snapshot_has_the_keys_that_are_there(make_store: Maker) -> None:
    store = make_store()
    assert (store.snapshot("t"), store.snapshot("t", [b"a"])) == ({}, {})
    store.commit(Set("t", b"b", b"1"), Set("t", b"a", b""), Set("t", b"c", b"3"))
    assert list(store.snapshot("t").items()) == [(b"b", b"1"), (b"a", b""), (b"c", b"3")]
    assert store.snapshot("t", [b"c", b"x", b"a", b"c"]) == {b"c": b"3", b"a": b""}
    assert store.snapshot("t", []) == {}


def test_a_snapshot_is_of_one_moment(make_store: Maker) -> None:
    store, other = make_store(), make_store()
    keys = [b"%d" % n for n in range(40)]
    store.commit(*(Set("t", key, b"0") for key in keys))

    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            other.commit(*(Set("t", key, b"%d" % number) for key in keys))

    changes = Task(change, patience=make_store.patience)
    try:
        for _ in range(100):
            assert len(set(store.snapshot("t", keys).values())) == 1
            assert len(set(store.snapshot("t").values())) == 1
    finally:
        stop.set()
        changes.result()


def test_a_long_scan_sees_no_key_twice(make_store: Maker) -> None:
    store = make_store()
    keys = [b"%d" % n for n in range(2500)]
    store.commit(*(Set("t", key, b"v") for key in keys))
    seen = []
    for n, (key, _) in enumerate(store.scan("t")):
        seen.append(key)
        if n % 500 == 100:  # what was seen goes to the end, and so do the last ones
            store.commit(*(op for each in (*keys[:50], *keys[-3:]) for op in (Delete("t", each), Set("t", each, b"w"))))
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(keys[50:-3])
    assert store.count("t") == 2500


def test_places_are_not_used_again(make_store: Maker) -> None:
    """The last key goes, an older one is set anew: who scans has seen that one."""
    store = make_store()
    keys = [b"%d" % n for n in range(1500)]
    store.commit(*(Set("t", key, b"v") for key in keys))
    scan = store.scan("t")
    seen = [next(scan)[0] for _ in range(10)]
    store.commit(Delete("t", keys[-1]), Delete("t", keys[0]), Set("t", keys[0], b"v"))
    seen += [key for key, _ in scan]
    assert len(seen) == len(set(seen))
    assert _keys(store) == [*keys[1:-1], keys[0]]


def test_many_keys(make_store: Maker) -> None:
    store = make_store()
    keys = [b"%d" % n for n in range(500)]
    for key in keys:
        store.commit(Set("t", key, key * 10))
    store.commit(*(Delete("t", key) for key in keys[::2]))
    for key in keys[1::4]:
        store.commit(Set("t", key, b"new"))
    assert _keys(store) == keys[1::2]
    assert store.count("t") == 250
    assert [store.get("t", key) for key in keys[:4]] == [None, b"new", None, b"3" * 10]
