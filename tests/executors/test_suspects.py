"""Jobs on their last attempt run one at a time, beside jobs of this process that were never begun."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from pqadapters.concurrent.futures import JobFuture
from pqadapters.concurrent.futures._backlog import loading, starting, suspects
from pqadapters.concurrent.futures._backlog.finishing import let_go_of_suspect
from pqadapters.concurrent.futures._backlog.returning import put_back
from pqadapters.concurrent.futures._backlog.suspects import Suspects
from pqadapters.concurrent.futures._workers.unopened import NotLoaded
from pqadapters.store import Ack, Put

from . import work
from .conftest import Make
from .test_left_behind import leave
from .test_one_job_two_futures import leave_failing


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in vain fails the test."""
    monkeypatch.setattr(suspects, "_CLAIMS", 10 * work.PATIENCE)


def leave_suspects(make: Make, *numbers: int) -> None:
    """Jobs that were begun once, and came to no end."""
    leave(make, *((work.note, number) for number in numbers))
    make_suspects(make)


def make_suspects(make: Make, attempts: int = 1) -> None:
    with make(recover="manual") as other:
        store, name = other._backlog.store, other._backlog.names.jobs
        for claim in store.claim(name, limit=10):
            store.commit(Ack(claim), Put(name, claim.payload, claim.rank, attempts=attempts))


def test_one_at_a_time() -> None:
    suspects = Suspects({})
    assert suspects.enter("one")
    assert suspects.begin(b"a")
    suspects.leave("one")
    assert not suspects.enter("two"), "while it runs, not everything may be claimed"
    assert not suspects.begin(b"b")
    suspects.leave("two")
    assert not suspects.end(b"b")
    assert suspects.end(b"a")
    assert suspects.enter("three")


def _begins(suspects: Suspects) -> threading.Event:
    """A thread begins a suspect. Returns when it is about to."""
    begun = threading.Event()

    def begin() -> None:
        suspects.enter("suspect")
        suspects.begin(b"a")
        begun.set()

    thread = threading.Thread(target=begin, daemon=True)
    thread.start()
    while suspects.running is None:
        thread.join(0.01)
    return begun


def test_it_begins_when_claims_on_their_way_are_decided() -> None:
    suspects = Suspects({})
    suspects.enter("claim")
    begun = _begins(suspects)
    assert not begun.is_set()
    suspects.leave("claim")
    assert begun.wait(work.PATIENCE)


def test_who_claims_in_the_middle_of_a_claim_of_its_thread_ends_only_its_own() -> None:
    """A signal handler or finalizer that submits to a pool of processes. A suspect of another thread began beside what
    its thread had claimed, and hadn't begun."""
    suspects = Suspects({})
    for claim in ("claim", "a handler's"):
        suspects.enter(claim)
    suspects.leave("a handler's")
    begun = _begins(suspects)
    assert not begun.is_set()
    suspects.leave("claim")
    assert begun.wait(work.PATIENCE)


def test_a_suspect_does_not_wait_for_claims_of_its_own_thread() -> None:
    suspects = Suspects({})
    suspects.enter("claim")
    suspects.enter("a handler's")
    assert suspects.begin(b"a")


def test_one_begins_though_a_claim_stays_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_recovered=` waited for it: so did it for that, for ever."""
    monkeypatch.setattr(suspects, "_CLAIMS", 0.1)
    some = Suspects({})
    some.enter("claim")
    assert _begins(some).wait(work.PATIENCE)


def test_none_waits_for_a_claim_that_was_interrupted_twice(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C came again as the claim was undone: a suspect waited for the end of that for ever."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    leave(make, (work.note, 1))
    backlog = make(recover="manual")._backlog
    backlog.open()
    backlog.added = lambda: True  # no thread of its own takes the job
    backlog.foreign = backlog.recovering = True
    with monkeypatch.context() as patch:
        patch.setattr(starting, "_looked_at", interrupt)
        patch.setattr(starting, "undo_claim", interrupt)
        with pytest.raises(KeyboardInterrupt):
            starting.next_job(backlog)
    assert _begins(backlog.suspects).wait(work.PATIENCE)


def test_who_was_kept_off_by_one_that_has_ended_since_looks_for_all_again(make: Make) -> None:
    """It took it for granted that no others were left: they stayed on disk when the executor was shut down."""
    backlog = make()._backlog
    backlog.open()
    backlog.added = lambda: True
    assert backlog.suspects.enter("one")
    assert backlog.suspects.begin(b"a")
    backlog.suspects.leave("one")
    free = backlog.suspects.enter("two")
    let_go_of_suspect(backlog, b"a")
    assert starting._next_claim(backlog, free) is None
    assert (free, backlog.recovering) == (False, True)


def test_jobs_that_were_never_begun_may_run_beside_it() -> None:
    suspects = Suspects({})
    new: Any = SimpleNamespace(_interruptions=0)
    old: Any = SimpleNamespace(_interruptions=1)
    assert suspects.allow(old)
    suspects.enter("one")
    suspects.begin(b"a")
    assert suspects.allow(new)
    assert not suspects.allow(old)


def test_one_that_couldnt_be_begun_is_begun_later(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood in its own way for ever, as one that ran, and in that of all others which had been begun before."""
    leave_suspects(make, 1)
    begin, failed = JobFuture.begin, list[bool]()

    def fail(future: JobFuture) -> bool:
        if failed:
            return begin(future)
        failed.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(JobFuture, "begin", fail)
    [future] = make(recover="manual", max_attempts=2).recovered()
    assert future.result(work.PATIENCE) == 1
    assert failed


def test_one_that_was_cancelled_as_it_was_begun_keeps_no_other(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_suspects(make, 1, 2)
    begin, cancelled = JobFuture.begin, list[bool]()

    def cancel(future: JobFuture) -> bool:
        if not cancelled:
            cancelled.append(future.cancel_here())
        return begin(future)

    monkeypatch.setattr(JobFuture, "begin", cancel)
    executor = make(recover="manual", max_attempts=2)
    one, two = executor.recovered()
    assert two.result(work.PATIENCE) == 2
    assert one.cancelled()
    executor.shutdown()
    assert sorted(work.DONE) == [1, 2]


@pytest.mark.parametrize("attempts", [2, 3, 7])
def test_attempts_that_were_counted_as_other_jobs_ended_the_process_park_none(make: Make, attempts: int) -> None:
    """One that was claimed, and hadn't begun, was blamed: it was parked, without a last attempt."""
    leave(make, (work.note, 1))
    make_suspects(make, attempts)
    executor = make()
    executor.shutdown()
    assert work.DONE == [1]


def test_one_that_ended_its_process_on_its_last_attempt_is_told_so_however_often_it_was_claimed_since(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others ended the process as it was parked: "4 times (max_attempts=3)"."""
    leave(make, (work.note, 1))
    make_suspects(make, 2)
    with monkeypatch.context() as patch:
        patch.setattr(starting, "_begins", lambda backlog, started: False)  # its process ends here
        make().shutdown(drain=False)
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(starting, "park", lambda *_: None)
            make().shutdown(drain=False)
    with make() as executor:
        executor.shutdown()
        again = make(recover="manual")
        assert [job.reason for job in again.jobs("dead")] == [
            "its process ended while it ran, 3 times (max_attempts=3)"
        ]
    assert work.DONE == []


def test_its_loading_is_a_part_of_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the process as it is loaded took others on their last attempt with it."""
    leave_suspects(make, 1)
    load, running = loading.loaded, list[bytes | None]()

    def look(backlog: Any, *args: Any) -> Any:
        running.append(backlog.suspects.running)
        return load(backlog, *args)

    monkeypatch.setattr(starting, "loaded", look)
    executor = make(recover="manual", max_attempts=2)
    [future] = executor.recovered()
    assert future.result(work.PATIENCE) == 1
    assert running == [future._id]


def test_one_that_cant_be_loaded_yet_keeps_no_other(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_suspects(make, 1, 2)
    load, failed = loading._opened, list[bool]()

    def fail(*args: Any) -> Any:
        if failed:
            return load(*args)
        failed.append(True)
        raise AttributeError("it isn't defined yet")

    monkeypatch.setattr(loading, "_opened", fail)
    executor = make(recover="manual", max_attempts=2)
    one, two = executor.recovered()
    assert (two.result(work.PATIENCE), one.result(work.PATIENCE)) == (2, 1)


def test_one_whose_look_was_interrupted_is_none(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it keep others that were begun before from it, while nobody runs it."""
    leave_suspects(make, 1)
    backlog = make(recover="manual", max_attempts=2)._backlog
    backlog.open()
    backlog.added = lambda: True  # no thread of its own takes the job
    backlog.foreign = backlog.recovering = True
    monkeypatch.setattr(starting, "loaded", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        starting.next_job(backlog)
    assert backlog.suspects.running is None


def test_one_that_a_worker_cant_load_yet_is_begun_again(make: Make) -> None:
    """It stood in its own way for ever, as one that ran."""
    leave_suspects(make, 1)
    backlog = make(recover="manual", max_attempts=2)._backlog
    backlog.open()
    backlog.added = lambda: True  # no thread of its own takes the job
    backlog.foreign = backlog.recovering = True
    started = starting.next_job(backlog)
    assert started is not None
    loading.not_loaded(backlog, started, NotLoaded("it isn't defined yet", True))
    assert backlog.suspects.running is None
    assert backlog.recovering


def test_one_that_fails_is_tried_again(make: Make) -> None:
    job = leave_failing(make, retries=1, backoff=0)
    make_suspects(make)
    executor = make(recover="manual", max_attempts=2)
    future = executor.future(job)
    executor.recovered()
    assert future.result(work.PATIENCE) == "done"


def test_one_that_waits_for_another_is_ended_to_who_asks_for_what_was_left(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had been taken for begun: its future was forgotten by recovered(), which had just handed it out."""
    leave_suspects(make, 1)
    begin, waits = Suspects.begin, threading.Event()

    def put(*args: Any, **more: Any) -> None:
        put_back(*args, **more)
        waits.set()

    monkeypatch.setattr(Suspects, "begin", lambda suspects, id: waits.is_set() and begin(suspects, id))
    monkeypatch.setattr(starting, "put_back", put)
    executor = make(max_attempts=2)
    assert waits.wait(work.PATIENCE)
    [future] = executor.recovered()
    assert future.result(work.PATIENCE) == 1
