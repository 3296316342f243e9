"""Who waits for what at a store that several processes share: who is woken, and by what (I7)."""

from __future__ import annotations

import pytest

from pqadapters.stores._bells import Bell, Bells
from pqadapters.stores._gate import Gate, Sleeper

from .contract.threads import Task

_PATIENCE = 30.0


class _Waiting:
    """Takers and watchers of a queue, as `Bells.wait` counts them, without threads."""

    def __init__(self, bells: Bells, queue: str, count: int) -> None:
        self.bell = bells.of(queue)
        bells.waiting += 2 * count
        self.takers, self.watchers = self._at(self.bell.takers, count), self._at(self.bell.watchers, count)

    @staticmethod
    def _at(gate: Gate, count: int) -> list[Sleeper]:
        sleepers = [Sleeper() for _ in range(count)]
        for each in sleepers:
            gate._enter(each)
        return sleepers

    def woken(self) -> tuple[int, int]:
        """How many of each."""
        return sum(each.called for each in self.takers), sum(each.called for each in self.watchers)


@pytest.mark.parametrize("ready", [None, 0, 1, 2, 5])
def test_i7_each_record_that_is_ready_wakes_one_taker_and_each_change_all_that_watch(ready: int | None) -> None:
    bells = Bells()
    found, others = _Waiting(bells, "q", 3), _Waiting(bells, "other", 1)
    bells.ring("q", ready)
    assert found.woken() == (3 if ready is None else min(ready, 3), 3)
    assert others.woken() == (0, 0)


def test_i7_a_dead_letter_is_a_change_of_both_queues() -> None:
    """Who watches the depth of one sees how many of it are dead."""
    bells = Bells()
    found, dead = _Waiting(bells, "q", 1), _Waiting(bells, "q.dead", 1)
    bells.ring("q.dead", 1)
    assert (found.woken(), dead.woken()) == ((1, 1), (1, 1))
    assert (found.bell.rings, dead.bell.rings) == (1, 1)
    bells.ring("unknown.dead")
    bells.ring("unknown")


def test_i7_who_was_woken_and_takes_nothing_passes_it_on_to_one() -> None:
    bells = Bells()
    found = _Waiting(bells, "q", 2)
    bells.pass_on(found.bell)
    assert (found.woken(), found.bell.rings) == ((1, 0), 0)


def test_all_are_rung() -> None:
    bells = Bells()
    each = [_Waiting(bells, queue, 2) for queue in "ab"]
    bells.ring_all()
    assert [found.woken() for found in each] == [(2, 2)] * 2


def test_for_what_others_may_have_put_one_taker_of_each_queue_looks() -> None:
    bells = Bells()
    each = [_Waiting(bells, queue, 2) for queue in "ab"]
    bells.ring_one_each()
    assert [found.woken() for found in each] == [(1, 2)] * 2


def test_where_nobody_waits_no_lock_is_waited_for() -> None:
    """Whoever has it may be waiting for a lock of who rings."""
    bells = Bells()
    bell = bells.of("q")

    def ring() -> None:
        bells.ring("q")
        bells.ring("q.dead")
        bells.ring("q", 0)
        bells.ring_all()

    with bells.lock:
        Task(ring, patience=_PATIENCE).result()
    assert bell.rings == 4


def test_i7_what_rang_before_the_wait_is_not_waited_for() -> None:
    bells = Bells()
    bell, seen = bells.of("q"), bells.of("q").rings
    bells.ring("q")
    Task(lambda: bells.wait(bell, bell.takers, seen, None), patience=_PATIENCE).result()
    assert bells.waiting == 0


def test_who_waits_is_counted_also_where_that_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    bells, counts = Bells(), list[int]()
    bell = bells.of("q")

    def interrupt(*_: object) -> None:
        counts.append(bells.waiting)
        raise KeyboardInterrupt

    monkeypatch.setattr(bell.takers, "wait_locked", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bells.wait(bell, bell.takers, 0, None)
    assert (counts, bells.waiting) == ([1], 0)


def test_in_a_forked_child_nobody_waits() -> None:
    bells = Bells()
    bells.lock.acquire()  # as a thread of the parent has it
    old = _Waiting(bells, "q", 1).bell
    bells.begin_again()
    assert bells.waiting == 0
    new: Bell = Task(lambda: bells.of("q"), patience=_PATIENCE).result()
    assert new is not old
    assert new.takers.waiting == 0


def test_threads_that_come_at_once_have_the_same_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who rings the one that isn't kept wakes nobody."""
    bells, found = Bells(), list[Bell]()

    class Meeting:
        """Behind the first look of one another one comes."""

        def __enter__(self) -> None:
            monkeypatch.setattr(bells, "lock", lock)
            found.append(bells.of("q"))

        def __exit__(self, *_: object) -> None:
            pass

    lock = bells.lock
    monkeypatch.setattr(bells, "lock", Meeting())
    found.append(bells.of("q"))
    assert found[0] is found[1] is bells.of("q")
