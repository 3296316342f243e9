"""What a store knows of its queues in memory: a random life of one, compared with a list."""

from __future__ import annotations

import random
import threading

import pytest

from pqadapters.store import Order
from pqadapters.stores.segment import queues
from pqadapters.stores.segment.queues import Catalog, Key, Queue, Table


def _queue() -> Queue:
    return Queue("q", 1, threading.RLock())


class _Life:
    """A queue and the plain truth about it: (rank, id) of all that is ready, and of what is taken."""

    def __init__(self, seed: int, *, ranked: bool) -> None:
        self.rng = random.Random(seed)
        self.ranked = ranked
        self.queue = _queue()
        self.ready: list[tuple[bytes, int]] = []
        self.taken: list[tuple[bytes, int]] = []
        self.last = 0

    def step(self) -> None:
        self.rng.choice([self.put, self.put, self.take_first, self.take_any, self.give_back, self.sweep])()

    def put(self) -> None:
        self.last += 1
        rank = b"%d" % self.rng.randrange(5) if self.ranked and self.rng.random() < 0.7 else b""
        self.queue.add(self.last, rank)
        self.ready.append((rank, self.last))

    def take_first(self) -> None:
        order = self.rng.choice(list(Order))
        id = self.queue.first(order)
        assert id == next(iter(self.expected(order)), None)
        if id is not None:
            self._take(id)

    def take_any(self) -> None:
        if self.ready:
            self._take(self.rng.choice(self.ready)[1])

    def _take(self, id: int) -> None:
        self.queue.take(id)
        (entry,) = [entry for entry in self.ready if entry[1] == id]
        self.ready.remove(entry)
        self.taken.append(entry)

    def give_back(self) -> None:
        if self.taken:
            rank, id = self.taken.pop(self.rng.randrange(len(self.taken)))
            self.queue.give_back(id, rank)
            self.ready.append((rank, id))

    def sweep(self) -> None:
        if self.rng.random() < 0.1:
            self.queue.sweep()

    def expected(self, order: Order) -> list[int]:
        if order is Order.RANK:
            return [id for _, id in sorted(self.ready)]
        return sorted((id for _, id in self.ready), reverse=order is Order.NEWEST)


@pytest.mark.parametrize("ranked", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_i4_every_order_all_the_time(seed: int, ranked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:
        monkeypatch.setattr(queues, "_MANY", 2)
    life = _Life(seed, ranked=ranked)
    for _ in range(600):
        life.step()
        assert len(life.queue) == len(life.ready)
        for order in Order:
            assert life.queue.ids(order) == life.expected(order)


def test_to_take_the_first_of_many_that_came_back_moves_no_others() -> None:
    """A million that had been in hand, or come due at once: each was taken out of the front of a list, in 120 µs."""
    queue, moved = _queue(), 0
    for id in range(1, 5001):
        queue.add(id, not_before=1.0 + id % 7)
    queue.add(5001)
    assert queue.mature(9.0) == 5000
    for id in range(1, 5002):
        assert queue.first(Order.OLDEST) == id
        moved += len(queue.back)
        queue.take(id)
    assert moved < 5001


def test_delayed_records_mature_in_their_places() -> None:
    queue = _queue()
    for id, due in enumerate([0.0, 30.0, 10.0, 0.0, 20.0], 1):
        queue.add(id, b"", due)
    assert (queue.ids(Order.OLDEST), queue.total) == ([1, 4], 5)
    assert queue.mature(20.0) == 2
    assert queue.ids(Order.OLDEST) == [1, 3, 4, 5]
    assert queue.mature(30.0) == 1
    assert queue.ids(Order.OLDEST) == [1, 2, 3, 4, 5]


def test_keys_stand_in_the_order_of_their_first_values() -> None:
    table = Table("t", 1)
    table.keys = {b"c": Key(9, 3, 1), b"a": Key(4, 1, 1), b"b": Key(8, 2, 1)}
    table.sort()
    assert list(table.keys) == [b"a", b"b", b"c"]


def test_names_that_share_a_number_get_numbers_of_their_own() -> None:
    catalog = Catalog(threading.RLock())
    first = catalog.queue("plumless")
    second = catalog.queue("buckeroo")  # the same CRC-32
    assert first.number != second.number
    assert catalog.by_number[second.number] is second


def test_a_lost_name_is_known_again_when_it_is_asked_for() -> None:
    catalog = Catalog(threading.RLock())
    number = catalog.queue("jobs").number
    catalog.clear()
    nameless = catalog.add_queue("?", number, named=False)
    assert catalog.known_queue("other") is None
    assert catalog.known_queue("jobs") is nameless
    assert (nameless.name, nameless.named) == ("jobs", True)
