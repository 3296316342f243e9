"""What an executor leaves on disk, and the next one of the place makes of it. The end here is `drain=False`, which
leaves jobs as they are; tests/executors/test_killed.py has the same by SIGKILL."""

from __future__ import annotations

import json
import os
import struct
import time
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pqadapters.concurrent.futures import JobFuture, JobParked, ThreadPoolExecutor, as_completed, task, wait
from pqadapters.concurrent.futures._backlog import loading, returning, starting
from pqadapters.concurrent.futures._backlog.watch import _Look
from pqadapters.concurrent.futures._jobs.wire import dump
from pqadapters.store import Ack, Nack, Put

from ..contract.threads import Task
from . import work
from .conftest import Make
from .harness import App


def leave(make: Make, *calls: tuple[Any, ...], **options: Any) -> list[JobFuture]:
    """Submit these calls to an executor that ends before any of them is begun."""
    executor = make(**options)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures: list[Any] = [executor.submit(*call) for call in calls]
    end(executor)
    return futures


def end(executor: ThreadPoolExecutor) -> None:
    """Without beginning any more jobs."""
    executor.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    executor.shutdown()
    work.GATES["gate"].clear()


def test_pending_jobs_run_in_their_order(make: Make) -> None:
    leave(make, *((work.note, number) for number in range(20)))
    assert not work.DONE
    make().shutdown()
    assert list(range(20)) == work.DONE


def test_priorities_are_known_to_the_next_executor(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    for number in (3, 1, 2):
        executor.using(priority=number).submit(work.note, number)
    end(executor)
    make().shutdown()
    assert work.DONE == [1, 2, 3]


def test_what_was_left_comes_before_what_is_submitted(make: Make) -> None:
    leave(make, *((work.note, number) for number in range(5)))
    with make() as executor:
        executor.submit(work.note, 5)
    assert list(range(6)) == work.DONE


def test_their_futures_here_are_cancelled(make: Make) -> None:
    (future,) = leave(make, (work.note, 1))
    assert future.cancelled()


def test_a_cancelled_job_stays_cancelled(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    kept, cancelled = executor.submit(work.note, "kept"), executor.submit(work.note, "cancelled")
    assert cancelled.cancel()
    assert cancelled.cancelled()
    end(executor)
    assert kept.cancelled()
    make().shutdown()
    assert work.DONE == ["kept"]


def test_cancel_futures_cancels_for_good(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures = [executor.submit(work.note, number) for number in range(700)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in futures)
    work.GATES["gate"].set()
    executor.shutdown()
    make().shutdown()
    assert not work.DONE


def test_a_cancelled_delayed_job_stays_cancelled(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")  # else it may be begun before
    future = executor.using(delay=0.05).submit(work.note, "cancelled")
    assert future.cancel()
    other = executor.using(delay=0.06).submit(work.note, "kept")
    work.GATES["gate"].set()
    other.result(work.PATIENCE)
    executor.shutdown()
    assert work.DONE == ["kept"]
    with make() as executor:
        assert executor.stats()["delayed"] == executor.stats()["pending"] == 0


def test_a_job_that_comes_due_as_it_is_cancelled_is_cancelled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It couldn't be claimed, and wasn't delayed any more as it was looked at: cancel() was False, and the job was run
    when nobody had it in hand. So was one that a submit() took back which raised."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    backlog = executor._backlog
    claim, looks = backlog.claim, list[object]()

    def too_early(*arguments: Any, **options: Any) -> Any:
        looks.append(found := claim(*arguments, **options))
        if len(looks) == 1 and not found:
            assert backlog.store.wait(backlog.names.jobs, lambda depth: depth.ready > 0, work.PATIENCE)
        return found

    while not looks or looks[0]:  # a slow machine's was due before
        looks.clear()
        future = executor.using(delay=0.2).submit(work.note, "cancelled")
        with monkeypatch.context() as patch:
            patch.setattr(backlog, "claim", too_early)
            assert future.cancel()
    work.GATES["gate"].set()
    executor.shutdown()
    assert not work.DONE


def test_a_running_job_isnt_cancelled(make: Make) -> None:
    executor = make()
    future = executor.submit(work.hold, "gate")
    work.reached("gate")
    assert not future.cancel()
    work.GATES["gate"].set()
    assert future.result(work.PATIENCE) == "gate"
    assert not future.cancel()


def test_a_finished_job_isnt_repeated(make: Make) -> None:
    with make() as executor:
        wait([executor.submit(work.note, number) for number in range(10)])
    make().shutdown()
    assert len(work.DONE) == 10


# Jobs that can't be run


def test_a_function_that_is_gone_parks_the_job(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._PATIENCE", 0.0)
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._HOUR", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(work.note, "__qualname__", "renamed")
        patch.setattr(work, "renamed", work.note, raising=False)
        (future,) = leave(make, (work.note, 1))
    with make() as executor:
        (letter,) = executor.jobs("dead") if list(executor.jobs("dead")) else _parked(executor)
        assert letter.job_id == future.job_id
        assert "renamed" in letter.reason
        monkeypatch.setattr(work, "renamed", work.note, raising=False)
        assert executor.requeue(letter.job_id) == 1
    assert work.DONE == [1]


def _parked(executor: ThreadPoolExecutor) -> list[Any]:
    """Once the job has been parked."""
    assert executor._backlog.store.wait("default", lambda depth: depth.dead == 1, work.PATIENCE)
    return list(executor.jobs("dead"))


@pytest.mark.parametrize("why", ["this can't be loaded", os.fsdecode(b"there is no caf\xe9")])
def test_arguments_that_cant_be_loaded_park_the_job(make: Make, why: str) -> None:
    """What a file's name has that is no text held up all other jobs."""
    leave(make, (work.note, work.Unloadable(why)), (work.note, "next"))
    executor = make()
    (letter,) = _parked(executor)
    assert why.encode("utf-8", "backslashreplace").decode() in letter.reason
    executor.shutdown()
    assert work.DONE == ["next"]


def test_a_program_that_is_still_defining_its_functions_isnt_robbed_of_its_jobs(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading.LATER", 0.25)  # else 5 seconds
    with monkeypatch.context() as patch:
        patch.setattr(work.note, "__qualname__", "late")
        patch.setattr(work, "late", work.note, raising=False)
        leave(make, (work.note, 1))
    executor = make()
    assert executor._backlog.store.wait("default", lambda depth: depth.delayed == 1, work.PATIENCE)
    monkeypatch.setattr(work, "late", work.note, raising=False)
    executor.shutdown()
    assert work.DONE == [1]


def test_a_function_that_is_missing_is_left_to_others_by_who_shuts_down(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short program of the old version parked what a newer one had left within that hour: its shutdown() came."""
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading.LATER", 0.01)  # or it waits for 5 seconds
    with monkeypatch.context() as patch:
        patch.setattr(work.note, "__qualname__", "newer")
        patch.setattr(work, "newer", work.note, raising=False)
        leave(partial(ThreadPoolExecutor, 1, store=url), (work.note, 1), (work.note, 2))
    with ThreadPoolExecutor(1, store=url) as executor:
        executor.submit(work.note, 3)
    with ThreadPoolExecutor(1, store=url, recover="manual") as executor:
        assert len(list(executor.jobs())) == 2
        assert not list(executor.jobs("dead"))
    assert work.DONE == [3]


def test_what_a_job_waits_for_is_told_once(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who had renamed a function saw its jobs "delayed" for an hour, and no word of why."""
    monkeypatch.setattr(loading, "_PATIENCE", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(work.note, "__qualname__", "older")
        patch.setattr(work, "older", work.note, raising=False)
        leave(partial(ThreadPoolExecutor, 1, store=url), (work.note, 1), (work.note, 2))
    executor = ThreadPoolExecutor(1, store=url)
    assert executor._backlog.store.wait("default", lambda depth: depth.delayed == 2, work.PATIENCE)
    executor.shutdown(drain=False)
    (told,) = [record.getMessage() for record in caplog.records if "waits for a program" in record.getMessage()]
    assert "older" in told


def test_a_task_is_found_by_its_name_and_by_an_alias(make: Make) -> None:
    task(name="first name")(work.note)
    try:
        leave(make, (work.note, 1))
        task(name="second name", version=2, aliases=["first name"])(work.note)
        make().shutdown()
        assert work.DONE == [1]
    finally:
        del work.note.__pqadapters_task__  # type: ignore[attr-defined]


def test_aliases_are_several() -> None:
    """Of one in text each letter was an alias, and jobs of that name were parked."""
    with pytest.raises(TypeError, match=r"\['send_invoice'\]"):
        task(name="invoice", aliases="send_invoice")


def test_a_task_of_a_newer_version_is_parked(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._PATIENCE", 0.0)
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._HOUR", 0.0)
    try:
        task(name="t", version=2)(work.note)
        leave(make, (work.note, 1))
        task(name="t", version=1)(work.note)
        executor = make()
        (letter,) = _parked(executor)
        assert "version 2" in letter.reason
        assert letter.function == "t"
    finally:
        del work.note.__pqadapters_task__  # type: ignore[attr-defined]


# When they are begun


def test_recovered_gives_their_futures(make: Make) -> None:
    left = leave(make, *((work.double, number) for number in range(10)))
    executor = make(2)
    futures = executor.recovered()
    assert {future.job_id for future in futures} == {future.job_id for future in left}
    assert sorted(future.result() for future in as_completed(futures, work.PATIENCE)) == list(range(0, 20, 2))


def test_manual_recovery_waits_for_recovered(make: Make) -> None:
    leave(make, (work.note, "left"))
    executor = make(recover="manual")
    executor.submit(work.note, "new").result(work.PATIENCE)
    assert work.DONE == ["new"]
    wait(executor.recovered())
    assert work.DONE == ["new", "left"]


def test_recovery_on_submit_waits_for_one(make: Make) -> None:
    leave(make, (work.note, "left"))
    executor = make(recover="on_submit")
    assert executor._backlog._store is None
    executor.submit(work.note, "new").result(work.PATIENCE)
    assert work.DONE == ["left", "new"]


def test_on_recovered_is_called_with_the_future_of_each(make: Make) -> None:
    leave(make, (work.double, 1), (work.double, 2))
    seen: list[JobFuture] = []
    make(on_recovered=seen.append).shutdown()
    assert [future.result() for future in seen] == [2, 4]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_on_recovered_that_raises_keeps_no_job_from_running(make: Make, error: type[BaseException]) -> None:
    """By one that calls sys.exit() they became dead letters, as if they had ended their process three times."""
    leave(make, (work.note, 1), (work.note, 2))

    def refuse(future: JobFuture) -> None:
        raise error

    make(on_recovered=refuse).shutdown()
    assert work.DONE == [1, 2]


def test_on_recovered_is_called_for_those_that_recovered_has_given(make: Make) -> None:
    """It wasn't: with recover="manual" never."""
    leave(make, (work.note, 1), (work.note, 2))
    seen: list[JobFuture] = []
    executor = make(recover="manual", on_recovered=seen.append)
    found = executor.recovered()
    wait(found, work.PATIENCE)
    assert seen == found


def test_a_recovered_jobs_failure_is_logged(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    leave(make, (work.fail, "nobody looks"))
    make().shutdown()
    assert any(record.exc_info and "nobody looks" in str(record.exc_info[1]) for record in caplog.records)


@pytest.mark.parametrize("payload", [b"\1", b"\1no job", b"\1\0" + bytes(22)])
def test_what_is_no_job_is_a_dead_letter_and_holds_up_none(make: Make, payload: bytes) -> None:
    with make(recover="manual") as executor:
        executor._backlog.store.commit(Put(executor._backlog.names.jobs, payload))
    with make() as executor:
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
    with make(recover="manual") as executor:
        (letter,) = executor.jobs("dead")
        assert letter.function == "?"
        assert letter.reason
        assert executor.requeue() == 1
        assert executor.purge("pending") == 1


@pytest.mark.parametrize(
    "options",
    [b"[1]", b"[" * 200_000]
    + [b'{"%s": "x"}' % name for name in (b"max_attempts", b"retries", b"timeout", b"result_ttl", b"backoff")],
    ids=["list", "deep", "max_attempts", "retries", "timeout", "result_ttl", "backoff"],
)
def test_what_has_options_that_are_none_is_a_dead_letter_and_holds_up_none(make: Make, options: bytes) -> None:
    """They held up all jobs, or the shutdown: on a server they aren't signed, and are anybody's."""
    head = struct.pack(">BB16sHI", 1, 0, bytes(16), 0, len(options))
    with make(recover="manual") as executor:
        payload = head + options + dump((work.note, ("runs",), {}))
        executor._backlog.store.commit(Put(executor._backlog.names.jobs, payload, attempts=2))
    with make() as executor:
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
    with make(recover="manual") as executor:
        (letter,) = executor.jobs("dead")
        assert letter.reason.startswith("it can't be read: ")
    assert not work.DONE


def test_what_is_parked_while_it_is_looked_for_has_come_to_its_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would tell its future."""
    leave(make, (work.note, 1))
    executor = make(recover="manual")
    store, looked = executor._backlog.store, list[bool]()
    browse = store.browse

    def late(*args: Any, **more: Any) -> Any:
        records = list(browse(*args, **more))
        if not looked:
            looked.append(True)
            store.commit(*(Nack(claim, dead="no good") for claim in store.claim("default")))
        return iter(records)

    monkeypatch.setattr(store, "browse", late)
    (future,) = executor.recovered()
    with pytest.raises(JobParked, match=r"no good; requeue\(\) puts it back"):
        future.result(work.PATIENCE)


def test_calls_of_map_are_dropped_unless_asked_for(make: Make) -> None:
    executor = make(recover_map=True)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.map(work.note, range(3))
    executor.submit(work.note, "submitted")
    end(executor)
    make().shutdown()
    make(recover_map=True).shutdown()  # they are off the disk
    assert work.DONE == ["submitted"]


def test_recover_map_runs_them(make: Make) -> None:
    executor = make(recover_map=True)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.map(work.note, range(3))
    end(executor)
    make(recover_map=True).shutdown()
    assert work.DONE == [0, 1, 2]


def test_a_delayed_job_waits_for_its_time_in_the_next_executor(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")  # else it may be begun here
    before = time.time()
    executor.using(delay=0.3).submit(work.note, "late")
    end(executor)
    executor = make()
    (future,) = executor.recovered()
    future.result(work.PATIENCE)
    assert time.time() - before >= 0.3
    assert work.DONE == ["late"]


def test_a_delayed_job_that_comes_due_as_the_next_executor_looks_is_waited_for(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was no more ready in the first look than it was delayed in the second: shutdown() left it for another time."""
    expect_soon = returning.expect_soon

    def expect_late(backlog: Any, store: Any) -> None:
        store.wait(backlog.names.jobs, lambda depth: depth.ready > 0, work.PATIENCE)
        expect_soon(backlog, store)

    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.backlog.expect_soon", expect_late)
    executor = make()
    executor.using(delay=0.2).submit(work.note, "late")
    executor.shutdown(drain=False)
    make().shutdown()
    assert work.DONE == ["late"]


def test_options_survive(make: Make) -> None:
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.using(retries=2, backoff=0.0, retry_on=OSError, key="k").submit(work.fail_until, 2, "done")
    end(executor)
    with make() as executor:
        assert executor.future(key="k").result(work.PATIENCE) == "done"
    assert len(work.DONE) == 3


@pytest.mark.parametrize(("what", "kind"), [(work.Leaves, "SystemExit"), (work.Interrupts, "KeyboardInterrupt")])
def test_a_job_whose_bytes_end_who_loads_them_is_parked(what: type, kind: str, make: Make) -> None:
    """Its worker ended with it, and so did the next one that was given it; at last its process was said to have."""
    leave(make, (work.note, what()), (work.note, 1))
    executor = make()
    (letter,) = _parked(executor)
    assert letter.reason.startswith(f"it can't be loaded: {kind}")
    assert letter.attempts == 0
    executor.shutdown()
    assert work.DONE == [1]


def test_one_that_was_asked_for_and_runs_comes_to_its_end_behind_a_shutdown(make: Make) -> None:
    [left] = leave(make, (work.hold, "runs"))
    executor = make(recover="manual")
    future = executor.future(left.job_id)
    executor.recovered()
    work.reached("runs")
    executor.shutdown(wait=False, drain=False)
    assert not future.done()
    work.GATES["runs"].set()
    assert future.result(work.PATIENCE) == "runs"


def test_parked_jobs_end_waiting_for_them(make: Make) -> None:
    leave(make, (work.note, work.Unloadable()))
    (future,) = make(recover="manual").recovered()
    with pytest.raises(JobParked):
        future.result(work.PATIENCE)


@pytest.mark.parametrize("end", ["recovered", "cancel", "shutdown"])
def test_a_key_that_was_left_and_isnt_begun_yet(make: Make, end: str) -> None:
    """Its future couldn't be cancelled, and didn't end with the executor."""
    first = make(recover="manual")
    first._issue(work.hold, "gate")
    work.reached("gate")
    first.using(key="k").submit(work.note, 1)
    first.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    first.shutdown()
    executor = make(recover="manual")
    future = executor.using(key="k").submit(work.note, 2)
    assert not future.done()
    if end == "recovered":
        assert executor.recovered() == [future]
        assert future.result(work.PATIENCE) == 1
    elif end == "cancel":
        assert future.cancel()
        assert executor.stats()["pending"] == 0
        assert executor.using(key="k").submit(work.note, 3).result(work.PATIENCE) == 3
    else:
        executor.shutdown()
        assert future.cancelled()
        assert make().future(key="k").result(work.PATIENCE) == 1


def test_to_look_begins_nothing_before_the_first_submit(make: Make) -> None:
    """With `recover="on_submit"`, in a store that processes share, `stats()` began what was left."""
    leave(make, (work.note, "left"))
    another = make(recover="on_submit")
    assert another.stats()["pending"] == 1
    backlog = another._backlog
    look = _Look(backlog, backlog.store)
    depth = backlog.store.depth(backlog.names.jobs)
    assert not look._wanted(depth)
    another.submit(work.nothing).result(work.PATIENCE)
    assert look._wanted(depth)
    another.shutdown()
    assert work.DONE == ["left"]


def test_who_only_looked_waits_for_nothing_that_was_left(make: Make) -> None:
    """With `recover="on_submit"`: shutdown() waited for jobs that nobody was to begin."""
    leave(make, (work.note, "left"))
    another = make(recover="on_submit")
    assert another.stats()["pending"] == 1
    Task(another.shutdown, patience=work.PATIENCE).result()
    assert not work.DONE


@pytest.mark.parametrize("recover", ["on_submit", "manual"])
def test_who_only_looked_expects_nothing_that_is_due_soon(
    make: Make, monkeypatch: pytest.MonkeyPatch, recover: str
) -> None:
    """shutdown() waited for that, up to five seconds, though nobody was to begin it."""
    monkeypatch.setattr(returning, "_SOON", 2 * work.PATIENCE)
    first = make()
    job: Any = first.using(delay=work.PATIENCE).submit(work.note, "left")
    first.shutdown(drain=False)
    another = make(recover=recover)
    assert another.stats()["delayed"] == 1
    assert another._backlog.drained()
    if recover == "on_submit":
        another.submit(work.nothing).result(work.PATIENCE)
    else:
        another.recovered()
    assert another._backlog.delayed.keys() == {bytes.fromhex(job.job_id)}


def test_the_first_submit_gets_the_room_of_what_was_left(make: Make) -> None:
    """With `recover="on_submit"`: it waited for that before it had those jobs begun."""
    leave(make, (work.note, "left"), (work.note, "too"))
    another = make(recover="on_submit", max_pending=1)
    own: Any = Task(lambda: another.submit(work.note, "own"), patience=work.PATIENCE).result()
    own.result(work.PATIENCE)
    assert work.DONE == ["left", "too", "own"]


def test_what_comes_due_waits_for_the_first_submit_or_for_recovered(make: Make) -> None:
    """With `recover="on_submit"`: a delayed job was begun behind a look at the executor; and one that had longer to
    wait, of which `recovered()` gave a future, was not begun at all."""
    first = make()
    job: Any = first.using(delay=work.PATIENCE).submit(work.note, "left")
    first.shutdown(drain=False)
    another = make(recover="on_submit")
    assert another.stats()["delayed"] == 1
    backlog = another._backlog
    returning._back(backlog, bytes.fromhex(job.job_id))
    assert not backlog.recovering
    another.recovered()
    due = backlog.store.depth(backlog.names.jobs)._replace(ready=1)
    assert _Look(backlog, backlog.store)._wanted(due)


AT_EXIT = """
import atexit, json

def oops():
    raise OSError

if __name__ == "__main__":
    kind = {"thread": ThreadPoolExecutor, "process": ProcessPoolExecutor}[sys.argv[1]]
    place, case = json.loads(sys.argv[2]), sys.argv[3]
    executor = kind(1, **place)
    if case == "delayed":
        executor.using(delay=600).submit(double, 1)
    if case == "due":
        executor.using(delay=0.01).submit(double, 1)
    if case == "again":
        executor.using(retries=1, backoff=0.01).submit(oops)
    if case == "left":
        executor.using(delay=0.5).submit(double, 1)
        executor.shutdown(drain=False)

    def bye():
        if case == "left":
            try:
                kind(1, **place).shutdown()
            except RuntimeError:  # from Python 3.12 on no thread is started any more
                pass
        executor.shutdown()
        say("ended")

    atexit.register(bye)
"""


@pytest.mark.parametrize("case", ["delayed", "due", "again", "left"])
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_shutdown_when_the_program_has_ended_leaves_what_no_pool_begins(
    kind: str, case: str, place: dict[str, Any], tmp_path: Path
) -> None:
    """`atexit.register(executor.shutdown)` waited for ever for a job that was delayed, was to be tried again, or was
    left by an earlier run: the standard library's pools take no calls then."""
    with App(tmp_path, AT_EXIT).start(kind, json.dumps(place, default=str), case) as running:
        running.until("ended")
        running.end()


class Untold:
    """Can't be loaded, and who asks why is told to exit."""

    def __reduce__(self) -> Any:
        return _fail_untold, ()


def _fail_untold() -> NoReturn:
    raise Unsaid


class Unsaid(Exception):
    def __str__(self) -> NoReturn:
        raise SystemExit(3)


@pytest.mark.parametrize("attempts", [0, 2])
@pytest.mark.parametrize("error", [TypeError, SystemExit])
def test_a_job_that_cant_be_begun_for_whatever_reason_holds_up_no_other(
    make: Make, error: type[BaseException], attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken for a store that refuses: that was looked at again each second, and shutdown() had no end."""
    leave(make, (work.note, 1), (work.note, 2), (work.note, 3))
    loaded = loading.loaded

    def fail_for_one(backlog: Any, claim: Any, job: Any, *more: Any) -> Any:
        if b"K\2" in job.call:  # that is 2
            raise error("nobody has thought of it")
        return loaded(backlog, claim, job, *more)

    monkeypatch.setattr(starting, "loaded", fail_for_one)
    with make(recover="manual") as executor:
        store, name = executor._backlog.store, executor._backlog.names.jobs
        for claim in store.claim(name, limit=10):
            store.commit(Ack(claim), Put(name, claim.payload, claim.rank, attempts=attempts))
    with make(recover="manual") as executor:
        _, two, _ = executor.recovered()
        with pytest.raises(JobParked, match=f"it can't be begun: builtins.{error.__name__}: nobody has thought"):
            two.result(work.PATIENCE)
    assert work.DONE == [1, 3]


def test_a_job_whose_loading_fails_unsaid_is_parked(make: Make) -> None:
    leave(make, (work.note, Untold()), (work.note, 1))
    executor = make()
    (letter,) = _parked(executor)
    assert letter.reason == "it can't be loaded: Unsaid, whose text can't be had"
    executor.shutdown()
    assert work.DONE == [1]


@pytest.mark.parametrize("word", ["retry", "fail", "drop"])
def test_a_job_that_could_not_be_begun_for_want_of_memory_was_not_interrupted(make: Make, word: str) -> None:
    """With interrupted="drop" it was taken for done, with "fail" for one whose process ended; it had never run."""
    leave(make, (work.note, 1), interrupted=word)
    executor = make(interrupted=word, recover="manual")
    opened, tries = executor._backlog.opened, list[bytes]()

    def lacks_memory(data: bytes) -> Any:
        tries.append(data)
        if len(tries) <= 3:
            raise MemoryError
        return opened(data)

    executor._backlog.opened = lacks_memory
    (future,) = executor.recovered()
    future.result(work.PATIENCE)
    assert work.DONE == [1]
    assert future.attempts == 1
