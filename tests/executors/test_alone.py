"""A job on its last attempt runs alone in a pool of threads, if that can be: another one that ends the process doesn't
take it with it."""

from __future__ import annotations

from concurrent.futures import TimeoutError as TimedOut
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import JobFuture, ThreadPoolExecutor, wait
from pqadapters.concurrent.futures._backlog.finishing import let_go_of_suspect
from pqadapters.concurrent.futures._backlog.starting import next_job
from pqadapters.concurrent.futures._backlog.suspects import Suspects
from pqadapters.concurrent.futures._workers import tickets

from ..logging.sinks import eventually
from . import work
from .conftest import Make
from .harness import App
from .test_killed import PLACES
from .test_left_behind import end, leave
from .test_suspects import make_suspects

_MADE: list[ThreadPoolExecutor] = []
_HANDED: list[JobFuture] = []


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in vain fails the test."""
    monkeypatch.setattr(tickets, "_PATIENCE", 10 * work.PATIENCE)


def hold_submit_and_wait(gate: str, call: Any, *args: Any) -> Any:
    work.hold(gate)
    return submit_and_wait(call, *args)


def submit_and_wait(call: Any, *args: Any) -> Any:
    """A job whose own job is waited for."""
    return _MADE[-1].submit(call, *args).result(work.PATIENCE)


def open_gate(name: str) -> None:
    work.GATES[name].set()


def leave_suspect(make: Make, *call: Any) -> None:
    leave_suspects(make, call)


def leave_suspects(make: Make, *calls: tuple[Any, ...]) -> None:
    leave(make, *calls)
    make_suspects(make)


def begin(make: Make, workers: int, **more: Any) -> ThreadPoolExecutor:
    _MADE.append(make(workers, recover="manual", max_attempts=2, **more))
    return _MADE[-1]


def hold_suspect(make: Make, workers: int, **more: Any) -> tuple[ThreadPoolExecutor, Any]:
    """One that runs, until its gate opens; and its future."""
    leave_suspect(make, work.hold, "suspect")
    executor = begin(make, workers, **more)
    [future] = executor.recovered()
    work.reached("suspect")
    return executor, future


def test_it_waits_for_those_that_run(make: Make) -> None:
    leave_suspect(make, work.note, "suspect")
    executor = begin(make, 3)
    executor.submit(work.hold, "runs")
    work.reached("runs")
    [future] = executor.recovered()
    wait_until_it_waits(executor)
    assert work.DONE == []
    work.GATES["runs"].set()
    assert future.result(work.PATIENCE) == "suspect"


def test_what_those_submit_that_it_waits_for_runs_while_it_waits(make: Make) -> None:
    """Its worker was taken for one that looks for jobs."""
    leave_suspect(make, work.note, "suspect")
    executor = begin(make, 3)
    first = executor.submit(hold_submit_and_wait, "runs", work.note, "child")
    work.reached("runs")
    [future] = executor.recovered()
    wait_until_it_waits(executor)
    work.GATES["runs"].set()
    assert (first.result(work.PATIENCE), future.result(work.PATIENCE)) == ("child", "suspect")
    assert work.DONE == ["child", "suspect"]


def test_what_one_waited_for_in_vain_the_next_one_does_not_wait_for(make: Make) -> None:
    """Beside a job that never ends each of them waited, and new jobs with it."""
    suspects = Suspects({b"endless": None})
    suspects.patience = tickets._PATIENCE
    for id in (b"a", b"b"):
        assert suspects.begin(id)
        suspects._until = 0.0 if id == b"a" else suspects._until
        assert suspects.wait_until_alone(lambda: pytest.fail("it waits"))
        suspects.end(id)


def wait_until_it_waits(executor: ThreadPoolExecutor) -> None:
    """It was begun, but for those that run."""
    suspects: Suspects = executor._backlog.suspects
    assert eventually(lambda: suspects.running is not None and len(suspects._claiming) == 1)


def test_new_ones_wait_for_it(make: Make) -> None:
    executor, _ = hold_suspect(make, 3)
    futures = [executor.submit(work.note, number) for number in range(4)]
    assert next_job(executor._backlog) is None
    work.GATES["suspect"].set()
    assert [future.result(work.PATIENCE) for future in futures] == [0, 1, 2, 3]


def test_what_it_submits_itself_runs_beside_it_and_what_that_submits(make: Make) -> None:
    leave_suspect(make, submit_and_wait, submit_and_wait, submit_and_wait, work.note, "inmost")
    [future] = begin(make, 4).recovered()
    assert future.result(work.PATIENCE) == "inmost"


def submit_retried() -> Any:
    """A job whose own job fails at first, and is waited for."""
    return _MADE[-1].using(retries=1, backoff=0).submit(fail_once).result(work.PATIENCE)


def fail_once() -> str:
    work.DONE.append("begun")
    if len(work.DONE) == 1:
        raise OSError
    return "tried again"


def test_what_it_waits_for_is_tried_again_beside_it(make: Make) -> None:
    """It was taken for one that had been interrupted, and both waited for ever."""
    leave_suspect(make, submit_retried)
    [future] = begin(make, 3).recovered()
    assert future.result(work.PATIENCE) == "tried again"


def test_what_it_waits_for_begins_when_patience_is_over(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for a job that somebody else is to submit."""
    monkeypatch.setattr(tickets, "_PATIENCE", 0.1)
    executor, future = hold_suspect(make, 2)
    executor.submit(open_gate, "suspect")
    assert future.result(work.PATIENCE) == "suspect"


@pytest.mark.parametrize("unstored", [0, 1])
def test_what_waits_for_it_finds_workers_behind_the_end_of_the_pool(
    make: Make, monkeypatch: pytest.MonkeyPatch, unstored: int
) -> None:
    """All but one of them had ended by then, and its job waited for another one for ever."""
    monkeypatch.setattr(tickets, "_STAY", 0.0)
    executor, suspect = hold_suspect(make, 4, volatile="allow")
    for _ in range(unstored):
        assert not executor.submit(work.GATES["unstored"].wait).durable  # type: ignore[attr-defined]
    futures: list[Any] = [executor.submit(work.hold, "both"), executor.submit(open_gate, "both")]
    at_work = executor._tickets
    assert eventually(lambda: at_work.count == 1 or len(at_work._beds) == 2)
    executor.shutdown(wait=False)
    work.GATES["suspect"].set()
    assert [future.result(work.PATIENCE) for future in [suspect, *futures]] == ["suspect", "both", None]


def test_what_it_waits_for_begins_behind_the_end_of_the_pool(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "_PATIENCE", 0.1)
    executor, suspect = hold_suspect(make, 2)
    executor.submit(open_gate, "suspect")
    executor.shutdown(wait=False)
    assert suspect.result(work.PATIENCE) == "suspect"


def test_it_begins_beside_what_never_ends(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "_PATIENCE", 0.1)
    leave_suspect(make, work.note, "suspect")
    executor = begin(make, 2)
    executor.submit(work.hold, "runs")
    work.reached("runs")
    [future] = executor.recovered()
    assert future.result(work.PATIENCE) == "suspect"


def test_what_jobs_submit_beside_a_long_one_is_not_kept(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tickets, "_PATIENCE", 0.1)
    executor, _ = hold_suspect(make, 3)
    suspects = executor._backlog.suspects
    assert eventually(lambda: not suspects.is_waited_for())
    assert executor.submit(submit_and_wait, work.note, 1).result(work.PATIENCE) == 1
    assert suspects.running is not None
    assert suspects.children() == []


def leave_pair(make: Make, outer: Any) -> None:
    """Two on their last attempt, of which `outer` waits for the other one."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.submit(outer)
    executor.using(key="inner").submit(work.note, "inner")
    end(executor)
    make_suspects(make)


def by_key() -> Any:
    return _MADE[-1].using(key="inner").submit(work.note, "again").result(work.PATIENCE)


def by_future() -> Any:
    future = _MADE[-1].future(key="inner")
    wait([future], work.PATIENCE)
    return future.result(0)


def by_recovered() -> Any:
    futures = {future.attempts: future for future in _MADE[-1].recovered()}
    wait([futures[0]], work.PATIENCE)
    return futures[0].result(0)


def by_another_job() -> Any:
    return submit_and_wait(by_key)


def by_map() -> Any:
    return next(_MADE[-1].map(work.call, [by_key]))


def by_the_programs_future() -> Any:
    return hold_and_ask("handed over")


def by_its_exception() -> Any:
    work.hold("handed over")
    return _HANDED[-1].exception(work.PATIENCE) or "inner"


@pytest.mark.parametrize(
    "outer", [by_key, by_future, by_recovered, by_another_job, by_map, by_the_programs_future, by_its_exception]
)
def test_one_that_waits_for_another_one_lets_it_begin(make: Make, outer: Any) -> None:
    """Both waited for ever, where one process of two jobs had been killed twice."""
    leave_pair(make, outer)
    executor = begin(make, 4)
    first, second = executor.recovered()
    _HANDED.append(second)
    open_gate("handed over")
    assert first.result(work.PATIENCE) == "inner"
    assert work.DONE == ["inner"]


def test_who_waits_for_another_one_and_is_no_job_lets_none_begin(make: Make) -> None:
    leave_suspects(make, (work.hold, "suspect"), (work.note, "other"))
    executor = begin(make, 4)
    first, second = executor.recovered()
    work.reached("suspect")
    with pytest.raises(TimedOut):
        second.result(0.01)
    assert executor._backlog.suspects.running == first._id
    work.GATES["suspect"].set()
    assert second.result(work.PATIENCE) == "other"


def test_one_that_still_waits_for_a_job_begins_where_that_waits_for_one_that_it_keeps(make: Make) -> None:
    """Neither could go on before its patience was over."""
    leave_suspects(make, (work.note, "suspect"), (work.note, "other"))
    executor = begin(make, 4)
    asks = executor.submit(hold_and_ask, "asks")
    work.reached("asks")
    suspect, other = executor.recovered()
    wait_until_it_waits(executor)
    _HANDED.append(other)
    work.GATES["asks"].set()
    assert asks.result(work.PATIENCE) == "other"
    assert suspect.result(work.PATIENCE) == "suspect"
    assert sorted(work.DONE) == ["other", "suspect"]


def ask_handed(gate: str, number: int) -> Any:
    work.hold(gate)
    return _HANDED[number].result(work.PATIENCE)


@pytest.mark.parametrize("asks_before", [False, True])
def test_one_that_asks_for_what_it_waited_for_in_vain_gives_way(
    make: Make, monkeypatch: pytest.MonkeyPatch, asks_before: bool
) -> None:
    """That may wait for a third one, which the suspect kept: all of them waited for ever."""
    leave_suspects(make, (ask_handed, "suspect", 0), (work.note, "third"))
    executor = begin(make, 4)
    first: Any = executor.submit(ask_handed, "first", 1)
    work.reached("first")
    _HANDED[:] = [first, *(executor.future(job.job_id) for job in executor.jobs("pending"))]
    _HANDED[1:] = _HANDED[-1:]
    if asks_before:
        monkeypatch.setattr(executor._backlog.suspects, "patience", 0.1)
        open_gate("first")
        assert eventually(lambda: _HANDED[1]._condition._waiters)  # type: ignore[attr-defined]
    suspect, _ = executor.recovered()
    if not asks_before:
        wait_until_it_waits(executor)
        open_gate("first")
    open_gate("suspect")
    assert [future.result(work.PATIENCE) for future in (suspect, first)] == ["third", "third"]


def hold_and_ask(gate: str) -> Any:
    work.hold(gate)
    return _HANDED[-1].result(work.PATIENCE)


def test_one_that_waits_stays_on_disk_where_its_executor_ends(make: Make) -> None:
    leave_suspect(make, work.note, "suspect")
    executor = begin(make, 2)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    [future] = executor.recovered()
    wait_until_it_waits(executor)
    executor.shutdown(wait=False, drain=False)
    assert eventually(lambda: executor._backlog.suspects.running is None), "it went on waiting"
    assert eventually(lambda: not executor._backlog.suspects._claiming)
    assert future.cancelled()
    assert not executor._backlog.attached
    work.GATES["gate"].set()
    executor.shutdown()
    assert work.DONE == []
    [left] = make(recover="manual").jobs()
    assert (left.state, left.attempts) == ("pending", 1)
    make(max_attempts=2).shutdown()
    assert work.DONE == ["suspect"]


def test_what_was_claimed_ahead_waits_as_well(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = begin(make, 1)
    backlog = executor._backlog
    with monkeypatch.context() as patch:
        patch.setattr(backlog, "added", lambda: True)  # no thread of its own takes a job
        patch.setattr(backlog.ahead, "pop", lambda: pytest.fail("it was begun"))
        future = executor.submit(work.note, 1)
        assert backlog.suspects.begin(b"suspect")
        assert next_job(backlog) is None
    let_go_of_suspect(backlog, b"suspect")
    assert future.result(work.PATIENCE) == 1


def test_one_that_runs_is_never_missed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its claim and its beginning it was neither of those that claim, nor of those that run."""
    executor = make(recover="manual")
    backlog = executor._backlog
    leave_claim, seen = backlog.suspects.leave, list[bool]()

    def leave(entry: object) -> None:
        seen.append(bool(backlog.running))
        leave_claim(entry)

    monkeypatch.setattr(backlog.suspects, "leave", leave)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    assert seen[0]
    work.GATES["gate"].set()


POISONED = """
def slow(number):
    time.sleep(0.3)
    say("ran", number)

if __name__ == "__main__":
    open(sys.argv[0] + ".go", "w").close()
    with ThreadPoolExecutor(2, WHERE) as executor:
        if sys.argv[1] == "0":
            executor.submit(slow, 1)
        executor.submit(die, 0)
"""


def ran_in(app: App, starts: int) -> list[str]:
    """What ran in so many starts of it, each of which may end in any way."""
    ran: list[str] = []
    for start in range(starts):
        with app.start(str(start)) as run:
            assert run.process.stdout is not None
            run.said += [line.rstrip("\n") for line in run.process.stdout]
            run.process.wait()
            ran += run.words("ran")
    return ran


@pytest.mark.parametrize("where", ["path", "database"])
def test_a_job_outlives_a_poisonous_one_that_each_start_submits_anew(where: str, tmp_path: Path) -> None:
    """It ran each time as the process died, and was parked for it."""
    app = App(tmp_path, POISONED.replace("WHERE", PLACES[where]))
    assert ran_in(app, 3) == ["1"]
