"""Whoever waits for a future is told also where another process ends its job, or has it for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import (
    JobFuture,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    UnknownJob,
    wait,
)
from pqadapters.concurrent.futures._backlog import keys
from pqadapters.concurrent.futures._backlog.records import find_record
from pqadapters.concurrent.futures._backlog.returning import put_back
from pqadapters.concurrent.futures._backlog.starting import give_up, next_job
from pqadapters.concurrent.futures._others import sharing
from pqadapters.opening import open_store
from pqadapters.store import Ack, Nack, Op, Set

from ..contract.threads import Task
from . import work
from .harness import App

TWO_SCRIPTS = """
def job(number):
    return os.path.basename(os.path.dirname(sys.argv[0]))

if __name__ == "__main__":
    executor = ThreadPoolExecutor(2, store=sys.argv[2])
    if sys.argv[1] == "help":
        executor.stats()
        say("ready")
        hear()
        executor.shutdown(drain=False)
    else:
        say("results", *(future.result() for future in [executor.submit(job, number) for number in range(20)]))
        executor.shutdown()
"""


def test_a_function_of_another_script_isnt_taken_for_ours(tmp_path: Path, url: str) -> None:
    """Two scripts on one store have functions of the same name in `__main__`: one ran its own with the other's jobs."""
    apps = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        apps.append(App(tmp_path / name, TWO_SCRIPTS))
    with apps[0].start("help", url) as helper:
        helper.until("ready")
        with apps[1].start("submit", url) as run:
            run.end()
            assert run.words("results") == [" ".join(["two"] * 20)]
        helper.tell("")
        helper.end()


LEFT = """
def job(number):
    say("ran", number)

if __name__ == "__main__":
    executor = ThreadPoolExecutor(1, store=sys.argv[1])
    if len(sys.argv) > 2:
        executor.submit(hold, 0)
        executor.submit(job, 1)
        say("submitted")
        hear()
    executor.shutdown()
    another = ThreadPoolExecutor(1, store=sys.argv[1], recover="manual")
    say("left", *(info.state for info in another.jobs()))
"""


@contextmanager
def _behind_a_gate(url: str) -> Iterator[tuple[Any, Any]]:
    """Another executor on the store, and the future of a job that waits behind one that holds the gate."""
    with (
        ThreadPoolExecutor(1, store=url, recover="manual") as one,
        ThreadPoolExecutor(1, store=url, recover="manual") as two,
    ):
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.submit(work.double, 1)
        two.stats()
        yield two, future


AFTER_AN_HOUR = """
from pqadapters.concurrent.futures._backlog import loading
loading._HOUR = loading._PATIENCE = 0.0
"""


@pytest.mark.parametrize("when", ["", AFTER_AN_HOUR], ids=["at once", "after an hour"])
def test_what_another_script_has_left_stays_when_we_shut_down(when: str, tmp_path: Path, url: str) -> None:
    """After an hour it was parked, also while the other script was at it."""
    apps = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        apps.append(App(tmp_path / name, when + LEFT))
    with apps[0].start(url, "submit") as run:
        run.until("submitted")
        run.kill()
    apps[1].script.write_text(apps[1].script.read_text().replace("time.sleep(600)", "return 0"))
    with apps[1].start(url) as run:
        assert run.end().words("left") == ["pending pending"]
        assert not run.words("ran") + run.words("holds")
    apps[0].script.write_text(apps[0].script.read_text().replace("time.sleep(600)", "return 0"))
    with apps[0].start(url) as run:
        assert sorted(run.end().words("ran") + run.words("holds")) == ["0", "1"]


def test_a_job_that_another_process_has_put_back_is_found(url: str) -> None:
    """It is another record then: who shut down asked for the old one, for good."""
    with _behind_a_gate(url) as (two, future):
        (claim,) = two._backlog.claim("default", counted=True)
        put_back(two._backlog, claim, 0.0)
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == 2


@pytest.mark.parametrize("how", ["cancel", "purge", "purge all", "future", "cancel_futures"])
@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"delay": 600}])
def test_cancelled_elsewhere(how: str, options: dict[str, Any], url: str) -> None:
    """The end of a job that never ran was told to nobody in other processes."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.using(**options).submit(work.nothing)
        attached = two.future(future.job_id)
        if how == "cancel":
            assert two.cancel(future.job_id)
        elif how == "purge":
            assert two.purge(job_id=future.job_id)
        elif how == "purge all":
            assert two.purge("delayed" if "delay" in options else "pending") == 1
        elif how == "future":
            assert future.cancel()
        else:
            one.shutdown(wait=False, cancel_futures=True)
        assert len(wait([future, attached], work.PATIENCE).done) == 2
        assert future.cancelled()
        assert attached.cancelled()
        work.GATES["gate"].set()


def test_a_job_of_others_that_is_tried_again_elsewhere(url: str) -> None:
    """Who had tried it first waited for it, and shut down, for good: it was told to its submitter alone."""
    begun: list[JobFuture] = []
    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        one.submit(work.hold, "one")
        work.reached("one")
        two = ThreadPoolExecutor(1, store=url, on_recovered=begun.append)
        two.submit(work.hold, "first")
        work.reached("first")
        future = one.using(retries=1, backoff=0.02).submit(work.fail_once)
        two.submit(work.hold, "second")
        work.GATES["first"].set()
        work.reached("second")
        work.GATES["one"].set()
        assert future.result(work.PATIENCE) == 2
        work.GATES["second"].set()
        Task(two.shutdown, patience=work.PATIENCE).result()
        assert [each.result(work.PATIENCE) for each in begun] == [2]
        assert one._backlog.store.count("default.watchers") == 0


def test_a_job_of_others_that_is_out_of_time_and_loses_its_worker_leaves_no_trace(tmp_path: Path, url: str) -> None:
    """Who had run it wanted to hear of its end, which had come: that stayed in the store for good."""
    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        one.submit(work.hold, "gate")
        work.reached("gate")
        with ProcessPoolExecutor(1, store=url, rebuild=True) as two:
            future = one.using(timeout=0.1).submit(work.wait_for_file, str(tmp_path / "never"))
            with pytest.raises(TimeoutError):
                future.result(work.PATIENCE)
            (worker,) = two._processes.values()
            worker.kill()
            assert two.submit(work.double, 1).result(work.PATIENCE) == 2  # it is free behind that
            assert two._backlog.store.count("default.watchers") == 0
            work.GATES["gate"].set()


def test_a_job_of_others_that_waits_for_its_next_try_isnt_cancelled(url: str) -> None:
    """shutdown(cancel_futures=True) is for what was submitted here; of others it took what had just failed here."""
    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        one.submit(work.hold, "one")
        work.reached("one")
        with ThreadPoolExecutor(1, store=url) as two:
            two.submit(work.hold, "first")
            work.reached("first")
            future = one.using(retries=1, backoff=0.02).submit(work.fail_once)
            two.submit(work.hold, "second")
            work.GATES["first"].set()
            work.reached("second")
            two.shutdown(wait=False, cancel_futures=True)
            work.GATES["one"].set()
            assert future.result(work.PATIENCE) == 2
            work.GATES["second"].set()


def test_a_job_of_others_that_is_put_back_and_done_elsewhere(url: str) -> None:
    """Who had it as a recovered one heard no more of it."""
    with _behind_a_gate(url) as (two, future):
        backlog = two._backlog
        backlog.foreign = backlog.recovering = True
        started = next_job(backlog)
        assert started is not None
        backlog.foreign = backlog.recovering = False
        give_up(backlog, started)
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == 2
        assert started.future.result(work.PATIENCE) == 2


@pytest.mark.parametrize("first", ["run 1", "run 2"])
def test_a_job_that_lost_its_claim_and_was_done_elsewhere(
    first: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Word of the end came while the job still ran here, was thrown away, and waited for behind that."""
    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        claims: list[Any] = []
        claim = one._backlog.store.claim

        def noted(*args: Any, **more: Any) -> Any:
            claims.extend(claim(*args, **more))
            return claims[:]

        monkeypatch.setattr(one._backlog, "claim", noted)
        future = one.submit(work.hold_each_time)
        work.reached("run 1")
        one._backlog.commit(Nack(claims[0]))  # as when it was stopped for longer than its claims last
        with ThreadPoolExecutor(1, store=url):
            work.reached("run 2")
            work.GATES[first].set()
            if first == "run 1":
                with one._tickets.changed:
                    assert one._tickets.changed.wait_for(one._tickets.idle, work.PATIENCE)
                assert not future.done()
            work.GATES["run 2"].set()
            assert future.result(work.PATIENCE) == "run 2"
        work.GATES["run 1"].set()


@pytest.mark.parametrize("how", ["future", "recovered"])
@pytest.mark.parametrize("name", ["running", "pending"])
def test_a_job_without_a_key_is_waited_for_in_another_process(how: str, name: str, url: str) -> None:
    """Only who had submitted it was told of its end."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        jobs: dict[str, Any] = {"running": one.submit(work.hold, "gate")}
        work.reached("gate")
        jobs["pending"] = one.submit(work.double, 1)
        found: Any
        if how == "future":
            found = two.future(jobs[name].job_id)
        else:
            two._backlog.foreign = True  # as if all were recovered, while another process has them
            two._backlog.stopped = True
            found = next(each for each in two.recovered() if each.job_id == jobs[name].job_id)
            two._backlog.stopped = False
        work.GATES["gate"].set()
        assert found.result(work.PATIENCE) == jobs[name].result(work.PATIENCE)
        wait(jobs.values())
        assert one._backlog.store.count("default.watchers") == 0


def test_a_job_that_ends_as_it_is_looked_for_is_found(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had no result yet, and then no record any more: UnknownJob, though its result is kept."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future = one.using(key="k").submit(work.double, 1)
        def meanwhile(*arguments: Any) -> int | None:
            work.GATES["gate"].set()
            future.result(work.PATIENCE)
            return find_record(*arguments)

        monkeypatch.setattr(keys, "find_record", meanwhile)
        assert two.future(future.job_id).result(work.PATIENCE) == 2


@pytest.mark.parametrize("how", ["future", "cancel", "purge"])
def test_a_delayed_job_that_is_begun_elsewhere_as_it_is_cancelled(
    how: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ran, and was cancelled to who had said so; a mark that nobody took away was taken for one delayed job less."""
    with ThreadPoolExecutor(1, store=url) as one:
        one.submit(work.hold, "busy")
        work.reached("busy")
        with ThreadPoolExecutor(1, store=url):
            gates, marked, commit = list[str](), list[Op](), one._backlog.commit

            def late(*ops: Op) -> Any:
                if isinstance(ops[0], Set) and not marked:
                    marked.extend(ops)
                    work.reached(gates[-1])
                return commit(*ops)

            monkeypatch.setattr(one._backlog, "commit", late)
            while not marked:  # a slow machine's was due before
                gates.append(f"gate {len(gates)}")
                future: Any = one.using(delay=0.2).submit(work.hold, gates[-1])
                cancelled = {"future": future.cancel, "purge": partial(one.purge, "delayed")}.get(
                    how, partial(one.cancel, future.job_id)
                )()
                work.GATES[gates[-1]].set()
            assert not cancelled
            assert future.result(work.PATIENCE) == gates[-1]
            assert one._backlog.store.count("default.cancelled") == 0
            work.GATES["busy"].set()


@pytest.mark.parametrize("how", ["job_id", "key", "recovered"])
def test_who_begins_to_wait_for_a_job_that_is_over_leaves_no_trace(
    how: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name stayed among those who wait, for good: the end of a job takes it away, and that was before."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future: Any = one.using(key="k" if how == "key" else None).submit(work.double, 1)
        two.stats()
        sharing: Any = two._backlog.sharing

        def late(watch: Any) -> Any:
            def then(*args: Any) -> None:
                work.GATES["gate"].set()
                future.result(work.PATIENCE)
                watch(*args)

            return then

        for each in ("watch", "watch_all"):
            monkeypatch.setattr(sharing, each, late(getattr(sharing, each)))
        if how == "key":
            assert two.future(key="k").result(work.PATIENCE) == 2
        elif how == "job_id":
            with pytest.raises(UnknownJob):
                two.future(future.job_id)
        else:
            two.recovered()
        assert two._backlog.store.count("default.watchers") == 0


def test_a_member_that_another_one_took_for_dead(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors that begin at the same time: between a member's entry and its claim another one cleaned it up."""
    with open_store(url) as store, open_store(url) as other:
        claim, entered = store.claim, threading.Event()

        def late(queue: str, **more: Any) -> Any:
            if queue.endswith("members") and more.get("ids") and not entered.is_set():
                entered.set()
                for member in other.claim(queue, limit=9):
                    other.commit(Ack(member))
            return claim(queue, **more)

        monkeypatch.setattr(store, "claim", late)
        with ThreadPoolExecutor(1, store=store) as executor:
            future: Any = executor.submit(work.nothing)
            future.result(work.PATIENCE)
            assert entered.is_set()
            sharing = executor._backlog.sharing
            assert sharing is not None
            assert sharing.lives(bytes.fromhex(future.job_id)[:8])


def test_one_that_comes_to_its_end_while_it_is_looked_for_has_its_result(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though what was told to us wasn't heard yet."""
    monkeypatch.setattr(sharing, "hear", lambda *_: None)
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        future = one.using(result_ttl=60).submit(work.hold, "gate")
        work.reached("gate")
        is_there = keys._is_there

        def over(*args: Any) -> bool:
            work.GATES["gate"].set()
            future.result(work.PATIENCE)
            return is_there(*args)

        monkeypatch.setattr(keys, "_is_there", over)
        assert two.future(future.job_id).result(work.PATIENCE) == "gate"


@pytest.mark.parametrize("asked", [False, True])
def test_what_is_cancelled_while_it_is_looked_for(asked: bool, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its future waited until the job was due; one that somebody had already was told of no outcome any more."""
    with (
        ThreadPoolExecutor(1, store=url) as one,
        ThreadPoolExecutor(1, store=url, recover="manual") as two,
    ):
        future = one.using(key="k", delay=3600).submit(work.note, 1)
        found = [two.future(key="k")] if asked else []
        store, looked = two._backlog.store, list[bool]()
        browse = store.browse

        def late(*args: Any, **more: Any) -> Any:
            records = list(browse(*args, **more))
            if not looked:
                looked.append(True)
                assert future.cancel()
            return iter(records)

        monkeypatch.setattr(store, "browse", late)
        found += two.recovered()
        assert looked
        assert wait(found, work.PATIENCE).not_done == set()
