"""A disk that is really full: submit says so and has stored nothing, what is on disk is done, and shutdown comes back.

As in tests/crash the disk is a small tmpfs, filled by another file.
"""

from __future__ import annotations

import errno
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, _closing, wait
from pqadapters.errors import DiskError, StoreError, StorePoisoned
from pqadapters.store import Nack
from tests.crash.test_full_disk import fill

from ..contract.threads import Task
from . import work
from .harness import App

CAPACITY = 8 << 20


@pytest.fixture(params=["segment", "sqlite"])
def place(request: pytest.FixtureRequest, small: Path) -> dict[str, Any]:
    if request.param == "segment":
        return {"path": small / "jobs", "durability": "process"}
    return {"store": f"sqlite:///{small}/jobs.db?durability=process"}


@pytest.fixture(params=[ThreadPoolExecutor, ProcessPoolExecutor])
def pool(request: pytest.FixtureRequest) -> Any:
    return request.param


def submit_until_full(executor: ThreadPoolExecutor, **options: Any) -> list[Future[Any]]:
    """The futures of what was submitted, numbered from 0 on."""
    futures: list[Future[Any]] = []
    with pytest.raises(DiskError, match="No space left") as caught:
        while True:
            number = len(futures)
            with_options = executor.using(key=number, **options) if options else executor
            futures.append(with_options.submit(work.numbered, number, bytes(2000)))
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    return futures


@pytest.mark.parametrize("options", [{}, {"result_ttl": 60.0}], ids=["plain", "keyed"])
def test_what_was_submitted_is_done_and_the_executor_goes_on(
    small: Path, place: dict[str, Any], options: dict[str, Any]
) -> None:
    executor = ThreadPoolExecutor(2, **place)
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    held_too = executor.submit(work.hold, "gate")
    work.reached("gate")
    ballast = fill(small)
    futures = submit_until_full(executor, **options)
    assert executor.stats()["pending"] == len(futures) > 0
    if options:  # whose results take room, too
        ballast.unlink()
    work.GATES["gate"].set()
    assert (held.result(work.PATIENCE), held_too.result(work.PATIENCE)) == ("gate", "gate")
    if not options:
        ballast.unlink()
    assert [future.result(work.PATIENCE) for future in futures] == list(range(len(futures)))
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    executor.shutdown()
    with ThreadPoolExecutor(1, recover="manual", **place) as another:
        assert list(another.jobs()) == []


def test_a_full_disk_is_drained(small: Path) -> None:
    """Nobody frees anything: the reserve is for what is done. In SQLite's files beginning a job may take more than that
    has."""
    executor = ThreadPoolExecutor(2, path=small / "jobs", durability="process")
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    fill(small)
    futures = submit_until_full(executor)
    work.GATES["gate"].set()
    held.result(work.PATIENCE)
    executor.shutdown()
    assert [future.result(0) for future in futures] == list(range(len(futures)))


@pytest.mark.parametrize("how", [{"drain": False}, {"wait": False, "drain": False}, {"cancel_futures": True}])
def test_shutdown_on_a_full_disk(small: Path, place: dict[str, Any], how: dict[str, Any]) -> None:
    executor = ThreadPoolExecutor(1, **place)
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    ballast = fill(small)
    futures = submit_until_full(executor)
    work.GATES["gate"].set()
    executor.shutdown(**how)
    assert held.result(work.PATIENCE) == "gate"
    assert not wait(futures, work.PATIENCE).not_done  # of these one may be in hand
    ballast.unlink()
    with ThreadPoolExecutor(1, **place) as another:
        left = [future.result(work.PATIENCE) for future in another.recovered()]
    done = {future.result(0) for future in futures if not future.cancelled()}
    expected = set() if "cancel_futures" in how else set(range(len(futures))) - done
    assert expected <= set(left)


REFUSALS = "pqadapters.concurrent.futures._backlog.refusals"


def small_jobs_until_full(small: Path, executor: ThreadPoolExecutor) -> list[Future[Any]]:
    """So many that the store's reserve, which is for acknowledgements, may not be enough to begin them all."""
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    futures = [executor.submit(work.double, number) for number in range(500)]
    fill(small)
    with pytest.raises(DiskError):
        while True:
            futures.append(executor.submit(work.double, len(futures)))
    work.GATES["gate"].set()
    held.result(work.PATIENCE)
    return futures


def test_shutdown_where_not_all_can_be_begun(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the reserve is enough for all of them or not: nothing is lost."""
    monkeypatch.setattr(f"{REFUSALS}._PATIENCE", 0.0)
    executor = ThreadPoolExecutor(2, path=small / "jobs", durability="process")
    futures = small_jobs_until_full(small, executor)
    executor.shutdown()
    failed = [future for future in futures if isinstance(future.exception(0), DiskError)]
    (small / "ballast").unlink()
    with ThreadPoolExecutor(2, path=small / "jobs", durability="process") as another:
        left = [future.result(work.PATIENCE) for future in another.recovered()]
    done = [future.result(0) for future in futures if future not in failed]
    assert sorted({*left, *done} - {"gate"}) == [2 * number for number in range(len(futures))]


class Full:
    """A store's claims, which it can't count while the disk is full."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        executor.stats()  # it is open from here on
        self._claim, self.is_full, self.asked = executor._backlog.claim, True, threading.Semaphore(0)
        executor._backlog.claim = self

    def __call__(self, *queue: Any, **options: Any) -> Any:
        if self.is_full:
            self.asked.release()
            raise DiskError(errno.ENOSPC, "No space left on device")
        return self._claim(*queue, **options)


def test_who_shuts_down_leaves_what_cannot_be_begun(
    place: dict[str, Any], pool: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for ever, or for as long as the disk was full."""
    monkeypatch.setattr(f"{REFUSALS}._PATIENCE", 0.0)
    executor = pool(1, **place)
    Full(executor)
    futures = [executor.submit(work.double, number) for number in range(3)]
    executor.shutdown()
    assert {type(future.exception(0)) for future in futures} == {DiskError}
    with pool(1, **place) as another:
        assert sorted(future.result(work.PATIENCE) for future in another.recovered()) == [0, 2, 4]


def test_what_stands_still_goes_on_when_there_is_room(
    place: dict[str, Any], pool: type[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """And says so once, not each second."""
    executor = pool(1, **place)
    disk = Full(executor)
    futures = [executor.submit(work.double, number) for number in range(3)]
    for _ in range(4):  # of these looks the last one is a second after the first
        assert disk.asked.acquire(timeout=work.PATIENCE)
    disk.is_full = False
    assert [future.result(work.PATIENCE) for future in futures] == [0, 2, 4]
    executor.shutdown()
    assert sum("can be begun for now" in record.getMessage() for record in caplog.records) == 1


def test_an_outcome_that_has_no_room_is_stored_later(small: Path) -> None:
    """Its claim was held by nobody's run until the process ended, and who asked for the key again waited so long."""
    place: dict[str, Any] = {"path": small / "jobs", "durability": "process"}
    executor = ThreadPoolExecutor(1, **place)
    keyed = executor.using(key="k").submit(work.hold, "large" * 1000)
    work.reached("large" * 1000)
    fill(small)
    with pytest.raises(DiskError):
        while True:
            executor.using(delay=600).submit(work.nothing)
    work.GATES["large" * 1000].set()
    assert isinstance(keyed.exception(work.PATIENCE), DiskError)
    again = executor.using(key="k").submit(work.fail, "it is done")
    after = [executor.future(key="k"), again]
    assert not any(future.done() for future in after)
    (small / "ballast").unlink()
    assert [future.result(work.PATIENCE) for future in after] == ["large" * 1000] * 2
    executor.shutdown(drain=False)
    with ThreadPoolExecutor(1, **place) as another:
        assert another.future(key="k").result(work.PATIENCE) == "large" * 1000
        another.purge("delayed")


def _refuses_next_tries(executor: Any, kind: type[StoreError], times: int) -> None:
    executor.stats()  # it is open from here on
    commit, left = executor._backlog.commit, [kind("no room") for _ in range(times)]

    def refuses(*ops: Any) -> Any:
        if left and any(isinstance(op, Nack) and op.not_before for op in ops):
            raise left.pop()
        return commit(*ops)

    executor._backlog.commit = refuses


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that refused is asked again in a moment, and not in a second."""
    for module in ("_backlog.refusals", "_backlog.returning", "_workers.tickets"):
        monkeypatch.setattr(f"pqadapters.concurrent.futures.{module}._AGAIN", 0.02)


@pytest.mark.usefixtures("soon")
def test_a_next_try_that_has_no_room_is_made_later(place: dict[str, Any], pool: type[Any], tmp_path: Path) -> None:
    """The future failed as if there were no next try; what that came to was told to nobody."""
    executor = pool(1, **place)
    _refuses_next_tries(executor, DiskError, 2)
    future = executor.using(retries=2, backoff=0.01).submit(work.fail_twice, str(tmp_path / "ledger"), ValueError)
    assert future.result(work.PATIENCE) == 3
    executor.shutdown()


@pytest.mark.usefixtures("soon")
def test_a_next_try_that_the_store_never_takes(place: dict[str, Any], pool: type[Any], tmp_path: Path) -> None:
    executor = pool(1, **place)
    _refuses_next_tries(executor, StorePoisoned, 100)
    future = executor.using(retries=2, backoff=0.01).submit(work.fail_twice, str(tmp_path / "ledger"), ValueError)
    assert isinstance(future.exception(work.PATIENCE), StorePoisoned)
    executor.shutdown()


def test_a_store_that_never_works_again_fails_the_futures(place: dict[str, Any]) -> None:
    """They waited for ever."""
    executor = ThreadPoolExecutor(1, **place)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future = executor.submit(work.double, 1)

    def poisoned(*args: Any, **options: Any) -> Any:
        raise StorePoisoned("a sync failed")

    executor._backlog.claim = executor._backlog.commit = poisoned
    work.GATES["gate"].set()
    assert isinstance(future.exception(work.PATIENCE), StorePoisoned)
    with pytest.raises(StorePoisoned):
        executor.submit(work.double, 2)
    executor.shutdown()
    with ThreadPoolExecutor(1, **place) as another:
        assert 2 in [each.result(work.PATIENCE) for each in another.recovered()]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("early", [True, False])
def test_a_store_that_never_works_again_is_closed_behind_a_shutdown_that_does_not_wait(
    place: dict[str, Any], early: bool
) -> None:
    """An outcome that couldn't be stored kept it open, and whoever opened the place again was given the same store."""
    executor = ThreadPoolExecutor(1, **place)
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    backlog: Any = executor._backlog
    closed, close = threading.Event(), backlog.close
    if early:
        executor.shutdown(wait=False)

    def poisoned(*args: Any, **options: Any) -> Any:
        raise StorePoisoned("a sync failed")

    backlog.claim = backlog.commit = poisoned
    backlog.close = lambda: (close(), closed.set())
    work.GATES["gate"].set()
    assert held.result(work.PATIENCE) == "gate"
    executor.shutdown(wait=False)
    assert closed.wait(work.PATIENCE)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("refused", ["claim", "commit"])
@pytest.mark.parametrize("early", [True, False])
def test_a_store_that_refuses_for_a_moment_behind_a_shutdown_that_does_not_wait(
    place: dict[str, Any], refused: str, early: bool
) -> None:
    """The thread that was refused had nothing to do, and the pool took no more of them: what wasn't begun never was,
    its futures never came to an end, and the store stayed open."""
    executor = ThreadPoolExecutor(1, **place)
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    futures = [executor.submit(work.double, number) for number in range(3)]
    backlog: Any = executor._backlog
    left, call, closed, close = [1, 2], getattr(backlog, refused), threading.Event(), backlog.close

    def refuses(*args: Any, **options: Any) -> Any:
        if left:
            left.pop()
            raise DiskError(errno.ENOSPC, "no room", "here")
        return call(*args, **options)

    setattr(backlog, refused, refuses)
    backlog.close = lambda: (close(), closed.set())
    if early:
        executor.shutdown(wait=False)
    work.GATES["gate"].set()
    assert held.result(work.PATIENCE) == "gate"
    while not early and not backlog.idle():
        threading.Event().wait(0.001)
    executor.shutdown(wait=False)
    assert [future.result(work.PATIENCE) for future in futures] == [0, 2, 4]
    assert closed.wait(work.PATIENCE)


class _Met:
    """A lock, and whether somebody had to wait for it."""

    def __init__(self, lock: Any) -> None:
        self._lock, self.met = lock, False

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self.met = True
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.usefixtures("soon")
def test_a_thread_that_was_to_be_had_as_the_pool_was_shut(tmp_path: Path) -> None:
    """It was counted on, and then the pool took no more. Likewise."""
    executor = ThreadPoolExecutor(1, path=tmp_path / "jobs", durability="process")
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures = [executor.submit(work.double, number) for number in range(3)]
    backlog, tickets = executor._backlog, executor._tickets
    claim, refusals, put = backlog.claim, [DiskError(errno.ENOSPC, "no room")], tickets._put

    def refuses(*args: Any, **options: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return claim(*args, **options)

    def put_late(ticket: Any) -> bool:
        work.hold("put")
        return put(ticket)

    backlog.claim, tickets._put = refuses, put_late  # type: ignore[method-assign]
    work.GATES["gate"].set()
    work.reached("put")  # by the clock, a moment behind the refusal
    executor.shutdown(wait=False)
    work.GATES["put"].set()
    assert [future.result(work.PATIENCE) for future in futures] == [0, 2, 4]


def test_who_comes_behind_the_end_of_the_pool_is_not_counted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that is there ended when it was refused: another one was to come, which the pool didn't take."""
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.refusals.look_later", lambda backlog: None)
    monkeypatch.setattr("pqadapters.concurrent.futures._workers.tickets._AGAIN", 0.02)
    executor = ThreadPoolExecutor(2, path=tmp_path / "jobs", durability="process")
    executor.stats()
    backlog, tickets = executor._backlog, executor._tickets
    claim, put, firsts, full = backlog.claim, tickets._put, ["refusal"], [True]

    def refuses(*args: Any, **options: Any) -> Any:
        if full:
            for name in firsts:
                firsts.clear()
                work.hold(name)
            raise DiskError(errno.ENOSPC, "no room")
        return claim(*args, **options)

    def put_late(ticket: Any) -> bool:
        work.hold("put")
        return put(ticket)

    backlog.claim = refuses
    futures = [executor.submit(work.double, number) for number in range(3)]
    work.reached("refusal")
    while tickets.count > 1:
        threading.Event().wait(0.001)
    executor.shutdown(wait=False)
    tickets._put = put_late  # type: ignore[method-assign]
    adds = Task(backlog.added, patience=work.PATIENCE)
    while adds.running and not work.ENTERED["put"]._value:
        threading.Event().wait(0.001)
    work.GATES["refusal"].set()
    while adds.running and tickets.count > 1:
        threading.Event().wait(0.001)
    full.clear()
    work.GATES["put"].set()
    assert [future.result(work.PATIENCE) for future in futures] == [0, 2, 4]


@pytest.mark.usefixtures("soon")
def test_a_thread_that_is_refused_in_the_middle_of_a_shutdown_that_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended, since the pool was still open, and the pool was shut, since it was still there. Likewise."""
    executor = ThreadPoolExecutor(1, path=tmp_path / "jobs", durability="process")
    executor.submit(work.hold, "gate")
    work.reached("gate")
    futures = [executor.submit(work.double, number) for number in range(3)]
    backlog: Any = executor._backlog
    claim, refusals = backlog.claim, [DiskError(errno.ENOSPC, "no room")]
    closed, close = threading.Event(), backlog.close
    may_come_again, lock = _closing._may_come_again, _Met(backlog.lock)

    def refuses(*args: Any, **options: Any) -> Any:
        if refusals:
            work.hold("refusal")
            raise refusals.pop()
        return claim(*args, **options)

    def meanwhile(backlog: Any) -> bool:
        work.GATES["refusal"].set()
        while not (backlog.idle() or lock.met):
            threading.Event().wait(0.001)
        return may_come_again(backlog)

    backlog.claim, backlog.lock = refuses, lock
    backlog.close = lambda: (close(), closed.set())
    work.GATES["gate"].set()
    work.reached("refusal")
    monkeypatch.setattr(_closing, "_may_come_again", meanwhile)
    executor.shutdown(wait=False)
    assert [future.result(work.PATIENCE) for future in futures] == [0, 2, 4]
    assert closed.wait(work.PATIENCE)


PROGRAM = """
from tests.crash.test_full_disk import fill
from pathlib import Path
from tests.executors import work

small, ledger, where = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
place = {"path": small / "jobs"} if where == "segment" else {"store": f"sqlite:///{small}/jobs.db"}

def note(number, filling):
    work.append(ledger, number)

def wait_for_the_end():
    say("holds")
    time.sleep(600)

if sys.argv[4] == "fills":
    executor = ThreadPoolExecutor(1, **place)
    executor.submit(wait_for_the_end)
    number = 0
    try:
        while True:
            executor.submit(note, number, bytes(1000))
            number += 1
            if number == 20:
                fill(small)
    except OSError as error:
        say("full", number, error)
    hear()
else:
    def wait_for_the_end():
        pass
    with ThreadPoolExecutor(2, **place) as executor:
        for future in as_completed(executor.recovered()):
            future.result()
"""


@pytest.mark.parametrize("where", ["segment", "sqlite"])
def test_a_process_that_is_killed_on_a_full_disk(small: Path, tmp_path: Path, where: str) -> None:
    app = App(tmp_path, PROGRAM)
    ledger = tmp_path / "ledger"
    with app.start(str(small), str(ledger), where, "fills") as run:
        count = int(run.until("full").split()[1])
        run.until("holds") if "holds" not in run.said else None
        run.kill()
    (small / "ballast").unlink()
    with app.start(str(small), str(ledger), where, "goes on") as run:
        run.end()
    assert sorted(map(int, ledger.read_text().split())) == list(range(count))
