"""Looking at a segment store: whoever wants the first record or key alone doesn't pay for all of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pqadapters.clock import Clock
from pqadapters.stdlib.pdict import PDict
from pqadapters.stdlib.queue import LifoQueue, PriorityQueue, Queue
from pqadapters.store import Ack, Nack, Order, Put, Set, State
from pqadapters.stores._disk import ScratchDisk
from pqadapters.stores.segment import SegmentStore, queues
from pqadapters.stores.segment.queues import Key


def _refuse(*_: object) -> NoReturn:
    raise AssertionError("all of them were asked for")


@pytest.mark.parametrize(("kind", "first"), [(Queue, 1), (LifoQueue, 3), (PriorityQueue, 1)])
def test_the_next_item_is_looked_at_by_itself(kind: Any, first: int, tmp_path: Path, monkeypatch: Any) -> None:
    """`q.queue[0]` took 4 ms behind 60,000 items, of a priority queue 98."""
    q = kind(path=tmp_path / "q", durability="process")
    q.put_many([1, 2, 3])
    monkeypatch.setattr(queues.Queue, "ids", _refuse)
    assert q.peek() == first
    assert q.queue[0] == 1
    monkeypatch.undo()
    assert list(q.queue) == [1, 2, 3]
    q.close()


@pytest.mark.parametrize("kind", [Queue, PriorityQueue])
def test_items_that_are_put_while_others_are_looked_at_are_not_seen(kind: Any, tmp_path: Path) -> None:
    q = kind(path=tmp_path / "q", durability="process")
    q.put_many([1, 2])
    seen = []
    for item in q.queue:
        q.put(item + 10)
        seen.append(item)
    assert seen == [1, 2]
    assert list(q.queue) == [1, 2, 11, 12]
    q.close()


class _Ready(deque[int]):
    """Those of a queue, which aren't gone through from the first one on."""

    def __iter__(self) -> NoReturn:
        _refuse()


@pytest.mark.parametrize("state", [State.READY, None])
def test_what_came_last_is_looked_at_without_what_waits_before_it(state: State | None, tmp_path: Path) -> None:
    """A PriorityQueue that orders its items in memory asks for it at each call: 0.3 ms behind 12,000 items."""
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        ids = store.commit(*[Put("q", b"") for _ in range(6)])
        (claim,) = store.claim("q", ids=ids[3:4])
        store.commit(Nack(claim))
        queue = store._core.catalog.queue("q")
        queue.ready = _Ready(queue.ready)
        for order, found in ((Order.OLDEST, ids[2:]), (Order.NEWEST, ids[:1:-1])):
            assert tuple(record.id for record in store.browse("q", order=order, state=state, after=ids[1])) == found


class _Late(list[tuple[float, int, bytes]]):
    """The delayed records of a queue, which aren't gone through."""

    def __iter__(self) -> NoReturn:
        _refuse()


def test_a_record_is_looked_at_by_its_id_without_all_others(tmp_path: Path, monkeypatch: Any) -> None:
    """To cancel a delayed job took 60 ms where there were 100,000, and a ready one beside those 5 ms."""
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        ready, held, late, again = store.commit(*(Put("q", b"", not_before=when) for when in (0, 0, 4e9, 0)))
        (claim,) = store.claim("q", ids=[again])
        store.commit(Nack(claim, not_before=4e9))
        store.claim("q", ids=[held])
        store.commit(Put("other", b""), Put("q", b"", not_before=4e9))
        queue = store._core.catalog.queue("q")
        queue.delayed = _Late(queue.delayed)
        monkeypatch.setattr(queues.Queue, "ids", _refuse)
        seen = [next(store.browse("q", state=None, after=id - 1)) for id in (ready, held, late, again)]
        assert [record.id for record in seen] == [ready, held, late, again]
        assert [record.state for record in seen] == [State.READY, State.CLAIMED, State.DELAYED, State.DELAYED]
        assert [claim.id for claim in store.claim("q", ids=[again, late, held, again + 1, ready], limit=5)] == [ready]


class _Running(Clock):
    """Goes on with each look at it."""

    now = 0.0

    def wall(self) -> float:
        self.now += 1
        return self.now


def test_a_record_that_comes_due_while_it_is_claimed_by_its_id_is_delayed_or_ready(tmp_path: Path) -> None:
    """Between two looks at the clock it was ready already, and among the delayed ones still."""
    clock = _Running()
    with SegmentStore(tmp_path, disk=ScratchDisk(), clock=clock) as store:
        for ahead in range(2, 12):
            (id,) = store.commit(Put("q", b"", not_before=clock.now + ahead))
            claims = store.claim("q", ids=[id])
            ready, delayed, claimed = store.depth("q")[:3]
            assert (ready + delayed, claimed) == (1 - len(claims), len(claims))
            clock.now += 20
            store.commit(*map(Ack, claims or store.claim("q")))
            assert store.depth("q").unfinished == 0


def test_a_clock_that_is_set_back_makes_no_record_ready_again(tmp_path: Path) -> None:
    clock = _Running()
    with SegmentStore(tmp_path, disk=ScratchDisk(), clock=clock) as store:
        due, late = store.commit(Put("q", b"", not_before=50.0), Put("q", b"", not_before=900.0))
        clock.now = 100.0
        assert store.depth("q")[:2] == (1, 1)
        clock.now = 10.0
        assert [record.state for record in store.browse("q", state=None)] == [State.READY, State.DELAYED]
        assert [claim.id for claim in store.claim("q", ids=[due, late], limit=2)] == [due]


def test_records_behind_one_are_looked_at_as_they_were(tmp_path: Path) -> None:
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        ids = store.commit(*(Put("q", b"", not_before=when) for when in (0, 4e9, 0, 4e9)))
        store.commit(Put("other", b""))
        last = store.commit(Put("q", b""))[0]
        for state, first in ((None, ids[1]), (State.DELAYED, ids[1]), (State.READY, ids[2])):
            there = list(store.browse("q", state=state, after=ids[0]))
            seen = store.browse("q", state=state, after=ids[0])
            assert next(seen) == there[0]
            assert there[0].id == first
            store.commit(Put("q", b""), Put("q", b"", not_before=4e9))
            assert list(seen) == there[1:]
        assert next(store.browse("q", after=ids[3])).id == last  # another queue's stands between


class _Keys(dict[bytes, Key]):
    """Those of a table, which count how many of them are looked at."""

    looked = 0

    def _counted(self, keys: Iterator[bytes]) -> Iterator[bytes]:
        for key in keys:
            self.looked += 1
            yield key

    def __iter__(self) -> Iterator[bytes]:
        return self._counted(super().__iter__())

    def __reversed__(self) -> Iterator[bytes]:
        return self._counted(super().__reversed__())


def test_the_first_key_is_looked_at_by_itself(tmp_path: Path, monkeypatch: Any) -> None:
    mapping: PDict[str, int] = PDict(store=f"file://{tmp_path}/d")
    with mapping:
        mapping.update(a=1, b=2, c=3)
        catalog = mapping._table.store._core.catalog  # type: ignore[attr-defined]
        table = catalog.known_table(mapping._table.name)
        keys = _Keys(table.keys)
        monkeypatch.setattr(table, "keys", keys)
        assert (next(iter(mapping)), next(reversed(mapping))) == ("a", "c")
        assert keys.looked == 2


def test_keys_that_are_set_while_others_are_looked_at_are_not_seen(tmp_path: Path) -> None:
    mapping: PDict[str, int] = PDict(store=f"file://{tmp_path}/d")
    with mapping:
        mapping.update(a=1, b=2, c=3)
        seen = []
        for key in mapping:
            mapping[f"{key}{key}"] = mapping.pop(key)
            seen.append(key)
        assert seen == ["a", "b", "c"]
        assert list(mapping) == ["aa", "bb", "cc"]


class _Passes(dict[bytes, Key]):
    """Those of a table, which count how often all of them are gone through."""

    passes = 0

    def items(self) -> Any:
        self.passes += 1
        return super().items()


def test_damage_that_takes_many_records_is_one_pass(tmp_path: Path, monkeypatch: Any) -> None:
    """All keys were gone through for each of them: minutes, where a segment of 100,000 keys was lost."""
    names = [b"%d" % number for number in range(100)]
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        store.commit(*(Set("t", name, b"value of %s." % name) for name in names))
        others = store.commit(*(Put("q", b"record %d." % number) for number in range(9)))
    (segment,) = tmp_path.glob("*.seg")
    data = bytearray(segment.read_bytes())
    start, end = data.index(b"value of 10."), data.index(b"record 6.")
    data[start:end] = bytes(end - start)
    segment.write_bytes(data)
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        catalog = store._core.catalog
        table = catalog.tables["t"]
        table.keys = keys = _Passes(table.keys)
        store.claim("q", ids=others[-1:])
        assert [key for key, _ in store.scan("t")] == names[:10]
        assert keys.passes <= 3
        assert tuple(record.id for record in store.browse("q", state=None)) == others[-2:]
        depth = store.depth("q")
        assert (depth.ready, depth.claimed) == (1, 1)


class _Heap(list[tuple[bytes, int]]):
    """Of a queue with ranks, which counts how often it is gone through."""

    passes = 0

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        self.passes += 1
        return super().__iter__()


def test_to_count_records_with_ranks_none_is_looked_at(tmp_path: Path) -> None:
    """The oldest was looked for among all of them: `while not q.empty()` took 15 ms a turn behind 100,000 items."""
    q: PriorityQueue[int] = PriorityQueue(path=tmp_path / "q", durability="process")
    q.put_many([3, 1, 2])
    catalog = q._line.store._core.catalog  # type: ignore[attr-defined]
    queue = catalog.queue(q._line.name)
    queue.heap = heap = _Heap(queue.heap)
    assert (q.qsize(), q.empty(), q.full(), q.unfinished_tasks, len(q.queue)) == (3, False, False, 3, 3)
    assert heap.passes == 0
    assert q.stats()["oldest_age"] >= 0.0
    q.close()


@pytest.mark.parametrize("order", [Order.OLDEST, Order.NEWEST])
def test_records_with_ranks_are_looked_through_once_for_all_that_are_claimed_in_another_order(
    order: Order, tmp_path: Path
) -> None:
    """Once for each it was: 10,000 dead letters of a PriorityQueue took two minutes to requeue."""
    ranks = [b"c", b"a", b"d", b"b"]
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        ids = store.commit(*[Put("q", rank, rank) for rank in ranks])
        queue = store._core.catalog.queue("q")
        queue.heap = heap = _Heap(queue.heap or ())
        found = [claim.id for claim in store.claim("q", order=order, limit=10)]
        assert found == sorted(ids, reverse=order is Order.NEWEST)
        assert heap.passes == 1


@pytest.mark.parametrize("order", [Order.OLDEST, Order.NEWEST])
def test_records_with_ranks_that_are_claimed_one_by_one_in_another_order_are_looked_through_once(
    order: Order, tmp_path: Path
) -> None:
    """Once for each it was: of 20,000 dead letters of a PriorityQueue each get took 8 ms. What is put meanwhile, or
    comes back to an end, has its place."""
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        ids = store.commit(*[Put("q", b"", b"%d" % (n * 7 % 10)) for n in range(10)])
        queue = store._core.catalog.queue("q")
        queue.heap = heap = _Heap(queue.heap or ())
        (first,) = store.claim("q", order=order)
        store.commit(Nack(first))
        ids += store.commit(Put("q", b"", b"0"))
        found = [store.claim("q", order=order)[0].id for _ in ids]
        assert found == sorted(ids, reverse=order is Order.NEWEST)
        assert (heap.passes, store.claim("q", order=order)) == (1, [])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20)), max_size=60))
@example([(0, 3), (0, 2), (0, 1), (0, 0), (2, 0), (2, 0), (2, 0), (6, 0), (6, 0), (2, 0), (2, 0)])  # into the middle
def test_claims_in_all_orders_from_a_queue_with_ranks_take_the_right_one(steps: list[tuple[int, int]]) -> None:
    """Against a list. Claims by rank and by id are in between, and what is given back."""
    queue = queues.Queue("q", 1, threading.RLock())
    model: dict[int, bytes] = {}
    taken: dict[int, bytes] = {}
    for id, (kind, number) in enumerate(steps, 1):
        if kind < 2:
            model[id] = b"%d" % number
            queue.add(id, model[id])
        elif kind < 5 and queue.heap is not None:
            order = (Order.OLDEST, Order.NEWEST, Order.RANK)[kind - 2]
            queue.prepare(order)
            wanted = {
                Order.OLDEST: min(model, default=None),
                Order.NEWEST: max(model, default=None),
                Order.RANK: min(model, key=lambda id: (model[id], id), default=None),
            }[order]
            assert queue.first(order) == wanted
            if wanted is not None:
                queue.take(wanted)
                taken[wanted] = model.pop(wanted)
        elif kind == 5 and model:
            one = sorted(model)[number % len(model)]
            queue.take(one)
            taken[one] = model.pop(one)
        elif kind == 6 and taken:
            one = sorted(taken)[number % len(taken)]
            model[one] = taken.pop(one)
            queue.give_back(one, model[one])
        assert len(queue) == len(model)


def test_of_those_one_that_is_damaged_is_left_out_with_its_neighbours(tmp_path: Path) -> None:
    payloads = [b"%d" % number * 100 for number in range(6)]
    with SegmentStore(tmp_path, disk=ScratchDisk()) as store:
        for payload in payloads:
            store.commit(Put("q", payload, b"r"))
        (segment,) = tmp_path.glob("*.seg")
        content = segment.read_bytes()
        start, end = content.index(payloads[1]), content.index(payloads[3])
        segment.write_bytes(content[:start] + bytes(end - start) + content[end:])
        found = [claim.payload for claim in store.claim("q", limit=2)]
        assert found == [payloads[0], payloads[4]]
        queue = store._core.catalog.queue("q")
        assert queue.aged is not None  # else each behind the damage is looked for among all
        assert [claim.payload for claim in store.claim("q", limit=10)] == payloads[5:]
