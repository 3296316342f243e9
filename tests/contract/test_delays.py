"""Delayed records: counted apart, and not claimable before their time."""

from __future__ import annotations

from pqadapters.store import Ack, Nack, Put, State, Stop

from .maker import Maker
from .snapshot import payloads
from .threads import Task, waiting


def test_a_delayed_record_is_not_claimed_early(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    (id,) = store.commit(Put("q", b"a", not_before=clock.now + 10))
    assert store.claim("q") == store.claim("q", ids=[id]) == []
    clock.advance(9.9)
    assert store.claim("q") == []
    clock.advance(0.2)
    assert [claim.payload for claim in store.claim("q")] == [b"a"]


def test_a_delay_that_is_over_delays_nothing(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now - 10), Put("q", b"b", not_before=clock.now))
    assert [claim.payload for claim in store.claim("q", limit=2)] == [b"a", b"b"]


def test_delayed_records_are_counted_apart(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(
        Put("q", b"12", not_before=clock.now + 10), Put("q", b"3"), Put("q", b"456", not_before=clock.now + 20)
    )
    assert store.depth("q")[:5] == (1, 2, 0, 0, 6)
    clock.advance(11)
    assert store.depth("q")[:5] == (2, 1, 0, 0, 6)
    clock.advance(10)
    assert store.depth("q")[:5] == (3, 0, 0, 0, 6)


def test_a_nack_may_delay(make_store: Maker) -> None:
    store, clock = make_store.filled(b"a", b"b"), make_store.clock
    (claim,) = store.claim("q")
    store.commit(Nack(claim, not_before=clock.now + 10))
    (record,) = store.browse("q", state=State.DELAYED)
    assert (record.id, record.not_before, record.attempts) == (claim.id, clock.now + 10, 1)
    assert payloads(store) == [b"b"]
    clock.advance(11)
    assert [(again.payload, again.attempt) for again in store.claim("q")] == [(b"a", 2)]


def test_a_plain_nack_ends_a_delay(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now + 10))
    clock.advance(11)
    (claim,) = store.claim("q")
    clock.advance(-5)  # wall time may be set back
    store.commit(Nack(claim))
    assert store.depth("q").ready == 1


def test_i7_who_waits_out_a_delay_has_the_record_when_the_clock_was_put_forward(make_store: Maker) -> None:
    """By an hour, or the machine was suspended: files and memory slept on for all of the delay."""
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now + 3600))
    watcher = waiting(
        store, lambda look: store.wait("q", lambda depth: look() or not depth.delayed), patience=make_store.patience
    )
    taker = waiting(store, lambda look: store.claim("q", timeout=None, stop=look), patience=make_store.patience)
    clock.advance(3601)
    assert watcher.result()
    assert [claim.payload for claim in taker.result()] == [b"a"]


def test_a_claimed_record_stays_claimed_whatever_the_clock_says(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now + 10))
    clock.advance(11)
    (claim,) = store.claim("q")
    clock.advance(-11)
    assert store.depth("q")[:3] == (0, 0, 1)
    store.commit(Ack(claim))


def test_i3_a_delay_that_runs_out_while_it_is_counted_hides_nothing(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now + 0.5), Put("q", b"b", not_before=clock.now + 0.7))
    clock.tick = 0.01
    depths = [store.depth("q") for _ in range(150)]
    assert {depth.unfinished for depth in depths} == {2}, "a record was in no state"
    assert {depth.bytes for depth in depths} == {2}
    assert depths[-1].ready == 2


def test_i7_a_claim_waits_for_a_delay_to_run_out(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now + 0.01))
    task = waiting(store, lambda stop: store.claim("q", timeout=None, stop=stop), patience=make_store.patience)
    clock.advance(1)
    assert [claim.payload for claim in task.result()] == [b"a"]


def test_i7_a_claim_hears_of_a_delay_that_is_put_while_it_waits(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"much later", not_before=clock.now + 10_000))
    task = waiting(store, lambda stop: store.claim("q", timeout=None, stop=stop), patience=make_store.patience)
    store.commit(Put("q", b"soon", not_before=clock.now + 0.01))
    clock.advance(1)
    assert [claim.payload for claim in task.result()] == [b"soon"]


def test_i7_a_wait_sees_a_delay_run_out(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a", not_before=clock.now + 0.01))

    def wait(look: Stop) -> bool:
        return store.wait("q", lambda depth: look() or depth.ready > 0)

    task = waiting(store, wait, patience=make_store.patience)
    clock.advance(1)
    assert task.result()


def test_i7_a_delay_that_runs_out_between_two_looks_is_seen(make_store: Maker) -> None:
    """Whatever a store reads the clock for: the record may become ready right before that reading."""
    store, clock = make_store(), make_store.clock
    for looks in range(4 if store.capabilities.hosts else 12):  # a server's clock is read less often
        clock.tick = 0.0
        store.commit(Put("q", b"a", not_before=clock.now + looks * 0.001 + 0.0005))
        clock.tick = 0.001
        (claim,) = Task(lambda: store.claim("q", timeout=None), patience=make_store.patience).result()
        clock.tick = 0.0
        store.commit(Nack(claim, not_before=clock.now + looks * 0.001 + 0.0005))
        clock.tick = 0.001
        assert Task(lambda: store.wait("q", lambda d: d.ready > 0), patience=make_store.patience).result()
        clock.tick = 0.0
        store.commit(*map(Ack, store.claim("q")))
