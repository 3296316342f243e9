"""Batches and edits: all of it or nothing, and what is built on is still so."""

from __future__ import annotations

import errno
import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.errors import ConditionFailed, DiskError, NotSerializable
from pqadapters.stdlib._mappings.edit import Edit
from pqadapters.store import Ack, Claim, Order, Set, State

from ..contract.threads import Task
from .conftest import Maker

Dict = PDict[Any, Any]
PATIENCE = 60.0


class Stop(Exception):
    pass


def test_a_batch_is_stored_at_its_end(d: Dict, make: Maker) -> None:
    other = make()
    d.update(a=1, b=2)
    with d.batch():
        d["c"] = 3
        d["a"] = 4
        del d["b"]
        assert (d["c"], d["a"], "b" in d, len(d)) == (3, 4, False, 2)
        assert list(d.items()) == [("a", 4), ("c", 3)]
        assert other == {"a": 1, "b": 2}
    assert list(d.items()) == list(other.items()) == [("a", 4), ("c", 3)]


def test_an_exception_drops_it(d: Dict) -> None:
    d.update(a=1, b=2)
    with pytest.raises(Stop), d.batch():
        d["a"] = 4
        d.clear()
        d["c"] = 3
        raise Stop
    assert list(d.items()) == [("a", 1), ("b", 2)]
    d["a"] = 5
    assert d["a"] == 5


def test_one_inside_of_another_is_a_part_of_it(d: Dict) -> None:
    d["z"] = 0
    with d.batch():
        d["a"] = 1
        with pytest.raises(Stop), d.batch():
            d["a"] = 2
            d["b"] = 2
            del d["z"]
            raise Stop
        assert d == {"z": 0, "a": 1}
        with d.batch():
            d["c"] = 3
    assert d == {"z": 0, "a": 1, "c": 3}


def test_every_method_in_a_batch(d: Dict) -> None:
    d.update(a=1, b=2, c=3)
    with d.batch():
        assert d.pop("a") == 1
        assert d.pop("a", None) is None
        with pytest.raises(KeyError):
            d.pop("a")
        with pytest.raises(KeyError):
            del d["a"]
        assert d.setdefault("a", 9) == 9
        assert d.setdefault("b", 9) == 2
        assert list(d) == ["b", "c", "a"]
        assert list(reversed(d)) == ["a", "c", "b"]
        assert d.popitem() == ("a", 9)
        assert d.popitem() == ("c", 3)
        d.update(x=1, y=2)
        d |= {"z": 3}
        assert d.get_many(["x", "c", "b"]) == {"x": 1, "b": 2}
        assert d.copy() == {"b": 2, "x": 1, "y": 2, "z": 3}
        assert len(d) == 4
        d.clear()
        assert (len(d), list(d), d.get("b")) == (0, [], None)
        d["b"] = 5
        assert d == {"b": 5}
    assert list(d.items()) == [("b", 5)]


def test_what_a_batch_sees_that_has_cleared_the_mapping(d: Dict) -> None:
    d.update(a=[1], b=2)
    with d.batch():
        d.clear()
        d["c"] = 3
        assert (d.copy(), d.get_many("abc"), d.get("a"), len(d)) == ({"c": 3}, {"c": 3}, None, 1)
        with d.edit("a", []) as value:
            value.append(4)
    assert d == {"c": 3, "a": [4]}


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("look", [iter, reversed], ids=["forwards", "backwards"])
def test_an_iterator_outlives_its_batch(d: Dict, look: Any, dropped: bool, begun: bool) -> None:
    """What was new in the batch came twice, or not at all, where the iterator went on behind the end."""
    d.update(a=1, b=2, c=3)
    with ExitStack() as stack:
        if dropped:
            stack.enter_context(pytest.raises(Stop))
        with d.batch():
            del d["a"]
            d.update(a=4, d=5)
            expected = list(look(d))
            assert expected == list(look("bcad"))
            keys, seen = look(d), list[str]()
            if begun:
                seen.append(next(keys))
            if dropped:
                raise Stop
    seen += keys
    assert seen == expected


def test_a_key_that_is_deleted_and_set_goes_to_the_end(d: Dict) -> None:
    d.update(a=1, b=2)
    with d.batch():
        del d["a"]
        d["a"] = 3
        assert list(d) == ["b", "a"]
    assert list(d.items()) == [("b", 2), ("a", 3)]


@pytest.mark.parametrize(
    "step",
    [lambda d: d.pop("a"), lambda d: d.__delitem__("a"), lambda d: d.setdefault("n", 1), lambda d: d.popitem()],
    ids=["pop", "del", "setdefault", "popitem"],
)
def test_what_it_builds_on_must_still_be_so(make: Maker, step: Any) -> None:
    d, other = make(), make()
    d["a"] = 1
    with pytest.raises(ConditionFailed, match="do it again"), d.batch():
        step(d)
        d["b"] = 1
        Task(lambda: other.update(a=2, n=2), patience=PATIENCE).result()
    assert d == {"a": 2, "n": 2}
    with d.batch():
        step(d)


def test_what_it_builds_on_must_still_be_there(make: Maker) -> None:
    """Only what is gone by itself, when its time is over, changes nothing."""
    d, other = make(), make()
    d.update(a=1, b=1)
    with pytest.raises(ConditionFailed, match="do it again"), d.batch():
        d["c"] = d.pop("a")
        Task(lambda: other.pop("a"), patience=PATIENCE).result()
    assert d == {"b": 1}


@pytest.mark.parametrize(
    "step",
    [lambda d: d.pop("n", None), lambda d: d.setdefault("a", 0), lambda d: d.pop("n")],
    ids=["missing", "set", "no key"],
)
def test_what_it_found_and_left_as_it_was_must_still_be_so(make: Maker, step: Any) -> None:
    """Of processes that counted by `d["n"] = d.pop("n", 0) + 1` the first ones lost what others had counted."""
    d, other = make(), make()
    d["a"] = 1
    with pytest.raises(ConditionFailed, match="do it again"), d.batch():
        with suppress(KeyError):
            step(d)
        d["b"] = 1
        Task(lambda: other.update(a=2, n=2), patience=PATIENCE).result()
    assert d == {"a": 2, "n": 2}
    with pytest.raises(ConditionFailed, match="do it again"), d.batch():
        d["n"] = d.pop("m", 0) + d.setdefault("a", 0)
        Task(lambda: other.update(a=3, m=3), patience=PATIENCE).result()
    assert d == {"a": 3, "n": 2, "m": 3}


@pytest.mark.parametrize("change", [lambda d: d.update(a=2), lambda d: d.pop("a")], ids=["set", "deleted"])
def test_what_is_set_by_an_unchanged_value_is_not_stored_where_others_have_changed_that(
    make: Maker, change: Any
) -> None:
    """It was, beside a value that nobody had seen when it was decided."""
    d, other = make(), make()
    d.update(a=1, list=[])
    with pytest.raises(ConditionFailed, match="Nothing"), d.edit("a") as value:
        Task(lambda: change(other), patience=PATIENCE).result()
        d["b"] = value
    assert "b" not in d
    d["a"] = 1
    with pytest.raises(ConditionFailed, match="Nothing"), d.edit("list") as all_of_them, d.edit("a") as value:
        all_of_them.append(value)
        Task(lambda: change(other), patience=PATIENCE).result()
    assert d["list"] == []
    d["a"] = 1
    with d.batch(), d.edit("a"):  # nothing is stored
        Task(lambda: change(other), patience=PATIENCE).result()


def test_two_handles_make_the_first_lock_of_a_key_at_once(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    d, other = make(), make()
    d["a"] = [1]
    commit, done = d.store.commit, list[object]()

    def another_is_faster(*ops: Any, **options: Any) -> Any:
        if not done and any(isinstance(op, Set) and op.table == "edit/dict/d" for op in ops):
            done.append(None)
            Task(lambda: edited(other, 2), patience=PATIENCE).result()
        return commit(*ops, **options)

    own = {name: getattr(d.store, name) for name in ("get", "claim", "browse", "count")}
    monkeypatch.setattr(d._table.locks, "_store", SimpleNamespace(**own, commit=another_is_faster))
    edited(d, 3)
    assert (done, d["a"]) == ([None], [1, 2, 3])
    assert d.store.depth("edit/dict/d").unfinished == 1


def edited(d: Dict, more: int) -> None:
    with d.edit("a") as value:
        value.append(more)


def test_what_is_only_set_needs_nothing(make: Maker) -> None:
    d, other = make(), make()
    d["a"] = 1
    with d.batch():
        d["a"] = d["a"] + 1
        Task(lambda: other.update(a=7, b=7), patience=PATIENCE).result()
    assert d == {"a": 2, "b": 7}


def test_a_value_is_edited_in_place(d: Dict) -> None:
    d["a"] = {"x": [1]}
    with d.edit("a") as value:
        value["x"].append(2)
    assert d["a"] == {"x": [1, 2]}
    with pytest.raises(Stop), d.edit("a") as value:
        value["x"].append(3)
        raise Stop
    assert d["a"] == {"x": [1, 2]}


def test_an_edit_of_what_is_not_there(d: Dict) -> None:
    with pytest.raises(KeyError), d.edit("a"):
        pass
    with d.edit("a", []) as value:
        value.append(1)
    assert d["a"] == [1]
    with d.edit("n", 0) as n:
        d["n"] = n + 1
    with d.edit("n", 0) as n:
        d["n"] = n + 1
    assert d["n"] == 2
    with d.edit("none", None):
        pass
    assert d["none"] is None


def test_an_edit_may_delete_the_key(d: Dict) -> None:
    d["a"] = [1]
    with d.edit("a") as value:
        value.append(2)
        del d["a"]
        assert "a" not in d
    assert "a" not in d
    d["a"] = [1]
    with d.edit("a") as value:
        assert d.pop("a") == value
    assert len(d) == 0


@pytest.mark.parametrize("was_there", [False, True])
def test_an_edit_may_clear_the_mapping(d: Dict, was_there: bool) -> None:
    """The key came back where its value was changed, unlike one that the block deletes."""
    d["b"] = 1
    if was_there:
        d["a"] = []
    with d.edit("a", []) as value:
        value.append(2)
        d.clear()
    assert d == {}
    with d.edit("a", []) as value:
        with pytest.raises(Stop), d.batch():
            d.clear()
            raise Stop
        value.append(3)
    assert d == {"a": [3]}


def test_an_edit_whose_beginning_was_interrupted_is_over(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch around it said that the key is being edited, and couldn't edit it again."""
    look = Edit._look

    def interrupted(edit: Edit[Any]) -> Any:
        look(edit)
        raise Stop

    d["a"] = [1]
    with d.batch():
        with monkeypatch.context() as patch:
            patch.setattr(Edit, "_look", interrupted)
            with pytest.raises(Stop), d.edit("a"):
                pass
        with d.edit("a") as value:
            value.append(2)
    assert d["a"] == [1, 2]


def test_what_an_edit_changes_elsewhere_goes_with_it(d: Dict, make: Maker) -> None:
    other = make()
    d.update(a=[], log=0)
    with d.edit("a") as value:
        value.append(1)
        d["log"] = 1
        assert other["log"] == 0
    assert other == {"a": [1], "log": 1}
    with pytest.raises(Stop), d.edit("a"):
        d["log"] = 2
        raise Stop
    assert d["log"] == 1


def test_an_edit_that_changes_nothing_writes_nothing(d: Dict, make: Maker) -> None:
    d["a"] = [1]
    with d.edit("a"):
        make()["a"] = [1]
    assert d["a"] == [1]


def test_a_set_without_edit_is_not_lost(d: Dict, make: Maker) -> None:
    other = make()
    d["a"] = [1]
    with pytest.raises(ConditionFailed, match="Nothing"), d.edit("a") as value:
        value.append(2)
        Task(lambda: other.__setitem__("a", ["theirs"]), patience=PATIENCE).result()
    assert d["a"] == ["theirs"]
    with d.edit("a") as value:  # the lock is free again
        value.append("ours")
    assert d["a"] == ["theirs", "ours"]


def test_an_edit_waits_for_another_one_as_long_as_it_is_told(d: Dict, make: Maker) -> None:
    other = make()
    d["a"] = [1]

    def too_late() -> None:
        with pytest.raises(TimeoutError, match="edited"), other.edit("a", timeout=0.05):
            raise AssertionError("it got in")

    with d.edit("a") as value:
        value.append(2)
        Task(too_late, patience=PATIENCE).result()
    with other.edit("a", timeout=0) as value:
        value.append(3)
    assert d["a"] == [1, 2, 3]


@pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError)])
def test_an_edit_with_what_is_no_timeout(d: Dict, timeout: Any, error: type[Exception]) -> None:
    d["a"] = 1
    with pytest.raises(error):
        d.edit("a", timeout=timeout)


def test_an_edit_inside_of_itself_is_refused(d: Dict) -> None:
    d.update(a=[], b=[])
    with pytest.raises(RuntimeError, match="already"), d.edit("a"), d.edit("a"):
        pass
    with d.edit("a") as a, d.edit("b") as b:
        a.append(1)
        b.append(2)
    assert d == {"a": [1], "b": [2]}


def test_edits_in_a_batch(d: Dict, make: Maker) -> None:
    d["a"] = []
    with d.batch():
        for n in range(3):
            with d.edit("a") as value:
                value.append(n)
        with pytest.raises(Stop), d.edit("a") as value:
            value.append("dropped")
            raise Stop
        assert d["a"] == [0, 1, 2]
        assert make()["a"] == []
    assert make()["a"] == [0, 1, 2]


def test_a_value_that_cannot_be_stored_ends_the_edit(d: Dict) -> None:
    d["a"] = []
    with pytest.raises(NotSerializable), d.edit("a") as value:
        value.append(lambda: 0)
    with d.edit("a", timeout=0) as value:
        assert value == []


def test_many_edited_keys_leave_few_locks_behind(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqadapters.stdlib._mappings.locks._MANY", 5)
    for n in range(30):
        with d.edit(n, 0):
            pass
    assert len(d) == 30
    assert d.store.count("edit/dict/d") <= 6
    assert d.store.depth("edit/dict/d").unfinished <= 6
    assert len(list(d.store.browse("edit/dict/d", order=Order.OLDEST))) <= 6


def test_edits_that_fail_leave_few_locks_behind(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key that wasn't there, or whose block failed, left its lock in the store for good."""
    monkeypatch.setattr("pqadapters.stdlib._mappings.locks._MANY", 5)
    for n in range(30):
        with pytest.raises(KeyError), d.edit(n):
            pass
        with pytest.raises(Stop), d.batch(), d.edit(-n, 0):
            raise Stop
    assert d.store.count("edit/dict/d") == d.store.depth("edit/dict/d").unfinished <= 6


def test_a_lock_whose_record_is_gone_is_made_anew(d: Dict) -> None:
    """It was damaged, or purged; who edited the key waited for ever."""
    with d.edit("a", 0):
        d["a"] = 1
    queue = "edit/dict/d"
    d.store.commit(*map(Ack, d.store.claim(queue, limit=9)))
    assert not list(d.store.browse(queue, state=None))
    for timeout in (0, 60):
        with d.edit("a", timeout=timeout) as value:
            d["a"] = value + 1
    assert d["a"] == 3
    assert d.store.depth(queue).unfinished == 1


def test_an_edit_whose_lock_was_taken_away_stores_nothing(d: Dict) -> None:
    """As that of a process that was taken for dead: others may have edited the key since."""
    d["a"] = 1
    with pytest.raises(ConditionFailed, match="taken for dead"), d.edit("a"):
        d.update(a=2, b=2)
        (lock,) = d.store.browse("edit/dict/d", state=State.CLAIMED)
        d.store.commit(Ack(Claim(lock.queue, lock.id, lock.attempts, lock.payload)))
    assert d == {"a": 1}
    with d.edit("a", timeout=0):
        d["a"] = 3
    assert d == {"a": 3}


def test_an_edit_that_a_full_disk_refuses_frees_its_key(d: Dict, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the store is asked at the end of the block is refused; later on it takes the lock back."""
    d["a"] = [1]
    other, edited, commit = make(), d.edit("a"), d.store.commit

    def refuse(*ops: Any, **options: Any) -> Any:
        raise DiskError(errno.ENOSPC, "full")

    with pytest.raises(DiskError), edited as value:
        value.append(2)
        monkeypatch.setattr(d.store, "commit", refuse)
    monkeypatch.setattr(d.store, "commit", commit)
    assert other == {"a": [1]}
    with other.edit("a", timeout=PATIENCE) as value:
        value.append(3)
    assert d == {"a": [1, 3]}


def test_while_the_disk_is_full_a_key_that_was_not_freed_is_waited_for_by_nobody(
    d: Dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who tried again waited for ever, or was told that somebody else edits the key."""
    d["a"] = [1]
    edited, commit = d.edit("a"), d.store.commit

    def refuse(*ops: Any, **options: Any) -> Any:
        raise DiskError(errno.ENOSPC, "full")

    with pytest.raises(DiskError), edited as value:
        value.append(2)
        monkeypatch.setattr(d.store, "commit", refuse)
    for _ in range(2):
        with pytest.raises(DiskError), d.edit("a", timeout=0):
            raise AssertionError("it was edited")
    monkeypatch.setattr(d.store, "commit", commit)
    with d.edit("a", timeout=0) as value:
        value.append(3)
    assert d == {"a": [1, 3]}


def test_a_signal_handler_in_the_middle_of_a_call_is_refused_a_key(d: Dict) -> None:
    """The record that a lock is comes behind that call, and there is no waiting for it."""
    refused: list[str] = []

    def handle() -> bool:
        if not refused:
            with pytest.raises(RuntimeError, match="in the middle of a call") as error, d.edit("a", 0):
                pass
            refused.append(str(error.value))
        return False

    Task(lambda: d.store.commit(Set("t", b"k", b""), stop=handle), patience=PATIENCE).result()
    with d.edit("a", 0, timeout=PATIENCE):
        d["a"] = 2
    assert (d["a"], len(refused)) == (2, 1)


def test_a_thread_that_would_wait_for_itself_is_told(make: Maker) -> None:
    d, other = make(), make()
    d["a"] = 1
    with pytest.raises(RuntimeError, match="another handle"), d.edit("a"), other.edit("a"):
        pass
    with other.edit("a", timeout=0):
        pass


def test_two_mappings_in_memory_are_two() -> None:
    """A thread that edits a key in one was told that it edits it in the other, where another thread did."""
    one, other = PDict[str, int]("memory:"), PDict[str, int]("memory:")
    held, free = threading.Event(), threading.Event()

    def edit() -> None:
        with other.edit("a", 0):
            held.set()
            free.wait(PATIENCE)

    thread = threading.Thread(target=edit)
    thread.start()
    held.wait(PATIENCE)
    try:
        with one.edit("a", 0), pytest.raises(TimeoutError), other.edit("a", 0, timeout=0):
            pass
    finally:
        free.set()
        thread.join(PATIENCE)


def test_a_task_that_would_stop_its_loop_for_ever_is_told(d: Dict) -> None:
    import asyncio

    d["a"] = []

    async def edit(turn: asyncio.Event) -> None:
        with d.edit("a") as value:
            value.append(1)
            await turn.wait()

    async def main() -> None:
        turn = asyncio.Event()
        first = asyncio.ensure_future(edit(turn))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="another task"):
            await edit(turn)
        turn.set()
        await first

    asyncio.run(main())
    assert d["a"] == [1]


def test_an_unchanged_edit_writes_nothing_at_all(d: Dict, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqadapters.store import Set

    d["a"] = "x" * 10_000
    with d.edit("a"):
        pass
    seen: list[Any] = []
    real = d.store.commit
    monkeypatch.setattr(d.store, "commit", lambda *ops, **options: seen.extend(ops) or real(*ops, **options))
    with d.edit("a"):
        pass
    assert not any(isinstance(op, Set) for op in seen)


def test_a_large_mapping_in_a_batch(d: Dict) -> None:
    d.update((n, n) for n in range(3000))
    with d.batch():
        d[7], d["new"] = "seven", 1
        del d[0]
        assert (len(d), next(iter(d)), next(reversed(d))) == (3000, 1, "new")
        assert d.get_many([0, 7, "new", 5]) == {7: "seven", "new": 1, 5: 5}
        assert d.popitem() == ("new", 1)
        assert d.popitem() == (2999, 2999)
        assert list(d.items())[:7] == [(n, n) for n in range(1, 7)] + [(7, "seven")]
    assert len(d) == 2998


def test_a_block_is_one_block(d: Dict, make: Maker) -> None:
    block = d.batch()
    with block:
        d["a"] = 1
        with pytest.raises(RuntimeError, match="begun already"), block:
            pass  # pragma: no cover
        d["b"] = 2
    assert make().copy() == {"a": 1, "b": 2}
    with block:  # one after the other is no harm
        d["c"] = 3
    assert make()["c"] == 3


@pytest.mark.parametrize("when", ["before", "inside"])
def test_looking_at_a_block_does_not_end_it(d: Dict, make: Maker, when: str) -> None:
    block = d.batch()
    if when == "before":
        assert callable(block.__exit__)
    with block:
        d["a"] = 1
        if when == "inside":
            assert callable(block.__exit__)
        d["b"] = 2
        assert make().copy() == {}
    assert make().copy() == {"a": 1, "b": 2}


def test_blocks_in_an_exit_stack(d: Dict, make: Maker) -> None:
    d["a"] = []
    with ExitStack() as stack:
        stack.enter_context(d.batch())
        stack.enter_context(d.edit("a")).append(1)
        d["b"] = 2
        assert make().copy() == {"a": []}
    assert make().copy() == {"a": [1], "b": 2}
    with pytest.raises(ZeroDivisionError), ExitStack() as stack:
        stack.enter_context(d.batch())
        d["b"] = 3
        raise ZeroDivisionError
    assert make()["b"] == 2


def test_a_block_whose_generator_is_dropped_is_broken_off(d: Dict, make: Maker) -> None:
    def steps() -> Iterator[None]:
        with d.batch():
            d["a"] = 1
            yield

    for _ in steps():
        break
    gc.collect()
    d["b"] = 2
    assert make().copy() == {"b": 2}
