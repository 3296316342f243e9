"""Executors on a server: jobs are shared by hosts, and no call is loaded that somebody else may have put there."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import JobParked, ThreadPoolExecutor, UnknownJob, wait
from pqadapters.concurrent.futures._jobs import wire
from pqadapters.concurrent.futures._others import sharing
from pqadapters.errors import TooLarge
from pqadapters.store import Ack, Claim, Nack, Put, Record, State
from pqadapters.stores.mysql import MysqlStore, looks
from tests.executors import work
from tests.executors.conftest import shut_gates as shut_gates  # the same gates: what another test opened is open
from tests.segment.programs import run

from .server import Server
from .test_queues import KEY, Bomb


def test_calls_are_refused_without_a_key(url: str) -> None:
    executor = ThreadPoolExecutor(1, store=url, recover="on_submit")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1.*PQADAPTERS_SIGNING_KEY") as refused:
        executor.submit(abs, -1)
    assert "signing_key=" not in str(refused.value)  # no argument of an executor's


def test_jobs_and_outcomes_travel_signed(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    with ThreadPoolExecutor(1, store=url) as executor:
        future = executor.using(key="k").submit(abs, -1)
        assert future.result(60) == 1
    code = """
from pqadapters.concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1, store=sys.argv[1]) as executor:
    print(executor.using(key="k").submit(abs, -2).result(60))
"""
    assert run(f"import sys\n{code}", url).strip() == "1"


def test_an_outcome_that_no_packet_takes_fails_its_job_and_holds_up_no_other(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was tried for ever, no other job of the store was begun meanwhile, and the next run began it again."""
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    with ThreadPoolExecutor(1, store=url) as executor:
        large = executor.using(key="large").submit(bytes, 9 << 20)
        small = executor.using(key="small").submit(bytes, 3)
        forgotten = executor.submit(bytes, 9 << 20)
        assert small.result(60) == bytes(3)
        with pytest.raises(TooLarge, match="max_allowed_packet"):
            large.result(60)
        assert len(forgotten.result(60)) == 9 << 20
    with ThreadPoolExecutor(1, store=url) as executor:
        assert list(executor.recovered()) == []
        with pytest.raises(TooLarge, match="max_allowed_packet"):
            executor.using(key="large").submit(bytes, 1).result(60)


def test_a_forged_call_is_a_dead_letter_that_nobody_loads(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    with ThreadPoolExecutor(1, store=url) as executor:
        assert executor.submit(abs, -1).result(60) == 1
        jobs = executor.stats()["name"]
    with MysqlStore(url) as store:
        forged: Any = pickle.dumps((Bomb(tmp_path / "bomb"), (), {}))
        store.commit(Put(jobs, wire.write(os.urandom(16), forged)))
        with ThreadPoolExecutor(1, store=url) as executor:
            assert executor.submit(abs, -3).result(60) == 3
            assert store.wait(f"{jobs}.dead", lambda depth: depth.ready == 1, 60)
        letter: Record = next(store.browse(f"{jobs}.dead"))
    assert "isn't signed" in letter.note
    assert not (tmp_path / "bomb").exists()


_ROB = "UPDATE pqa_items SET state = 0, place = '' WHERE state = 2 AND payload = x'{token}'"
_CLEAN_UP = "DELETE FROM pqa_items WHERE payload = x'{token}'"


def test_a_process_that_was_taken_for_dead_hears_of_its_jobs(
    url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's restart or a lease that was over: outcomes of others came to nobody, result() and shutdown() waited
    for ever, and shutdown() raised LeaseLost."""
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url) as two:
        one.submit(work.hold, "one")
        two.submit(work.hold, "two")
        work.reached("one")
        work.reached("two")
        server.run(_ROB.format(token=one._backlog.token.hex()), database=url.rpartition("/")[2])
        future = one.submit(work.double, 21)
        work.GATES["two"].set()
        try:
            assert future.result(work.PATIENCE) == 42
        finally:
            work.GATES["one"].set()


@pytest.mark.parametrize("how", [_ROB, _CLEAN_UP])
def test_a_process_that_was_taken_for_dead_is_a_member_again(
    url: str, server: Server, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never was, so that whoever came later did away with what it was told."""
    looks = threading.Lock()

    def look(*arguments: Any, **options: Any) -> None:
        with looks:
            _look(*arguments, **options)

    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    monkeypatch.setattr(sharing, "_LOOK", 0.01)
    monkeypatch.setattr(sharing.Sharing, "_look", look)
    with ThreadPoolExecutor(1, store=url) as executor, MysqlStore(url) as store:
        executor.submit(abs, -1).result(work.PATIENCE)
        token = executor._backlog.token

        def attempts() -> list[int]:
            members = store.browse("default.members", state=State.CLAIMED)
            return [member.attempts for member in members if member.payload == token]

        assert attempts() == [1]
        with looks:  # in the middle of one it would see to itself as to any that is dead, and be another record
            server.run(how.format(token=token.hex()), database=url.rpartition("/")[2])
        while attempts() != ([2] if how is _ROB else [1]):
            assert not executor._backlog.closed
        assert store.depth("default.members").unfinished == 1


@contextmanager
def _two(url: str, patch: pytest.MonkeyPatch, away: float) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """Two executors that look around when they are told to. The first one was taken for dead before the second opened,
    and is busy; it comes back after so many seconds, as far as the others care."""
    work.GATES.clear()
    work.ENTERED.clear()
    patch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    patch.setattr(sharing.Sharing, "_look", lambda *_, **__: None)
    patch.setattr(sharing, "_AWAY", away)
    one, two = ThreadPoolExecutor(1, store=url, recover="manual"), ThreadPoolExecutor(1, store=url, recover="on_submit")
    with one, two:
        try:
            one.submit(work.hold, "one")
            work.reached("one")
            one._backlog.commit(*map(Nack, _part(one)._member))
            _part(two)._clean_up()
            yield one, two
        finally:
            for gate in work.GATES.values():
                gate.set()
            one.shutdown(drain=False)
            two.shutdown(drain=False)


_look = sharing.Sharing._look


def _part(executor: ThreadPoolExecutor) -> sharing.Sharing:
    executor._backlog.store  # noqa: B018  # opens it
    found = executor._backlog.sharing
    assert found is not None
    return found


def test_what_comes_about_behind_a_clean_up_is_heard_by_who_comes_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the opening of another executor to its return a process that was taken for dead was told nothing."""
    with _two(url, monkeypatch, 600.0) as (one, two):
        first = one.submit(work.double, 21)
        assert two.submit(work.double, 1).result(work.PATIENCE) == 2
        assert first.result(work.PATIENCE) == 42
        _part(one)._stay()
        _part(two)._clean_up()
        later = one.submit(work.fail, "no")
        assert isinstance(later.exception(work.PATIENCE), ValueError)


def test_who_comes_back_after_a_long_time_knows_what_is_over(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its futures waited for ever."""
    with _two(url, monkeypatch, -60.0) as (one, two), MysqlStore(url) as store:
        kept, lost = one.using(key="kept").submit(work.double, 4), one.submit(work.double, 5)
        parked = one.submit(work.nothing)
        store.commit(Nack(store.claim("default", ids=[parked._record])[0], dead="so"))  # type: ignore[attr-defined]
        delayed = two.using(key="later", delay=3600).submit(work.double, 3)
        cancelled = one.future(key="later")
        assert two.submit(work.double, 1).result(work.PATIENCE) == 2
        two.submit(work.hold, "two")
        work.reached("two")
        pending = one.submit(work.double, 7)
        assert delayed.cancel()
        missed = [kept, lost, parked, cancelled]
        _look(_part(one), one._backlog, heard_all=True)
        assert not wait([*missed, pending], 0).done, "each was missing once"
        _look(_part(one), one._backlog, heard_all=True)
        assert wait(missed, 0).not_done == wait([pending], 0).done == set()
        assert (kept.result(0), cancelled.cancelled()) == (8, True)
        with pytest.raises(UnknownJob, match="came to its end while"):
            lost.result(0)
        with pytest.raises(JobParked, match=r"so; requeue"):
            parked.result(0)
        work.GATES["two"].set()
        assert pending.result(work.PATIENCE) == 14


def test_a_job_that_is_put_back_while_it_is_looked_for_is_there(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was another record by then, of which the look at a long backlog knew nothing: its future failed."""
    monkeypatch.setattr(looks, "PAGE", 1)
    with _two(url, monkeypatch, -60.0) as (one, two), MysqlStore(url) as store:
        moved = [one.submit(abs, number) for number in (-2, -3)]
        first, second = (bytes.fromhex(each.job_id) for each in moved)  # type: ignore[attr-defined]
        browse = one._backlog.store.browse
        monkeypatch.setattr(one._backlog.store._looks, "_first_page", 1)  # type: ignore[attr-defined]

        def slowly(queue: str, **more: Any) -> Iterator[Record]:
            for record in browse(queue, **more):
                yield record
                if wire.id_of(record.payload) == first:
                    (job,) = (each for each in store.browse("default") if wire.id_of(each.payload) == second)
                    (claim,) = store.claim("default", ids=[job.id])
                    store.commit(Ack(claim), Put("default", job.payload, job.rank))

        monkeypatch.setattr(one._backlog.store, "browse", slowly)
        for _ in range(4):
            _look(_part(one), one._backlog, heard_all=True)
        assert not wait(moved, 0).done
        assert two.submit(work.double, 1).result(work.PATIENCE) == 2
        assert [each.result(work.PATIENCE) for each in moved] == [2, 3]


def test_a_job_that_is_lost_while_it_runs_comes_to_its_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process had brought it to its end and told nobody; the outcome here was refused, the future waited."""
    with _two(url, monkeypatch, -60.0) as (one, _):
        (future,) = one._backlog.running.values()
        record = next(one._backlog.store.browse("default", state=State.CLAIMED))
        one._backlog.commit(Ack(Claim("default", record.id, record.attempts, record.payload)))
        for _ in range(4):
            _look(_part(one), one._backlog, heard_all=True)
        assert future.running()
        work.GATES["one"].set()
        one.submit(abs, -1).result(work.PATIENCE)
        for _ in range(2):
            _look(_part(one), one._backlog, heard_all=True)
        with pytest.raises(UnknownJob):
            future.result(0)


def test_outcomes_for_a_dead_process_are_taken_away_although_nobody_comes(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They grew until the next executor opened."""
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    monkeypatch.setattr(sharing, "_LOOK", 0.01)
    monkeypatch.setattr(sharing, "_AWAY", -60.0)
    with ThreadPoolExecutor(1, store=url) as executor, MysqlStore(url) as store:
        executor.submit(abs, -1).result(work.PATIENCE)
        store.commit(Put("default.members", bytes(8)), Put(f"default.to.{bytes(8).hex()}", b"told"))
        assert store.wait(f"default.to.{bytes(8).hex()}", lambda depth: not depth.unfinished, work.PATIENCE)
        assert store.wait("default.members", lambda depth: depth.unfinished == 1, work.PATIENCE)
