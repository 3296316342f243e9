"""A thread that has found nothing more stays for a moment, so who submits at once needs no new ticket. Here the moment
is so long that who isn't called in it would hang, or so short that every ring comes late."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path

import pytest

from pqadapters.concurrent.futures import ThreadPoolExecutor, wait
from pqadapters.concurrent.futures._backlog.clock import call_in

from ..contract.threads import is_gone
from . import work
from .conftest import Make

STAY = "pqadapters.concurrent.futures._workers.tickets._STAY"


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STAY, 10 * work.PATIENCE)


@pytest.mark.usefixtures("long")
def test_the_next_job_is_run_by_who_stays(make: Make) -> None:
    executor = make(1)
    for number in range(20):
        assert executor.submit(work.double, number).result(work.PATIENCE) == 2 * number
    assert executor._tickets.count == 1
    future = executor.using(delay=0.01).submit(work.double, 1)
    assert future.result(work.PATIENCE) == 2
    assert executor.using(retries=1, backoff=0.01).submit(work.fail_until, 1, "again").result(work.PATIENCE) == "again"


@pytest.mark.usefixtures("long")
def test_many_who_stay_share_what_comes(make: Make) -> None:
    executor = make(3)
    for name in ("first", "second"):
        futures = [executor.submit(work.hold, name) for _ in range(3)]
        for _ in futures:
            work.reached(name)  # all three at the same time
        work.GATES[name].set()
        assert not wait(futures, work.PATIENCE).not_done


@pytest.mark.usefixtures("long")
def test_who_stays_makes_way_for_calls_that_are_not_stored(make: Make) -> None:
    executor = make(1, volatile="allow")
    for number in range(5):
        assert executor.submit(work.double, number).result(work.PATIENCE) == 2 * number
        assert list(executor.map(work.double, [number], timeout=work.PATIENCE)) == [2 * number]
        assert executor.submit(type, threading.Lock()).result(work.PATIENCE) is type(threading.Lock())


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("how", [{}, {"drain": False}, {"cancel_futures": True}, {"wait": False}])
def test_who_stays_ends_with_the_executor(make: Make, how: dict[str, bool]) -> None:
    executor = make(2)
    executor.submit(work.nothing).result(work.PATIENCE)
    executor.shutdown(**how)
    for thread in executor._threads:
        thread.join(work.PATIENCE)
        assert not thread.is_alive()


@pytest.mark.usefixtures("long")
def test_who_stays_keeps_no_executor(place: dict[str, object]) -> None:
    executor = ThreadPoolExecutor(1, **place)  # type: ignore[arg-type]
    executor.submit(work.nothing).result(work.PATIENCE)
    backlog, threads, gone = executor._backlog, list(executor._threads), weakref.ref(executor)
    del executor
    assert is_gone(gone, patience=work.PATIENCE)
    for thread in threads:
        thread.join(work.PATIENCE)
    assert backlog.closed


def test_a_ring_that_comes_late(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STAY, 0.0)
    executor = make(2)
    for number in range(300):
        futures = [executor.submit(work.double, number) for _ in range(number % 3 + 1)]
        assert [future.result(work.PATIENCE) for future in futures] == [2 * number] * len(futures)


def test_who_is_shut_down_without_waiting_is_gone_with_its_last_job(place: dict[str, object]) -> None:
    """It was kept for ever, with its closed store, by what was to be called behind that job."""
    executor = ThreadPoolExecutor(1, **place)  # type: ignore[arg-type]
    executor.submit(work.hold, "gate")
    work.reached("gate")
    threads, gone = list(executor._threads), weakref.ref(executor)
    executor.shutdown(wait=False)
    work.GATES["gate"].set()
    for thread in threads:
        thread.join(work.PATIENCE)
    over = threading.Event()
    call_in(0.0, over.set)  # behind what was to be called
    assert over.wait(work.PATIENCE)
    del executor
    assert is_gone(gone, patience=work.PATIENCE)


def test_none_of_many_who_stay_stays_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they did at a queue before Python 3.13, where another one took what had been put for who was late."""
    monkeypatch.setattr(STAY, 0.0005)
    for _ in range(6):
        with ThreadPoolExecutor(4, path=tmp_path / "jobs", durability="process") as executor:
            for number in range(300):
                jobs = [executor.submit(sum, range(10_000 * (each % 3))) for each in range(number % 4 + 1)]
                assert not wait(jobs, work.PATIENCE).not_done
            with executor._tickets.changed:
                assert executor._tickets.changed.wait_for(executor._tickets.idle, work.PATIENCE)
