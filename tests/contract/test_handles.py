"""I5 and handles: claims end with the handle that took them, closed or forgotten."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest

from pqadapters.durability import Durability
from pqadapters.errors import StoreClosed
from pqadapters.store import Ack, Capabilities, Put, Set, State, Store

from .maker import Maker
from .snapshot import payloads
from .threads import waiting


def test_a_store_says_what_it_is(make_store: Maker) -> None:
    store = make_store()
    assert isinstance(store, Store)
    assert isinstance(store.capabilities, Capabilities)
    assert isinstance(store.durability, Durability)
    assert isinstance(store.place, str)
    assert store.place
    assert list(store.damage) == []


def test_handles_share_the_data(make_store: Maker) -> None:
    first, second = make_store.filled(b"a"), make_store()
    second.commit(Put("q", b"b"), Set("t", b"k", b"v"))
    assert payloads(first) == payloads(second) == [b"a", b"b"]
    assert first.get("t", b"k") == b"v"
    assert first.depth("q") == second.depth("q")


def test_i5_closing_gives_back_this_handles_claims(make_store: Maker) -> None:
    store, owner, other = make_store.filled(b"a", b"b", b"c"), make_store(), make_store()
    store.claim("q")
    owner.claim("q")
    (kept,) = other.claim("q")
    owner.close()
    assert [record.state for record in store.browse("q", state=None)] == [State.CLAIMED, State.READY, State.CLAIMED]
    (again,) = store.claim("q")
    assert (again.payload, again.attempt) == (b"b", 2)
    other.commit(Ack(kept))


def test_i5_forgetting_a_handle_gives_back_its_claims(make_store: Maker) -> None:
    store, owner = make_store.filled(b"a", b"b"), make_store()
    owner.claim("q", limit=2, counted=True)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None, "something keeps the handle alive"
    assert [claim.attempt for claim in store.claim("q", limit=3)] == [2, 2]


def test_a_handle_is_not_copied(make_store: Maker) -> None:
    """A copy was closed where the handle was dropped, and each had its own idea of whether it is."""
    store = make_store()
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="can't be copied or pickled"):
            copied(store)


def test_i5_a_forgotten_cycle_gives_back_its_claims(make_store: Maker) -> None:
    store, owner = make_store.filled(b"a"), make_store()
    cycle: list[object] = [owner, owner.claim("q")]
    cycle.append(cycle)
    del cycle, owner
    gc.collect()
    assert [claim.attempt for claim in store.claim("q")] == [2]


def test_i7_a_forgotten_owner_wakes_who_waits_for_its_records(make_store: Maker) -> None:
    store, owner = make_store.filled(b"a"), make_store()
    owner.claim("q")
    taker = waiting(store, lambda look: store.claim("q", timeout=None, stop=look), patience=make_store.patience)
    del owner
    gc.collect()
    assert [claim.payload for claim in taker.result()] == [b"a"]


def test_the_first_handle_may_close_before_the_others(make_store: Maker) -> None:
    first = make_store.filled(b"a")
    second, third = make_store(), make_store()
    first.close()
    second.commit(Put("q", b"b"))
    assert payloads(third) == [b"a", b"b"]
    second.close()
    assert len(third.claim("q", limit=9)) == 2


def test_a_closed_handle_refuses_work(make_store: Maker) -> None:
    store, closed = make_store.filled(b"a"), make_store()
    (claim,) = closed.claim("q")
    closed.close()
    for use in (
        lambda: closed.commit(),
        lambda: closed.commit(Put("q", b"late")),
        lambda: closed.commit(Ack(claim)),
        lambda: closed.claim("q"),
        lambda: closed.claim("q", timeout=None),
        lambda: list(closed.browse("q")),
        lambda: closed.depth("q"),
        lambda: closed.wait("q", lambda depth: True),
        lambda: closed.get("t", b"k"),
        lambda: list(closed.scan("t")),
        lambda: closed.count("t"),
        lambda: closed.checkpoint(),
        lambda: closed.sync(),
    ):
        with pytest.raises(StoreClosed):
            use()
    assert payloads(store) == [b"a"]


def test_a_second_close_does_nothing(make_store: Maker) -> None:
    store, handle = make_store.filled(b"a"), make_store()
    handle.claim("q")
    handle.close()
    store.claim("q")
    handle.close()
    assert store.depth("q").claimed == 1


def test_a_with_statement_closes(make_store: Maker) -> None:
    store, handle = make_store.filled(b"a"), make_store()
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117
        with handle as entered:
            assert entered is handle
            handle.claim("q")
            raise ZeroDivisionError
    with pytest.raises(StoreClosed):
        handle.depth("q")
    assert store.depth("q").ready == 1


def test_a_handle_is_opened_and_closed_many_times(make_store: Maker) -> None:
    store = make_store()
    for n in range(20):
        with make_store() as handle:
            handle.commit(Put("q", b"%d" % n))
            handle.claim("q", limit=100)
    assert payloads(store) == [b"%d" % n for n in range(20)]


def test_checkpoint_changes_nothing_that_is_seen(make_store: Maker) -> None:
    store = make_store.filled(*[b"%d" % n for n in range(50)])
    held = store.claim("q", limit=10)
    store.commit(*map(Ack, held[::2]), Set("t", b"k", b"v"))
    before = (payloads(store), store.depth("q"), list(store.scan("t")))
    store.checkpoint()
    store.sync()
    store.checkpoint()
    assert (payloads(store), store.depth("q"), list(store.scan("t"))) == before
    store.commit(*map(Ack, held[1::2]))
    assert store.depth("q").claimed == 0
