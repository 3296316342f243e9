"""The store in memory, where it is more than the contract."""

from __future__ import annotations

import os

import pytest

import pqadapters.stores
from pqadapters.errors import ConditionFailed
from pqadapters.store import Ack, Claim, Delete, Expect, Order, Put, Set
from pqadapters.stores.memory import MemoryStore

from .contract.interrupting import interrupted

_STORES = os.path.dirname(str(pqadapters.stores.__file__))


def test_a_deletion_that_is_refused_leaves_the_table_alone() -> None:
    """It was sorted as if something had been put back: 40 ms of 100,000 keys, for each pop() that came second."""
    store = MemoryStore()
    store.commit(*(Set("t", key, b"value") for key in (b"a", b"b")))
    table = store._data.tables["t"]
    with pytest.raises(ConditionFailed):
        store.commit(Delete("t", b"c", Expect.PRESENT))
    assert store._data.tables["t"] is table


@pytest.mark.parametrize("order", [Order.OLDEST, Order.RANK])
def test_i5_a_claim_is_made_or_not_wherever_it_is_interrupted(order: Order) -> None:
    """The record was nobody's until the handle was closed, and who joined waited for ever."""
    store, nth, going = MemoryStore(), 0, True
    while going:
        nth += 1
        store.commit(Put("q", b"a"), Put("q", b"b", rank=b"r"))
        claims: list[Claim] = []
        going = interrupted(lambda: claims.extend(store.claim("q", order=order)), nth, (_STORES,), exits=True)  # noqa: B023
        assert store.depth("q").claimed == len(claims), f"at place {nth}"
        claims += store.claim("q", limit=2)
        assert [claim.attempt for claim in claims] == [1, 1], f"at place {nth}"
        store.commit(*map(Ack, claims))
    assert nth > 20
