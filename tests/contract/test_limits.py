"""I9: `limit` and `limit_bytes` are decided in the commit that they travel with."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from pqadapters.errors import ConditionFailed, LimitReached
from pqadapters.store import Ack, Delete, Expect, Nack, Put, Set, Store

from .maker import Maker
from .snapshot import payloads
from .threads import together


def _accepted(store: Store, put: Put) -> bool:
    try:
        store.commit(put)
    except LimitReached:
        return False
    return True


def test_i9_a_limit_counts_ready_records(make_store: Maker) -> None:
    store = make_store()
    assert [_accepted(store, Put("q", b"%d" % n, limit=3)) for n in range(5)] == [True] * 3 + [False] * 2
    (claim,) = store.claim("q")
    assert _accepted(store, Put("q", b"claimed ones don't count", limit=3))
    assert not _accepted(store, Put("q", b"", limit=3))
    store.commit(Ack(claim))
    assert not _accepted(store, Put("q", b"", limit=3))
    assert store.depth("q").ready == 3


def test_i9_a_limit_that_was_lowered_refuses(make_store: Maker) -> None:
    store = make_store.filled(*[b""] * 5)
    assert not _accepted(store, Put("q", b"", limit=3))
    assert _accepted(store, Put("q", b"", limit=6))
    assert not _accepted(store, Put("q", b"", limit=0))
    assert store.depth("q").ready == 6


def test_i9_a_limit_is_any_number(make_store: Maker) -> None:
    """As a program's `maxsize` is one: on a server those were an error of its SQL."""
    store = make_store()
    limits: list[tuple[Any, int]] = [(1.5, 2), (Decimal("2.5"), 3), (math.inf, 4), (1 << 64, 4), (True, 1)]
    for limit, most in limits:
        queue = f"q{limit}"
        assert [_accepted(store, Put(queue, b"x", limit=limit)) for _ in range(4)].count(True) == most
        assert store.depth(queue).ready == most


def test_i9_a_limit_passes_over_delayed_and_dead_records(make_store: Maker) -> None:
    store = make_store.filled(b"dies")
    store.commit(Nack(store.claim("q")[0], dead="no"))
    store.commit(Put("q", b"later", not_before=make_store.clock.now + 60))
    assert _accepted(store, Put("q", b"", limit=1))
    assert not _accepted(store, Put("q", b"later", limit=1, not_before=make_store.clock.now + 60))
    make_store.clock.advance(61)
    assert not _accepted(store, Put("q", b"", limit=2))


def test_i9_a_limit_is_each_queues_own(make_store: Maker) -> None:
    store = make_store.filled(b"", b"", queue="other")
    assert _accepted(store, Put("q", b"", limit=1))
    assert not _accepted(store, Put("q", b"", limit=1))


def test_i9_limit_bytes_counts_payloads(make_store: Maker) -> None:
    store = make_store()
    assert _accepted(store, Put("q", b"12345", rank=b"not counted", limit_bytes=10))
    assert not _accepted(store, Put("q", b"123456", limit_bytes=10))
    assert _accepted(store, Put("q", b"12345", limit_bytes=10))
    assert not _accepted(store, Put("q", b"1", limit_bytes=10))
    assert _accepted(store, Put("q", b"", limit_bytes=10))
    assert store.depth("q").bytes == 10


def test_i9_limit_bytes_lets_one_large_record_into_an_empty_queue(make_store: Maker) -> None:
    store = make_store()
    assert _accepted(store, Put("q", b"much too large", limit_bytes=3))
    assert not _accepted(store, Put("q", b"1", limit_bytes=3))
    (claim,) = store.claim("q")
    assert not _accepted(store, Put("q", b"1", limit_bytes=3))  # a claimed record is still in the queue
    store.commit(Ack(claim))
    assert _accepted(store, Put("q", b"much too large", limit_bytes=3))


def test_i9_limit_bytes_sees_what_the_same_commit_does_to_the_queue(make_store: Maker) -> None:
    store = make_store()
    with pytest.raises(LimitReached):
        store.commit(Put("q", b"much too large", limit_bytes=3), Put("q", b"", limit_bytes=3))
    store.commit(Put("q", b"much too large", limit_bytes=3))
    store.commit(*map(Ack, store.claim("q")), Put("q", b"it is empty now", limit_bytes=3))
    assert payloads(store) == [b"it is empty now"]


def test_i9_both_limits_at_once(make_store: Maker) -> None:
    store = make_store()
    assert _accepted(store, Put("q", b"12", limit=2, limit_bytes=5))
    assert not _accepted(store, Put("q", b"1234", limit=2, limit_bytes=5))
    assert _accepted(store, Put("q", b"1", limit=2, limit_bytes=5))
    assert not _accepted(store, Put("q", b"1", limit=2, limit_bytes=5))
    assert payloads(store) == [b"12", b"1"]


def test_i9_threads_never_pass_a_limit(make_store: Maker) -> None:
    store = make_store()
    puts: list[Callable[[], bool]] = [lambda: _accepted(store, Put("q", b"1", limit=5))] * 12
    assert sum(together(puts, patience=make_store.patience)) == 5
    assert store.depth("q").ready == 5


def test_i9_threads_never_pass_a_limit_of_bytes(make_store: Maker) -> None:
    store = make_store()
    puts: list[Callable[[], bool]] = [lambda: _accepted(store, Put("q", b"12", limit_bytes=11))] * 12
    assert sum(together(puts, patience=make_store.patience)) == 5


def test_i9_one_thread_sets_an_absent_key(make_store: Maker) -> None:
    store = make_store()

    def win(name: bytes) -> bytes | None:
        try:
            store.commit(Set("t", b"k", name, expect=Expect.ABSENT))
        except ConditionFailed:
            return None
        return name

    names = together([partial(win, b"%d" % n) for n in range(8)], patience=make_store.patience)
    assert [name for name in names if name is not None] == [store.get("t", b"k")]


def test_i9_one_thread_deletes_a_present_key(make_store: Maker) -> None:
    store = make_store()
    store.commit(Set("t", b"k", b"v"))

    def win() -> bool:
        try:
            store.commit(Delete("t", b"k", expect=Expect.PRESENT))
        except ConditionFailed:
            return False
        return True

    assert sum(together([win] * 8, patience=make_store.patience)) == 1
    assert store.get("t", b"k") is None


def test_i9_threads_count_by_compare_and_set(make_store: Maker) -> None:
    store = make_store()
    store.commit(Set("t", b"n", b"0"))

    def add() -> None:
        value = store.get("t", b"n") or b""
        try:
            store.commit(Set("t", b"n", b"%d" % (int(value) + 1), expect=value))
        except ConditionFailed:
            add()

    together([lambda: [add() for _ in range(20)]] * 4, patience=make_store.patience)
    assert store.get("t", b"n") == b"80"


def test_a_limit_names_the_queue(make_store: Maker) -> None:
    store = make_store.filled(b"", queue="jobs")
    with pytest.raises(LimitReached, match="jobs"):
        store.commit(Put("jobs", b"", limit=1))
    with pytest.raises(LimitReached, match="jobs"):
        store.commit(Put("jobs", b"x", limit_bytes=0))
