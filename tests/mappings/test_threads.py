"""Each method is one step for other threads."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.stdlib._mappings import locks
from pqadapters.store import Claim

from ..contract.threads import Task, together
from .conftest import Maker

Dict = PDict[Any, Any]
PATIENCE = 60.0
THREADS = 4


def _count(d: Dict) -> None:
    with d.edit("k") as value:
        d["k"] = value + 1


def test_one_of_many_sets_the_default(d: Dict) -> None:
    for round in range(20):
        found = together([partial(d.setdefault, round, n) for n in range(THREADS)], patience=PATIENCE)
        assert set(found) == {d[round]}


def test_a_key_is_popped_once(d: Dict) -> None:
    for round in range(20):
        d[round] = round
        found = together([partial(d.pop, round, None)] * THREADS, patience=PATIENCE)
        assert sorted(found, key=str) == [round, *[None] * (THREADS - 1)]


def test_an_item_is_popped_once(d: Dict) -> None:
    d.update((n, n) for n in range(40))

    def drain() -> list[Any]:
        found = []
        try:
            while True:
                found.append(d.popitem()[0])
        except KeyError:
            return found

    found = together([drain] * THREADS, patience=PATIENCE)
    assert sorted(key for keys in found for key in keys) == list(range(40))
    assert len(d) == 0


def test_a_key_is_deleted_once(d: Dict) -> None:
    def delete() -> bool:
        try:
            del d["k"]
        except KeyError:
            return False
        return True

    for _ in range(20):
        d["k"] = 1
        assert sorted(together([delete] * THREADS, patience=PATIENCE)) == [False, False, False, True]


def test_a_reader_never_sees_half_of_an_update(d: Dict, make: Maker) -> None:
    keys = [f"k{n}" for n in range(30)]
    d.update(dict.fromkeys(keys, 0))
    other, stop = make(), threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            other.update(dict.fromkeys(keys, number))
            with other.batch():
                for key in keys:
                    other[key] = -number

    changes = Task(change, patience=PATIENCE)
    try:
        for _ in range(60):
            assert len(set(d.get_many(keys).values())) == 1
            assert len(set(d.copy().values())) == 1
    finally:
        stop.set()
        changes.result()


def test_edits_of_one_key_lose_nothing(d: Dict, make: Maker) -> None:
    d["n"] = 0
    d["list"] = []

    def count(number: int) -> None:
        mine = d if number % 2 else make()
        for _ in range(15):
            with mine.edit("n") as n:
                mine["n"] = n + 1
            with mine.edit("list") as values:
                values.append(number)

    together([partial(count, n) for n in range(THREADS)], patience=PATIENCE)
    assert d["n"] == 15 * THREADS
    assert sorted(d["list"]) == sorted(n for n in range(THREADS) for _ in range(15))


def test_edits_of_different_keys_do_not_wait_for_each_other(d: Dict) -> None:
    d.update(a=[0], b=[0])
    meeting = threading.Barrier(2)

    def edit(key: str) -> None:
        with d.edit(key) as value:
            meeting.wait(PATIENCE)
            value[0] += 1

    together([lambda: edit("a"), lambda: edit("b")], patience=PATIENCE)
    assert d == {"a": [1], "b": [1]}


def test_a_batch_is_its_threads_own(d: Dict) -> None:
    d["a"] = 0
    meeting = threading.Barrier(2)

    def other() -> None:
        meeting.wait(PATIENCE)
        assert d == {"a": 0}
        d["b"] = 1
        meeting.wait(PATIENCE)

    task = Task(other, patience=PATIENCE)
    with d.batch():
        d["a"] = 1
        d["c"] = 2
        meeting.wait(PATIENCE)
        meeting.wait(PATIENCE)
        assert d == {"a": 1, "b": 1, "c": 2}
    task.result()
    assert d == {"a": 1, "b": 1, "c": 2}


def test_a_handle_goes_from_thread_to_thread(make: Maker) -> None:
    d = Task(make, patience=PATIENCE).result()
    Task(lambda: d.__setitem__("a", 1), patience=PATIENCE).result()
    assert d["a"] == 1
    Task(d.close, patience=PATIENCE).result()


def test_an_interrupted_edit_takes_the_lock_from_no_other_thread(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gave back what another thread had just claimed: that one's edit ended in ConditionFailed, and was lost."""
    d["k"] = 0
    claim, claimed, go = d.store.claim, threading.Event(), threading.Event()
    me = threading.current_thread()

    def held_up(*arguments: Any, **options: Any) -> list[Claim]:
        if threading.current_thread() is me:
            raise KeyboardInterrupt
        found = claim(*arguments, **options)
        claimed.set()
        assert go.wait(PATIENCE)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(d.store, "claim", held_up)
        other = Task(partial(_count, d), patience=PATIENCE)
        assert claimed.wait(PATIENCE)
        with pytest.raises(KeyboardInterrupt):
            _count(d)
        go.set()
        other.result()
    _count(d)
    assert d["k"] == 2


def test_an_interrupted_edit_takes_the_lock_from_no_thread_that_is_about_to_commit(
    d: Dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its block was over, so nobody was known to have the lock."""
    d["k"] = 0
    commit, commits, go = d.store.commit, threading.Event(), threading.Event()
    me = threading.current_thread()

    def held_up(*ops: Any, **options: Any) -> tuple[int, ...]:
        if threading.current_thread() is not me and len(ops) > 1:
            commits.set()
            assert go.wait(PATIENCE)
        return commit(*ops, **options)

    def interrupt(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(d.store, "commit", held_up)
        other = Task(partial(_count, d), patience=PATIENCE)
        assert commits.wait(PATIENCE)
        patch.setattr(d.store, "claim", interrupt)
        with pytest.raises(KeyboardInterrupt):
            _count(d)
        go.set()
        other.result()
    _count(d)
    assert d["k"] == 2


def test_a_lock_that_an_interrupt_left_while_another_thread_waits_is_that_ones(
    d: Dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    d["k"] = 0
    claim, claimed, waits = d.store.claim, threading.Event(), threading.Event()
    me = threading.current_thread()

    def interrupted(*arguments: Any, **options: Any) -> list[Claim]:
        if threading.current_thread() is not me:
            assert claimed.wait(PATIENCE)
            waits.set()
            return claim(*arguments, **options)
        claim(*arguments, **options)
        claimed.set()
        assert waits.wait(PATIENCE)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(d.store, "claim", interrupted)
        patch.setattr(locks, "_SURELY", 0.0)
        other = Task(partial(_count, d), patience=PATIENCE)
        with pytest.raises(KeyboardInterrupt):
            _count(d)
        other.result()
    assert d["k"] == 1
