"""The classes for asyncio: the same directories and databases, and a loop that goes on while they wait."""

from __future__ import annotations

import asyncio
import errno
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreLocked
from pqadapters.persistqueue import (
    AsyncFIFOSQLiteQueue,
    AsyncFILOSQLiteQueue,
    AsyncQueue,
    AsyncSQLiteQueue,
    AsyncUniqueQ,
    Empty,
    Full,
    Queue,
    SQLiteQueue,
    async_queue,
    serializers,
)
from pqadapters.persistqueue._bell import Bell
from pqadapters.store import Depth
from tests.segment.programs import running

from .test_async_puts import started

KINDS: list[Any] = [AsyncQueue, AsyncSQLiteQueue, AsyncFIFOSQLiteQueue, AsyncUniqueQ]

_KILLED = """
import asyncio, os, signal, sys
import pqadapters.persistqueue as persistqueue
async def main():
    q = getattr(persistqueue, sys.argv[2])(sys.argv[1], **eval(sys.argv[3]))
    for item in "abc": await q.put(item)
    await q.get(); await q.task_done(); await q.get()
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_put_get_and_sizes(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path) as q:
            assert (await q.qsize(), await q.empty(), await q.full()) == (0, True, False)
            await q.put("a")
            await q.put_nowait("b")
            assert (await q.qsize(), await q.empty()) == (2, False)
            assert [await q.get(), await q.get_nowait()] == ["a", "b"]
            await q.task_done()
            for arguments in ({"block": False}, {"timeout": 0.01}, {"timeout": 0}):
                with pytest.raises(Empty):
                    await q.get(**arguments)
            with pytest.raises(ValueError, match="non-negative"):
                await q.get(timeout=-1)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_maxsize_and_waiting_tasks(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path, maxsize=1) as q:
            got = []

            async def consume() -> None:
                for _ in range(5):
                    got.append(await q.get())
                    await q.task_done()

            consumer = asyncio.create_task(consume())
            for n in range(5):
                await q.put(n)
            await asyncio.wait_for(q.join(), 30)
            await consumer
            assert got == [0, 1, 2, 3, 4]
            await q.put("x")
            assert await q.full()
            with pytest.raises(Full):
                await q.put_nowait("y")
            with pytest.raises(Full):
                await q.put("y", timeout=0.01)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_maxsize_changed_at_run_time(kind: Any, path: str) -> None:
    """It was kept, and nobody asked for it."""

    async def main() -> None:
        async with kind(path, maxsize=1) as q:
            await q.put("a")
            q.maxsize = 2
            assert not await q.full()
            await q.put_nowait("b")
            waiting = asyncio.create_task(q.put("c"))
            while not q._bell._waiting:
                await asyncio.sleep(0.001)
            q.maxsize = 0
            await asyncio.wait_for(waiting, 30)
        if kind is not AsyncQueue:  # that one is opened once
            async with q:
                assert q.maxsize == 0
                await q.put_nowait("d")

    asyncio.run(main())


@pytest.mark.parametrize(("kind", "plain"), [(AsyncQueue, Queue), (AsyncSQLiteQueue, SQLiteQueue)])
def test_a_thread_wakes_a_task_that_waits(kind: Any, plain: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path) as q:
            waiting = asyncio.create_task(q.get())
            await asyncio.sleep(0)
            other = plain(path)
            thread = threading.Thread(target=other.put, args=("x",))
            thread.start()
            assert await asyncio.wait_for(waiting, 30) == "x"
            thread.join()
            other.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", [AsyncQueue, AsyncSQLiteQueue])
def test_who_is_cancelled_takes_no_item(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path) as q:
            waiting = asyncio.create_task(q.get())
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await q.put("x")
            assert await q.get(block=False) == "x"

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_puts_of_many_tasks_are_stored_in_their_order(kind: Any, path: str) -> None:
    """As persist-queue's, which has a lock. Each was made in a thread of its own, whichever came first; in a database
    they took each other for somebody who has it locked, and of some hundreds the last ones raised StoreLocked."""

    async def main() -> None:
        async with kind(path) as q:
            ids = await asyncio.gather(*(q.put(n) for n in range(40)))
            assert kind is AsyncQueue or ids == sorted(ids)
            assert [await q.get() for _ in range(40)] == list(range(40))

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left", [False, True], ids=["cancelled", "in a loop that was closed"])
def test_a_put_before_its_turn_holds_nobody_up(
    kind: Any, path: str, left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, stored = threading.Event(), threading.Event(), threading.Event()
    q = kind(path)
    real = q._commit

    def slow(ops: Any) -> Any:
        begun.set()
        go_on.wait(30)
        ids = real(ops)
        stored.set()
        return ids

    async def begin() -> list[asyncio.Task[Any]]:
        puts = [asyncio.create_task(q.put(item)) for item in "ab"]
        await asyncio.to_thread(begun.wait, 30)
        return puts

    async def go_on_with_it(puts: list[asyncio.Task[Any]]) -> None:
        if not left:
            puts[1].cancel()
        puts.append(asyncio.create_task(q.put("c")))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(puts.pop(), *(puts if not left else []), return_exceptions=True)
        assert [await q.get(), await q.get(), await q.empty()] == ["a", "c", True]
        await q.close()

    monkeypatch.setattr(q, "_commit", slow)
    loop = asyncio.new_event_loop()
    puts = loop.run_until_complete(begin())
    if left:
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # as is meant here
        loop.close()
        go_on.set()
        assert stored.wait(30)
        asyncio.run(go_on_with_it(puts))
    else:
        loop.run_until_complete(go_on_with_it(puts))
        loop.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancelled_puts_refusal_is_nobodys(kind: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio said later on, with a traceback, that nobody had asked for it."""
    begun, go_on, reported = threading.Event(), threading.Event(), list[Any]()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        async with kind(path) as q:

            def refuse(ops: Any) -> Any:
                begun.set()
                go_on.wait(30)
                raise DiskError(errno.ENOSPC, "No space left on device")

            monkeypatch.setattr(q, "_commit", refuse)
            putter = asyncio.create_task(q.put("a"))
            await asyncio.to_thread(begun.wait, 30)
            putter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await putter
            go_on.set()
            await q._puts.settle()
            with pytest.raises(Empty):
                await q.get(block=False)

    asyncio.run(main())
    gc.collect()
    assert not reported


@pytest.mark.parametrize("kind", KINDS)
def test_puts_where_no_thread_can_be_started(kind: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They raised, and were made once a thread could be started: what a program had put again was there twice."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with kind(path, maxsize=3) as q:
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", refuse)
                await asyncio.gather(q.put("a"), q.put("b"))
            await q.put("c")
            with pytest.raises(Full):
                await q.put("d", block=False)
            assert [await q.get() for _ in range(3)] == ["a", "b", "c"]
            assert await q.empty()

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_who_cannot_wait_is_in_nobodys_way(kind: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was still told of all that it hadn't seen, and who waited later on was woken for that, again and again."""

    def refuse(watcher: object, loop: asyncio.AbstractEventLoop) -> None:
        raise MemoryError

    async def main() -> None:
        async with kind(path) as q:
            with monkeypatch.context() as patched:
                patched.setattr("pqadapters.stdlib._loops.watcher.Watcher.look_out", refuse)
                with pytest.raises(MemoryError):
                    await q.get()
            assert not q._bell._waiting
            await q.put("a")
            assert await q.get() == "a"

    asyncio.run(main())


def test_a_put_that_a_busy_pool_has_in_its_line_is_made_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of the pool may come to it just as the put is refused."""

    def submit(pool: ThreadPoolExecutor, call: Any, *arguments: Any) -> Any:
        thread = threading.Thread(target=call, args=arguments)
        thread.start()
        if done:
            thread.join()
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        async with AsyncQueue(path) as q:
            await q.put("a")
            with monkeypatch.context() as patched:
                patched.setattr(ThreadPoolExecutor, "submit", submit)
                for item in range(20):
                    done[:] = [None] * (item % 2)
                    await q.put(item)
            assert [await q.get() for _ in range(await q.qsize())] == ["a", *range(20)]

    done = list[None]()
    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "options", "left"),
    [
        ("AsyncQueue", {}, ["b", "c"]),
        ("AsyncQueue", {"autosave": True}, ["c"]),
        ("AsyncSQLiteQueue", {}, ["c"]),
        ("AsyncSQLiteQueue", {"auto_commit": False}, ["b", "c"]),
    ],
)
def test_sigkill(kind: str, options: dict[str, Any], left: list[str], path: str) -> None:
    with running(_KILLED, path, kind, options) as child:
        child.wait(60)
    plain: Any = (Queue if kind == "AsyncQueue" else SQLiteQueue)(path)
    assert [plain.get(block=False) for _ in range(plain.qsize())] == left
    plain.close()


def test_task_done_of_one_task_leaves_what_another_has_in_hand(path: str) -> None:
    async def main() -> None:
        async with AsyncQueue(path) as q:
            await q.put("theirs")
            await q.put("ours")
            holder = asyncio.create_task(_get_and_wait(q))
            await asyncio.sleep(0)
            assert await q.get() == "ours"
            await q.task_done()
            holder.cancel()

    asyncio.run(main())
    with Queue(path) as plain:
        assert [plain.get_nowait() for _ in range(plain.qsize())] == ["theirs"]


@pytest.mark.parametrize("awaited", [lambda put: put, asyncio.create_task, lambda put: asyncio.wait_for(put, 30)])
def test_task_done_of_a_task_that_puts_leaves_what_another_has_in_hand(awaited: Any, path: str) -> None:
    async def main() -> None:
        async with AsyncSQLiteQueue(path, auto_commit=False) as q:
            await q.put("theirs")
            await q.task_done()
            holder = asyncio.create_task(_get_and_wait(q))
            await asyncio.sleep(0)
            await awaited(q.put("more"))
            await q.task_done()
            holder.cancel()

    asyncio.run(main())
    plain = SQLiteQueue(path)
    assert [plain.get(block=False) for _ in range(plain.qsize())] == ["theirs", "more"]


@pytest.mark.parametrize(("kind", "options"), [(AsyncQueue, {}), (AsyncSQLiteQueue, {"auto_commit": False})])
@pytest.mark.parametrize("awaited", [asyncio.create_task, lambda get: asyncio.wait_for(get, 30)])
def test_an_item_is_the_tasks_that_has_asked(kind: Any, options: dict[str, Any], awaited: Any, path: str) -> None:
    """It was the one's that fetched it, which ended with that: of two workers that are always at something no item was
    ever done, and after a crash all of them came again."""

    async def main() -> None:
        async with kind(path, **options) as q:
            assert asyncio.iscoroutinefunction(q.get)
            assert asyncio.iscoroutinefunction(q.get_nowait)
            for item in "ab":
                await asyncio.create_task(q.put(item))
            holder = asyncio.create_task(_get_and_wait(q))
            await asyncio.sleep(0)
            assert await awaited(q.get()) == "b"
            await q.task_done()
            holder.cancel()

    asyncio.run(main())
    with Queue(path) if kind is AsyncQueue else SQLiteQueue(path) as plain:
        assert [plain.get_nowait() for _ in range(plain.qsize())] == ["a"]


async def _get_and_wait(q: Any) -> None:
    await q.get()
    await asyncio.sleep(60)


def test_who_has_seen_less_than_the_others_that_wait_is_woken(path: str) -> None:
    async def main() -> None:
        q = Queue(path)
        bell = Bell(q._line.store, q.name)
        other = asyncio.create_task(bell.wait(bell.depth(), None))
        await asyncio.sleep(0.1)  # its thread waits in the store by now; else this test can't fail
        await asyncio.wait_for(bell.wait(Depth(ready=5), None), 10)
        other.cancel()
        bell.end()

    asyncio.run(main())


def test_who_waited_in_a_loop_that_was_closed_is_in_nobodys_way(path: str) -> None:
    """close() raised "Event loop is closed", and the queue stayed open."""
    loop = asyncio.new_event_loop()

    async def wait_in_vain() -> tuple[Any, asyncio.Task[Any]]:
        q = AsyncQueue(path)
        waiting = asyncio.ensure_future(q.get())
        while not q._bell._waiting:
            await asyncio.sleep(0)
        return q, waiting

    q, waiting = loop.run_until_complete(wait_in_vain())
    loop.close()

    async def go_on() -> None:
        await q.put("x")
        assert await q.get(block=False) == "x"
        await q.task_done()
        await q.close()

    asyncio.run(go_on())
    assert not waiting.done()
    waiting._log_destroy_pending = False  # type: ignore[attr-defined]
    with Queue(path) as again:  # which is free
        assert again.qsize() == 0


def test_a_path_that_is_a_file_is_the_database(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "queue.db"
        file.touch()
        for expected in (1, 0):
            async with AsyncSQLiteQueue(str(file)) as q:
                if expected:
                    await q.put("a")
                assert await q.qsize() == 1
        assert file.is_file()
        assert not (tmp_path / "data.db").exists()

    asyncio.run(main())


def test_a_path_that_is_called_like_a_file_becomes_one(tmp_path: Path) -> None:
    """It became a directory, which nobody could unlink or copy; where there was no directory for it, it was made."""

    async def main() -> None:
        file = tmp_path / "queue.db"
        async with AsyncSQLiteQueue(str(file)) as q:
            await q.put("a")
        assert file.is_file()
        assert SQLiteQueue(str(file)).get() == "a"
        (tmp_path / "is.there").mkdir()
        async with AsyncSQLiteQueue(str(tmp_path / "is.there")) as q:
            await q.put("a")
        assert (tmp_path / "is.there" / "data.db").is_file()
        with pytest.raises(DiskError, match="isn't there"):
            AsyncSQLiteQueue(str(tmp_path / "missing" / "queue.db"))
        assert not (tmp_path / "missing").exists()

    asyncio.run(main())


def test_a_file_without_a_directory_is_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with AsyncSQLiteQueue("queue.db") as q:
            await q.put("a")

    monkeypatch.chdir(tmp_path)
    asyncio.run(main())
    assert (tmp_path / "queue.db").is_file()


def test_join_with_autosave_ends_with_the_last_task_done(path: str) -> None:
    """Nothing changes in the directory then, which those who wait would see."""

    async def main() -> None:
        async with AsyncQueue(path, autosave=True) as q:
            await q.put("a")
            await q.put("b")
            await q.get()
            await q.get()
            (joining,) = await started(q.join())
            await q.task_done()
            await asyncio.sleep(0)
            assert not joining.done()
            await q.task_done()
            await asyncio.wait_for(joining, 30)

    asyncio.run(main())


def test_a_put_that_waits_for_room_leaves_the_loop_to_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that nothing is synced of have a way of their own."""

    async def main() -> None:
        async with AsyncSQLiteQueue(path, auto_commit=False, maxsize=1) as q:
            put = q._queue.put

            def at_once(item: str, block: bool = True) -> Any:
                assert not block
                return put(item, block)

            monkeypatch.setattr(q._queue, "put", at_once)
            await q.put("a")
            (putting,) = await started(q.put("b"))
            with pytest.raises(Full):
                await q.put_nowait("c")
            assert await q.get() == "a"
            await asyncio.wait_for(putting, 30)
            assert await q.get() == "b"

    asyncio.run(main())


def test_who_finds_the_database_locked_leaves_the_loop_to_others(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with AsyncSQLiteQueue(path) as q:
            await q.put("a")
            locked, get = [True], q._queue.get

            def get_unlocked(*args: Any, **options: Any) -> Any:
                if locked:
                    raise StoreLocked("others have it")
                return get(*args, **options)

            monkeypatch.setattr(q._queue, "get", get_unlocked)
            (getting,) = await started(q.get())
            locked.clear()
            assert await getting == "a"

    asyncio.run(main())


def test_what_programs_look_at_without_awaiting_it(path: str) -> None:
    async def main() -> None:
        async with AsyncSQLiteQueue(path) as database, AsyncQueue(f"{path}.files") as files:
            for q in (database, files):
                await q.put("a")
                await q.put("b")
                await q.get()
            assert (database.total, files.unfinished_tasks) == (1, 2)
            await files.task_done()
            assert files.unfinished_tasks == 1

    asyncio.run(main())


def test_a_database_queue_that_was_closed_is_entered_again(tmp_path: Path) -> None:
    """A server's lifespan, or each call of a class, enters one object: persist-queue's connects again."""
    q = AsyncSQLiteQueue(str(tmp_path / "jobs.db"))

    async def entered(item: int) -> Any:
        async with q:
            await q.put(item)
            assert q._conn is not None
            return await q.get()

    assert [asyncio.run(entered(item)) for item in range(3)] == [0, 1, 2]
    assert q._conn is None


def test_a_closed_queue_shows_it_as_persist_queues_does(path: str) -> None:
    async def main() -> None:
        database, files = AsyncSQLiteQueue(path), AsyncQueue(f"{path}.files")
        assert database._conn is not None
        assert files.headf is not None
        await database.close()
        await files.close()
        assert database._conn is None
        assert files.headf is None
        assert files.tailf is None

    asyncio.run(main())


def test_a_get_that_does_not_wait_still_waits_for_puts_that_are_under_way(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised Empty beside a producer: theirs waits for the lock that a put holds."""
    goes_on = threading.Event()

    async def main() -> None:
        async with AsyncQueue(path) as q:
            commit = q._commit

            def slow(ops: Any) -> Any:
                goes_on.wait()
                return commit(ops)

            monkeypatch.setattr(q, "_commit", slow)
            producer = asyncio.ensure_future(q.put("a"))
            await asyncio.sleep(0)
            consumer = asyncio.ensure_future(q.get_nowait())
            await asyncio.sleep(0)
            goes_on.set()
            assert await consumer == "a"
            await producer
            with pytest.raises(Empty):
                await q.get_nowait()

    asyncio.run(main())


def test_a_get_that_does_not_wait_outlasts_many_moments_of_a_put(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, looks = threading.Event(), list[None]()
    monkeypatch.setattr(async_queue, "MOMENT", 0.0)

    async def main() -> None:
        async with AsyncQueue(path) as q:
            commit, get = q._commit, q._queue.get

            def slow(ops: Any) -> Any:
                goes_on.wait()
                return commit(ops)

            def counted(**options: Any) -> Any:
                looks.append(None)
                if len(looks) == 10:
                    goes_on.set()
                return get(**options)

            monkeypatch.setattr(q, "_commit", slow)
            monkeypatch.setattr(q._queue, "get", counted)
            (producer,) = await started(q.put("a"))
            try:
                assert await q.get_nowait() == "a"
            finally:
                goes_on.set()
            await producer
            looks.clear()
            with pytest.raises(Empty):
                await q.get_nowait()
            assert len(looks) == 1

    asyncio.run(main())


def test_what_the_database_classes_have_beside(path: str) -> None:
    async def main() -> None:
        async with AsyncUniqueQ(path) as q:
            id = await q.put("a")
            assert await q.put("a") is None
            assert await q.update("b", id=id) == id
            assert (await q.get(raw=True))["data"] == "b"
        async with AsyncFILOSQLiteQueue(path) as filo:
            ids = [await filo.put(n) for n in range(3)]
            assert await filo.get(id=ids[0]) == 0
            assert [await filo.get(), await filo.get()] == [2, 1]
            with pytest.raises(Empty):
                await filo.get(id=99)

    asyncio.run(main())


def test_arguments_in_persist_queues_own_order(path: str) -> None:
    # Its async classes have the serializer third: that was taken for `multithreading`, and items were pickled.
    order: Any = (path, "jobs", serializers.json, False)

    async def main() -> None:
        async with AsyncSQLiteQueue(*order) as q:
            assert not q.auto_commit
            await q.put({"a": 1})
            await q.task_done()

    asyncio.run(main())
    assert SQLiteQueue(path, "jobs", serializer=serializers.json).get(block=False) == {"a": 1}


@pytest.mark.parametrize("kind", [*KINDS, Queue, SQLiteQueue])
def test_a_serializer_of_coroutines_is_refused(kind: Any, path: str) -> None:
    """A put made a coroutine that nobody awaited, stored nothing in the item's place, and returned."""

    class Coroutines:
        async def dump(self, value: Any, fp: Any, sort_keys: bool = False) -> None:
            fp.write(value)

        async def load(self, fp: Any) -> Any:
            return fp.read()

    with pytest.raises(TypeError, match="coroutines"):
        kind(path, serializer=Coroutines())
    assert not Path(path).exists()


def test_a_serializer_of_both_is_taken_by_its_plain_functions(path: str) -> None:
    class Both:
        dumps, loads = staticmethod(str.encode), staticmethod(bytes.decode)

        async def dump(self, value: Any, fp: Any) -> None:
            fp.write(value)

    async def main() -> None:
        async with AsyncSQLiteQueue(path, serializer=Both()) as q:
            await q.put("a")
            assert await q.get() == "a"

    asyncio.run(main())
