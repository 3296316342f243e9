"""What the reference model costs: it stands in for a store on a disk in programs' own tests."""

from __future__ import annotations

from typing import Any

import pytest

from pqadapters.store import Ack, Order, Put
from pqadapters.stores import memory


@pytest.mark.parametrize("order", [Order.OLDEST, Order.NEWEST])
def test_a_put_or_a_get_looks_at_few_records(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looked at all that waited: 10,000 items through a queue took twenty seconds, or through one of the newest
    first."""
    looks, look = list[Any](), memory._state
    monkeypatch.setattr(memory, "_state", lambda row, now: looks.append(row) or look(row, now))
    with memory.MemoryStore() as store:
        for number in range(100):
            store.commit(Put("q", b"%d" % number))
        for _ in range(100):
            store.commit(*map(Ack, store.claim("q", order=order)))
    assert len(looks) == 100
