"""Asyncio queues: what a crash leaves, who holds what, cancellation at every await, other threads and loops."""

from __future__ import annotations

import asyncio
import importlib
import queue as stdlib
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import pytest
import uvloop

from pqadapters.durability import Survives
from pqadapters.errors import (
    LimitReached,
    NotDurableWarning,
    NotSerializable,
    OutcomeUnknown,
    StoreClosed,
    StoreError,
    StoreForked,
    StoreLocked,
)
from pqadapters.stdlib import queue as threaded
from pqadapters.stdlib.asyncio import LifoQueue, PriorityQueue, Queue, QueueEmpty, QueueFull, QueueShutDown
from pqadapters.store import Depth
from tests.contract.threads import Task
from tests.home.world import Child, begin_anew, child, kill_a_process_that

PATIENCE = 60.0
Loop = Callable[[], asyncio.AbstractEventLoop]


def run(main: Coroutine[Any, Any, Any], loop: Loop = asyncio.new_event_loop) -> Any:
    """The coroutine's result, in a loop of its own, within some time."""
    made = loop()
    try:
        return made.run_until_complete(asyncio.wait_for(main, PATIENCE))
    finally:
        made.run_until_complete(made.shutdown_asyncgens())
        made.close()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    found: Loop = request.param
    return found


def test_what_is_got_in_a_task_of_its_own_is_its_callers(url: str, loop: Loop) -> None:
    """`wait_for(q.get(), 5)` makes a task before Python 3.12: with two workers no task_done() acknowledged anything."""

    async def main() -> None:
        async with Queue[int](store=url, ack="task_done") as q:
            for n in range(4):
                q.put_nowait(n)
            assert await asyncio.wait_for(q.get(), PATIENCE) == 0
            await asyncio.create_task(_get(q))  # another worker has this one
            assert await asyncio.create_task(q.get()) == 2
            q.task_done()
            q.task_done()
            assert (q.stats()["claimed"], q.stats()["uncovered"]) == (1, 0)
            assert await q.get() == 3

    run(main(), loop)


def test_who_asks_again_in_a_task_of_its_own_has_done_the_last_one(url: str) -> None:
    async def main() -> None:
        async with Queue[int](store=url, ack="next") as q:
            for n in range(3):
                q.put_nowait(n)
            for n in range(3):
                assert await asyncio.create_task(q.get()) == n
            assert (q.stats()["claimed"], q.stats()["ready"]) == (1, 0)

    run(main())


def test_a_dropped_queue_ends_as_its_own_close(url: str) -> None:
    async def main() -> None:
        q = Queue[int](store=url, ack="next")
        q.put_nowait(1)
        q.put_nowait(2)
        assert await q.get() == 1
        del q
        assert list(Queue(store=url)._queue) == [2]

    run(main())


def test_get_is_a_coroutine_function(url: str) -> None:
    """To those who ask, as `mock.create_autospec` does."""
    assert asyncio.iscoroutinefunction(Queue.get)
    assert asyncio.iscoroutinefunction(Queue(store=url).get)
    assert isinstance(create_autospec(Queue, instance=True).get, AsyncMock)


async def _get(q: Queue[int]) -> int:
    return await q.get()


def test_they_are_asyncios(url: str) -> None:
    for kind in (Queue, LifoQueue, PriorityQueue):
        q: Any = kind(store=url)
        assert isinstance(q, getattr(asyncio, kind.__name__))
        q.close()
    assert QueueEmpty is asyncio.QueueEmpty
    assert QueueFull is asyncio.QueueFull


def test_what_is_put_comes_out_in_order(url: str, loop: Loop) -> None:
    async def main() -> None:
        async with Queue[int](store=url) as q:
            for n in (3, 1, 2):
                await q.put(n)
            assert (q.qsize(), q.empty(), q.full()) == (3, False, False)
            assert [await q.get() for _ in range(3)] == [3, 1, 2]
        async with LifoQueue[int](store=url, name="stack") as stack:
            for n in (3, 1, 2):
                stack.put_nowait(n)
            assert [await stack.get() for _ in range(3)] == [2, 1, 3]
        async with PriorityQueue[tuple[int, str]](store=url, name="ranks") as ranks:
            for n in (3, 1, 2):
                await ranks.put((n, "x"))
            assert [(await ranks.get())[0] for _ in range(3)] == [1, 2, 3]

    run(main(), loop)


def test_what_is_not_done_comes_again(url: str) -> None:
    async def first() -> None:
        q = Queue[str](store=url, ack="task_done")
        for item in "abc":
            await q.put(item)
        assert await q.get() == "a"
        q.task_done()
        assert await q.get() == "b"
        q.close()

    async def second() -> None:
        async with Queue[str](store=url, ack="task_done") as q:
            assert [q.get_nowait(), q.get_nowait()] == ["b", "c"]
            with pytest.raises(QueueEmpty):
                q.get_nowait()
            q.task_done()
            q.task_done()
            await q.join()

    run(first())
    run(second())


def test_each_task_finishes_its_own(url: str) -> None:
    """A task that is slow acknowledges what it has fetched, not what another one has fetched before it."""

    async def main() -> None:
        q = Queue[str](store=url, ack="task_done")
        await q.put("slow")
        await q.put("quick")
        fetched = asyncio.Event()

        async def slow() -> None:
            assert await q.get() == "slow"
            fetched.set()
            await asyncio.Event().wait()

        async def quick() -> None:
            await fetched.wait()
            assert await q.get() == "quick"
            q.task_done()

        task = asyncio.ensure_future(slow())
        await quick_task(quick())
        q.close()
        task.cancel()

    async def quick_task(work: Coroutine[Any, Any, None]) -> None:
        await asyncio.ensure_future(work)

    async def again() -> None:
        async with Queue[str](store=url) as q:
            assert (q.qsize(), q.get_nowait()) == (1, "slow")
            q.task_done()

    run(main())
    run(again())


def test_join_waits_for_the_last(url: str, loop: Loop) -> None:
    async def main() -> None:
        async with Queue[int](store=url) as q:
            for n in range(5):
                await q.put(n)
            done: list[int] = []

            async def work() -> None:
                while True:
                    done.append(await q.get())
                    await turns(1)
                    q.task_done()

            tasks = [asyncio.ensure_future(work()) for _ in range(2)]
            await q.join()
            assert sorted(done) == list(range(5))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with pytest.raises(ValueError, match="too many times"):
                q.task_done()

    run(main(), loop)


def test_a_cancelled_get_has_taken_nothing(url: str, loop: Loop) -> None:
    async def main() -> None:
        async with Queue[str](store=url) as q:
            for woken in (False, True):
                getter = asyncio.ensure_future(q.get())
                await turns()
                if woken:
                    q.put_nowait("a")  # the getter is woken, and cancelled before it runs
                getter.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await getter
                assert (q.qsize(), q.stats()["held"]) == (int(woken), 0)
            other = asyncio.ensure_future(q.get())
            assert await other == "a"

    run(main(), loop)


def test_a_cancelled_get_says_nothing_of_its_wait(url: str, loop: Loop) -> None:
    """Else the traceback of a Ctrl-C begins with a QueueEmpty that nobody has to know of."""

    async def main() -> None:
        async with Queue[str](store=url) as q:
            getter = asyncio.ensure_future(q.get())
            await turns()
            getter.cancel()
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await getter
            error: BaseException | None = cancelled.value
            while error is not None:  # before 3.11 a task's own CancelledError is chained to the one inside
                assert isinstance(error, asyncio.CancelledError)
                error = error.__context__

    run(main(), loop)


def test_a_cancelled_get_hands_its_turn_on(url: str) -> None:
    async def main() -> None:
        async with Queue[str](store=url) as q:
            getters = [asyncio.ensure_future(q.get()) for _ in range(2)]
            await turns()
            q.put_nowait("a")
            getters[0].cancel()
            assert await getters[1] == "a"

    run(main())


def test_a_cancelled_put_has_stored_nothing(url: str, loop: Loop) -> None:
    async def main() -> None:
        async with Queue[str](1, store=url) as q:
            await q.put("a")
            for woken in (False, True):
                putter = asyncio.ensure_future(q.put("b"))
                await turns()
                if woken:
                    assert q.get_nowait() in ("a", "c")
                putter.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await putter
                assert q.qsize() == int(not woken)
                if woken:
                    q.put_nowait("c")
            assert q.get_nowait() == "c"

    run(main(), loop)


def test_a_cancelled_join_leaves_nobody_waiting(url: str) -> None:
    async def main() -> None:
        async with Queue[str](store=url) as q:
            await q.put("a")
            joiner = asyncio.ensure_future(q.join())
            await turns()
            joiner.cancel()
            with pytest.raises(asyncio.CancelledError):
                await joiner
            await q.get()
            q.task_done()
            await q.join()

    run(main())


@pytest.mark.parametrize("kind", ["segment", "sqlite"])
def test_puts_at_power_share_their_syncs(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"file://{tmp_path}/q" if kind == "segment" else f"sqlite:///{tmp_path}/q.db"

    async def main() -> None:
        async with Queue[int](store=f"{place}?durability=power") as q:
            assert q._line.store.durability.survives is Survives.POWER
            commits = 0
            real = q._line.commit

            def count(*ops: Any, **options: Any) -> Any:
                nonlocal commits
                commits += 1
                return real(*ops, **options)

            monkeypatch.setattr(q._line, "commit", count)
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0)

            ticker = asyncio.ensure_future(tick())
            await asyncio.gather(*(q.put(n) for n in range(300)))
            assert commits < 10
            assert ticks > commits  # others run meanwhile
            assert [q.get_nowait() for _ in range(300)] == list(range(300))
            ticker.cancel()

    run(main())


def test_a_put_at_power_that_is_cancelled_is_stored_or_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with Queue[int](path=tmp_path / "q", durability="power") as q:
            puts = [asyncio.ensure_future(q.put(n)) for n in range(4)]
            await asyncio.sleep(0)  # the first one's sync is under way, the others wait for their turn
            for put in puts:
                put.cancel()
            outcomes = await asyncio.gather(*puts, return_exceptions=True)
            assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
            await q.put(9)
            found = [q.get_nowait() for _ in range(q.qsize())]
            assert found in ([9], [0, 9])

    run(main())


@pytest.mark.parametrize("options", [{"durability": "power"}, {}, {"store": "memory:"}])
def test_one_queue_serves_one_loop_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    """As asyncio's own, which minds only the loop that it had to wait in: a put at "power" had bound the queue to the
    first of several calls of asyncio.run(), and so had one into memory."""
    begin_anew(monkeypatch, tmp_path)
    q = Queue[int](maxsize=3, **options)  # type: ignore[arg-type]

    async def fill() -> None:
        for n in range(3):
            await q.put(n)

    async def drain() -> list[int]:
        return [await q.get() for _ in range(3)]

    for _ in range(3):
        asyncio.run(fill())
        assert asyncio.run(drain()) == [0, 1, 2]
    q.close()


@pytest.mark.parametrize("first", ["get", "put"])
def test_a_loop_that_is_closed_while_its_put_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Nobody is left to hear that it is stored: the next loop's gets still find it, and its puts aren't held up."""
    begin_anew(monkeypatch, tmp_path)
    q = Queue[str](maxsize=1, durability="power")
    begun, go_on = threading.Event(), threading.Event()
    real = q._committer._commit

    def held(items: list[Any], puts: list[Any]) -> object:
        begun.set()
        assert go_on.wait(PATIENCE)
        return real(items, puts)

    q._committer._commit = held

    async def leave() -> None:
        for item in ("stored", "not its turn yet"):
            left.append(asyncio.ensure_future(q.put(item)))
            left[-1]._log_destroy_pending = False  # type: ignore[attr-defined]  # as is meant here
        await turns()
        assert begun.wait(PATIENCE)

    async def go_on_with_it() -> None:
        put = asyncio.ensure_future(q.put("next")) if first == "put" else None
        await turns()
        getters = [asyncio.ensure_future(q.get()) for _ in range(2)]
        await turns()
        go_on.set()
        await getters[0]
        await (put or q.put("next"))
        await getters[1]
        assert [getter.result() for getter in getters] == ["stored", "next"]

    left: list[asyncio.Future[None]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    run(go_on_with_it())
    q.close()


def test_puts_of_two_loops_at_a_time_are_refused(tmp_path: Path) -> None:
    q = Queue[int](path=tmp_path / "q", durability="power")
    go_on = threading.Event()
    real = q._committer._commit
    q._committer._commit = lambda items, puts: go_on.wait(PATIENCE) and real(items, puts)

    async def main() -> None:
        first = asyncio.ensure_future(q.put(1))
        await turns()
        other = Task(lambda: run(q.put(2)), patience=PATIENCE)
        with pytest.raises(RuntimeError, match="another event loop"):
            other.result()
        go_on.set()
        await first
        assert (await q.get(), q.qsize()) == (1, 0)

    run(main())
    q.close()


def test_room_that_comes_while_a_put_at_power_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The get had nobody to wake: the put heard of its refusal only then, and waited for ever."""
    begin_anew(monkeypatch, tmp_path)
    both_there, refused, taken = threading.Event(), threading.Event(), threading.Event()

    async def main() -> None:
        q = Queue[int](maxsize=1, durability="power")
        real = q._committer._commit

        def tell_late(items: list[Any], puts: list[Any]) -> None:
            assert both_there.wait(PATIENCE)
            try:
                real(items, puts)
            except LimitReached:
                refused.set()
                assert taken.wait(PATIENCE)
                raise

        q._committer._commit = tell_late
        puts = [asyncio.ensure_future(q.put(n)) for n in range(2)]
        await turns()
        both_there.set()
        await asyncio.get_running_loop().run_in_executor(None, refused.wait, PATIENCE)
        assert q.get_nowait() == 0
        taken.set()
        await asyncio.gather(*puts)
        assert q.get_nowait() == 1
        q.close()

    run(main())


def test_limits_hold_at_power(tmp_path: Path) -> None:
    async def main() -> None:
        async with Queue[int](2, path=tmp_path / "q", durability="power") as q:
            puts = [asyncio.ensure_future(q.put(n)) for n in range(6)]
            for n in range(6):
                assert q.qsize() <= 2
                assert await q.get() == n
            await asyncio.gather(*puts)
            q.put_nowait(1)
            q.put_nowait(2)
            with pytest.raises(QueueFull):
                q.put_nowait(3)

    run(main())


def test_an_asyncio_producer_and_a_threaded_consumer(url: str, loop: Loop) -> None:
    found: list[int] = []

    def consume() -> None:
        with threaded.Queue[int](store=url) as q:
            while (item := q.get(timeout=PATIENCE)) >= 0:
                found.append(item)
                q.task_done()
            q.task_done()

    async def produce() -> None:
        async with Queue[int](5, store=url) as q:
            consumer = Task(consume, patience=PATIENCE)
            for n in range(200):
                await q.put(n)
            await q.put(-1)
            await q.join()
            await asyncio.get_running_loop().run_in_executor(None, consumer.result)

    run(produce(), loop)
    assert found == list(range(200))


def test_a_threaded_producer_and_an_asyncio_consumer(url: str, loop: Loop) -> None:
    def produce() -> None:
        with threaded.Queue[int](5, store=url) as q:
            for n in range(200):
                q.put(n, timeout=PATIENCE)
            q.join()

    async def consume() -> None:
        async with Queue[int](store=url) as q:
            producer = Task(produce, patience=PATIENCE)
            for n in range(200):
                assert await q.get() == n
                q.task_done()
            await asyncio.get_running_loop().run_in_executor(None, producer.result)

    run(consume(), loop)


def test_loops_in_several_threads(url: str) -> None:
    """Each has a handle of its own on one queue."""
    found: list[int] = []

    async def work(count: int) -> None:
        async with Queue[int](store=url) as q:
            for _ in range(count):
                found.append(await q.get())
                q.task_done()

    keeper: threaded.Queue[int] = threaded.Queue(store=url)
    tasks = [Task(lambda: run(work(50)), patience=PATIENCE) for _ in range(3)]
    for n in range(150):
        keeper.put(n)
    for task in tasks:
        task.result()
    assert sorted(found) == list(range(150))
    keeper.join()
    keeper.close()


def test_a_queue_belongs_to_one_loop(url: str) -> None:
    q = Queue[int](store=url)

    async def wait() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(q.get(), 0.01)

    run(wait())
    with pytest.raises(RuntimeError, match="different"):
        run(wait())
    q.put_nowait(1)  # needs no loop
    assert q.get_nowait() == 1
    q.close()


def test_the_loop_goes_on_while_others_have_the_database_locked(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "q.db"

    async def main() -> None:
        async with Queue[int](store=f"sqlite:///{path}?durability=process") as q:
            await q.put(0)
            other = sqlite3.connect(path, isolation_level=None)
            steps: list[Coroutine[Any, Any, Any]] = [q.put(1), q.get()]
            for step in steps:
                other.execute("BEGIN IMMEDIATE")
                task = asyncio.ensure_future(step)
                for _ in range(20):  # the loop isn't stopped, and comes here again and again
                    await asyncio.sleep(0.005)
                assert not task.done()
                other.rollback()
                await task
            assert q.get_nowait() == 1
            other.execute("BEGIN IMMEDIATE")
            task = asyncio.ensure_future(q.put(2))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            other.rollback()
            other.close()
            assert q.empty()

    run(main())


def test_shutdown(url: str) -> None:
    async def main() -> None:
        async with Queue[int](1, store=url) as q:
            await q.put(1)
            putter = asyncio.ensure_future(q.put(2))
            await turns()
            q.shutdown()
            with pytest.raises(QueueShutDown):
                await putter
            assert await q.get() == 1
            with pytest.raises(QueueShutDown):
                await q.get()
            with pytest.raises(QueueShutDown):
                q.put_nowait(3)
        async with Queue[int](store=url, name="cut") as q:
            await q.put(1)
            q.shutdown(immediate=True)
            with pytest.raises(QueueShutDown):
                q.get_nowait()
            await q.join()
        async with Queue[int](store=url, name="cut") as q:
            assert q.get_nowait() == 1

    run(main())


def test_beyond_asyncio(url: str) -> None:
    async def main() -> None:
        async with Queue[str](store=url, max_attempts=2, ack="task_done") as q:
            await q.put("a")
            assert q.name == "default"
            for _ in range(2):
                assert await q.get() == "a"
                q.nack()
            getter = asyncio.ensure_future(q.get())
            await turns()
            assert [letter.item for letter in q.dead_letters()] == ["a"]
            assert q.requeue() == 1
            assert await getter == "a"
            q.task_done("a")
            with pytest.raises(ValueError, match="nobody holds"):
                q.nack()
            assert q.stats()["ready"] == 0

    run(main())


def test_a_delayed_item_wakes_who_waits(url: str) -> None:
    async def main() -> None:
        async with Queue[str](store=url) as q:
            await q.put("a")
            assert await q.get() == "a"
            q.nack(delay=0.2)
            assert q.empty()
            assert await q.get() == "a"

    run(main())


def test_what_cannot_be_stored(url: str) -> None:
    async def main() -> None:
        async with Queue[Any](store=url) as q:
            with pytest.raises(NotSerializable):
                await q.put(lambda: 0)
            with pytest.raises(NotSerializable):
                q.put_nowait(lambda: 0)
            assert q.empty()
        with pytest.raises(StoreClosed):
            await q.put(1)

    run(main())


def test_a_subclass_with_hooks(url: str) -> None:
    class Unique(Queue[str]):
        def _init(self, maxsize: int) -> None:
            super()._init(maxsize)
            self.seen: set[str] = set()

        def _put(self, item: str) -> None:
            if item not in self.seen:
                self.seen.add(item)
                super()._put(item)

        def _get(self) -> str:
            return super()._get().upper()

    async def main() -> None:
        async with Unique(store=url) as q:
            for item in "abab":
                await q.put(item)
            assert [await q.get(), await q.get()] == ["A", "B"]
            assert q.empty()

    run(main())


def test_a_subclass_with_a_container_of_its_own_is_told(url: str) -> None:
    class Own(Queue[int]):
        def _init(self, maxsize: int) -> None:
            self._queue: Any = []

        def _put(self, item: int) -> None:
            self._queue.append(item)

        def _get(self) -> int:
            return int(self._queue.pop())

    async def main() -> None:
        with pytest.warns(NotDurableWarning, match="memory alone"):
            q = Own(store=url)
        await q.put(1)
        await q.put(2)
        assert [await q.get(), await q.get()] == [2, 1]
        q.task_done()
        q.task_done()
        await q.join()

    run(main())


def test_a_queue_without_a_place_is_the_applications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        q = Queue[int]()
        assert list(tmp_path.iterdir()) == []
        await q.put(1)
        assert str(q.stats()["place"]).startswith(str(tmp_path))
        assert q._line.store.durability == (Survives.PROCESS, 0.05)
        assert await q.get() == 1
        q.task_done()
        await q.join()
        q.close()
        assert not any(thread.name == "pqadapters-watcher" for thread in threading.enumerate())

    run(main())


@pytest.mark.parametrize("nowait", [False, True])
def test_a_bounded_queue_is_filled_whatever_a_killed_run_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowait: bool
) -> None:
    """The first put compared the limit of before it had taken over what was left with the size of thereafter: in the
    second run it waited for ever, or raised QueueFull, where a program fills the queue before its workers start."""
    begin_anew(monkeypatch, tmp_path)

    async def fill() -> int:
        q = Queue[int](maxsize=2)
        for n in range(2):
            if nowait:
                q.put_nowait(n)
            else:
                await q.put(n)
        assert q.full()
        with pytest.raises(QueueFull):
            q.put_nowait(99)
        return q.qsize()

    kill_a_process_that(lambda: run(fill()))
    assert run(fill()) == 4


def test_the_stdlibs_exceptions_are_caught(url: str) -> None:
    q: Any = Queue(store=url)
    with pytest.raises(asyncio.QueueEmpty):
        q.get_nowait()
    assert not issubclass(asyncio.QueueEmpty, stdlib.Empty)
    q.close()


def test_the_module_takes_asyncios_place(url: str) -> None:
    """`from pqadapters.stdlib import asyncio` is the only edit of a program that says `asyncio.run(main())`."""
    module: Any = importlib.import_module("pqadapters.stdlib.asyncio")
    ours = {name for name in asyncio.__all__ if getattr(module, name) is not getattr(asyncio, name)}
    assert ours == {"Queue", "LifoQueue", "PriorityQueue"}
    assert module.subprocess is asyncio.subprocess
    assert not hasattr(module, "__path__")
    with pytest.raises(AttributeError):
        _ = module.no_such_thing

    async def main() -> int:
        q = module.Queue(store=url)
        await module.wait_for(q.put(7), 5)
        found: int = await q.get()
        q.task_done()
        q.close()
        return found

    assert module.run(main()) == 7


class Ruined:
    """An item that can't be decoded: it goes to the dead letters, or is left to others where a module is missing."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return _ruin, (self.error,)


def _ruin(error: type[Exception]) -> None:
    raise error("ruined")


@pytest.mark.parametrize("error", [ValueError, ImportError], ids=["buried", "set aside"])
def test_a_record_that_nobody_is_given_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Nobody told the put that waited for its place: it and the getter waited for each other for ever."""
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        async with Queue[Any](maxsize=1) as q:
            q.put_nowait(Ruined(error))
            putter = asyncio.ensure_future(q.put("next"))
            await turns()
            getter = asyncio.ensure_future(q.get())
            await putter
            assert await getter == "next"

    run(main())


def test_join_ends_with_the_last_dead_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for the task_done() of an item that nobody was given."""
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        async with Queue[Any]() as q:
            q.put_nowait(Ruined(ValueError))
            joiner = asyncio.ensure_future(q.join())
            await turns()
            getter = asyncio.ensure_future(q.get())
            await joiner
            getter.cancel()

    run(main())


def test_what_is_left_to_others_is_a_dead_letter_after_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looked for it again unless something else was put."""
    begin_anew(monkeypatch, tmp_path)
    monkeypatch.setattr("pqadapters.stdlib._aside.PATIENCE", 0.05)

    async def main() -> None:
        async with Queue[Any]() as q:
            q.put_nowait(Ruined(ImportError))
            getter = asyncio.ensure_future(q.get())
            await q.join()
            assert len(q.dead_letters()) == 1
            getter.cancel()

    run(main())


@pytest.mark.parametrize("kind", ["home", "path", "sqlite"])
def test_a_forked_child_puts_at_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """It gave its puts to a thread that only its parent has, and waited for ever."""
    begin_anew(monkeypatch, tmp_path / "home")
    url = f"sqlite:///{tmp_path}/q.db?durability=power"
    q: Queue[str] = (
        Queue(durability="power") if kind == "home"
        else Queue(path=tmp_path / "q", durability="power") if kind == "path"
        else Queue(store=url)
    )

    async def wait_and_put(word: str) -> str:
        getter = asyncio.ensure_future(q.get())
        await turns()
        await q.put(word)
        found = await getter
        q.task_done()
        return found

    def put_there(me: Child) -> None:
        try:
            me.say(run(wait_and_put("child's")))
        except StoreForked:
            me.say("refused")

    assert run(wait_and_put("parent's")) == "parent's"
    with child(put_there) as process:
        assert process.hear() == ("refused" if kind == "path" else "child's")
        assert process.wait() == 0
    assert q.empty()
    q.close()


@pytest.mark.parametrize("why", ["none can be started", "the main thread has ended"])
def test_puts_at_power_where_no_thread_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """The first put raised, and may have been stored after all; all later ones waited for ever."""
    begin_anew(monkeypatch, tmp_path)
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("pqadapters-committer"):
            raise RuntimeError("can't start new thread")
        real(thread)

    async def main() -> None:
        async with Queue[int](durability="power") as q:
            with monkeypatch.context() as patched:
                if why == "none can be started":
                    patched.setattr(threading.Thread, "start", start)
                else:
                    patched.setattr("concurrent.futures.thread._shutdown", True)
                await asyncio.gather(*(q.put(n) for n in range(3)))
            await q.put(3)
            assert [q.get_nowait() for _ in range(q.qsize())] == [0, 1, 2, 3]

    run(main())


@pytest.mark.parametrize("stored", [True, False])
def test_puts_of_a_batch_whose_store_went_away_are_not_made_once_more(tmp_path: Path, stored: bool) -> None:
    """Each of them was put again by itself: twice where the batch had been stored, and behind one another's 5 seconds
    where the store was locked."""
    error: StoreError = OutcomeUnknown("the server was gone") if stored else StoreLocked("somebody has it")

    async def main() -> None:
        async with Queue[int](path=tmp_path / "q", durability="power") as q:
            await q.put(0)
            real, calls = q._committer._commit, []

            def fail(items: list[Any], puts: list[Any]) -> None:
                calls.append(items)
                if stored:
                    real(items, puts)
                raise error

            q._committer._commit = fail
            outcomes = await asyncio.gather(*(q.put(n) for n in (1, 2, 3)), return_exceptions=True)
            assert outcomes == [error] * 3
            assert calls == [[1], [2, 3]]
            assert [q.get_nowait() for _ in range(q.qsize())] == ([0, 1, 2, 3] if stored else [0])

    run(main())


def test_tasks_of_a_closed_loop_wait_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A put was stored and raised "Event loop is closed"; so did shutdown()."""
    begin_anew(monkeypatch, tmp_path)
    for use in ("put_nowait", "shutdown", "close"):
        q = Queue[int]()
        loop = asyncio.new_event_loop()

        async def leave(q: Queue[int] = q) -> list[asyncio.Future[Any]]:
            steps: list[Coroutine[Any, Any, Any]] = [q.get(), q.join()]
            left: list[asyncio.Future[Any]] = [asyncio.ensure_future(step) for step in steps]
            for each in left:
                each._log_destroy_pending = False  # type: ignore[attr-defined]  # as is meant here
            await turns()
            return left

        q.put_nowait(0)
        assert q.get_nowait() == 0  # for join() to wait
        left = loop.run_until_complete(leave())
        loop.close()
        getattr(q, use)(*([1] if use == "put_nowait" else []))
        if use == "put_nowait":
            assert q.get_nowait() == 1
        q.close()
        del left


def test_a_get_that_cannot_wait_is_not_woken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told of the next item, in place of a get that waited."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with Queue[int](store=url) as q:
            with monkeypatch.context() as patched:
                patched.setattr("pqadapters.stdlib._watcher.start_thread", refuse)
                with pytest.raises(RuntimeError, match="start"):
                    await q.get()
            assert not q._getters

    run(main())


def test_join_hears_of_what_others_did_while_it_looked(url: str) -> None:
    """The thread that looks out for those who wait, here for a get, had looked before join() was one of them."""

    async def main() -> None:
        async with Queue[int](store=url) as q:
            other = threaded.Queue[int](store=url, ack="task_done")
            q.put_nowait(1)
            assert other.get() == 1
            getter = asyncio.ensure_future(q.get())
            await turns()
            seen = threading.Event()
            until, unfinished = q._until, q._line.unfinished

            def see(depth: Depth) -> bool:
                found = until(depth)
                if not depth.unfinished:
                    seen.set()
                return found

            def look() -> int:
                count = unfinished()
                if count:
                    other.task_done()
                    assert seen.wait(PATIENCE)
                return count

            q._until = see  # type: ignore[method-assign]
            q._line.unfinished = look  # type: ignore[method-assign]
            await q.join()
            getter.cancel()
            other.close()

    run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_who_waits_at_the_end_of_the_block_is_told(url: str, fails: bool) -> None:
    """close() told them; the end of `async with` left them waiting for ever."""

    async def main() -> None:
        with suppress(KeyError):
            async with Queue[int](1, store=url) as q:
                q.put_nowait(1)
                waiting = [asyncio.ensure_future(q.put(2)), asyncio.ensure_future(q.join())]
                await turns()
                if fails:
                    raise KeyError
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StoreClosed, StoreClosed]

    run(main())


def test_a_subclass_that_cannot_be_hashed(url: str) -> None:
    class Comparable(Queue[int]):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Comparable) and self.name == other.name

    q = Comparable(store=url)
    q.put_nowait(1)
    assert q.get_nowait() == 1
    q.close()
