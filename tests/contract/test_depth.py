"""`depth`: how much is in a queue, in which state."""

from __future__ import annotations

import pytest

from pqadapters.store import Ack, Depth, Nack, Put, Set, Update

from .maker import Maker


def test_the_depth_of_a_queue_that_never_was(make_store: Maker) -> None:
    assert make_store().depth("q") == Depth(0, 0, 0, 0, 0, None)


def test_the_depth_beside_a_queue_without_a_name(make_store: Maker) -> None:
    store = make_store.filled(b"1", b"2", queue="")
    store.commit(*(Nack(claim, dead="no") for claim in store.claim("")))
    store.commit(Put("r.dead", b"3"))
    assert store.depth("q") == Depth()
    assert store.depth("r") == Depth(dead=1)
    assert store.depth("")[:5] == (1, 0, 0, 1, 1)


def test_the_depth_follows_a_record_through_its_life(make_store: Maker) -> None:
    store = make_store()
    seen = [store.depth("q")[:5]]

    def look() -> None:
        seen.append(store.depth("q")[:5])
        assert store.any_ready("q") == bool(seen[-1][0]), "any_ready() is as the depth"

    look()
    store.commit(Put("q", b"123"), Set("q", b"not", b"counted"))
    look()
    (claim,) = store.claim("q")
    look()
    store.commit(Update(claim, b"12345"))
    look()
    store.commit(Nack(claim, not_before=make_store.clock.now + 60))
    look()
    make_store.clock.advance(61)
    look()
    (claim,) = store.claim("q")
    store.commit(Nack(claim, dead="no"))
    look()
    (claim,) = store.claim("q.dead")
    store.commit(Ack(claim))
    look()
    #                (ready, delayed, claimed, dead, bytes)
    assert seen == [
        (0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0),
        (1, 0, 0, 0, 3),
        (0, 0, 1, 0, 3),
        (0, 0, 1, 0, 5),
        (0, 1, 0, 0, 5),
        (1, 0, 0, 0, 5),
        (0, 0, 0, 1, 0),
        (0, 0, 0, 0, 0),
    ]


def test_unfinished_counts_all_but_the_dead(make_store: Maker) -> None:
    store = make_store.filled(b"a", b"b", b"c")
    store.commit(Put("q", b"d", not_before=make_store.clock.now + 60))
    dead, _held = store.claim("q", limit=2)
    store.commit(Nack(dead, dead="no"))
    assert store.depth("q").unfinished == 3


def test_the_oldest_age_is_that_of_a_ready_record(make_store: Maker) -> None:
    store, clock = make_store(), make_store.clock
    store.commit(Put("q", b"a"))
    clock.advance(10)
    store.commit(Put("q", b"b", not_before=clock.now + 100))
    clock.advance(10)
    store.commit(Put("q", b"c"))
    clock.advance(5)
    assert store.depth("q").oldest_age == pytest.approx(25, abs=0.001)
    assert store.depth("q", age=False) == store.depth("q")._replace(oldest_age=None)
    (claim,) = store.claim("q")
    assert store.depth("q").oldest_age == pytest.approx(5, abs=0.001)
    clock.advance(100)
    assert store.depth("q").oldest_age == pytest.approx(115, abs=0.001)  # since it was put, not since it was due
    store.commit(Nack(claim))
    assert store.depth("q").oldest_age == pytest.approx(125, abs=0.001)
    store.claim("q", limit=3)
    assert store.depth("q").oldest_age is None


def test_the_oldest_age_is_never_negative(make_store: Maker) -> None:
    store = make_store.filled(b"a")
    make_store.clock.advance(-100)  # wall time was set back
    assert store.depth("q").oldest_age == 0.0


def test_the_depth_of_one_queue_says_nothing_of_another(make_store: Maker) -> None:
    store = make_store.filled(b"12", b"3")
    store.commit(Put("other", b"4567"))
    store.claim("other")
    assert store.depth("q")[:5] == (2, 0, 0, 0, 3)
    assert store.depth("other")[:5] == (0, 0, 1, 0, 4)
