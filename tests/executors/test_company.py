"""Several executors of one process: a job on its last attempt of one of them, and what the others run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import JobFuture, ProcessPoolExecutor, ThreadPoolExecutor
from pqadapters.concurrent.futures._backlog.starting import next_job
from pqadapters.concurrent.futures._backlog.suspects import Suspects
from pqadapters.concurrent.futures._workers import tickets

from ..contract.threads import Task
from ..logging.sinks import eventually
from ..segment.programs import forked
from . import work
from .harness import App
from .test_alone import ran_in
from .test_left_behind import end
from .test_suspects import make_suspects

Make = Callable[..., Any]
_POOLS: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in vain fails the test."""
    monkeypatch.setattr(tickets, "_PATIENCE", 10 * work.PATIENCE)


@pytest.fixture
def make_at(tmp_path: Path) -> Iterator[Callable[[str], Make]]:
    """For each place what makes executors there."""

    def at(place: str) -> Make:
        def make(workers: int = 1, kind: type[Any] = ThreadPoolExecutor, **more: Any) -> Any:
            _POOLS[place] = kind(workers, path=tmp_path / place, durability="process", **more)
            made.append(_POOLS[place])
            return _POOLS[place]

        return make

    made: list[Any] = []
    yield at
    for gate in work.GATES.values():
        gate.set()
    for executor in made:
        executor.shutdown()
    _POOLS.clear()


def leave(make: Make, *call: Any, key: str | None = None) -> None:
    """A job that has been begun once."""
    executor = make()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    (executor if key is None else executor.using(key=key)).submit(*call)
    end(executor)
    make_suspects(make)


def begin(make: Make, workers: int = 2, **more: Any) -> tuple[Any, list[JobFuture]]:
    """Which is its last attempt."""
    executor = make(workers, recover="manual", max_attempts=2, **more)
    return executor, executor.recovered()


def ask(place: str, *call: Any) -> Any:
    """A job that waits for one of another executor."""
    return _POOLS[place].submit(*call).result(work.PATIENCE)


def ask_for(place: str, key: str) -> Any:
    """A job that waits for one that was left in another executor."""
    return _POOLS[place].future(key=key).result(work.PATIENCE)


def test_those_of_two_run_one_at_a_time(make_at: Callable[[str], Make]) -> None:
    leave(make_at("one"), work.hold, "first")
    leave(make_at("two"), work.note, "second")
    _, [first] = begin(make_at("one"))
    work.reached("first")
    two, [second] = begin(make_at("two"))
    assert next_job(two._backlog) is None
    assert work.DONE == []
    work.GATES["first"].set()
    assert [first.result(work.PATIENCE), second.result(work.PATIENCE)] == ["first", "second"]


def test_one_waits_for_what_others_run(make_at: Callable[[str], Make]) -> None:
    leave(make_at("one"), work.note, "suspect")
    two = make_at("two")()
    two.submit(work.hold, "runs")
    work.reached("runs")
    one, [suspect] = begin(make_at("one"))
    backlog = one._backlog
    assert eventually(lambda: backlog.suspects.waiting)
    assert work.DONE == []
    work.GATES["runs"].set()
    assert suspect.result(work.PATIENCE) == "suspect"


def hold_suspect(make_at: Callable[[str], Make]) -> tuple[Any, Any]:
    """One that runs, and another executor."""
    leave(make_at("one"), work.hold, "suspect")
    one, _ = begin(make_at("one"))
    work.reached("suspect")
    return one, make_at("two")(2)


def test_new_ones_of_others_wait_for_it(make_at: Callable[[str], Make]) -> None:
    _, two = hold_suspect(make_at)
    future = two.submit(work.note, 1)
    assert next_job(two._backlog) is None
    work.GATES["suspect"].set()
    assert future.result(work.PATIENCE) == 1


def test_so_does_what_was_left_to_others(make_at: Callable[[str], Make]) -> None:
    """Behind that it is looked for, though nobody submits."""
    executor = make_at("two")()
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.submit(work.note, "left")
    end(executor)
    hold_suspect(make_at)[1].shutdown(drain=False)
    two = make_at("two")(recover="manual")
    [left] = two.recovered()
    assert eventually(lambda: two._backlog.suspects.is_kept)
    assert next_job(two._backlog) is None
    work.GATES["suspect"].set()
    assert left.result(work.PATIENCE) == "left"


def test_others_begin_theirs_when_patience_is_over(
    make_at: Callable[[str], Make], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless that is itself one on its last attempt."""
    monkeypatch.setattr(tickets, "_PATIENCE", 0.3)
    leave(make_at("three"), work.note, "old")
    one, two = hold_suspect(make_at)
    assert two.submit(work.note, 1).result(work.PATIENCE) == 1
    _, [old] = begin(make_at("three"))
    assert not old.done()
    assert one._backlog.suspects.running
    work.GATES["suspect"].set()
    assert old.result(work.PATIENCE) == "old"
    assert work.DONE == [1, "old"]


def test_what_it_submits_to_another_one_runs_beside_it(make_at: Callable[[str], Make]) -> None:
    leave(make_at("one"), ask, "two", ask, "one", work.note, "inmost")
    make_at("two")(2)
    _, [future] = begin(make_at("one"))
    assert future.result(work.PATIENCE) == "inmost"


def test_one_that_waits_for_one_of_another_lets_it_begin(make_at: Callable[[str], Make]) -> None:
    leave(make_at("one"), ask_for, "two", "inner")
    leave(make_at("two"), work.note, "inner", key="inner")
    two = make_at("two")(2, recover="manual", max_attempts=2)
    one, [outer] = begin(make_at("one"))
    work_of_two = two.recovered()
    assert outer.result(work.PATIENCE) == "inner"
    assert [future.result(work.PATIENCE) for future in work_of_two] == ["inner"]
    assert one._backlog.suspects.all_running == []


def test_a_pool_of_processes_waits_with_its_own_alone(make_at: Callable[[str], Make]) -> None:
    """What is new there outlives the end of this process, and is no danger to others."""
    leave(make_at("three"), work.double, 21)
    hold_suspect(make_at)
    three, [left] = begin(make_at("three"), kind=ProcessPoolExecutor)
    assert three.submit(work.double, 1).result(work.PATIENCE) == 2
    assert not left.done()
    work.GATES["suspect"].set()
    assert left.result(work.PATIENCE) == 42


def test_one_of_a_pool_of_processes_keeps_no_threads(make_at: Callable[[str], Make], tmp_path: Path) -> None:
    leave(make_at("one"), work.wait_for_file, str(tmp_path / "go"))
    leave(make_at("two"), work.note, "old")
    one, [left] = begin(make_at("one"), kind=ProcessPoolExecutor)
    assert eventually(lambda: one._backlog.suspects.running is not None)
    two, [old] = begin(make_at("two"))
    assert two.submit(work.note, 1).result(work.PATIENCE) == 1
    assert not old.done()
    (tmp_path / "go").touch()
    left.result(work.PATIENCE)
    assert old.result(work.PATIENCE) == "old"


def test_one_whose_pool_was_broken_before_keeps_no_others(make_at: Callable[[str], Make], tmp_path: Path) -> None:
    """It ended its worker, and was taken for one that runs until its executor was shut down."""
    leave(make_at("one"), work.die_at, str(tmp_path / "ledger"))
    leave(make_at("two"), work.note, "old")
    one, _ = begin(make_at("one"), kind=ProcessPoolExecutor)
    assert eventually(lambda: one._backlog.suspects.running is not None)
    with pytest.raises(BrokenProcessPool):
        one.submit(work.end_process).result(work.PATIENCE)
    (tmp_path / "ledger.go").touch()
    _, [old] = begin(make_at("two"))
    assert old.result(work.PATIENCE) == "old"


def test_an_executor_that_has_ended_keeps_no_others() -> None:
    one, two = Suspects({}), Suspects({})
    looks: list[int] = []
    one.patience = two.patience = work.PATIENCE
    two.look = lambda: looks.append(1)
    assert one.begin(b"a")
    assert not two.enter("claim")
    one.close()
    assert two.begin(b"b")
    assert looks == [1]


def test_one_waits_for_what_others_are_about_to_begin_too() -> None:
    """Which is claimed, and doesn't run yet; not for what its own thread had in hand."""
    one, two = Suspects({}), Suspects({})
    one.patience = two.patience = work.PATIENCE
    two.enter("its own")
    Task(lambda: two.enter("claim"), patience=work.PATIENCE).result()
    assert one.begin(b"a")
    one._until = 0.0
    assert one.wait_until_alone(lambda: False)
    assert one.in_vain == {"claim"}
    two.leave("claim")
    assert one.wait_until_alone(lambda: pytest.fail("it waits"))
    assert one.in_vain == set()
    one.close()


def test_whether_one_is_waited_for_is_told_while_another_thread_has_the_lock() -> None:
    """A finalizer there that ended an executor waited for this one's lock, and who had that for the other: for ever."""
    one, two = Suspects({}), Suspects({})
    one.patience = two.patience = work.PATIENCE
    assert one.begin(b"a")
    with one._lock:
        assert Task(two.is_waited_for, patience=work.PATIENCE).result()
    assert two.is_kept


def test_a_forked_child_has_none() -> None:
    one = Suspects({})
    assert one.begin(b"a")
    assert forked(lambda: Suspects({}).begin(b"b")) == 0
    assert not Suspects({}).begin(b"b")


TWO = """
def slow(number):
    time.sleep(0.3)
    say("ran", number)

if __name__ == "__main__":
    open(sys.argv[0] + ".go", "w").close()
    one, two = (ThreadPoolExecutor(2, path=sys.argv[0] + name) for name in ("one", "two"))
    with one, two:
        if sys.argv[1] == "0":
            one.submit(slow, 1)
        if sys.argv[1] == "0" or ANEW:
            two.submit(die, 0)
"""


@pytest.mark.parametrize("anew", [False, True])
def test_a_job_outlives_a_poisonous_one_of_another_executor(anew: bool, tmp_path: Path) -> None:
    """It was interrupted each time, and parked for that."""
    app = App(tmp_path, TWO.replace("ANEW", str(anew)))
    assert ran_in(app, 4) == ["1"]
