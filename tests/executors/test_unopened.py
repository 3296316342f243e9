"""Stored calls of a process pool: the parent doesn't load them, a worker does."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import os
import pickle
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import JobParked, ProcessPoolExecutor, task
from pqadapters.concurrent.futures._jobs import wire
from pqadapters.concurrent.futures._workers.unopened import call_of
from pqadapters.errors import DiskError, StoreError, StorePoisoned
from pqadapters.store import Nack

from ..contract.threads import Task
from . import work

Place = dict[str, Any]


def _left(place: Place, function: Any, *args: Any, **options: Any) -> str:
    """A job that waits on disk, for nobody."""
    with ProcessPoolExecutor(1, **place) as executor:
        executor._backlog.added = lambda: True  # and begins nothing
        future = executor.using(**options).submit(function, *args)
        executor.shutdown(drain=False)
    assert future.durable
    return str(future.job_id)


def test_what_is_loaded_is_loaded_by_a_worker(place: Place, tmp_path: Path) -> None:
    _left(place, work.append, str(tmp_path / "ledger"), work.LoadedIn(str(tmp_path / "ledger")))
    with ProcessPoolExecutor(1, **place):
        pass
    lines = (tmp_path / "ledger").read_text().split()
    assert len(lines) == 2
    assert str(os.getpid()) not in lines


def test_what_ends_who_loads_it_ends_no_parent(place: Place) -> None:
    """It was loaded in the parent, which a segmentation fault there ended each time that it was started."""
    job = _left(place, work.double, work.Fatal())
    with ProcessPoolExecutor(1, rebuild=True, **place) as executor:
        with pytest.raises(JobParked, match="3 times"):
            executor.future(job).result(work.PATIENCE)
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


def test_one_that_was_left_is_begun_again_where_its_worker_is_killed(place: Place, tmp_path: Path) -> None:
    """Though it was looked in between whether more was left."""
    ledger = str(tmp_path / "ledger")
    job = _left(place, work.die_at, ledger)
    with ProcessPoolExecutor(2, rebuild=True, recover="manual", result_ttl=60, **place) as executor:
        future = executor.future(job)
        executor.recovered()
        work.wait_for_lines(ledger, 1)
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
        while executor._backlog.recovering:
            executor._backlog.added()
        (tmp_path / "ledger.go").touch()
        assert future.result(work.PATIENCE) == 2


@pytest.mark.parametrize("what", [work.Unloadable, work.Interrupts])
def test_what_cant_be_loaded_is_a_dead_letter_with_the_reason(what: type, place: Place) -> None:
    """What is no Exception was taken for the outcome of the job, which was gone then."""
    job = _left(place, work.double, what())
    with ProcessPoolExecutor(1, **place) as executor:
        with pytest.raises(JobParked, match="this can't be loaded"):
            executor.future(job).result(work.PATIENCE)
        assert executor.submit(work.double, 1).result(work.PATIENCE) == 2


def test_a_function_that_is_gone_reaches_no_worker(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._PATIENCE", 0.0)
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading._HOUR", 0.0)
    job = _left(place, work.double, 1)
    with monkeypatch.context() as without:
        without.delattr(work, "double")
        with ProcessPoolExecutor(1, recover="manual", **place) as executor:
            future = executor.future(job)
            executor.recovered()
            with pytest.raises(JobParked, match="double"):
                future.result(work.PATIENCE)
            assert not executor._processes


def test_a_function_that_the_worker_alone_lacks_is_looked_for_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that were forked before a module was changed have the old one."""
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.loading.LATER", 0.25)  # else 5 seconds
    job = _left(place, work.only_in, 7)
    with ProcessPoolExecutor(1, recover="manual", **place) as executor:
        executor.submit(work.lose_only_in).result(work.PATIENCE)
        future = executor.future(job)
        executor.recovered()
        assert future.result(work.PATIENCE) == 7


@pytest.mark.parametrize("kind", [DiskError, StorePoisoned])
def test_a_store_that_refuses_what_becomes_of_it(
    place: Place, kind: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The future never came to an end, and a shutdown waited for it for ever."""
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.refusals._AGAIN", 0.02)  # or each try is a second later
    job = _left(place, work.double, work.Unloadable())
    with ProcessPoolExecutor(1, recover="manual", **place) as executor:
        future = executor.future(job)
        commit, refusals = executor._backlog.commit, [kind("no room")]

        def refuses(*ops: Any) -> Any:
            if any(isinstance(op, Nack) and op.dead for op in ops) and (refusals or kind is StorePoisoned):
                raise refusals.pop() if refusals else kind("no room")
            return commit(*ops)

        executor._backlog.commit = refuses  # type: ignore[assignment]
        executor.recovered()
        assert isinstance(future.exception(work.PATIENCE), JobParked if kind is DiskError else kind)


def test_what_couldnt_be_loaded_behind_the_jobs_time_is_no_news(place: Place, tmp_path: Path) -> None:
    """The job, which had failed, waited to be loaded again, and shutdown() for that."""
    pytest.importorskip("cloudpickle")
    executor = ProcessPoolExecutor(1, **place)
    future = executor.using(timeout=0.05).submit(lambda _: 0, work.Lacks(str(tmp_path / "go")))
    with pytest.raises(TimeoutError):
        future.result(work.PATIENCE)
    (tmp_path / "go").touch()
    assert executor.submit(work.double, 1).result(work.PATIENCE) == 2
    Task(executor.shutdown, patience=work.PATIENCE).result()


def test_what_to_retry_on_is_known(place: Place, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    job = _left(place, work.fail_twice, ledger, OSError, retries=3, retry_on=(OSError, KeyError), backoff=0.01)
    other = _left(place, work.fail_twice, ledger + "2", ValueError, retries=3, retry_on=OSError, backoff=0.01)
    with ProcessPoolExecutor(1, result_ttl=60, **place) as executor:
        assert executor.future(job).result(work.PATIENCE) == 3
        with pytest.raises(ValueError, match="1"):
            executor.future(other).result(work.PATIENCE)


@pytest.mark.parametrize("left", [True, False])
def test_what_to_retry_on_may_be_stored_by_value(left: bool, place: Place, tmp_path: Path) -> None:
    """submit() raised KeyError, and a job of a thread pool that was left was parked."""
    pytest.importorskip("cloudpickle")

    class Local(Exception):
        pass

    arguments: Any = work.fail_twice, str(tmp_path / "ledger"), Local
    options: dict[str, Any] = {"retries": 3, "retry_on": (KeyError, Local), "backoff": 0.01, "result_ttl": 60}
    job = _left(place, *arguments, **options) if left else None
    with ProcessPoolExecutor(1, **place) as executor:
        future = executor.future(job) if job else executor.using(**options).submit(*arguments)
        assert future.result(work.PATIENCE) == 3


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Point:
    x: int
    tags: set[str] = field(default_factory=set)


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Table(dict[str, object]):
    """With state beside its items."""


class Several(list[object]):
    """With state beside its items."""


def _several() -> list[object]:
    """What pickles say in their different ways."""
    table, several = Table(a=1), Several([1])
    table.more = several.more = Colour.RED  # type: ignore[attr-defined]
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    found: list[object] = [Colour.RED, Point(1, {"a"}), Slotted([1]), table, several, when, decimal.Decimal("1.5")]
    found += [collections.OrderedDict(a=Colour.RED), collections.deque([Colour.RED]), collections.Counter("aab")]
    found += [partial(work.double, 3), Path("/tmp"), {Colour.RED: {Colour.RED}}, frozenset([Colour.RED]), range(3)]
    found += [OSError(1, "no"), bytearray(b"a"), 1 << 400, 1j, slice(1), int, Point.__init__]
    return found


def test_every_pickle_can_be_read_unopened() -> None:
    for each in _several():
        (_, (data,), _), retry_on = call_of(wire.dump((work.echo, (each,), {"a": [each, each]}), (OSError,)))
        assert retry_on == (OSError,)
        assert wire.load(data)[0][0] is work.echo


def test_what_goes_by_value_can_be_read_unopened() -> None:
    class Local:
        def __init__(self) -> None:
            self.value = 1

    made = Local()
    data = wire.dump((lambda: made.value + work.double(1), (made,), {}))
    (run, args, _), retry_on = call_of(data)
    assert retry_on is None
    function, arguments, _ = wire.load(args[0])[0]
    assert (function(), arguments[0].value) == (3, 1)
    assert b"cloudpickle" in args[0]
    assert callable(run)


def test_nothing_of_it_is_run(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    call_of(wire.dump((work.append, (ledger, work.LoadedIn(ledger)), {})))
    assert not os.path.exists(ledger)


def test_a_damaged_one_is_told() -> None:
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        call_of(wire.dump((work.double, (1,), {}))[:-3])


@task(name="unopened.twice")
def twice(number: int) -> int:
    return 2 * number


def test_a_task_is_found_by_its_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    job = _left(place, twice, 2, key="twice")
    with ProcessPoolExecutor(1, **place) as executor:
        assert executor.future(job).result(work.PATIENCE) == 4
    data = wire.dump((twice, (2,), {}))
    monkeypatch.setattr("pqadapters.concurrent.futures._jobs.tasks._known", {})
    with pytest.raises(LookupError, match=r"unopened\.twice"):
        call_of(data)
