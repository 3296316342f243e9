"""What jobs came to, as the next run reads it; functions that are found by a stable name."""

from __future__ import annotations

import pickle
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pqadapters.concurrent.futures import JobParked, ProcessPoolExecutor, RemoteError, ThreadPoolExecutor, task
from pqadapters.concurrent.futures._jobs import outcome, tasks
from pqadapters.errors import TooLarge
from pqadapters.stores.segment import draft

from . import work
from .conftest import Make


class AnotherType(Exception):
    def __reduce__(self) -> Any:
        return ValueError, self.args


class AnotherText(Exception):
    def __reduce__(self) -> Any:
        return AnotherText, ("another text",)


class NoText(Exception):
    def __str__(self) -> NoReturn:
        raise OSError("no text")


def fail_as(kind: type[Exception]) -> NoReturn:
    raise kind("the text")


@pytest.mark.parametrize(
    ("kind", "text"),
    [(AnotherType, "the text"), (AnotherText, "the text"), (NoText, "its text can't be had")],
)
def test_an_exception_that_pickle_makes_another_one_of_is_a_remote_error(
    kind: type[Exception], text: str, make: Make
) -> None:
    with make() as executor:
        assert type(executor.using(key="k").submit(fail_as, kind).exception(work.PATIENCE)) is kind
    with make() as executor:
        error = executor.future(key="k").exception(work.PATIENCE)
    assert isinstance(error, RemoteError)
    assert (error.type, error.text) == (f"{__name__}.{kind.__name__}", text)
    assert "in fail_as" in error.traceback


class TextlessParked(JobParked):
    def __str__(self) -> NoReturn:
        raise SystemExit(3)


class OwnText(str):
    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError("no text of ours")


class TextOfItsOwn(AnotherType):
    def __str__(self) -> str:
        return OwnText("the text")


class Unmade(RemoteError):
    def __init__(self, text: str) -> None:
        """Lacks what a RemoteError has."""


class Classless(Exception):
    """Nobody can ask what it is."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            raise LookupError("no class")
        return super().__getattribute__(name)


@pytest.mark.parametrize("options", [{"key": "k"}, {"retries": 1, "backoff": 0}], ids=["key", "retry"])
def test_an_exception_that_cant_be_looked_at_ends_its_job(make: Make, options: dict[str, Any]) -> None:
    """Its future had no end, and neither had shutdown()."""
    with make() as executor:
        future = executor.using(**options).submit(fail_as, Classless)
        assert type(future.exception(work.PATIENCE)) in (Classless, RemoteError)
    with make() as executor:
        assert executor.stats()["pending"] == 0


class Unkept:
    """Can't be pickled, nor be said why."""

    def __reduce__(self) -> NoReturn:
        raise NoText


class Unopened:
    """Can't be loaded, nor be said why."""

    def __reduce__(self) -> Any:
        return fail_as, (NoText,)


@pytest.mark.parametrize(
    ("kind", "told", "text"),
    [
        (TextlessParked, JobParked, "its text can't be had"),
        (TextOfItsOwn, RemoteError, "TextOfItsOwn: the text"),
        (Unmade, RemoteError, "Unmade: its text can't be had"),
    ],
)
def test_what_an_exception_says_of_itself_keeps_no_future_from_its_end(
    kind: type[Exception], told: type[Exception], text: str, make: Make
) -> None:
    """What became of it couldn't be stored, and both its future and shutdown() waited for ever."""
    with make() as executor:
        assert type(executor.using(key="k").submit(fail_as, kind).exception(work.PATIENCE)) is kind
    with make() as executor, pytest.raises(told, match=text):
        executor.future(key="k").result(work.PATIENCE)


class NoSuchFile(JobParked):
    def __init__(self, text: str) -> None:
        super().__init__(f"{text} of caf\udce9")


def test_a_job_that_parks_itself_over_a_files_name_is_kept_as_that(make: Make) -> None:
    """Half of a file's name is no text: what became of the job couldn't be stored."""
    with make() as executor:
        executor.using(key="k").submit(fail_as, NoSuchFile).exception(work.PATIENCE)
    with make() as executor, pytest.raises(JobParked, match="the text of caf\udce9"):
        executor.future(key="k").result(work.PATIENCE)


def test_an_exception_whose_text_exits_is_tried_again(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Who logs what is tried again, and heard of it, had a future without end."""
    caplog.set_level("INFO", "pqadapters.executor")
    with make() as executor:
        future = executor.using(retries=1, backoff=0).submit(fail_as, TextlessParked)
        assert type(future.exception(work.PATIENCE)) is TextlessParked
    assert "tried again in 0.0 s: TextlessParked, whose text can't be had" in caplog.text


def test_a_result_that_cant_be_kept_nor_be_said_why_ends_its_job(make: Make) -> None:
    with make() as executor:
        assert type(executor.using(key="k").submit(Unkept).result(work.PATIENCE)) is Unkept
        executor.using(key="other").submit(Unopened).result(work.PATIENCE)
    with make() as executor:
        with pytest.raises(RemoteError, match="the type Unkept, can't be kept: its text can't be had"):
            executor.future(key="k").result(work.PATIENCE)
        with pytest.raises(RemoteError, match="what was kept can't be loaded here: its text can't be had"):
            executor.future(key="other").result(work.PATIENCE)


def test_a_workers_result_that_cant_be_loaded_nor_be_said_why_ends_its_job(place: dict[str, Any]) -> None:
    with ProcessPoolExecutor(1, **place) as executor:
        with pytest.raises(RemoteError, match="the result can't be loaded here: its text can't be had"):
            executor.submit(Unopened).result(work.PATIENCE)
        assert executor.submit(work.double, 2).result(work.PATIENCE) == 4


def _leave(executor: ThreadPoolExecutor, function: Callable[..., object], *args: object, **options: Any) -> None:
    """A job that wasn't begun."""
    executor.submit(work.hold, "gate")
    work.reached("gate")
    executor.using(**options).submit(function, *args)
    executor.shutdown(wait=False, drain=False)
    work.GATES["gate"].set()
    executor.shutdown()


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_outcome_that_no_record_takes_fails_its_job_and_no_other(
    pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its future never ended, and the next run began the job again."""
    monkeypatch.setattr(draft, "MAX_PAYLOAD", 70_000)
    with pool(1, path=tmp_path / "jobs") as executor:
        large = executor.using(key="large").submit(bytes, 70_000)
        forgotten = executor.submit(bytes, 70_000)
        assert executor.using(key="small").submit(bytes, 3).result(work.PATIENCE) == bytes(3)
        assert len(forgotten.result(work.PATIENCE)) == 70_000
        with pytest.raises(TooLarge, match="a record holds at most 1 GiB"):
            large.result(work.PATIENCE)
    with pool(1, path=tmp_path / "jobs") as executor:
        assert list(executor.recovered()) == []
        with pytest.raises(TooLarge, match="a record holds at most 1 GiB"):
            executor.using(key="large").submit(bytes, 1).result(work.PATIENCE)


class Verbose:
    """Can't be loaded, and says so at length."""

    def __reduce__(self) -> Any:
        return _fail_at_length, ()


def _fail_at_length() -> NoReturn:
    raise ValueError("why " * 25_000)


@pytest.mark.parametrize("options", [{}, {"key": "k"}])
def test_a_job_that_says_more_of_its_failure_than_a_record_takes_is_parked(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It couldn't be, was tried again each second, and held up all others."""
    monkeypatch.setattr(draft, "MAX_PAYLOAD", 70_000)
    place: Any = {"path": tmp_path / "jobs", "durability": "process"}
    _leave(ThreadPoolExecutor(1, **place), work.note, Verbose(), **options)
    with ThreadPoolExecutor(1, **place, recover="manual") as executor:
        (future,) = executor.recovered()
        with pytest.raises(JobParked, match=r"ValueError: why why .*\.\.\.; requeue\(\) puts it back"):
            future.result(work.PATIENCE)


def test_a_parked_job_is_that_in_the_next_run_too(make: Make) -> None:
    _leave(make(), work.note, work.Unloadable(), key="k")
    with make() as executor:
        parked = executor.future(key="k").exception(work.PATIENCE)
    with make() as executor:
        error = executor.future(key="k").exception(work.PATIENCE)
    assert isinstance(error, JobParked)
    assert str(error) == str(parked)


def test_ctrl_c_while_a_result_is_loaded_is_for_who_asks(make: Make) -> None:
    with make() as executor:
        executor.using(key="k").submit(work.Interrupts).result(work.PATIENCE)
    with make() as executor:
        with pytest.raises(KeyboardInterrupt):
            executor.future(key="k")
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


@pytest.mark.parametrize("name", ["", 1, None])
def test_a_task_without_a_name_is_none(name: Any) -> None:
    with pytest.raises(ValueError, match="a str that isn't empty"):
        task(name=name)


@pytest.mark.parametrize("version", ["1", 1.0, True, None])
def test_versions_are_whole_numbers(version: Any) -> None:
    with pytest.raises(TypeError, match="whole number"):
        task(name="t", version=version)


TASKS = """
from pqadapters.concurrent.futures import task

@task(name="of a module that nobody has imported")
def run(file):
    with open(file, "w") as ledger:
        ledger.write("ran")
"""


def test_a_tasks_module_is_imported_to_find_it(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tasks, "_known", {})
    (tmp_path / "late_tasks.py").write_text(TASKS)
    _leave(make(), import_module("late_tasks").run, str(tmp_path / "ledger"))
    del sys.modules["late_tasks"]
    tasks._known.clear()
    make().shutdown()
    assert (tmp_path / "ledger").read_text() == "ran"
    monkeypatch.delitem(sys.modules, "late_tasks")


def test_a_task_whose_module_is_gone_is_told_by_its_name() -> None:
    with pytest.raises(LookupError, match=r"no task is called 'gone' here; it was registered in no\.such\.module"):
        tasks.Named("gone", 1, "no.such.module").find()


def fail_behind(reason: Exception) -> NoReturn:
    raise ValueError("the text") from reason


class Causeless(Exception):
    """Has no other cause."""

    __cause__ = property(lambda self: None)


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_exception_comes_with_its_traceback_in_the_next_run(pool: Any, tmp_path: Path) -> None:
    """It came without any, and without what had caused it: pickle keeps neither."""
    with pool(1, path=tmp_path / "jobs") as executor:
        executor.using(key="k").submit(fail_behind, OSError("the reason")).exception(work.PATIENCE)
    with pool(1, path=tmp_path / "jobs") as executor:
        error = executor.future(key="k").exception(work.PATIENCE)
    lines = "".join(traceback.format_exception(error))
    parts = ("in fail_behind", "OSError: the reason", '"""', "direct cause")
    assert [lines.count(part) for part in parts] == [1, 1, 2, 2]
    assert lines.endswith("ValueError: the text\n")


def test_a_remote_errors_traceback_is_printed_with_it(make: Make) -> None:
    with make() as executor:
        executor.using(key="k").submit(fail_as, AnotherType).exception(work.PATIENCE)
    with make() as executor:
        error = executor.future(key="k").exception(work.PATIENCE)
    assert "in fail_as" in "".join(traceback.format_exception(error))


def test_an_exception_that_takes_no_cause_comes_without(make: Make) -> None:
    with make() as executor:
        executor.using(key="k").submit(fail_as, Causeless).exception(work.PATIENCE)
    with make() as executor:
        assert type(executor.future(key="k").exception(work.PATIENCE)) is Causeless


def test_of_a_traceback_without_end_the_last_lines_are_kept(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "_MOST_LINES", 30)
    with make() as executor:
        executor.using(key="k").submit(fail_behind, OSError("the reason")).exception(work.PATIENCE)
    with make() as executor:
        error = executor.future(key="k").exception(work.PATIENCE)
    assert error is not None
    assert str(error.__cause__).endswith('ValueError: the text\n"""')
    assert len(str(error.__cause__)) == 30 + len('\n"""\n"""')


def test_an_exception_that_was_kept_without_a_traceback_is_loaded(make: Make) -> None:
    """As records of earlier versions have them."""
    executor = make()
    executor.stats()
    sealing = executor._backlog.sealing
    found = outcome.load(sealing.close(b"E" + pickle.dumps(ValueError("the text"), 5)), sealing)
    assert found.error is not None
    assert (repr(found.error), found.error.__cause__) == ("ValueError('the text')", None)
