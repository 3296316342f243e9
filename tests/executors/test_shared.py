"""Several processes on one store: each job runs once, outcomes find their way, keys race to one run."""

from __future__ import annotations

import gc
import queue
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import CancelledError, RemoteError, ThreadPoolExecutor, wait
from pqadapters.concurrent.futures._backlog import loading, starting
from pqadapters.concurrent.futures._jobs import outcome, wire
from pqadapters.concurrent.futures._jobs.names import Names
from pqadapters.concurrent.futures._others import sharing as _sharing
from pqadapters.concurrent.futures._others.sharing import Sharing
from pqadapters.concurrent.futures._workers.unopened import NotLoaded
from pqadapters.errors import LeaseLost, StorePoisoned, StoreUnreachable
from pqadapters.opening import open_store
from pqadapters.store import Ack, Claim, Nack, Op, Put, Record, Set, State
from pqadapters.stores.sqlite import SqliteStore

from ..contract.threads import Task
from . import work
from .harness import App

PROGRAM = """
def meet(process):
    "One that the process itself begins waits for one that another process begins."
    met = sys.argv[0] + ".met"
    if os.getpid() != process:
        open(met, "a").close()
        say("met")
    while not os.path.exists(met):
        time.sleep(0.01)

if __name__ == "__main__":
    executor = ThreadPoolExecutor(2, store="sqlite:///" + sys.argv[0] + ".db?durability=process", recover=sys.argv[2])
    if sys.argv[1] == "submit":
        executor.submit(double, -1).result()
        say("ready")
        for _ in range(3 if sys.argv[4:] else 0):  # more than we can begin ourselves
            executor.submit(meet, os.getpid())
        futures = [executor.submit(double, number) for number in range(int(sys.argv[3]))]
        say("submitted")
        say("results", *(future.result() for future in futures))
    elif sys.argv[1] == "hold":
        executor.submit(hold, 0)
        executor.submit(hold, 1)
        for number in range(2, 10):
            executor.submit(double, number)
        say("submitted")
        hear()
    elif sys.argv[1] == "key":
        say("ready")
        hear()
        say("results", *(executor.using(key=number).submit(double, number).result() for number in range(20)))
    else:
        executor.submit(double, -2).result()
        say("ready")
        hear()
    executor.shutdown()
    say("end")
"""


@pytest.fixture
def app(tmp_path: Path) -> App:
    return App(tmp_path, PROGRAM)


def test_two_processes_share_a_backlog_and_each_job_runs_once(app: App) -> None:
    with app.start("help", "auto") as helper:
        helper.until("ready")
        with app.start("submit", "auto", "300", "meet") as run:
            run.end()
            assert run.words("results") == [" ".join(str(2 * number) for number in range(300))]
            helper.tell("")
            helper.end()
            both = run.words("ran") + helper.words("ran")
    assert sorted(map(int, both)) == [-2, -1, *range(300)]
    assert "met" in helper.said, "the helper helped"


def test_only_ours_with_recover_manual(app: App) -> None:
    with app.start("help", "manual") as helper:
        helper.until("ready")
        with app.start("submit", "auto", "50") as run:
            run.end()
        helper.tell("")
        assert helper.end().words("ran") == ["-2"]


def test_what_a_killed_process_had_is_run_by_the_other(app: App) -> None:
    with app.start("hold", "auto") as holder:
        while len(holder.words("holds")) < 2 or "submitted" not in holder.said:
            holder.until("")
        app.script.write_text(app.script.read_text().replace("time.sleep(600)", "return 0"))
        with app.start("help", "auto") as helper:
            helper.until("ready")
            holder.kill()
            while len(helper.words("holds")) < 2:
                helper.until("")
            helper.tell("")
            helper.end()
            said = helper.words("ran") + helper.words("holds") + holder.words("ran")
    assert sorted(map(int, said)) == [-2, *range(10)]


def test_a_key_races_to_one_run(app: App) -> None:
    with app.start("key", "auto") as one, app.start("key", "auto") as two:
        for run in (one, two):
            run.until("ready")
        for run in (one, two):
            run.tell("")
        for run in (one, two):
            assert run.end().words("results") == [" ".join(str(2 * number) for number in range(20))]
        assert sorted(map(int, one.words("ran") + two.words("ran"))) == list(range(20))


# In one process, with two handles on the store: the same, but for who dies


def test_a_future_hears_of_an_outcome_in_another_executor(url: str) -> None:
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url) as two:
        one.submit(work.hold, "one")
        two.submit(work.hold, "two")
        work.reached("one")
        work.reached("two")
        futures: list[Any] = [one.submit(work.double, 21), one.submit(work.fail, "no")]
        work.GATES["two"].set()
        assert futures[0].result(work.PATIENCE) == 42
        assert isinstance(futures[1].exception(work.PATIENCE), ValueError)
        work.GATES["one"].set()


def test_an_outcome_of_another_executor_whose_loading_raises_no_exception_is_one(url: str) -> None:
    """Its future had no end, and who shut down waited for that."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url):
        one.submit(work.hold, "one")
        work.reached("one")
        future = one.submit(work.Interrupts)
        with pytest.raises(RemoteError, match="KeyboardInterrupt: what was kept can't be loaded here"):
            future.result(work.PATIENCE)
        work.GATES["one"].set()


def test_shutting_down_where_an_outcome_is_heard_of_is_refused(url: str) -> None:
    """Who hears of outcomes waited for jobs that others run, and heard of nothing."""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def shut_down(_: object) -> None:
        try:
            one.shutdown()
        except RuntimeError as error:
            told.put(str(error))

    with ThreadPoolExecutor(1, store=url, recover="manual") as one:
        one.submit(work.hold, "gate")
        work.reached("gate")
        one.submit(work.hold, "other").add_done_callback(shut_down)
        with ThreadPoolExecutor(1, store=url):
            work.GATES["other"].set()
        try:
            assert told.get(timeout=work.PATIENCE) == "cannot join current thread"
        finally:
            work.GATES["gate"].set()


def test_a_job_that_waits_keeps_its_executor(url: str) -> None:
    """Another process may begin it, and die: nobody was there when it came again, and the future waited for ever."""
    executor = ThreadPoolExecutor(1, store=url, recover="manual")
    executor._backlog.added = lambda: True  # no thread of its own takes the job
    future: Any = executor.submit(work.note, 1)
    there = weakref.ref(executor)
    del executor
    gc.collect()
    executor = there()  # type: ignore[assignment]
    assert executor is not None
    executor._backlog.forget(future._id)
    executor.shutdown(drain=False)


def test_what_a_job_came_to_that_others_have_taken_is_looked_for_when_it_cant_be_begun(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its future waited for an outcome that was told to nobody, while a server took this process for dead."""
    with ThreadPoolExecutor(1, store=url, recover="manual") as executor:
        backlog, doubted = executor._backlog, list[bytes]()
        monkeypatch.setattr(backlog, "added", lambda: True)  # no thread of its own takes the job
        future: Any = executor.submit(work.note, 1)
        started = starting.next_job(backlog)
        assert started is not None
        backlog.store.commit(Ack(started.claim))
        monkeypatch.setattr(backlog.sharing, "doubt", doubted.append)
        starting.give_up(backlog, started)
        backlog.forget(future._id)  # or the end would wait for it
    assert doubted == [future._id]


@pytest.mark.parametrize("heard", [True, False])
def test_what_was_told_to_an_executor_goes_with_it(url: str, heard: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes that it hadn't heard of yet, or whose end the store had refused, stayed in the store for ever."""
    if not heard:
        monkeypatch.setattr(Sharing, "_listen", lambda sharing: None)
    with open_store(url) as store:
        executor = ThreadPoolExecutor(1, store=url, name="jobs")
        executor.submit(abs, -1).result(work.PATIENCE)
        queue, refused = Names.of("jobs").outcomes(executor._backlog.token), threading.Event()
        ours: Any = executor._backlog.store
        commit = ours.commit

        def refusing(*ops: Op) -> Any:
            if all(isinstance(op, Ack) and op.claim.queue == queue for op in ops) and not refused.is_set():
                refused.set()
                raise StoreUnreachable("it is away")
            return commit(*ops)

        monkeypatch.setattr(ours, "commit", refusing)
        store.commit(Put(queue, bytes(16) + b"outcome"))
        assert not heard or refused.wait(work.PATIENCE)
        refused.set()
        executor.shutdown()
        assert store.depth(queue).unfinished == 0
        assert executor._backlog.sharing is not None
        assert not executor._backlog.sharing._heard


@pytest.mark.parametrize("options", [{}, {"key": "k"}, {"retries": 1}])
def test_a_submit_whose_job_another_process_has_begun_as_no_thread_is_left_here(
    options: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised, as if nothing were stored, and the job ran."""
    with ThreadPoolExecutor(1, store=url) as other, ThreadPoolExecutor(1, store=url) as executor:
        other.stats()
        executor.stats()

        def no_thread() -> bool:
            if threading.current_thread() in submits:  # else it is a thread of the executor's own that asks
                submits.clear()
                work.reached("gate")
            return False

        submits = [threading.current_thread()]

        with monkeypatch.context() as patch:
            patch.setattr(executor._backlog, "added", no_thread)
            future = executor.using(**options).submit(work.hold, "gate")
        work.GATES["gate"].set()
        assert future.result(work.PATIENCE) == "gate"


def test_a_store_that_refused_is_listened_to_again(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind one error of a server, no outcome of another process was heard of any more."""
    errors: list[Exception] = [StoreUnreachable("away"), LeaseLost("taken for dead")] * 2
    hear_some = Sharing._hear_some

    def fail(sharing: Sharing, look: float | None) -> None:
        if errors:
            raise errors.pop()
        hear_some(sharing, look)

    monkeypatch.setattr(Sharing, "_hear_some", fail)
    monkeypatch.setattr(_sharing, "_REFUSED", 0.001)
    test_a_future_hears_of_an_outcome_in_another_executor(url)
    assert not errors


def _fail_once(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: type[Exception]) -> list[type[Exception]]:
    """What is left to be raised."""
    errors, call = [error], getattr(owner, name)

    def fail(*given: Any) -> Any:
        if errors:
            raise errors.pop()
        return call(*given)

    monkeypatch.setattr(owner, name, fail)
    return errors


@pytest.mark.parametrize("error", [MemoryError, ValueError])
@pytest.mark.parametrize(("owner", "name"), [(Sharing, "_hear_some"), (_sharing, "hear")])
def test_whatever_is_raised_where_outcomes_are_heard_of_they_are_again(
    url: str, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, error: type[Exception]
) -> None:
    """The thread ended, at a lack of memory or what a signal handler raised in a transaction that it shared: futures
    waited for ever."""
    monkeypatch.setattr(_sharing, "_REFUSED", 0.001)
    errors = _fail_once(monkeypatch, owner, name, error)
    test_a_future_hears_of_an_outcome_in_another_executor(url)
    assert not errors


def test_a_store_that_never_works_again_isnt_listened_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(sharing: Sharing, look: float | None) -> None:
        raise StorePoisoned("open it again")

    monkeypatch.setattr(Sharing, "_hear_some", fail)
    monkeypatch.setattr(_sharing, "_REFUSED", 0.001)
    with ThreadPoolExecutor(1, store=url) as executor:
        executor.submit(abs, -1).result(work.PATIENCE)
        assert executor._backlog.sharing is not None
        executor._backlog.sharing.thread.join(work.PATIENCE)
        assert not executor._backlog.sharing.thread.is_alive()


def test_nothing_is_stored_for_a_dead_process(url: str) -> None:
    """What its jobs came to, results and all, grew on the disk until another executor came to clean up."""
    with ThreadPoolExecutor(1, store=url) as executor, open_store(url) as store:
        executor.submit(abs, -1).result(work.PATIENCE)
        store.commit(Put(executor._backlog.names.members, bytes(8)))
        assert executor._backlog.sharing is not None
        told = executor._backlog.sharing.tell(bytes(16), b"outcome", wire.REPLY, watched=False)
        assert not any(isinstance(op, Put) for op in told)


def test_what_a_dead_process_is_told_while_it_is_cleaned_up_after_is_removed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed for good: nobody looks for outcomes of a process that is no member."""
    dead, outcomes, commit = bytes(8), Names.of("default").outcomes(bytes(8)), SqliteStore.commit

    def late(self: SqliteStore, *ops: Op, **options: Any) -> tuple[int, ...]:
        if [op.claim.payload for op in ops if isinstance(op, Ack)] == [dead]:
            commit(self, Put(outcomes, b"told"))
        return commit(self, *ops, **options)

    with open_store(url) as store:
        store.commit(Put("default.members", dead))
        monkeypatch.setattr(SqliteStore, "commit", late)
        with ThreadPoolExecutor(1, store=url) as executor:
            executor.submit(abs, -1).result(work.PATIENCE)
            assert [member.payload for member in store.browse("default.members", state=None)] != [dead]
            assert not store.depth(outcomes).unfinished


def test_who_ends_while_it_becomes_a_member_again_is_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record was left: others took it for one that lives, or comes back, and kept outcomes for it."""
    with ThreadPoolExecutor(1, store=url) as executor, open_store(url) as store:
        executor.submit(abs, -1).result(work.PATIENCE)
        sharing = executor._backlog.sharing
        assert sharing is not None
        backlog, claim = executor._backlog, sharing._store.claim

        def late(queue: str, **options: Any) -> Any:
            if queue == backlog.names.members:
                sharing.close()
            return claim(queue, **options)

        backlog.commit(*map(Nack, sharing._member))  # somebody took it for dead
        monkeypatch.setattr(sharing._store, "claim", late)
        sharing._stay()
        assert not store.depth(executor._backlog.names.members).unfinished


def test_a_stale_outcome_is_refused(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A worker whose claim was taken over (here: its store gave it back) has no say any more."""
    executor = ThreadPoolExecutor(1, store=url)  # which is about the next call when it is through with that one
    future = executor.using(key="k").submit(work.hold, "gate")
    work.reached("gate")
    backlog = executor._backlog
    (record,) = backlog.store.browse("default", state=State.CLAIMED)
    running = [claim for claim in _claims(backlog) if claim.id == record.id]
    with pytest.raises(LeaseLost):
        backlog.commit(Ack(running[0]._replace(attempt=running[0].attempt + 1)))
    backlog.commit(Ack(running[0]))  # somebody else has brought it to its end
    work.GATES["gate"].set()
    executor.submit(work.nothing).result(work.PATIENCE)
    assert not future.done()
    assert backlog.store.count("default.results") == 0
    assert any("refused" in record.getMessage() for record in caplog.records)
    executor.shutdown(wait=False, drain=False)


def _told(executor: ThreadPoolExecutor, future: Any) -> Any:
    """What the future comes to when another process says that the job has come to 42."""
    backlog = executor._backlog
    backlog.store.commit(Put(backlog.names.outcomes(backlog.token), future._id + outcome.dump(outcome.Outcome(42))))
    return future.result(work.PATIENCE)


def test_a_job_that_is_lost_as_it_is_parked_is_heard_of(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its future waited for ever."""
    with ThreadPoolExecutor(1, store=url, max_attempts=1) as executor:
        executor.submit(work.hold, "gate")
        work.reached("gate")
        future: Any = executor.submit(work.double, 1)
        backlog = executor._backlog
        backlog.commit(Nack(backlog.claim("default", ids=[future._record], counted=True)[0]))  # whose process ended
        commit = backlog.commit

        def lost(*ops: Op) -> Any:
            commit(*(Ack(op.claim) for op in ops if isinstance(op, Nack) and op.dead))  # another one was quicker
            return commit(*ops)

        monkeypatch.setattr(backlog, "commit", lost)
        work.GATES["gate"].set()
        executor.submit(work.nothing).result(work.PATIENCE)
        assert _told(executor, future) == 42


@pytest.mark.parametrize("missing", [True, False])
def test_a_job_that_is_lost_while_a_worker_cant_load_it_is_heard_of(url: str, missing: bool) -> None:
    """It ran for ever here."""
    executor = ThreadPoolExecutor(1, store=url)
    executor.submit(work.hold, "gate")
    work.reached("gate")
    future, backlog = executor.submit(work.double, 1), executor._backlog
    started = starting.next_job(backlog)
    assert started is not None
    backlog.commit(Ack(started.claim))  # another process has done it
    loading.not_loaded(backlog, started, NotLoaded("it isn't there", missing))
    assert _told(executor, future) == 42
    work.GATES["gate"].set()
    Task(executor.shutdown, patience=work.PATIENCE).result()


def _claims(backlog: Any) -> list[Any]:
    """The claims of the backlog's running jobs, as the store knows them."""
    from pqadapters.store import Claim

    return [
        Claim(r.queue, r.id, r.attempts, r.payload, r.rank, r.put_at, r.note)
        for r in backlog.store.browse("default", state=State.CLAIMED)
    ]


def test_a_key_that_another_executor_runs_is_waited_for(url: str) -> None:
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url) as two:
        first = one.using(key="k").submit(work.hold, "gate")
        work.reached("gate")
        second = two.using(key="k").submit(work.hold, "gate")
        assert second.job_id == first.job_id
        assert not second.done()
        work.GATES["gate"].set()
        assert [first.result(work.PATIENCE), second.result(work.PATIENCE)] == ["gate", "gate"]
        assert two.future(key="k").result(0) == "gate"


def test_who_is_gone_does_not_wait_for_a_job_any_more(url: str) -> None:
    """A job that stands for a day, say, had an entry of each process that was ever given its future, to its end."""
    id, table = bytes(16), Names.of("default").watchers
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url) as two, open_store(url) as store:
        tokens = b""
        store.commit(Set(table, id, b"deadbeef" * 3))
        for executor in (one, two):
            executor.submit(abs, -1).result(work.PATIENCE)
            assert executor._backlog.sharing is not None
            executor._backlog.sharing.watch(id)
            tokens += executor._backlog.token
            assert store.get(table, id) == tokens


def test_who_begins_to_wait_as_a_job_is_cancelled_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        one.submit(work.hold, "gate")
        work.reached("gate")
        future: Any = one.submit(work.double, 1)
        theirs: list[Any] = []
        assert one._backlog.sharing is not None
        tell = one._backlog.sharing.tell

        def late(*args: Any, **options: Any) -> Any:
            ops = tell(*args, **options)
            if not theirs:
                theirs.append(two.future(future.job_id))
            return ops

        monkeypatch.setattr(one._backlog.sharing, "tell", late)
        assert future.cancel()
        with pytest.raises(CancelledError):
            theirs[0].result(work.PATIENCE)
        work.GATES["gate"].set()


def test_who_waits_for_a_job_no_more_keeps_nobody_else_from_it(url: str) -> None:
    """Others were never told of its end."""
    id, table = bytes(16), Names.of("default").watchers
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url) as two:
        for executor in (one, two):
            executor.submit(abs, -1).result(work.PATIENCE)
        here, there = one._backlog.sharing, two._backlog.sharing
        assert here is not None
        assert there is not None
        here.watch(id)
        there.watch(id)
        here.watch_no_more(id)
        assert one._backlog.store.get(table, id) == two._backlog.token
        there.watch_no_more(id)
        assert one._backlog.store.get(table, id) is None


def test_a_delayed_job_that_was_begun_as_it_is_cancelled_is_heard_of(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It isn't cancelled then. Others who waited for it were told that it was; who had tried to cancel it heard of
    nothing, and its key was free while it ran."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        future = one.using(key="it", delay=3600).submit(work.double, 21)
        theirs = two.future(key="it")
        commit, browse, buried = two._backlog.commit, SqliteStore.browse, threading.Event()

        def too_late(*ops: Op) -> Any:
            done = commit(*ops)
            buried.set()
            return done

        def found(self: SqliteStore, *args: Any, **more: Any) -> Iterator[Record]:
            for record in browse(self, *args, **more):
                yield record._replace(state=State.CLAIMED) if buried.is_set() else record

        monkeypatch.setattr(two._backlog, "commit", too_late)
        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "browse", found)
            assert not two.cancel(future.job_id)
        assert one.future(key="it") is future
        assert [future.done(), theirs.done()] == [False, False]
        assert future.cancel()
        with pytest.raises(CancelledError):
            theirs.result(work.PATIENCE)


def test_who_looks_what_there_is_as_a_delayed_job_is_cancelled_hears_of_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tombstone isn't to be believed before others are told."""
    with ThreadPoolExecutor(1, store=url) as one, ThreadPoolExecutor(1, store=url, recover="manual") as two:
        future = one.using(key="it", delay=3600).submit(work.double, 21)
        theirs = two.future(key="it")
        commit = one._backlog.commit

        def looked(*ops: Op) -> Any:
            done = commit(*ops)
            two.recovered()
            return done

        monkeypatch.setattr(one._backlog, "commit", looked)
        assert one.cancel(future.job_id)
        with pytest.raises(CancelledError):
            theirs.result(work.PATIENCE)


def test_a_job_that_comes_back_behind_a_shutdown_is_run(url: str) -> None:
    """The pool was shut, since all was begun: of what another process had begun that died, nobody heard any more."""
    one = ThreadPoolExecutor(1, store=url)
    held = one.submit(work.hold, "gate")
    work.reached("gate")
    future = one.submit(work.double, 4)
    with open_store(url) as store:
        (claim,) = store.claim("default")
        work.GATES["gate"].set()
        assert held.result(work.PATIENCE) == "gate"
        one.shutdown(wait=False)
        with one._tickets.changed:
            assert one._tickets.changed.wait_for(one._backlog.idle, work.PATIENCE)
        store.commit(Nack(claim))
        assert future.result(work.PATIENCE) == 8


def test_who_has_let_go_of_an_executor_hears_of_jobs_that_another_runs(url: str) -> None:
    """They failed with StoreClosed when the executor's own threads had nothing left to do."""
    one = ThreadPoolExecutor(1, store=url)
    held = one.submit(work.hold, "one")
    work.reached("one")
    future = one.submit(work.hold, "two")
    with ThreadPoolExecutor(1, store=url):
        work.reached("two")
        del one
        work.GATES["one"].set()
        assert held.result(work.PATIENCE) == "one"
        assert not wait([future], 0.1).done
        work.GATES["two"].set()
        assert future.result(work.PATIENCE) == "two"


def test_a_program_that_just_ends_does_what_was_left(tmp_path: Path) -> None:
    """Behind its last line a script has no __file__: it took the jobs for another script's, and left them for good."""
    body = """
hold = double if sys.argv[1] == "end" else hold
executor = ThreadPoolExecutor(1, store="sqlite:///" + sys.argv[0] + ".db?durability=process")
if sys.argv[1] == "leave":
    for number in range(5):
        executor.submit(hold if number == 0 else double, number)
    say("submitted")
    hear()
"""
    app = App(tmp_path, body)
    with app.start("leave") as run:
        run.until("submitted")
        run.kill()
    with app.start("end") as run:
        run.end()
        assert sorted(run.words("ran")) == ["0", "1", "2", "3", "4"]


def test_members_that_died_are_cleaned_up(url: str) -> None:
    with open_store(url) as store:
        from pqadapters.store import Put

        store.commit(Put("default.members", b"deadbeef"), Put(f"default.to.{b'deadbeef'.hex()}", b"x" * 20))
        with ThreadPoolExecutor(1, store=url) as executor:
            executor.submit(work.nothing).result(work.PATIENCE)
            assert store.depth("default.members").unfinished == 1
            assert store.depth(f"default.to.{b'deadbeef'.hex()}").unfinished == 0
        assert store.depth("default.members").unfinished == 0


def test_names_are_shared_by_the_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    with ThreadPoolExecutor(1, name="mail") as one, ThreadPoolExecutor(1, name="mail") as two:
        assert one.using(key=1).submit(work.note, 1).result(work.PATIENCE) == 1
        assert two.using(key=1).submit(work.note, 2).result(work.PATIENCE) == 1
    with ThreadPoolExecutor(1, name="other") as other:
        assert other.using(key=1).submit(work.note, 3).result(work.PATIENCE) == 3


def test_a_store_that_was_given_stays_open(url: str) -> None:
    """And nobody waits in it any more."""
    with open_store(url) as store:
        before = set(threading.enumerate())
        with ThreadPoolExecutor(1, store=store) as executor:
            executor.submit(work.nothing).result(work.PATIENCE)
        assert store.depth("default").unfinished == 0
        names = {"pqadapters-executor-outcomes", "pqadapters-executor-watch"}
        for thread in {thread for thread in threading.enumerate() if thread.name in names} - before:
            thread.join(work.PATIENCE)
            assert not thread.is_alive()


def test_a_dead_process_that_cant_be_cleaned_up_after_is_left_to_others(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(dead: Claim) -> None:
        raise StoreUnreachable("it is away")

    with open_store(url) as store:
        with ThreadPoolExecutor(1, store=store) as executor:
            executor.submit(work.nothing).result(work.PATIENCE)
            sharing = executor._backlog.sharing
            assert sharing is not None
            store.commit(Put("default.members", bytes(8)))
            monkeypatch.setattr(sharing, "_see_to", refuses)
            with pytest.raises(StoreUnreachable):
                sharing._clean_up()
        assert [member.state for member in store.browse("default.members", state=None)] == [State.READY]


def test_shutting_down_says_nothing_of_a_store_that_is_away(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others find out that its process is none of theirs any more; what is done is done."""

    def refuses(*ops: Op) -> None:
        raise StoreUnreachable("it is away")

    with ThreadPoolExecutor(1, store=url) as executor:
        executor.submit(work.nothing).result(work.PATIENCE)
        sharing: Any = executor._backlog.sharing
        sharing._dead = [*sharing._member]
        monkeypatch.setattr(sharing._store, "commit", refuses)
        executor.shutdown()


def test_a_job_put_by_another_process_is_seen_by_an_idle_one(url: str) -> None:
    with ThreadPoolExecutor(1, store=url) as idle:
        idle.submit(work.nothing).result(work.PATIENCE)
        other = ThreadPoolExecutor(1, store=url)
        other.submit(work.hold, "gate")
        work.reached("gate")
        seen = threading.Event()
        future = other.submit(work.note, "seen")
        future.add_done_callback(lambda _: seen.set())
        before = time.monotonic()
        assert seen.wait(work.PATIENCE)
        assert time.monotonic() - before < work.PATIENCE
        work.GATES["gate"].set()
        other.shutdown()


def test_a_server_that_was_away_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look that it refused was the last one: jobs of others were left alone for good."""
    monkeypatch.setattr("pqadapters.concurrent.futures._backlog.watch._REFUSED", 0.0)
    url = f"sqlite:///{tmp_path}/jobs.db?durability=process"
    store = open_store(url)
    wait, refusals = store.wait, [StoreUnreachable("it is away")] * 3

    def refuses(*arguments: Any, **options: Any) -> bool:
        if refusals:
            raise refusals.pop()
        return wait(*arguments, **options)

    monkeypatch.setattr(store, "wait", refuses)
    with (
        store,
        ThreadPoolExecutor(1, store=store) as one,
        ThreadPoolExecutor(1, store=url, recover="manual") as other,
    ):
        one.submit(work.nothing).result(work.PATIENCE)
        other._issue(work.hold, "gate")  # it has no thread left
        work.reached("gate")
        assert other.submit(work.double, 21).result(work.PATIENCE) == 42
        work.GATES["gate"].set()
    assert not refusals
