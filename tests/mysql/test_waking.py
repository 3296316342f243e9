"""Hearing of other hosts: often while they are busy, seldom when they aren't, and never by chance."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from typing import Any

from pqadapters.store import Put
from pqadapters.stores.mysql import MysqlStore, lookout
from pqadapters.stores.mysql import store as stores
from pqadapters.stores.mysql.lookout import CALM, EAGER, pause_after
from tests.contract.late import check_a_delay_that_runs_out_behind_a_look, check_a_late_commit_rings
from tests.contract.maker import ManualClock
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE


def test_looks_are_the_rarer_the_longer_nothing_came() -> None:
    pauses = [pause_after(quiet) for quiet in (0, 0.1, 1, 2, 5, 60, 3600)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (EAGER, CALM)
    assert pause_after(2) <= 0.05, "busy: within 100 ms, if something has come within the last 2 seconds"
    assert CALM + 0.1 < 1.0, "after an idle hour: within a second"
    assert 1 / CALM + 1 / stores._BESIDE_LOOKOUT < 5, "questions in a second, when idle"


def test_i7_a_getter_hears_of_another_process_by_the_lookout_alone(url: str, monkeypatch: Any) -> None:
    """Two cores in one process stand for two processes: neither rings the other's bells."""
    monkeypatch.setattr(stores, "_BESIDE_LOOKOUT", 3600.0)
    with MysqlStore(url) as here, MysqlStore(url, lease=31) as there:
        assert here._core is not there._core
        there.commit(Put("q", b""), Put("other", b""))
        here.claim("q")
        started = threading.Event()

        def take() -> list[bytes]:
            started.set()
            return [claim.payload for claim in here.claim("q", timeout=None)]

        for n in range(5):
            task = Task(take, patience=PATIENCE)
            assert started.wait(PATIENCE)
            there.commit(Put("q", b"%d" % n))
            assert task.result() == [b"%d" % n]


def test_what_others_do_on_other_queues_keeps_nobody_awake(url: str, monkeypatch: Any) -> None:
    """A hundred idle workers of one queue mustn't ask two hundred times a second since another one is busy."""
    monkeypatch.setattr(stores, "_BESIDE_LOOKOUT", 3600.0)
    with MysqlStore(url) as here, MysqlStore(url, lease=31) as there:
        there.commit(Put("q", b""), Put("other", b""))
        here.claim("q")
        looking, task = here._core.lookout, Task(lambda: here.claim("q", timeout=None), patience=PATIENCE)
        for _ in range(3):
            told = looking.told
            there.commit(Put("other", b""))
            while looking.told == told:
                assert task.running
        assert looking.heard == 0.0
        there.commit(Put("q", b"a"))
        assert [claim.payload for claim in task.result()] == [b"a"]
        assert looking.heard > 0.0


def test_many_threads_that_wait_ask_no_more_than_one(url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(stores, "_BESIDE_LOOKOUT", 0.05)
    monkeypatch.setattr(lookout, "pause_after", lambda quiet: CALM)
    with MysqlStore(url) as here:
        here.commit(Put("q", b""))
        here.claim("q")
        here.claim("q")
        asked: list[str] = []
        look = here._looks.any_ready

        def count(queue: str, patience: float) -> tuple[bool, float | None]:
            asked.append(queue)
            return look(queue, patience)

        monkeypatch.setattr(here._looks, "any_ready", count)
        before = time.monotonic()
        for task in [Task(lambda: here.claim("q", timeout=1.0), patience=PATIENCE) for _ in range(10)]:
            assert task.result() == []
        took = time.monotonic() - before  # more than a second, on a slow machine
        assert len(asked) <= took / 0.05 + 3 * 10, "a first and a last one of each, and one for all every 50 ms"


def test_an_idle_process_asks_little(url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(lookout, "pause_after", lambda quiet: pause_after(3600 + quiet))
    with MysqlStore(url) as here:
        here.commit(Put("other", b""))
        before, begun = here._core.lookout.looks, time.monotonic()
        assert here.claim("q", timeout=3.0) == []
        assert here._core.lookout.looks - before <= (time.monotonic() - begun) / CALM + 1


def test_within_a_process_nobody_looks(url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(stores, "_WITHOUT_LOOKOUT", 3600.0)
    monkeypatch.setattr(lookout.Lookout, "ensure", lambda self: None)
    with MysqlStore(url) as one, MysqlStore(url) as other:
        assert one._core is other._core
        one.commit(Put("q", b""))
        one.claim("q")
        task = Task(lambda: other.claim("q", timeout=None), patience=PATIENCE)
        while not one._core.bells.waiting:
            assert task.running
        one.commit(Put("q", b"a"))
        assert [claim.payload for claim in task.result()] == [b"a"]


def test_no_thread_keeps_a_store_alive(url: str) -> None:
    store = MysqlStore(url)
    store.commit(Put("q", b"a"))
    store.claim("empty", timeout=0.01)
    core = weakref.ref(store._core)
    del store
    gc.collect()
    deadline = time.monotonic() + PATIENCE
    while core() is not None:
        assert time.monotonic() < deadline, "something keeps it"
        gc.collect()
        time.sleep(0.05)


def test_i7_a_late_commit_is_heard_of_at_once(url: str, monkeypatch: Any) -> None:
    """What a finalizer put in the middle of a commit was found by its own look two seconds later."""
    monkeypatch.setattr(stores, "_BESIDE_LOOKOUT", 3600.0)
    with MysqlStore(url) as store:
        check_a_late_commit_rings(store)


def test_i7_a_delay_that_runs_out_behind_a_look(url: str, monkeypatch: Any) -> None:
    """It was found by the next look of the waiter's own, up to two seconds later."""
    monkeypatch.setattr(stores, "_BESIDE_LOOKOUT", 3600.0)
    monkeypatch.setattr(stores, "_WITHOUT_LOOKOUT", 3600.0)
    clock = ManualClock()
    with MysqlStore(url, clock=clock) as store:
        check_a_delay_that_runs_out_behind_a_look(store, clock, 6)
