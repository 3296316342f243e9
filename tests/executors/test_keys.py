"""Keys, results that are kept, futures that are found again."""

from __future__ import annotations

import os
import re
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import DEFAULT, Mock

import pytest

from pqadapters.clock import SYSTEM, Clock
from pqadapters.concurrent.futures import JobParked, RemoteError, ThreadPoolExecutor, UnknownJob, wait
from pqadapters.concurrent.futures._backlog import keys as _keys
from pqadapters.concurrent.futures._jobs import outcome
from pqadapters.concurrent.futures._jobs.sealing import Sealing
from pqadapters.errors import ConditionFailed, StoreUnreachable
from pqadapters.store import Set
from pqadapters.stores.memory import MemoryStore

from . import work
from .conftest import Make
from .test_left_behind import end


def test_the_same_key_gives_the_same_future(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    first = executor.using(key="k").submit(work.note, 1)
    assert executor.using(key="k").submit(work.note, 2) is first
    assert executor.future(key="k") is first
    assert executor.future(first.job_id) is first
    work.GATES["gate"].set()
    assert first.result(work.PATIENCE) == 1
    assert executor.using(key="k").submit(work.note, 3) is first
    assert work.DONE == [1]


def test_a_key_that_is_there_as_the_executor_ends_is_refused_as_any_job(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make()
    executor.using(key="k").submit(work.hold, "gate")
    work.reached("gate")
    store = executor._backlog.store
    get = store.get

    def late(table: str, key: bytes) -> bytes | None:
        if table == executor._backlog.names.keys:
            executor.shutdown(wait=False)
        return get(table, key)

    monkeypatch.setattr(store, "get", late)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.using(key="k").submit(work.note, 1)


@pytest.mark.parametrize("was_run", [False, True])
def test_a_key_that_was_taken_just_now_leaves_nothing_to_wait_for(
    url: str, monkeypatch: pytest.MonkeyPatch, was_run: bool
) -> None:
    """Of the job that wasn't stored; whether the key was free, or that of a result that had run out."""
    with ThreadPoolExecutor(1, store=url) as other, ThreadPoolExecutor(1, store=url) as executor:
        if was_run:
            other.using(key="k", result_ttl=60).submit(work.double, 1).result(work.PATIENCE)
            later = SYSTEM.wall() + 61
            monkeypatch.setattr(Clock, "wall", staticmethod(lambda: later))
        store, first = executor._backlog.store, list[Any]()
        get = store.get

        def late(table: str, key: bytes) -> bytes | None:
            found = get(table, key)
            if table == executor._backlog.names.keys and not first:
                first.append(other.using(key="k").submit(work.note, 1))
            return found

        monkeypatch.setattr(store, "get", late)
        future = executor.using(key="k").submit(work.note, 2)
        assert future.result(work.PATIENCE) == 1
        assert future.job_id == first[0].job_id
        assert not executor._backlog.live
    assert work.DONE == [1]


def test_a_job_that_is_found_as_the_executor_is_closed_has_its_end(make: Make) -> None:
    """Who closes has looked who waits, and nobody tells of it any more."""
    backlog = make()._backlog
    backlog.open()

    def still() -> bool:
        backlog.closed = True
        return True

    future = _keys.attach(backlog, bytes(16), still=still)
    backlog.closed = False
    assert future is not None
    assert future.cancelled()


def test_an_outcome_that_cant_be_loaded_leaves_nobody_to_wait_for_it(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came just now: who asked once more was given a future that nobody told of the end."""
    backlog = make()._backlog
    backlog.open()
    kept = outcome.Kept(9e9, b"", b"")
    monkeypatch.setattr(_keys, "_kept", Mock(side_effect=[None, None, kept]))
    monkeypatch.setattr(_keys, "load", Mock(side_effect=ValueError("its signature")))
    with pytest.raises(ValueError, match="its signature"):
        _keys.attach(backlog, bytes(16), still=lambda: False)
    assert not backlog.attached


def test_a_job_that_ends_as_it_is_looked_for_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outcome was stored behind the look for that, and it was gone at the look for itself: it would run again."""
    backlog = make()._backlog
    backlog.open()
    kept = outcome.Kept(9e9, b"", backlog.sealing.close(outcome.dump(outcome.Outcome(2))))
    monkeypatch.setattr(_keys, "_kept", Mock(side_effect=[None, None, kept]))
    future = _keys.attach(backlog, bytes(16), still=lambda: False)
    assert future is not None
    assert future.result(0) == 2


def test_a_result_whose_key_is_another_jobs_by_now_keeps_none_from_being_swept(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog = make()._backlog
    store, names = backlog.open(), backlog.names
    old = {bytes(15) + b"%d" % n: outcome.Kept(1.0, b"k%d" % n, b"").dump() for n in range(2)}
    store.commit(*(Set(names.results, id, entry) for id, entry in old.items()))
    store.commit(Set(names.keys, b"k0", b"another job"), Set(names.keys, b"k1", [*old][1]))
    refused = ConditionFailed("it was taken just now")
    monkeypatch.setattr(backlog, "commit", Mock(side_effect=[refused, refused, DEFAULT, DEFAULT], wraps=backlog.commit))
    _keys.sweep(backlog)
    assert store.count(names.results) == 0
    assert store.snapshot(names.keys) == {b"k0": b"another job"}


@pytest.mark.parametrize("entry", [b"", b"short"])
def test_a_kept_result_that_something_else_has_cut_short_has_run_out(entry: bytes) -> None:
    """Each call that looks at the results failed, shutdown() too."""
    store = MemoryStore()
    with ThreadPoolExecutor(1, store=store) as executor:
        assert executor.using(key="k").submit(work.note, 1).result(work.PATIENCE) == 1
    (id,) = store.keys("default.results")
    store.commit(Set("default.results", id, entry))
    with ThreadPoolExecutor(1, store=store) as executor:
        assert executor.using(key="k").submit(work.note, 2).result(work.PATIENCE) == 2
        store.commit(Set("default.results", id, entry))
        assert executor.purge("results") >= 1
    assert work.DONE == [1, 2]


@pytest.mark.parametrize(("how", "options"), [("cancel", {}), ("cancel", {"delay": 600}), ("cancel_futures", {})])
def test_the_key_of_a_job_that_was_cancelled_is_free(how: str, options: dict[str, Any], make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future = executor.using(key="k", **options).submit(work.note, 1)
    assert how != "cancel" or future.cancel()
    executor.shutdown(wait=False, cancel_futures=how == "cancel_futures")
    work.GATES["gate"].set()
    with make() as executor:
        assert executor.using(key="k").submit(work.note, 2).result(work.PATIENCE) == 2


def test_a_job_that_ends_as_it_is_asked_for_is_waited_for_no_more(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = _keys._watched

    def late(*given: Any, **named: Any) -> Any:
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == "gate"
        return watched(*given, **named)

    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as other:
        future = one.using(key="k").submit(work.hold, "gate")
        work.reached("gate")
        monkeypatch.setattr(_keys, "_watched", late)
        assert other.future(key="k").result(work.PATIENCE) == "gate"
        assert not other._backlog.attached


def test_keys_of_two_types_are_two(make: Make) -> None:
    executor = make()
    keys: list[Any] = [1, "1", b"1", (1,), ("1",)]
    futures = [executor.using(key=key).submit(work.note, key) for key in keys]
    assert [future.result(work.PATIENCE) for future in futures] == keys


def test_a_key_gives_the_result_after_a_restart(make: Make) -> None:
    with make() as executor:
        executor.using(key="k").submit(work.note, {"a": [1]}).result(work.PATIENCE)
    with make() as executor:
        assert executor.using(key="k").submit(work.note, 2).result(work.PATIENCE) == {"a": [1]}
        assert executor.future(key="k").result(work.PATIENCE) == {"a": [1]}
    assert len(work.DONE) == 1


def test_a_key_attaches_to_a_job_that_an_earlier_run_left(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    left = executor.using(key="k").submit(work.note, 1)
    end(executor)
    executor = make(recover="manual")
    future = executor.using(key="k").submit(work.note, 2)
    assert future.job_id == left.job_id
    assert not future.done()
    executor.recovered()
    assert future.result(work.PATIENCE) == 1
    assert work.DONE == [1]


def test_an_exception_is_kept(make: Make) -> None:
    with make() as executor, pytest.raises(ValueError, match="no"):
        executor.using(key="k").submit(work.fail, "no").result(work.PATIENCE)
    with make() as executor, pytest.raises(ValueError, match="no"):
        executor.future(key="k").result(work.PATIENCE)


def test_an_exception_that_doesnt_survive_comes_back_as_a_remote_error(make: Make) -> None:
    with make() as executor, pytest.raises(work.Awkward):
        executor.using(key="k").submit(work.fail_awkwardly).result(work.PATIENCE)
    with make() as executor, pytest.raises(RemoteError) as caught:
        executor.future(key="k").result(work.PATIENCE)
    assert caught.value.type == "tests.executors.work.Awkward"
    assert caught.value.text == "404: not found"
    assert "fail_awkwardly" in caught.value.traceback


def test_a_job_whose_exception_cant_be_printed_comes_to_its_end(make: Make, tmp_path: Path) -> None:
    """Its future waited for ever, and so did shutdown()."""
    with make() as executor:
        options = executor.using(key="k")
        future = options.submit(work.fail_noted, str(tmp_path / "ledger"), work.Unprinted, "1", "7", "no")
        assert isinstance(future.exception(work.PATIENCE), work.Unprinted)
    with make() as executor, pytest.raises(RemoteError, match="no"):
        executor.future(key="k").result(work.PATIENCE)


def test_a_result_that_cant_be_kept_says_so(make: Make) -> None:
    with make() as executor:
        assert executor.using(key="k").submit(work.Unstorable).result(work.PATIENCE)
    with make() as executor, pytest.raises(RemoteError, match="Unstorable"):
        executor.future(key="k").result(work.PATIENCE)


def test_an_outcome_that_exits_where_it_is_pickled(make: Make, tmp_path: Path) -> None:
    """Its future never came to an end, and shutdown() waited for it."""
    with make() as executor:
        assert type(executor.using(key="k").submit(work.Exits).result(work.PATIENCE)) is work.Exits
        future = executor.using(key="e").submit(work.fail_noted, str(tmp_path / "ledger"), work.Exits)
        assert type(future.exception(work.PATIENCE)) is work.Exits
    with make() as executor:
        for key in ("k", "e"):
            assert isinstance(executor.future(key=key).exception(work.PATIENCE), RemoteError)


def test_a_result_that_exits_where_it_is_loaded(make: Make) -> None:
    """A process that others tell of it stopped listening."""
    with make() as executor:
        executor.using(key="k").submit(work.Leaves).result(work.PATIENCE)
    with make() as executor:
        assert isinstance(executor.future(key="k").exception(work.PATIENCE), RemoteError)


@pytest.mark.parametrize("error", [TimeoutError, SystemExit, MemoryError])
def test_what_a_signal_handler_raises_as_a_result_is_loaded_is_not_what_the_job_came_to(
    make: Make, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job had failed, for this process, as long as that lived; and SIGTERM's exit was swallowed."""
    with make() as executor:
        executor.using(key="k").submit(work.double, 21).result(work.PATIENCE)
    opened, signals = Sealing.open, [error]

    def interrupted(sealing: Sealing, data: bytes) -> bytes:
        if signals:
            raise signals.pop()
        return opened(sealing, data)

    with make() as executor:
        assert not executor._backlog.live
        monkeypatch.setattr(Sealing, "open", interrupted)
        with pytest.raises(error):
            executor.future(key="k")
        assert executor.future(key="k").result(work.PATIENCE) == 42
        assert not executor._backlog.attached


def test_results_without_a_key_are_kept_where_that_is_asked_for(make: Make) -> None:
    with make(result_ttl=60) as executor:
        job_id = executor.submit(work.double, 21).job_id  # type: ignore[attr-defined]
        other = executor.using(result_ttl=0).submit(work.double, 1)
    with make() as executor:
        assert executor.future(job_id).result(work.PATIENCE) == 42
        with pytest.raises(UnknownJob):
            executor.future(other.job_id)


def test_a_result_is_stored_before_anybody_sees_it(make: Make) -> None:
    executor = make()
    seen: list[int] = []
    executor.submit(work.hold, "gate")
    future = executor.using(key="k").submit(work.double, 1)
    future.add_done_callback(lambda _: seen.append(executor._backlog.store.count("default.results")))
    work.GATES["gate"].set()
    future.result(work.PATIENCE)
    executor.shutdown()
    assert seen == [1]


def test_a_result_that_has_run_out_is_run_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = make()
    first = executor.using(key="k", result_ttl=60).submit(work.note, 1)
    first.result(work.PATIENCE)
    later = SYSTEM.wall() + 61
    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: later))
    with pytest.raises(UnknownJob):
        executor.future(key="k")
    assert executor.using(key="k").submit(work.note, 2).result(work.PATIENCE) == 2
    assert executor._backlog.store.count(executor._backlog.names.results) == 1


def test_results_that_have_run_out_are_swept_with_their_keys(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = make(4)
    wait([executor.using(key=number, result_ttl=60).submit(work.double, number) for number in range(200)])
    later = SYSTEM.wall() + 61
    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: later))
    wait([executor.using(key=number, result_ttl=600).submit(work.double, number) for number in range(1000, 1100)])
    executor.shutdown()
    monkeypatch.undo()
    with make() as executor:
        assert executor.stats()["results"] == executor.stats()["keys"] == 100


def test_results_that_run_out_are_swept_as_others_go_on_coming(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks went on to the end, where there is always one that hasn't run out, and never began anew: a server that
    submits jobs with keys kept the results of all of them."""
    executor = make(4)
    for now in (1e10, 1e10 + 100, 1e10 + 200, 1e10 + 300):
        monkeypatch.setattr(Clock, "wall", staticmethod(partial(float, now)))
        wait([executor.using(result_ttl=60).submit(work.double, number) for number in range(300)])
    assert executor.stats()["results"] < 900


def test_a_look_for_results_that_have_run_out_fails(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result that it came behind was taken for one that couldn't be stored."""

    def fail(backlog: object) -> None:
        raise StoreUnreachable("away")

    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.finishing._SWEEP", 1)
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.keys.sweep", fail)
    assert make().using(key="k").submit(work.double, 2).result(work.PATIENCE) == 4


def test_a_cancelled_jobs_key_is_free(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    first = executor.using(key="k").submit(work.note, 1)
    assert first.cancel()
    second = executor.using(key="k").submit(work.note, 2)
    assert second is not first
    work.GATES["gate"].set()
    assert second.result(work.PATIENCE) == 2
    with pytest.raises(CancelledError):
        first.result(work.PATIENCE)


def test_a_key_whose_result_isnt_kept_is_free_again(make: Make) -> None:
    executor = make()
    for number in range(2):
        assert executor.using(key="k", result_ttl=0).submit(work.note, number).result(work.PATIENCE) == number


@pytest.mark.parametrize("why", ["it can't be loaded", os.fsdecode(b"there is no caf\xe9")])
def test_a_parked_job_keeps_its_key_until_it_is_requeued(make: Make, why: str) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.using(key="k").submit(work.note, work.Unloadable(why))
    end(executor)
    executor = make()
    future = executor.using(key="k").submit(work.note, "again")
    with pytest.raises(JobParked, match=re.escape(why.encode("utf-8", "backslashreplace").decode())):
        future.result(work.PATIENCE)
    assert executor.purge(key="k") == 1
    assert executor.using(key="k").submit(work.note, "again").result(work.PATIENCE) == "again"


def test_unknown_jobs(make: Make) -> None:
    executor = make()
    with pytest.raises(UnknownJob):
        executor.future("00" * 16)
    with pytest.raises(UnknownJob):
        executor.future(key="k")
    with pytest.raises(TypeError):
        executor.future()


def test_a_job_is_found_by_its_id_while_it_waits(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    left: Any = executor.submit(work.double, 21)
    end(executor)
    executor = make(recover="manual")
    future = executor.future(left.job_id)
    executor.recovered()
    assert future.result(work.PATIENCE) == 42


@pytest.mark.parametrize("error", [ValueError("a"), KeyError("k"), OSError(2, "no"), work.Awkward(1, "x")])
def test_outcomes_come_back(error: Exception) -> None:
    again = outcome.load(outcome.dump(outcome.Outcome(error=error)), Sealing(MemoryStore())).error
    assert str(again) in (str(error), f"tests.executors.work.Awkward: {error}")


def test_without_a_name_results_survive_in_the_home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))

    def run(value: int) -> Any:
        with ThreadPoolExecutor(1) as executor:
            return executor.using(key="k").submit(work.note, value).result(work.PATIENCE)

    assert [run(1), run(2)] == [1, 1]
