"""Executors without a name: what several processes of one run have left comes together in the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.concurrent.futures import ThreadPoolExecutor
from pqadapters.stdlib.queue import homes
from pqadapters.store import Store
from tests.contract.threads import Task
from tests.home.world import begin_anew

from . import work
from .harness import App

PROGRAM = """
if sys.argv[1] != "leave":
    hold = double

def main(role, number):
    executor = ThreadPoolExecutor(1)
    if role == "leave":
        executor.using(key=f"done {number}").submit(double, number).result()
        executor.submit(hold, number)
        executor.submit(double, number + 100)
        executor.using(key=f"left {number}").submit(double, number + 200)
        say("submitted")
        hear()
    executor.shutdown()
    executor = ThreadPoolExecutor(1)
    for each in (1, 2, 3):
        say("results", executor.future(key=f"done {each}").result(), executor.future(key=f"left {each}").result())
    executor.shutdown()

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
"""


def test_jobs_and_results_of_several_dead_processes_come_together(tmp_path: Path) -> None:
    app = App(tmp_path, PROGRAM)
    runs = [app.start("leave", str(number)) for number in (1, 2, 3)]
    try:
        for run in runs:
            run.until("submitted")
    finally:
        for run in runs:
            run.__exit__(None, None, None)
    with app.start("find", "0") as run:
        run.end()
        assert sorted(map(int, run.words("ran"))) == [1, 2, 3, 101, 102, 103, 201, 202, 203]
        assert run.words("results") == ["2 402", "4 404", "6 406"]


def test_one_that_is_used_behind_the_end_takes_another_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
        private = executor._backlog.place.private
        assert private is not None
        private.put_down()
        assert executor.submit(work.double, 2).result(work.PATIENCE) == 4


def test_a_place_that_makes_an_executor_for_each_call_goes_on_with_what_is_left(tmp_path: Path) -> None:
    """Other than a queue's, whose items would be somebody else's: a job says itself what is to be done."""
    app = App(
        tmp_path,
        """
if sys.argv[1] != "first":
    hold = double

def serve(*numbers):
    with ThreadPoolExecutor(1) as executor:
        for number in numbers:
            executor.submit(hold if number < 0 else double, number)
        if numbers[0] < 0:
            say("submitted")
            hear()

if __name__ == "__main__":
    if sys.argv[1] == "first":
        serve(1)
        serve(2)
        serve(-3, 4)
    serve(5)
""",
    )
    with app.start("first") as run:
        run.until("submitted")
        run.kill()
    with app.start("second") as run:
        assert run.end().words("ran") == ["-3", "4", "5"]


def test_the_constructor_touches_no_disk_where_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    executor = ThreadPoolExecutor(1)
    assert not list(tmp_path.iterdir())
    executor.shutdown()
    assert not list(tmp_path.iterdir())


def test_an_empty_slot_goes_with_its_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    with ThreadPoolExecutor(1) as executor:
        executor.submit(work.nothing).result(work.PATIENCE)
        assert executor.stats()["place"].startswith(str(tmp_path))
    assert not [home for home in homes() if home.items]
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and path.name.isdecimal()]


def test_two_executors_of_one_place_have_a_backlog_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    executors = [ThreadPoolExecutor(1) for _ in range(2)]
    for number, executor in enumerate(executors):
        assert executor.using(key="k").submit(work.double, number).result(work.PATIENCE) == 2 * number
        executor.shutdown()


def test_without_a_home_the_first_submit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from pqadapters.errors import NoHome

    monkeypatch.setenv("PQADAPTERS_HOME", "/proc/nowhere")
    with ThreadPoolExecutor(1) as executor, pytest.raises(NoHome):
        executor.submit(work.nothing)


def test_a_kept_result_survives_a_run_that_doesnt_make_the_executor(tmp_path: Path) -> None:
    """A slot that held results and no jobs was taken for empty by the next run that used another place."""
    app = App(
        tmp_path,
        """
def once(role):
    executor = ThreadPoolExecutor(1)
    say("result", executor.using(key="k").submit(double, 1).result())
    if role == "leave":
        hear()
    executor.shutdown()

def elsewhere():
    with ThreadPoolExecutor(1) as executor:
        say("result", executor.submit(double, 2).result())

elsewhere() if sys.argv[1] == "elsewhere" else once(sys.argv[1])
""",
    )
    with app.start("leave") as run:
        run.until("result 2")
        run.kill()
    for _ in range(2):
        with app.start("elsewhere") as run:
            run.end()
    with app.start("again") as run:
        run.end()
        assert (run.words("ran"), run.words("result")) == ([], ["2"])


@pytest.mark.parametrize("when", ["before", "behind"])
def test_a_finalizer_submits_in_the_middle_of_the_first_submit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It waited for ever for its own thread, which was opening the store."""
    begin_anew(monkeypatch, tmp_path / "home")
    executor = ThreadPoolExecutor(1)
    begin, finalized = executor._backlog._begin, []

    def interrupted(store: Store) -> None:
        for step in ("before", "begin", "behind"):
            if step == "begin":
                begin(store)
            elif step == when:
                finalized.append(executor.submit(work.double, 1))

    monkeypatch.setattr(executor._backlog, "_begin", interrupted)
    future = Task(lambda: executor.submit(work.double, 2), patience=work.PATIENCE).result()
    assert future.result(work.PATIENCE) == 4
    assert [each.result(work.PATIENCE) for each in finalized] == [2]
    executor.shutdown()
    assert not any(home.items for home in homes())
