"""Keys whose time runs out. The wall clock of the store and of the mapping is moved by hand."""

from __future__ import annotations

import errno
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.clock import Clock
from pqadapters.errors import ConditionFailed, DiskError
from pqadapters.stdlib._mappings import expiry
from pqadapters.store import Op
from tests.contract.interrupting import interrupted

from .conftest import Maker

Dict = PDict[Any, Any]
START = 1_800_000_000.0
QUEUE = "expiry/dict/d"


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = START

    def move(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: now))
    return move


Advance = Callable[[float], None]


def test_a_key_is_gone_when_its_time_is_over(advance: Advance, d: Dict) -> None:
    d.set("a", 1, expire=10)
    d.set("b", 2)
    assert (d["a"], d.expires_in("a"), d.expires_in("b")) == (1, 10.0, None)
    advance(9)
    assert (d.get("a"), len(d), d.expires_in("a")) == (1, 2, 1.0)
    advance(1)
    assert ("a" in d, d.get("a"), len(d), list(d), d.copy(), d.get_many(["a", "b"])) == (
        False,
        None,
        1,
        ["b"],
        {"b": 2},
        {"b": 2},
    )
    for call in (lambda: d["a"], lambda: d.pop("a"), lambda: d.__delitem__("a"), lambda: d.touch("a", expire=5)):
        with pytest.raises(KeyError):
            call()
    assert d.setdefault("a", 3) == 3
    assert d.expires_in("a") is None


def test_what_is_over_is_deleted_and_leaves_nothing(advance: Advance, d: Dict) -> None:
    for n in range(300):
        d.set(n, n, expire=n % 3)
    advance(5)
    assert len(d) == 0
    assert d.store.count("dict/d") == 0
    assert d.store.depth(QUEUE).unfinished == 0


def test_a_time_that_is_put_off_costs_one_record(advance: Advance, d: Dict) -> None:
    for _ in range(20):
        d.set("a", 1, expire=100)
        advance(10)
        d.touch("a", expire=200)
        advance(10)
    assert len(d) == 1
    assert d.store.depth(QUEUE).unfinished == 1
    assert d.expires_in("a") == 190.0
    advance(200)
    assert len(d) == 0


def test_an_earlier_time_counts_at_once(advance: Advance, d: Dict) -> None:
    d.set("a", 1, expire=100)
    d.set("a", 2, expire=1)
    advance(2)
    assert len(d) == 0
    advance(200)
    assert len(d) == 0
    assert d.store.depth(QUEUE).unfinished == 0


def test_a_key_that_is_set_again_stays(advance: Advance, d: Dict) -> None:
    d.set("a", 1, expire=1)
    d["a"] = 2
    d.set("b", 1, expire=1)
    d.touch("b", expire=None)
    advance(5)
    assert d == {"a": 2, "b": 1}
    assert len(d) == 2
    assert d.store.depth(QUEUE).unfinished == 0


def test_a_mapping_whose_keys_all_have_a_time(advance: Advance, make: Maker) -> None:
    d = make(expire=10)
    d["a"] = 1
    d.update(b=2)
    assert d.setdefault("c", 3) == 3
    assert d.setdefault("c", 4) == 3
    with d.batch():
        d["d"] = 4
    with d.edit("e", []) as value:
        value.append(5)
    d.set("f", 6, expire=100)
    advance(5)
    with d.edit("e") as value:
        value.append(6)
    assert d.expires_in("e") == 5.0
    assert d == {"a": 1, "b": 2, "c": 3, "d": 4, "e": [5, 6], "f": 6}
    advance(5)
    assert d == {"f": 6}
    assert len(d) == 1


def test_popitem_passes_over_what_is_over(advance: Advance, d: Dict) -> None:
    d["a"] = 1
    d.set("b", 2, expire=1)
    advance(2)
    assert d.popitem() == ("a", 1)
    with pytest.raises(KeyError):
        d.popitem()


def test_what_is_over_isnt_seen_before_it_is_deleted(advance: Advance, d: Dict, make: Maker) -> None:
    """As while it is being edited."""
    other = make()
    other["z"] = 1
    other.set("a", 2, expire=5)
    with d.edit("a"):
        advance(5)
        assert (other.get_many("az"), other.copy(), [*other.items()], [*other.values()]) == (
            {"z": 1},
            {"z": 1},
            [("z", 1)],
            [1],
        )
        with pytest.raises(KeyError, match="'a'"):
            other.touch("a", expire=5)
        assert other.setdefault("a", 3) == 3
    other.set("a", 2, expire=5)
    with d.edit("a"):
        advance(5)
        assert other.popitem() == ("z", 1)
        with pytest.raises(KeyError):
            other.popitem()


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), ("5", TypeError), (True, TypeError), (float("nan"), ValueError)]
)
def test_what_is_no_time(d: Dict, place: dict[str, Any], value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="expire"):
        d.set("a", 1, expire=value)
    with pytest.raises(error, match="expire"):
        PDict(name="d", expire=value, **place)
    assert len(d) == 0


def test_deleting_and_setting_again_leaves_one_record(advance: Advance, d: Dict) -> None:
    for n in range(30):
        d.set("a", n, expire=1000 + n)
        if n % 3 == 0:
            del d["a"]
        elif n % 3 == 1:
            d["a"] = "for ever"
    d.set("b", 1, expire=5)
    d.clear()
    d.set("b", 1, expire=10)
    assert d.store.depth(QUEUE).unfinished == 2
    advance(2000)
    assert len(d) == 0
    assert d.store.depth(QUEUE).unfinished == 0
    assert d.store.count("expiry/dict/d") == 0


def test_updates_leave_one_record_for_a_key(advance: Advance, make: Maker) -> None:
    d = make(expire=1000)
    for n in range(30):
        d.update(a=n, b=n)
        d["a"] = n
        advance(1)
    assert d.store.depth(QUEUE).unfinished == 2


def test_edits_and_batches_leave_one_record_for_a_key(advance: Advance, make: Maker) -> None:
    """Each of them put one more, which stayed until the key's time: a day of sessions was millions."""
    d = make(expire=1000)
    for n in range(20):
        with d.edit("a", []) as value:
            value.append(n)
        with d.batch():
            d["a"] = [n]
            d.set("b", n, expire=2000 + n)
        with d.batch():
            d.touch("a", expire=1500)
            d["c"], d["e"] = n, n
            del d["c"]
            d.update(c=n, e=n)
            with pytest.raises(ZeroDivisionError), d.batch():
                d.set("f", n / 0, expire=1)
        advance(1)
    assert d.store.depth(QUEUE).unfinished == 4
    assert [d.expires_in(key) for key in "abce"] == [1499, 2018, 999, 999]
    advance(3000)
    assert len(d) == 0
    assert d.store.depth(QUEUE).unfinished == 0
    assert d.store.count("expiry/dict/d") == 0


def test_a_batch_has_a_record_though_the_one_that_was_there_comes_to_its_time(
    advance: Advance, make: Maker, d: Dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: Dict = make()
    swept: list[None] = []
    snapshot = type(d.store).snapshot

    def and_sweep(store: Any, *args: Any) -> Any:
        found = snapshot(store, *args)
        if not swept:
            swept.append(advance(6))
            assert len(other) == 0
        return found

    d.set("a", 1, expire=5)
    with d.batch():
        d.set("a", 2, expire=100)
        monkeypatch.setattr(type(d.store), "snapshot", and_sweep)
    assert swept
    assert (d["a"], d.expires_in("a"), d.store.depth(QUEUE).delayed) == (2, 94, 1)
    advance(94)
    assert (len(d), d.store.depth(QUEUE).unfinished) == (0, 0)


def test_a_key_whose_time_is_over_by_the_clock_of_the_store_alone_goes_later(
    advance: Advance, d: Dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's clock may be a little ahead of ours: who looked in between took it for one whose time was put off, and
    `len` counted it for ever."""

    class Behind(Clock):
        monotonic = Clock.monotonic

        def wall(self) -> float:
            return Clock.wall() - 0.3

    monkeypatch.setattr(expiry, "SYSTEM", Behind())
    d.set("a", 1, expire=10)
    advance(10)
    assert (len(d), list(d)) == (1, ["a"])
    advance(2)
    assert (len(d), list(d)) == (0, [])
    assert d.store.count("dict/d") == d.store.depth(QUEUE).unfinished == 0


def test_an_edit_is_not_disturbed_by_time(advance: Advance, d: Dict, make: Maker) -> None:
    other = make()
    d.set("a", [1], expire=5)
    d.touch("a", expire=1000)
    with d.edit("a") as value:
        value.append(2)
        advance(10)
        assert len(other) == 1  # its record came to its time, and is put off
    assert d["a"] == [1, 2]
    with d.edit("a") as value:
        value.append(3)
        advance(2000)
        assert len(other) == 1  # it is over, and left alone while it is edited
    assert d.get("a") is None
    advance(2)
    assert len(d) == 0


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("expire", [50, None])
def test_an_edit_that_puts_off_the_time_keeps_what_it_changes(
    advance: Advance, d: Dict, expire: float | None, changes: bool
) -> None:
    """`touch` counted as a set, in whose favour the value that the block had changed was dropped."""
    d.set("a", [1], expire=5)
    with d.edit("a") as value:
        if changes:
            value.append(2)
        d.touch("a", expire=20)
        d.touch("a", expire=expire)
    assert (d["a"], d.expires_in("a")) == ([1, 2] if changes else [1], expire)
    advance(49)
    assert d["a"] == ([1, 2] if changes else [1])
    with d.edit("a") as value:
        value.append(3)
        d["a"] = [4]
        d.touch("a", expire=60)
    assert (d["a"], d.expires_in("a")) == ([4], 60)


def test_what_a_sweep_that_was_broken_off_has_left_the_next_one_deletes(
    advance: Advance, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed claimed by the handle: whoever looked found keys that weren't there, as long as that lived."""
    d, other = make(), make()
    monkeypatch.setattr(expiry, "_BYTES", 1)  # a commit for each
    for n in range(5):
        d.set(n, n, expire=n)
    advance(5)
    commit, left = d.store.commit, 3

    def full(*ops: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise DiskError(errno.ENOSPC, "No space left on device")
        return commit(*ops, **options)

    with monkeypatch.context() as patch:
        patch.setattr(d.store, "commit", full)
        with pytest.raises(DiskError):
            len(d)
    assert (len(d), list(d)) == (0, [])
    assert (len(other), list(other)) == (0, [])


def test_what_another_is_about_to_delete_is_not_counted_or_listed(advance: Advance, make: Maker) -> None:
    """Where that process was stopped in between, `len` and iteration had keys that `in` and `get` hadn't."""
    d, other = make(), make()
    for key in "abc":
        d.set(key, 1, expire=5)
    d["z"] = 2
    advance(5)
    d["b"] = 3
    claims = other.store.claim(QUEUE, limit=3)
    assert (len(claims), len(d), [*d], [*reversed(d)]) == (3, 2, ["b", "z"], ["z", "b"])
    with d.batch():
        d["a"] = 4
        d["y"] = 5
        assert (len(d), sorted(d)) == (4, ["a", "b", "y", "z"])
        d.clear()
        assert (len(d), [*d]) == (0, [])
        d["c"] = 6
        assert (len(d), [*d]) == (1, ["c"])
    assert (len(d), [*d]) == (1, ["c"])


def test_a_sweep_is_interrupted_anywhere(advance: Advance, make: Maker) -> None:
    d, nth, struck = make(), 0, True
    while struck:
        nth += 1
        d.set("a", 1, expire=1)
        advance(2)
        struck = interrupted(lambda: len(d), nth, (expiry.__file__,))
        assert (len(d), list(d)) == (0, []), f"interrupted at {nth}"
    assert nth > 5


def _set(d: Dict, n: int) -> None:
    d.set(n, "x", expire=10)


def _update(d: Dict, n: int) -> None:
    d.update({n: "x"})


def _setdefault(d: Dict, n: int) -> None:
    d.setdefault(n, "x")


def _edit(d: Dict, n: int) -> None:
    with d.edit(n, []) as value:
        value.append("x")


def _batch(d: Dict, n: int) -> None:
    with d.batch():
        d[n] = "x"


@pytest.mark.parametrize("way", [_set, _update, _setdefault, _edit, _batch])
def test_what_is_over_goes_though_nobody_counts(advance: Advance, make: Maker, way: Callable[..., None]) -> None:
    """A program that only set and got keys (sessions, a cache) kept all that it had ever set."""
    d = make(expire=10)
    for n in range(500):
        way(d, n)
        advance(1)
    assert d.store.count("dict/d") < 150
    assert d.store.depth(QUEUE).unfinished < 150
    assert sorted(d) == list(range(490 + 1, 500))


def test_large_values_that_are_over_are_not_all_in_memory_at_once(advance: Advance, d: Dict) -> None:
    with d.batch():
        for n in range(30):
            d.set(n, "x" * 1_000_000, expire=1)
    advance(2)
    tracemalloc.start()
    try:
        assert len(d) == 0
        assert tracemalloc.get_traced_memory()[1] < 12_000_000
    finally:
        tracemalloc.stop()


def test_many_are_deleted_at_once(advance: Advance, d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was a commit of its own, with a sync."""
    with d.batch():
        for n in range(1000):
            d.set(n, n, expire=1)
            d.set(n, n, expire=2)  # a second record of the same key
    advance(3)
    commit, commits = d.store.commit, 0

    def count(*ops: Any, **options: Any) -> Any:
        nonlocal commits
        commits += 1
        return commit(*ops, **options)

    monkeypatch.setattr(d.store, "commit", count)
    assert len(d) == 0
    assert commits < 100
    assert d.store.depth(QUEUE).unfinished == d.store.count(QUEUE) == 0


def test_what_a_batch_has_set_is_gone_in_it_when_its_time_is_over(advance: Advance, d: Dict) -> None:
    """Its key was still listed and counted there, so that `dict(d)` raised KeyError."""
    d.update(kept=0, stored=1)
    with d.batch():
        d.set("stored", 2, expire=10)
        d.set("new", 3, expire=10)
        assert (list(d), len(d)) == (["kept", "stored", "new"], 3)
        advance(10)
        assert (list(d), list(reversed(d)), len(d), dict(d)) == (["kept"], ["kept"], 1, {"kept": 0})
    assert (list(d), len(d)) == (["kept"], 1)


def test_a_batch_that_builds_on_what_is_over_is_stored(advance: Advance, d: Dict) -> None:
    """To count the keys in it deleted what it had found, and its end raised ConditionFailed."""
    d.set("a", 1, expire=1)
    advance(2)
    with d.batch():
        assert d.setdefault("a", 2) == 2
        assert (len(d), list(d)) == (1, ["a"])
    assert d == {"a": 2}
    advance(2)
    assert len(d) == 1
    assert d.store.depth(QUEUE).unfinished == 0


def test_a_batch_minds_nobody_who_deletes_what_is_over(advance: Advance, make: Maker, d: Dict) -> None:
    """Its end raised ConditionFailed, though what it had found missing was missing still."""
    other: Dict = make()
    for key in "abcd":
        d.set(key, 1, expire=1)
    advance(2)
    with d.batch():
        assert d.setdefault("a", 2) == 2
        assert d.setdefault("b", 2) == 2
        assert d.pop("b") == 2
        assert d.pop("c", None) is None
        d["e"] = 5
        assert len(other) == 0
    assert d == {"a": 2, "e": 5}
    d.set("a", 1, expire=1)
    advance(2)
    with pytest.raises(ConditionFailed), d.batch():
        d.setdefault("a", 3)
        other["a"] = 4
    assert d == {"a": 4, "e": 5}


def test_programs_that_set_few_keys_in_each_run_keep_no_more(advance: Advance, make: Maker, d: Dict) -> None:
    """They never came to the number of keys behind which others are looked at."""
    for run in range(5):
        advance(2)
        each = make()
        for number in range(10):
            each.set((run, number), 1, expire=1)
    assert d.store.count("dict/d") == 10


def test_what_got_its_time_in_a_batch_is_deleted_when_that_is_over(advance: Advance, make: Maker) -> None:
    d = make(expire=10)
    with d.batch():
        assert d.setdefault("a", 1) == 1
        d["b"] = 2
        d.touch("b", expire=5)
        with d.edit("c", 3):
            pass
    advance(11)
    assert len(d) == 0
    assert d.store.count("dict/d") == 0


def test_a_key_that_is_set_again_as_it_is_deleted_keeps_none_of_the_others(
    advance: Advance, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are deleted in one commit, which is refused for "a"; then each by itself, which is refused for "b"."""
    d, other = make(), make()
    for key in "abc":
        d.set(key, 1, expire=10)
    advance(11)
    what, looks = d._expiry._what_to_do, Counter[str]()

    def then_it_is_set(claim: Any) -> list[Op]:
        found, key = what(claim), d._keys.decode(claim.payload)
        looks[key] += 1
        if (key, looks[key]) in (("a", 1), ("b", 2)):
            other.set(key, 2, expire=100)
        return found

    monkeypatch.setattr(d._expiry, "_what_to_do", then_it_is_set)
    assert len(d) == 2
    assert (d.copy(), looks) == ({"a": 2, "b": 2}, {"a": 2, "b": 3, "c": 2})
    depth = d.store.depth(QUEUE)
    assert (depth.claimed, depth.ready) == (0, 0)
    advance(101)
    assert len(d) == 0


def test_a_key_whose_earlier_time_is_over_as_it_is_set_is_set(
    advance: Advance, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    d, other = make(), make()
    d.set("a", 1, expire=10)
    note, looks = d._expiry.note, list[Any]()

    def then_it_is_over(key: bytes, end: float) -> list[Op]:
        found = note(key, end)
        if not looks:
            advance(11)
            looks.append(len(other))
        return found

    monkeypatch.setattr(d._expiry, "note", then_it_is_over)
    d.set("a", 2, expire=20)
    assert (looks, d["a"], len(d)) == ([0], 2, 1)
    advance(21)
    assert len(d) == 0
