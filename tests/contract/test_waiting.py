"""I7: whoever waits is woken by what it waits for, and no wake-up is lost to a waiter that gives up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from pqadapters.errors import LimitReached, StoreClosed
from pqadapters.store import Ack, Claim, Depth, Nack, Put, Stop, Store, Update

from .maker import Maker
from .threads import Task, together, waiting

Taker = Task[list[Claim]]


def _taker(make_store: Maker, store: Store, stop: Stop = lambda: False, ids: list[int] | None = None) -> Taker:
    """A thread that waits for ever to claim one record."""
    return waiting(
        store, lambda look: store.claim("q", ids=ids, timeout=None, stop=look), patience=make_store.patience, stop=stop
    )


def _watcher(make_store: Maker, store: Store, until: Callable[[Depth], bool]) -> Task[bool]:
    return waiting(
        store, lambda look: store.wait("q", lambda depth: look() or until(depth)), patience=make_store.patience
    )


def test_i7_a_put_wakes_a_claim(make_store: Maker) -> None:
    store = make_store()
    taker = _taker(make_store, store)
    store.commit(Put("q", b"a"))
    assert [claim.payload for claim in taker.result()] == [b"a"]


def test_i7_a_put_wakes_a_claim_of_another_handle(make_store: Maker) -> None:
    store, other = make_store(), make_store()
    takers = [_taker(make_store, other), _taker(make_store, store)]
    store.commit(Put("q", b"a"))
    other.commit(Put("q", b"b"))
    assert {taker.result()[0].payload for taker in takers} == {b"a", b"b"}


def test_i7_one_commit_of_many_puts_wakes_as_many(make_store: Maker) -> None:
    store = make_store()
    takers = [_taker(make_store, store) for _ in range(5)]
    store.commit(*(Put("q", b"%d" % n) for n in range(5)))
    assert sorted(taker.result()[0].payload for taker in takers) == [b"%d" % n for n in range(5)]


def test_i7_each_of_many_puts_wakes_somebody(make_store: Maker) -> None:
    store = make_store()
    takers = [_taker(make_store, store) for _ in range(5)]
    together([partial(store.commit, Put("q", b"%d" % n)) for n in range(5)], patience=make_store.patience)
    assert sorted(taker.result()[0].payload for taker in takers) == [b"%d" % n for n in range(5)]


def test_i7_claims_and_puts_that_meet_miss_nothing(make_store: Maker) -> None:
    store = make_store()
    for _ in range(30):
        claims, _ = together(
            [lambda: [c.id for c in store.claim("q", timeout=None)], lambda: list(store.commit(Put("q", b"")))],
            patience=make_store.patience,
        )
        assert len(claims) == 1


def test_i7_a_put_elsewhere_satisfies_nobody(make_store: Maker) -> None:
    store = make_store()
    taker = _taker(make_store, store)
    store.commit(Put("other", b"a"), Put("q.dead", b"b"))
    store.wake("q")
    assert taker.running
    store.commit(Put("q", b"c"))
    assert [claim.payload for claim in taker.result()] == [b"c"]


def test_i7_a_nack_wakes_a_claim(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    taker = _taker(make_store, store)
    store.commit(Nack(claim))
    assert taker.result()[0].attempt == 2


def test_i7_a_dead_letter_wakes_who_waits_for_it(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (claim,) = store.claim("q")
    taker = waiting(store, lambda look: store.claim("q.dead", timeout=None, stop=look), patience=make_store.patience)
    store.commit(Nack(claim, dead="no"))
    assert taker.result()[0].note == "no"


def test_i7_a_claim_by_ids_waits_for_them(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    a, b = store.claim("q", limit=2)
    taker = _taker(make_store, store, ids=[b.id])
    other = _taker(make_store, store, ids=[a.id])
    store.commit(Put("q", b"c"), Nack(b))
    assert [claim.id for claim in taker.result()] == [b.id]
    assert other.running
    store.commit(Nack(a))
    assert [claim.id for claim in other.result()] == [a.id]
    assert store.depth("q").ready == 1


def test_i7_wake_makes_a_claim_look_at_its_stop(make_store: Maker) -> None:
    store, stops = make_store(), threading.Event()
    takers = [_taker(make_store, store, stop=stops.is_set) for _ in range(3)]
    store.wake("q")
    assert all(taker.running for taker in takers)
    stops.set()
    store.wake("q")
    assert [taker.result() for taker in takers] == [[]] * 3


def test_i9_a_stopped_waiter_takes_nothing(make_store: Maker) -> None:
    store, stops = make_store(), threading.Event()
    taker = _taker(make_store, store, stop=stops.is_set)
    stops.set()
    store.commit(Put("q", b"a"))
    assert taker.result() == []
    assert store.depth("q").ready == 1


def test_i7_a_stopped_waiter_passes_its_wake_up_on(make_store: Maker) -> None:
    store, stops = make_store(), threading.Event()
    stopped, other = _taker(make_store, store, stop=stops.is_set), _taker(make_store, store)
    stops.set()
    store.commit(Put("q", b"a"))  # wakes the first one, maybe it alone
    assert [claim.payload for claim in other.result()] == [b"a"]
    store.wake("q")
    assert stopped.result() == []


def test_i7_an_interrupted_waiter_passes_its_wake_up_on(make_store: Maker) -> None:
    store, interrupts = make_store(), threading.Event()

    def stop() -> bool:
        if interrupts.is_set():
            raise KeyboardInterrupt
        return False

    interrupted, other = _taker(make_store, store, stop=stop), _taker(make_store, store)
    interrupts.set()
    store.commit(Put("q", b"a"))
    assert [claim.payload for claim in other.result()] == [b"a"]
    store.wake("q")
    with pytest.raises(KeyboardInterrupt):
        interrupted.result()


def test_i7_a_waiter_for_other_ids_passes_its_wake_up_on(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    (a,) = store.claim("q")
    picky, other = _taker(make_store, store, ids=[a.id]), _taker(make_store, store)
    store.commit(Put("q", b"b"))
    assert [claim.payload for claim in other.result()] == [b"b"]
    store.commit(Nack(a))
    assert [claim.payload for claim in picky.result()] == [b"a"]


def test_i7_a_waiter_that_times_out_loses_no_wake_up(make_store: Maker) -> None:
    store, won = make_store(), threading.Semaphore(0)

    def hasty() -> None:
        while not done.is_set():
            if store.claim("q", timeout=0.0005):
                won.release()

    def patient() -> None:
        while not done.is_set():
            if store.claim("q", timeout=None, stop=done.is_set):
                won.release()

    done = threading.Event()
    tasks = [Task(function, patience=make_store.patience) for function in (hasty, patient, hasty)]
    try:
        for _ in range(100):
            store.commit(Put("q", b""))
            assert won.acquire(timeout=make_store.patience), "a record was there and nobody woke"
    finally:
        done.set()
        store.wake("q")
    for task in tasks:
        task.result()


def test_a_wait_returns_at_once_where_it_holds(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    for timeout in (None, 0, -1, 1.0):
        assert store.wait("q", lambda depth: depth.ready == 1, timeout=timeout) is True
        assert store.wait("empty", lambda depth: depth.unfinished == 0, timeout=timeout) is True


def test_a_wait_gives_up_after_its_timeout(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    for timeout in (0, 0.0, -1, 0.01):
        assert store.wait("q", lambda depth: depth.ready == 0, timeout=timeout) is False


def test_a_wait_sees_the_depth_without_an_age(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"bc")
    store.commit(Put("q", b"d", not_before=make_store.clock.now + 60))
    store.claim("q")
    seen: list[Depth] = []
    store.wait("q", lambda depth: bool(seen.append(depth)) or True)
    assert seen == [Depth(1, 1, 1, 0, 4, None)]


def test_a_wait_hands_on_what_its_predicate_raises(make_store: Maker) -> None:
    store = make_store()

    def until(depth: Depth) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.wait("q", until)
    store.commit(Put("q", b"a"))


def test_i7_every_change_of_depth_wakes_a_wait(make_store: Maker) -> None:
    store, other = make_store(), make_store()

    def expect(change: Callable[[], object], *depth: int) -> None:
        watchers = [_watcher(make_store, handle, lambda d: d[:5] == depth) for handle in (store, other)]
        change()
        assert [watcher.result() for watcher in watchers] == [True, True]

    held: list[Claim] = []
    expect(lambda: store.commit(Put("q", b"12"), Put("q", b"3")), 2, 0, 0, 0, 3)
    expect(lambda: held.extend(store.claim("q", limit=2)), 0, 0, 2, 0, 3)
    expect(lambda: store.commit(Update(held[0], b"1234")), 0, 0, 2, 0, 5)
    expect(lambda: store.commit(Nack(held[1])), 1, 0, 1, 0, 5)
    expect(lambda: store.commit(Nack(held[0], dead="no")), 1, 0, 0, 1, 1)
    expect(lambda: store.commit(*map(Ack, store.claim("q.dead"))), 1, 0, 0, 0, 1)
    expect(lambda: other.commit(*map(Ack, other.claim("q"))), 0, 0, 0, 0, 0)
    expect(lambda: store.commit(Put("q.dead", b"")), 0, 0, 0, 1, 0)
    expect(lambda: store.commit(Put("q", b"5", not_before=make_store.clock.now + 60)), 0, 1, 0, 1, 1)


def test_i7_wake_makes_a_wait_look_again(make_store: Maker) -> None:
    store, given_up = make_store(), threading.Event()
    watcher = _watcher(make_store, store, lambda depth: given_up.is_set())
    given_up.set()
    store.wake("q")
    assert watcher.result()


def test_i7_who_waits_for_room_is_woken_by_a_claim(make_store: Maker) -> None:
    """What a bounded queue does: put, and where that is refused wait for room and put again."""
    store = make_store()

    def put(payload: bytes) -> None:
        while True:
            try:
                store.commit(Put("q", payload, limit=1))
            except LimitReached:
                assert store.wait("q", lambda depth: depth.ready < 1)
            else:
                return

    def produce(name: int) -> list[bytes]:
        for n in range(20):
            put(b"%d-%d" % (name, n))
        return []

    def take() -> list[bytes]:
        return [store.claim("q", timeout=None)[0].payload for _ in range(40)]

    threads: list[Callable[[], list[bytes]]] = [take, partial(produce, 0), partial(produce, 1)]
    taken, *_ = together(threads, patience=make_store.patience)
    assert sorted(taken) == sorted(b"%d-%d" % (n, m) for n in range(2) for m in range(20))


def test_a_waiter_of_a_closed_handle_is_told(make_store: Maker) -> None:
    store, closed = make_store(), make_store()
    taker = _taker(make_store, closed)
    watcher = _watcher(make_store, closed, lambda depth: depth.ready == 7)
    staying = _taker(make_store, store)
    closed.close()
    for task in (taker, watcher):
        with pytest.raises(StoreClosed):
            task.result()
    assert staying.running
    store.commit(Put("q", b"a"))
    assert staying.result()


def test_i7_a_closing_owner_wakes_who_waits_for_its_records(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    owner = make_store()
    owner.claim("q", limit=2)
    takers = [_taker(make_store, store), _taker(make_store, store)]
    watcher = _watcher(make_store, store, lambda depth: depth.claimed == 2 and depth.ready == 0)
    owner.close()
    assert sorted(taker.result()[0].payload for taker in takers) == [b"a", b"b"]
    assert watcher.result()


def test_i7_a_join_ends_with_the_last_ack(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b")
    joiners = [_watcher(make_store, store, lambda depth: depth.unfinished == 0) for _ in range(3)]
    for claim in store.claim("q", limit=2):
        assert all(joiner.running for joiner in joiners)
        store.commit(Ack(claim, lazy=True))
    assert [joiner.result() for joiner in joiners] == [True] * 3
