"""Many threads that wait for records of a database or a server: one of them looks for all, and what others take is
nobody's to look for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from pqadapters.store import Ack, Claim, Nack, Order, Put

from .threads import Hung, Task

PATIENCE = 60.0
_MANY = 6


class Crowd:
    """A store with threads that wait for its records, until somebody wakes them, and another handle on it; `looked` is
    how often one has looked. Nobody looks because time has gone by, or a lookout has heard of something."""

    def __init__(self, store: Any, other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.other = store, other
        self.looked = 0
        self._over = False
        attempt = self.store._attempt_now

        def counted(*args: Any) -> Any:
            self.looked += 1
            return attempt(*args)

        monkeypatch.setattr(self.store, "_attempt_now", counted)
        self.bell = self.store._core.bells.of("q")
        self.tasks: list[Task[list[Claim]]] = []

    def wait(self, count: int = _MANY, **options: Any) -> None:
        """So many more of them."""
        gate = self.bell.watchers if "ids" in options else self.bell.takers
        before = gate.waiting
        take: Callable[[], list[Claim]] = lambda: self.store.claim("q", timeout=None, stop=self._ends, **options)  # noqa: E731
        self.tasks += [Task(take, patience=PATIENCE) for _ in range(count)]
        self.until(lambda: gate.waiting == before + count)
        self.looked = 0

    def _ends(self) -> bool:
        return self._over

    def until(self, holds: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(20_000):
            if holds():
                return
            pause.wait(0.001)
        raise Hung("nobody was woken")

    def end(self) -> list[bytes]:
        """What all of them have got."""
        self._over = True
        self.store.wake("q")
        return sorted(claim.payload for task in self.tasks for claim in task.result())

    def close(self) -> None:
        self.end()
        self.store.close()
        self.other.close()


def check_what_others_take_wakes_nobody(crowd: Crowd) -> None:
    """Each of them looked, for each of these: with 200 threads an item took 14 ms, and 0.6 with one."""
    crowd.other.commit(*[Put("q", b"x") for _ in range(30)])
    claims = crowd.other.claim("q", limit=30)
    crowd.wait()
    for some in (claims[:1], claims[1:3], claims[3:20]):
        crowd.other.commit(*map(Ack, some))
    crowd.other.commit(*[Put("elsewhere", b"x") for _ in range(2)])
    assert crowd.other.claim("elsewhere", acks=[Ack(claims[20])])
    assert crowd.other.claim("elsewhere", acks=[*map(Ack, claims[21:])])
    assert (crowd.looked, crowd.bell.takers.waiting) == (0, _MANY)


def check_what_another_process_has_put_is_found_by_one_that_calls_the_next(crowd: Crowd) -> None:
    crowd.wait()
    rings = crowd.store._core.bells.ring
    crowd.store._core.bells.ring = lambda queue, ready=None: None
    crowd.other.commit(*[Put("q", b"%d" % number) for number in range(3)])  # as if it were another process
    crowd.store._core.bells.ring = rings
    assert crowd.bell.takers.waiting == _MANY
    crowd.store._core.bells.ring_one_each()
    crowd.until(lambda: sum(not task.running for task in crowd.tasks) == 3)
    crowd.until(lambda: crowd.bell.takers.waiting == _MANY - 3)
    assert crowd.looked <= 2 * 4  # twice by who goes to sleep again: behind the look it enters, and looks once more
    assert crowd.end() == [b"0", b"1", b"2"]


def check_who_is_woken_and_fails_calls_another_one(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd.wait()
    attempt, failed = crowd.store._attempt_now, list[int]()

    def fails(*args: Any) -> Any:
        if not failed:
            failed.append(1)
            raise ZeroDivisionError
        return attempt(*args)

    monkeypatch.setattr(crowd.store, "_attempt_now", fails)
    crowd.other.commit(Put("q", b"x"))
    crowd.until(lambda: sum(not task.running for task in crowd.tasks) == 2)
    (broken,) = [task for task in crowd.tasks if task._error is not None]
    crowd.tasks.remove(broken)
    assert crowd.end() == [b"x"]


def check_who_waits_for_certain_records_keeps_none_from_the_others(order: Order, crowd: Crowd) -> None:
    """It was woken for a record that it doesn't want."""
    crowd.other.commit(Put("q", b"wanted"))
    (wanted,) = crowd.other.claim("q")
    crowd.wait(1, ids=[wanted.id])
    crowd.wait(1, order=order)
    crowd.other.commit(Put("q", b"x"))
    crowd.until(lambda: not crowd.tasks[1].running)
    crowd.other.commit(Nack(wanted))
    assert crowd.tasks[0].result()[0].id == wanted.id
    assert crowd.end() == [b"wanted", b"x"]
