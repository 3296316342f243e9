"""What is done while others have the store locked, or its server is away: the loop goes on, and it is stored later."""

from __future__ import annotations

import asyncio
import gc
import pickle
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, LeaseLost, OutcomeUnknown, StoreLocked, StoreUnreachable
from pqadapters.stdlib import queue as threaded
from pqadapters.stdlib._lines import owed
from pqadapters.stdlib._lines.owed import Owed
from pqadapters.stdlib._loops import owing
from pqadapters.stdlib.asyncio import Queue
from pqadapters.store import Ack, Claim
from pqadapters.stores.sqlite import SqliteStore
from tests.contract.threads import Task
from tests.home.world import child
from tests.segment import programs

from .running import PATIENCE, run, turns


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owed, "AT_ONCE", 0.0)
    monkeypatch.setattr(owing, "ASIDE", 0.0)
    monkeypatch.setattr(owing, "LONG_ASIDE", 0.002)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """By somebody else, for a block."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.rollback()


def queue(path: Path, **options: Any) -> Queue[Any]:
    return Queue(store=f"sqlite:///{path}?durability=process", **options)


def test_a_task_is_done_while_others_have_the_database_locked(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The loop stood still for as long as they had, and behind five seconds `task_done()` raised StoreLocked."""

    async def main() -> None:
        async with queue(path) as q:
            for item in "abc":
                await q.put(item)
            for _ in "abc":
                await q.get()
            with locked(path):
                q.task_done()
                q.task_done("c")
                joining = asyncio.ensure_future(q.join())
                await turns()
                assert q._unfinished_tasks == 3
            q.task_done()  # behind the others, in their order
            await asyncio.wait_for(joining, PATIENCE)
            assert q._unfinished_tasks == 0
            with pytest.raises(ValueError, match="too many times"):
                q.task_done()

    run(main())
    assert not caplog.records  # what was learnt didn't wait for the lock, either
    with threaded.Queue[str](store=f"sqlite:///{path}") as left:
        assert left.empty()
        assert left.stats()["learnt"] == "task_done"


def test_one_call_too_many_is_told_while_others_have_the_database_locked(path: Path) -> None:
    """It counted for the record that was done and not stored, and `join()` was over before that was."""

    async def main() -> None:
        async with queue(path) as q:
            await q.put("a")
            await q.get()
            with locked(path):
                q.task_done()
                with pytest.raises(ValueError, match="too many times"):
                    q.task_done()
                assert q._unfinished_tasks == 1
            await asyncio.wait_for(q.join(), PATIENCE)

    run(main())


def test_an_item_is_given_back_while_others_have_the_database_locked(path: Path) -> None:
    async def main() -> None:
        async with queue(path) as q:
            await q.put("a")
            assert await q.get() == "a"
            with locked(path):
                q.nack()
                getting = asyncio.ensure_future(q.get())
                await turns()
                assert not getting.done()
            assert await asyncio.wait_for(getting, PATIENCE) == "a"

    run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_done_is_stored_by_the_end_of_the_block(path: Path, fails: bool) -> None:
    async def main() -> None:
        async with queue(path) as q:
            await q.put("a")
            await q.get()
            with locked(path):
                q.task_done()
            if fails:
                raise LookupError

    try:
        run(main())
    except LookupError:
        assert fails
    with threaded.Queue[str](store=f"sqlite:///{path}") as left:
        assert left.empty()


PROGRAM = """
import asyncio, sqlite3, sys
from pqadapters.stdlib.asyncio import Queue

q = Queue(store=f"sqlite:///{sys.argv[1]}?durability=process")

async def main():
    await q.put("a")
    await q.get()
    other = sqlite3.connect(sys.argv[1], isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    q.task_done()
    other.rollback()
    print(q._unfinished_tasks)

asyncio.run(main())
"""


def test_what_is_done_is_stored_at_the_end_of_the_program(path: Path) -> None:
    assert programs.run(PROGRAM, path) == "1"
    with threaded.Queue[str](store=f"sqlite:///{path}") as left:
        assert left.empty()


def test_another_loop_goes_on_with_what_was_owed_in_one_that_is_closed(path: Path) -> None:
    q = queue(path)

    async def first() -> None:
        for item in "ab":
            await q.put(item)
            await q.get()
        with locked(path):
            q.task_done()

    async def second() -> None:
        q.task_done("b")
        await asyncio.wait_for(q.join(), PATIENCE)

    run(first())
    run(second())
    q.close()


@pytest.mark.parametrize("given_back", [False, True])
def test_another_loop_waits_for_what_was_owed_in_one_that_is_closed(
    path: Path, monkeypatch: pytest.MonkeyPatch, given_back: bool
) -> None:
    q = queue(path)
    monkeypatch.setattr(owing, "ASIDE", PATIENCE)  # so the first one is closed before it has come again

    async def first() -> None:
        await q.put("a")
        await q.get()
        with locked(path):
            if given_back:
                q.nack()
            else:
                q.task_done()

    async def second() -> None:
        if given_back:
            assert await asyncio.wait_for(q.get(), PATIENCE) == "a"
        else:
            await asyncio.wait_for(q.join(), PATIENCE)

    run(first())
    assert q._line.owed
    monkeypatch.setattr(owing, "ASIDE", 0.0)
    run(second())
    q.close()


def test_what_is_given_back_stands_in_its_place_before_the_next_one_is_taken(path: Path) -> None:
    async def main() -> None:
        async with queue(path) as q:
            for item in "ab":
                await q.put(item)
            await q.get()
            with locked(path):
                q.nack()
            assert [await q.get(), await q.get()] == ["a", "b"]

    run(main())


def test_what_another_task_got_is_done_while_others_have_the_database_locked(path: Path) -> None:
    """It waited for five seconds, and raised StoreLocked."""

    async def main() -> None:
        async with queue(path) as q:
            await q.put("a")
            getting = asyncio.ensure_future(q.get())
            await getting
            with locked(path):
                q.task_done()
                assert q._line.owed
            await asyncio.wait_for(q.join(), PATIENCE)

    run(main())


def test_what_is_learnt_while_others_have_the_database_locked_is_kept_later(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier run had learnt that there are no task_done()s: nothing is owed, and it waited for five seconds."""

    async def earlier() -> None:
        async with queue(path) as q:
            for item in "abc":
                await q.put(item)
            await q.get()
            await q.get()

    async def main() -> None:
        async with queue(path) as q:
            assert q.stats()["learnt"] == "next"
            await q.put("d")
            await q.get()
            await q.get()
            with locked(path):
                q.task_done()
                assert q._line.unkept
            while q._line.unkept:
                await asyncio.sleep(0.001)

    run(earlier())
    run(main())
    assert not caplog.records
    with threaded.Queue[str](store=f"sqlite:///{path}") as left:
        assert left.stats()["learnt"] == "task_done"


class Interrupt(Exception):
    """A signal handler's."""


def test_an_interrupt_while_it_is_stored_is_in_nobodys_way(path: Path) -> None:
    """Nobody came again for what was owed."""

    async def main() -> None:
        told = list[Any]()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
        async with queue(path) as q:
            await q.put("a")
            await q.get()
            real, interrupts = q._line.commit, [Interrupt()]

            def commit(*ops: Any, **options: Any) -> Any:
                if interrupts:
                    raise interrupts.pop()
                return real(*ops, **options)

            with locked(path):
                q.task_done()
                q._line.commit = commit
            await asyncio.wait_for(q.join(), PATIENCE)
            assert [type(error) for error in told] == [Interrupt]

    run(main())


@pytest.mark.parametrize("noted", [False, True])
def test_an_interrupt_while_it_is_owed_leaves_it_owed_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    """It was owed and held by its task, whose next `task_done()` raised LeaseLost for it."""
    real = Owed.end

    def end(owed: Owed, end: Any) -> None:
        if noted:
            real(owed, end)
        raise Interrupt

    async def main() -> None:
        async with queue(path) as q:
            for item in "ab":
                await q.put(item)
            await q.get()
            with locked(path):
                with monkeypatch.context() as patch, pytest.raises(Interrupt):
                    patch.setattr(Owed, "end", end)
                    q.task_done()
                assert q._line.owed is not None
                assert (q._line.owed.done, len(q._line.held)) == (1, 0)
            assert await q.get() == "b"
            q.task_done()
            await asyncio.wait_for(q.join(), PATIENCE)

    run(main())


def test_what_is_owed_keeps_no_queue(path: Path) -> None:
    gc.disable()
    try:
        q = queue(path)
        line = weakref.ref(q._line)
        del q
        assert line() is None
    finally:
        gc.enable()


def test_without_a_loop_it_waits_as_any_call(path: Path) -> None:
    q = queue(path)
    q.put_nowait("a")
    assert q.get_nowait() == "a"
    begun, may_end = threading.Event(), threading.Event()

    def lock() -> None:
        with locked(path):
            begun.set()
            assert may_end.wait(PATIENCE)

    task = Task(lock, patience=PATIENCE)
    assert begun.wait(PATIENCE)
    threading.Timer(0.05, may_end.set).start()
    q.task_done()
    task.result()
    assert q._unfinished_tasks == 0
    q.close()


def test_a_forked_child_owes_nothing(path: Path) -> None:
    """What its parent has in hand would be acknowledged by both."""
    q = queue(path)

    async def main() -> None:
        await q.put("a")
        await q.get()
        with locked(path):
            q.task_done()
            assert q._line.owed
            with child(lambda me: me.say(f"{bool(q._line.owed)}")) as process:
                assert process.hear() == "False"
                assert process.wait() == 0
        await asyncio.wait_for(q.join(), PATIENCE)

    run(main())
    q.close()


def test_what_cant_be_stored_at_the_end_comes_again(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main(store: SqliteStore) -> None:
        async with Queue[str](store=store, name="q") as q:
            await q.put("a")
            await q.get()
            line, refuse = q._line, True
            assert line.owed is not None

            def commit(*ops: Any, timeout: float | None = None) -> object:
                if refuse:
                    raise StoreLocked("locked")
                return line.commit(*ops, timeout=timeout)

            line.owed._commit = commit
            q.task_done()

    with SqliteStore(path, durability="process") as store:
        run(main(store))
        assert "can't be acknowledged, and comes again: locked" in caplog.text
        assert [pickle.loads(claim.payload) for claim in store.claim("q")] == ["a"]


# Owed itself, over a store's commit that fails


def ack(id: int) -> Ack:
    return Ack(Claim("q", id, 1, b""))


class Commit:
    """One that fails as it is told, once for each error."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors, self.done = [*errors], list[list[int]]()

    def __call__(self, *ops: Ack, timeout: float | None = None) -> None:
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        self.done.append([op.claim.id for op in ops])


@pytest.mark.parametrize("error", [StoreLocked("x"), StoreUnreachable("x"), OutcomeUnknown("x")])
def test_what_the_store_cant_take_now_is_owed(error: Exception) -> None:
    commit = Commit(error, None, error)
    owes = Owed(commit, lambda: True)
    owes.end(ack(1))
    assert owes
    owes.end(ack(2))  # not before the first one
    assert not commit.done
    owes.settle(0.0)
    assert commit.done == [[1, 2]]
    owes.end(ack(3))
    assert owes
    owes.settle()
    assert not owes


def test_what_the_store_refuses_isnt_owed() -> None:
    owes = Owed(Commit(DiskError("x")), lambda: True)
    with pytest.raises(DiskError):
        owes.end(ack(1))
    assert not owes


def test_without_a_loop_a_lost_answer_is_no_lost_lease() -> None:
    Owed(Commit(OutcomeUnknown("x"), LeaseLost("x")), lambda: False).end(ack(1))
    with pytest.raises(LeaseLost):
        Owed(Commit(StoreLocked("x"), LeaseLost("x")), lambda: False).end(ack(1))


def test_who_stood_still_for_a_silent_server_comes_again_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine tenths of the time it stood still, though nobody called anything."""
    now, pauses = [0.0], list[float]()

    class Clock:
        def monotonic(self) -> float:
            return now[0]

    monkeypatch.setattr(owing, "SYSTEM", Clock())
    settled = asyncio.Event()

    def settle() -> None:
        now[0] += 1.0
        if len(pauses) < 3:
            raise StoreUnreachable("silent")
        settled.set()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def call_later(delay: float, *arguments: Any) -> Any:
            pauses.append(delay)
            return later(0.0, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_later", call_later)
            owing.Reminder(settle).later()
            await settled.wait()

    asyncio.run(main())
    assert pauses[1:] == [20.0, 20.0]


def test_what_had_been_done_before_is_in_nobodys_way() -> None:
    """A commit whose answer was lost has done some of them."""
    commit = Commit(OutcomeUnknown("x"), LeaseLost("x"), LeaseLost("x"), None, StoreLocked("x"))
    owes = Owed(commit, lambda: True)
    for id in (1, 2, 3):
        owes.end(ack(id))
    with pytest.raises(StoreLocked):
        owes.settle()
    assert commit.done == [[2]]
    owes.settle()
    assert commit.done == [[2], [3]]
    assert not owes


def test_a_disk_that_is_full_meanwhile_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [DiskError("full"), DiskError("full"), StoreLocked("x"), DiskError("full")]
    settled = asyncio.Event()

    def settle() -> None:
        if errors:
            raise errors.pop()
        settled.set()

    reminder = owing.Reminder(settle)

    async def main() -> None:
        assert reminder.later()
        assert reminder.later()
        await settled.wait()

    run(main())
    assert not errors
    assert [record.getMessage() for record in caplog.records] == ["what was done can't be acknowledged yet: full"]
    assert not reminder.later()
