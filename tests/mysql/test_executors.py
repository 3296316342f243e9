"""Executors on a server: jobs are shared by hosts, and no call is loaded that somebody else may have put there."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import ThreadPoolExecutor, _sharing
from pqadapters.concurrent.futures import _wire as wire
from pqadapters.errors import TooLarge
from pqadapters.store import Put, Record, State
from pqadapters.stores.mysql import MysqlStore
from tests.executors import work
from tests.segment.programs import run

from .server import Server
from .test_queues import KEY, Bomb


def test_calls_are_refused_without_a_key(url: str) -> None:
    executor = ThreadPoolExecutor(1, store=url, recover="on_submit")
    with pytest.raises(ValueError, match=r"127\.0\.0\.1.*PQADAPTERS_SIGNING_KEY"):
        executor.submit(abs, -1)


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
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    monkeypatch.setattr(_sharing, "_LOOK", 0.01)
    with ThreadPoolExecutor(1, store=url) as executor, MysqlStore(url) as store:
        executor.submit(abs, -1).result(work.PATIENCE)
        token = executor._backlog.token

        def attempts() -> list[int]:
            members = store.browse("default.members", state=State.CLAIMED)
            return [member.attempts for member in members if member.payload == token]

        assert attempts() == [1]
        server.run(how.format(token=token.hex()), database=url.rpartition("/")[2])
        while attempts() != ([2] if how is _ROB else [1]):
            assert not executor._backlog.closed
        assert store.depth("default.members").unfinished == 1
