"""Commits of many threads in one transaction: each has its own result, and an interrupt costs nobody else anything."""

from __future__ import annotations

import errno
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pqadapters.errors import ConditionFailed, DiskError, LeaseLost, LimitReached, StoreLocked, StorePoisoned
from pqadapters.store import Ack, Delete, Depth, Expect, Put, Set
from pqadapters.stores import _line
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore, changes, transactions
from pqadapters.stores.sqlite.core import Core
from pqadapters.stores.sqlite.work import Work
from pqadapters.stores.sqlite.writer import Writer
from tests.contract.descriptors import open_below
from tests.contract.interrupting import interrupted
from tests.contract.late import check_a_claim_in_the_middle_waits_for_nothing, check_a_refused_late_commit_is_told
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with SqliteStore(tmp_path / "q.db") as found:
        found.commit(Put("q", b"first"))
        yield found


class _Counted:
    """A connection that counts its transactions."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real
        self.begun = self.saved = 0

    def execute(self, statement: str, *values: Any) -> Any:
        self.begun += statement.startswith("BEGIN")
        self.saved += statement.startswith("SAVEPOINT")
        return self.real.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def _held_up(store: SqliteStore, calls: list[Callable[[], Any]]) -> list[Any]:
    """Another thread is in the middle of a transaction when these come; what each call returned or raised."""
    writer, inside, go_on = store._core.writer, threading.Event(), threading.Event()

    def stop() -> bool:
        inside.set()
        assert go_on.wait(PATIENCE)
        return False

    first = Task(lambda: store.commit(Set("t", b"leader", b""), Delete("t", b"leader"), stop=stop), patience=PATIENCE)
    assert inside.wait(PATIENCE)
    tasks = [Task(call, patience=PATIENCE) for call in calls]
    while len(writer._pending) < len(calls) + 1:
        threading.Event().wait(0.001)
    go_on.set()
    first.result()
    outcomes = []
    for task in tasks:
        try:
            outcomes.append(task.result())
        except ConditionFailed as error:
            outcomes.append(type(error))
        except LeaseLost as error:
            outcomes.append(type(error))
    return outcomes


def test_all_whose_work_is_done_are_woken(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them has to look for itself."""
    monkeypatch.setattr(_line, "_OVERSLEPT", 10 * PATIENCE)
    outcomes = _held_up(store, [partial(store.commit, Put("q", b"%d" % n)) for n in range(8)])
    assert len({id for ids in outcomes for id in ids}) == 8


def test_i2_one_of_a_group_fails_and_the_others_dont(store: SqliteStore) -> None:
    (claim,) = store.claim("q")
    stale = claim._replace(attempt=9)
    connection: Any = _Counted(store._core.writer.connection)  # type: ignore[arg-type]
    store._core.writer.connection = connection
    outcomes = _held_up(
        store,
        [
            lambda: store.commit(Put("q", b"a"), Put("q", b"b")),
            lambda: store.commit(Put("q", b"never"), Put("q", b"", limit=0)),
            lambda: store.commit(Set("t", b"k", b"v"), Set("t", b"k", b"w", Expect.ABSENT)),
            lambda: store.commit(Put("q", b"never"), Ack(stale)),
            lambda: store.commit(Ack(claim), Set("t", b"done", b"yes")),
        ],
    )
    assert outcomes[1:4] == [LimitReached, ConditionFailed, LeaseLost]
    assert len(outcomes[0]) == 2
    assert outcomes[4] == (0, 0)
    assert connection.begun <= 2, "they went in together"
    assert [record.payload for record in store.browse("q", state=None)] == [b"a", b"b"]
    assert list(store.scan("t")) == [(b"done", b"yes")]
    store._core.writer.connection = connection.real


def test_i2_one_statement_that_fails_in_a_group_is_undone_by_itself(store: SqliteStore) -> None:
    """Most commits are one: a savepoint around each would be two more."""
    store.commit(Set("t", b"k", b"u"))
    (claim,) = store.claim("q")
    stale = claim._replace(attempt=9)
    connection: Any = _Counted(store._core.writer.connection)  # type: ignore[arg-type]
    store._core.writer.connection = connection
    outcomes = _held_up(
        store,
        [
            lambda: store.commit(Put("q", b"a")),
            lambda: store.commit(Ack(stale)),
            lambda: store.commit(Ack(claim)),
            lambda: store.commit(Set("t", b"k", b"v")),
            lambda: store.commit(Put("q", b"b")),
        ],
    )
    assert outcomes[1] is LeaseLost
    assert (connection.begun, connection.saved) == (2, 0), "who holds up, and those that went in together"
    assert sorted(record.payload for record in store.browse("q", state=None)) == [b"a", b"b"]
    assert list(store.scan("t")) == [(b"k", b"v")]
    store._core.writer.connection = connection.real


class _Late(Exception):
    """What a program's signal handler raises."""


@pytest.mark.parametrize("kind", [MemoryError, _Late])
def test_i2_what_comes_behind_a_statement_of_a_group_undoes_it(
    kind: type[Exception], store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller was told that nothing was stored, and the rest of the group stored it."""
    failed: list[bytes] = []

    def put_and_fail(connection: sqlite3.Connection, put: tuple[str, tuple[Any, ...]]) -> int:
        id = changes.put_plain(connection, put)
        if b"fails" in put[1] and not failed:
            failed.append(b"fails")
            raise kind
        return id

    monkeypatch.setattr("pqadapters.stores.sqlite.alone.put_plain", put_and_fail)

    def put(payload: bytes) -> str:
        try:
            store.commit(Put("q", payload))
        except kind:
            return "refused"
        return "stored"

    payloads = [b"a", b"fails", b"b"]
    outcomes = _held_up(store, [lambda each=each: put(each) for each in payloads])  # type: ignore[misc]
    assert outcomes == ["stored", "refused", "stored"]
    assert sorted(record.payload for record in store.browse("q")) == [b"a", b"b", b"first"]


def test_an_interrupted_leader_loses_nobodys_commit(store: SqliteStore) -> None:
    """It is the leader's thread that is interrupted: the others' work is carried out by one of them, once."""
    writer = store._core.writer
    real: Any = writer.connection
    interrupted = threading.Event()

    class Interrupting(_Counted):
        def execute(self, statement: str, *values: Any) -> Any:
            if statement == "COMMIT" and self.begun == 2 and not interrupted.is_set():  # the first one is who holds up
                interrupted.set()
                raise KeyboardInterrupt
            return super().execute(statement, *values)

    connection: Any = Interrupting(real)
    writer.connection = connection
    done: list[Any] = []

    def put(n: int) -> None:
        try:
            done.append((n, store.commit(Put("q", b"%d" % n), Put("q", b"%d" % n))))
        except KeyboardInterrupt:
            done.append((n, None))

    outcomes = _held_up(store, [lambda n=n: put(n) for n in range(6)])  # type: ignore[misc]
    assert outcomes == [None] * 6
    assert interrupted.is_set()
    writer.connection = real
    lost = [n for n, ids in done if ids is None]
    assert len(lost) == 1
    found = [int(record.payload) for record in store.browse("q") if record.payload != b"first"]
    assert sorted(found) == sorted(2 * [n for n in range(6) if n not in lost])
    store.commit(Put("q", b"and on"))


def test_an_interrupt_right_behind_the_commit_leaves_it_done(store: SqliteStore) -> None:
    writer = store._core.writer
    real: Any = writer.connection

    class Interrupting(_Counted):
        def execute(self, statement: str, *values: Any) -> Any:
            result = super().execute(statement, *values)
            if statement == "COMMIT":
                raise KeyboardInterrupt
            return result

    connection: Any = Interrupting(real)
    writer.connection = connection
    with pytest.raises(KeyboardInterrupt):
        store.commit(Put("q", b"a"), Put("q", b"b"))
    writer.connection = real
    assert [record.payload for record in store.browse("q")] == [b"first", b"a", b"b"]
    store.commit(Put("q", b"c"), Put("q", b"d"))
    assert store.depth("q").ready == 5


def test_i1_a_failed_sync_of_a_group_poisons_the_store(store: SqliteStore) -> None:
    """It isn't tried again for each of them: what a sync has failed for is on the disk, or isn't, and nobody knows."""
    writer = store._core.writer
    real: Any = writer.connection

    class Failing(_Counted):
        def execute(self, statement: str, *values: Any) -> Any:
            if statement == "COMMIT" and self.begun == 2:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(statement, *values)

    connection: Any = Failing(real)
    writer.connection = connection

    def put() -> object:
        try:
            return store.commit(Put("q", b"a"), Put("q", b"b"))
        except StorePoisoned:
            return "poisoned"

    assert _held_up(store, [put] * 4) == ["poisoned"] * 4
    with pytest.raises(StorePoisoned):
        store.commit(Put("q", b"late"))
    kept: Any = writer.trouble
    assert kept.__cause__.__traceback__ is None  # else the store would keep its callers
    writer.connection = real


@pytest.mark.parametrize("overslept", [10 * PATIENCE, 0.001])
def test_who_comes_behind_a_leader_keeps_to_his_own_time(
    store: SqliteStore, overslept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader waits for another program's lock, with all the time in the world; who comes then has not. Who had
    slept for a while stood at the leader's lock, where neither his time nor the end of his work got him away."""
    monkeypatch.setattr(_line, "_OVERSLEPT", overslept)
    raw = sqlite3.connect(store.place, isolation_level=None)
    raw.execute("BEGIN IMMEDIATE")
    leader = Task(lambda: store.commit(Put("q", b"leader"), timeout=PATIENCE), patience=PATIENCE)
    while not store._core.writer.inside:
        threading.Event().wait(0.001)
    with pytest.raises(StoreLocked, match="nothing was stored"):
        store.commit(Put("q", b"too late"), timeout=0.05)
    raw.execute("ROLLBACK")
    raw.close()
    leader.result()
    assert [record.payload for record in store.browse("q")] == [b"first", b"leader"]


def test_who_leads_waits_for_no_longer_than_his_own_time(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put_nowait() that led a put(timeout=600) of another thread waited for 600 seconds, too. And what came while
    another one waited in vain had its 5 seconds once more behind that."""
    monkeypatch.setattr(_line, "_OVERSLEPT", 10 * PATIENCE)
    monkeypatch.setattr(transactions, "LOCK_TIMEOUT", 10 * PATIENCE)
    monkeypatch.setattr(transactions, "STOPPED", PATIENCE)
    writer, tasks = store._core.writer, []
    with closing(sqlite3.connect(store.place, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        for number, timeout in enumerate((PATIENCE, None, PATIENCE)):
            call = partial(store.commit, Put("q", b"%d" % number), timeout=timeout)
            tasks.append(Task(call, patience=PATIENCE / 2))
            while len(writer._pending) == number:
                threading.Event().wait(0.001)
        *over, led = list(writer._pending)
        for work in over:
            work.deadline = 0.0
        for task in tasks[:2]:
            with pytest.raises(StoreLocked):
                task.result()
        assert not led.done
    tasks[2].result()
    assert [record.payload for record in store.browse("q")] == [b"first", b"2"]


def test_whose_time_runs_out_in_a_transaction_that_has_begun_sleeps(store: SqliteStore) -> None:
    """It looked again and again whether that was over, without a pause: a core for each of them, in every slow sync."""
    writer, slept, counts = store._core.writer, list[Any](), list[int]()
    real, sleep = writer.connection, writer._sleep

    class Slow(_Counted):
        def execute(self, statement: str, *values: Any) -> Any:
            if statement == "COMMIT" and self.begun == 2:
                late = [work for work in writer._pending if not work.patient]
                assert all(work.begun for work in late)
                for work in late:
                    work.deadline = 0.0
                slept.clear()
                threading.Event().wait(2 * _line._OVERSLEPT)
                counts.append(len(slept))  # and not in the sync: that may take long
            return super().execute(statement, *values)

    def note(work: Any) -> bool:
        slept.append(work)
        return sleep(work)

    assert real is not None
    connection: Any = Slow(real)
    writer.connection = connection
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "_sleep", note)
        times = (None, None, PATIENCE, PATIENCE)
        puts = [partial(store.commit, Put("q", b"a"), Put("q", b"b"), timeout=timeout) for timeout in times]
        assert len(_held_up(store, [*puts])) == 4
    writer.connection = real
    assert store.depth("q").ready == 9
    assert counts[0] < 50


def test_a_claim_that_is_interrupted_on_its_way_back_claims_nothing(store: SqliteStore) -> None:
    class Interrupted(BaseException):
        pass

    store._core.owner()
    real = store._core.writer.do

    def do(work: Any) -> Any:
        real(work)
        raise Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._core.writer, "do", do)
        patch.setattr(store._core, "give_back_claims", _giving_back(store, real))
        with pytest.raises(Interrupted):
            store.claim("q")
    assert store.depth("q")[:3] == (1, 0, 0)
    assert [claim.attempt for claim in store.claim("q")] == [1]


@contextmanager
def _led(writer: Writer) -> Iterator[None]:
    """By another thread."""
    begun, over = threading.Event(), threading.Event()

    def lead() -> None:
        with writer.lock:
            writer.inside = True
            begun.set()
            over.wait()
            writer.inside = False

    leader = Task(lead, patience=PATIENCE)
    begun.wait()
    try:
        yield
    finally:
        over.set()
        leader.result()


def test_a_claim_whose_caller_is_interrupted_twice_is_given_back_by_who_comes_next(store: SqliteStore) -> None:
    """A greenlet that was killed again while the leader had its claim in hand left that to nobody."""
    writer = store._core.writer
    store._core.owner()
    do, works = writer.do, list[Any]()

    def interrupted(work: Any) -> Any:
        works.append(work)
        if len(works) == 3:
            do(work)  # the second time it is given back, which nobody hears of
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "do", interrupted)
        with _led(writer), pytest.raises(KeyboardInterrupt):
            store.claim("q")
        do(works[0])  # by the leader
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                store.claim("q")
    assert len(works) == 3
    (claim,) = store.claim("q")
    assert claim.attempt == 1
    assert store.claim("q") == []
    store.commit(Ack(claim))
    assert not store._core.orphans


def test_who_goes_away_waits_for_its_work_and_not_for_the_lock(store: SqliteStore) -> None:
    """gevent gives a lock to whoever comes first: a greenlet that was killed waited for as long as others were busy."""
    writer, held, over = store._core.writer, threading.Event(), threading.Event()

    class Begun(Work):
        begun, looks = True, 0

        @property
        def done(self) -> bool:
            self.looks += 1
            return self.looks > 1

    def hold() -> None:
        with writer.lock:
            held.set()
            over.wait()

    other = Task(hold, patience=PATIENCE)
    held.wait()
    try:
        Task(lambda: writer._abandon(Begun(bool, synced=False)), patience=PATIENCE).result()
    finally:
        over.set()
    other.result()


@pytest.mark.parametrize("hears", [True, False])
def test_a_claim_that_can_not_be_given_back_for_now_is_by_who_comes_next(hears: bool, store: SqliteStore) -> None:
    """A lock of somebody else's, a full disk: it was taken for given back, and nobody had it until the store was
    closed."""
    writer = store._core.writer
    store._core.owner()
    do, works = writer.do, list[Any]()

    def refused(work: Any) -> Any:
        works.append(work)
        if len(works) == 1:
            do(work)
            raise KeyboardInterrupt
        work.refuse(StoreLocked("of somebody else"))
        if hears:
            return do(work)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "do", refused)
        with pytest.raises(KeyboardInterrupt):
            store.claim("q")
    (claim,) = store.claim("q")
    assert claim.attempt == 1
    assert store.claim("q") == []
    assert not store._core.orphans


def _giving_back(store: SqliteStore, do: Callable[[Any], Any]) -> Callable[..., None]:
    """As the core does it, by a writer that isn't interrupted."""
    give_back = store._core.give_back_claims

    def call(*arguments: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store._core.writer, "do", do)
            give_back(*arguments)

    return call


def test_an_interrupt_right_behind_the_commit_of_a_group_repeats_nothing(store: SqliteStore) -> None:
    writer = store._core.writer
    real: Any = writer.connection

    class Interrupting(_Counted):
        def execute(self, statement: str, *values: Any) -> Any:
            result = super().execute(statement, *values)
            if statement == "COMMIT" and self.begun == 2:
                raise KeyboardInterrupt
            return result

    connection: Any = Interrupting(real)
    writer.connection = connection
    interrupted: list[int] = []

    def put(n: int) -> None:
        try:
            store.commit(Put("q", b"%d" % n), Put("r", b"%d" % n))
        except KeyboardInterrupt:
            interrupted.append(n)

    _held_up(store, [lambda n=n: put(n) for n in range(6)])  # type: ignore[misc]
    writer.connection = real
    assert len(interrupted) == 1
    for queue in "qr":
        found = sorted(record.payload for record in store.browse(queue) if record.payload != b"first")
        assert found == [b"%d" % n for n in range(6)], "each of them once, that of the interrupted one as well"


def test_a_waiter_beside_an_overdue_record_sleeps(store: SqliteStore) -> None:
    store.commit(Put("q", b"delayed", not_before=store._core.clock.wall() + 0.001))
    threading.Event().wait(0.01)
    looks = []

    def until(depth: Depth) -> bool:
        looks.append(depth)
        return False

    assert not store.wait("q", until, timeout=0.5)
    assert len(looks) < 50


def test_i9_who_has_gone_away_before_its_turn_has_nothing_stored(store: SqliteStore) -> None:
    """It was told so, in the middle of the transaction in which it would have come."""
    ran, last = list[str](), Work(lambda _: ran.append("last"), synced=True)
    first = Work(lambda _: (ran.append("first"), setattr(last, "abandoned", True)), synced=True)
    with store._core.writer.lock:
        store._core.writer.carry_out([first, last])
    assert first.done
    assert ran == ["first"]


def test_an_error_of_the_disk_before_the_commit_is_no_failed_sync(store: SqliteStore) -> None:
    """Nothing was on its way: the next one goes."""

    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with pytest.raises(DiskError):
        store._core.writer.do(Work(fail, synced=True))
    assert store.commit(Put("q", b"second"))


def test_an_opening_that_fails_at_its_end_keeps_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although somebody keeps the error."""
    monkeypatch.setattr(Core, "bury_dead", Mock(side_effect=DiskError(errno.EIO, "broken", "somewhere")))
    with pytest.raises(DiskError) as kept:
        SqliteStore(tmp_path / "new.db")
    assert open_below(tmp_path / "new.db") == []
    assert kept.value.errno == errno.EIO


@pytest.mark.parametrize("lost", [True, False])
def test_a_late_commit_that_is_refused_is_told_in_the_log(
    lost: bool, store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    check_a_refused_late_commit_is_told(store, caplog, lost=lost)


def test_a_claim_in_the_middle_of_another_one(store: SqliteStore) -> None:
    check_a_claim_in_the_middle_waits_for_nothing(store)


class _NoSync(Disk):
    def sync(self, fd: int) -> None:
        raise OSError(5, "Input/output error")


def test_a_failed_sync_in_the_background_poisons_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteStore(tmp_path / "q.db", durability="process", max_lag=0.01) as store:
        monkeypatch.setattr(store._core, "disk", _NoSync())
        store.commit(Put("q", b"a"))
        while store._core.writer.trouble is None:
            threading.Event().wait(0.001)
        with pytest.raises(StorePoisoned, match="could not be synced"):
            store.commit(Put("q", b"b"))


class _Begun(Work):
    """By somebody who doesn't come to its end before its caller has looked twice."""

    begun, looks = True, 0

    @property
    def done(self) -> bool:
        self.looks += 1
        return self.looks > 2


@pytest.mark.parametrize("way", ["waits", "goes away"])
def test_who_is_interrupted_as_it_looks_whether_anybody_leads_leaves_the_lock_free(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """It had taken it to find out, and all other threads waited for it for ever."""
    writer, going, nth = store._core.writer, True, 0
    monkeypatch.setattr(_line, "_OVERSLEPT", 0.0)
    while going:
        nth += 1
        writer.inside = way == "waits"  # as an interrupt leaves it where a leader lets go
        work = (Work if way == "waits" else _Begun)(lambda connection: None, synced=False)
        call = partial(writer.do if way == "waits" else writer._abandon, work)
        going = interrupted(call, nth, (_line.__file__,), locks=True)
        Task(lambda: store.commit(Put("q", b"next")), patience=PATIENCE).result()
    assert nth > 4


def test_a_call_without_time_leads_where_nothing_but_a_flag_says_that_somebody_does(store: SqliteStore) -> None:
    """An interrupt where a leader lets go leaves it: calls of event loops, and what is done by itself, were refused as
    long as nobody came who had time."""
    before = store.depth("q").ready
    store._core.writer.inside = True
    store.commit(Put("q", b"a"), timeout=0.0)
    assert store.depth("q").ready == before + 1
