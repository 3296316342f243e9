"""Puts of many tasks into the classes for asyncio, which are stored together."""

from __future__ import annotations

import asyncio
import errno
import gc
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.errors import DiskError, LimitReached, NotSerializable, StoreClosed, StoreLocked, TooLarge
from pqadapters.persistqueue import (
    AsyncFILOSQLiteQueue,
    AsyncQueue,
    AsyncSQLiteQueue,
    AsyncUniqueQ,
    Empty,
    Full,
    _putting,
)
from pqadapters.store import Ack, Put

KINDS: list[Any] = [AsyncQueue, AsyncSQLiteQueue, AsyncUniqueQ]


class Held:
    """A queue whose commits wait until they may go on, each at `refuse` first, which may raise."""

    def __init__(self, q: Any) -> None:
        self.commits: list[int] = []  #: how many puts were in each
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        self.refuse: Callable[[Sequence[Put]], None] = lambda puts: None
        self._commit, q._commit = q._commit, self._held

    def _held(self, ops: Sequence[Any]) -> Any:
        puts = [op for op in ops if isinstance(op, Put)]
        self.begun.set()
        assert self.may_go_on.wait(30)
        self.refuse(puts)
        numbers = self._commit(ops)
        self.commits.append(len(puts))
        return numbers


@asynccontextmanager
async def first_put_under_way(q: Any, **options: Any) -> AsyncIterator[tuple[Held, asyncio.Task[Any]]]:
    held = Held(q)
    first = asyncio.create_task(q.put("first", **options))
    await asyncio.to_thread(held.begun.wait, 30)
    yield held, first
    held.may_go_on.set()


async def started(*puts: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(put) for put in puts]
    await asyncio.sleep(0)
    return tasks


async def all_of(q: Any) -> list[Any]:
    items = []
    try:
        while True:
            items.append(await q.get(block=False))
    except Empty:
        return items


@pytest.mark.parametrize("kind", KINDS)
def test_what_gathers_while_one_is_stored_is_stored_at_once(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path) as q:
            held = Held(q)
            held.may_go_on.set()
            ids = await asyncio.gather(*(q.put(n) for n in range(200)))
            assert held.commits == [1, 199]
            assert kind is AsyncQueue or ids == sorted(set(ids))
            assert await all_of(q) == list(range(200))

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_one_is_stored_with_few(kind: Any, path: str) -> None:
    """Else a thousand of them would take up memory, and a disk that is nearly full, at once."""

    async def main() -> None:
        async with kind(path) as q, first_put_under_way(q) as (held, _):
            puts = await started(*(q.put(f"{n}" * 400_000) for n in range(7)))
            held.may_go_on.set()
            await asyncio.gather(*puts)
            assert held.commits == [1, 2, 2, 2, 1]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_cancelled_before_the_commit_has_stored_nothing(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path) as q, first_put_under_way(q) as (held, first):
            puts = await started(*map(q.put, "abc"), q.put("d", timeout=30))
            puts[1].cancel()
            puts[3].cancel()
            await asyncio.wait([puts[1], puts[3]])
            held.may_go_on.set()
            await asyncio.gather(first, puts[0], puts[2])
            assert await all_of(q) == ["first", "a", "c"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_serialised_fails_alone(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path) as q:
            found = await asyncio.gather(q.put(1), q.put(lambda: 0), q.put(2), return_exceptions=True)
            kinds = NotSerializable if kind is AsyncQueue else Exception
            assert [isinstance(each, kinds) for each in found] == [False, True, False]
            assert await all_of(q) == [1, 2]

    asyncio.run(main())


@pytest.mark.parametrize("error", [TooLarge, ValueError])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_store_never_takes_fails_alone(kind: Any, error: Any, path: str) -> None:
    def refuse(puts: Sequence[Put]) -> None:
        if any(len(put.payload) > 100 for put in puts):
            raise error("never")

    async def main() -> None:
        async with kind(path) as q, first_put_under_way(q) as (held, first):
            puts = await started(q.put("a"), q.put("x" * 200), q.put("b"), q.put("c"))
            held.refuse = refuse
            held.may_go_on.set()
            found = await asyncio.gather(first, *puts, return_exceptions=True)
            assert [isinstance(each, error) for each in found] == [False, False, True, False, False]
            assert await all_of(q) == ["first", "a", "b", "c"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_full_disk_none_of_them_is_stored(kind: Any, path: str) -> None:
    def refuse(puts: Sequence[Put]) -> None:
        if len(puts) > 1:
            raise DiskError(errno.ENOSPC, "No space left on device")

    async def main() -> None:
        async with kind(path) as q, first_put_under_way(q) as (held, first):
            puts = await started(*map(q.put, "abc"))
            held.refuse = refuse
            held.may_go_on.set()
            found = await asyncio.gather(first, *puts, return_exceptions=True)
            assert [isinstance(each, DiskError) for each in found] == [False, True, True, True]
            assert held.commits == [1]
            await q.put("d")
            assert await all_of(q) == ["first", "d"]

    asyncio.run(main())


def test_the_error_of_one_that_is_cancelled_as_it_fails_is_nobodys(path: str) -> None:
    reported = list[Any]()

    def refuse(puts: Sequence[Put]) -> None:
        raise DiskError(errno.ENOSPC, "No space left on device")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        async with AsyncQueue(path) as q, first_put_under_way(q, timeout=30) as (held, first):
            held.refuse = refuse
            held.may_go_on.set()
            while q._puts is None or q._puts._busy:
                await asyncio.sleep(0)
            first.cancel()  # it wasn't told yet
            with pytest.raises(asyncio.CancelledError):
                await first

    asyncio.run(main())
    gc.collect()
    assert not reported


@pytest.mark.parametrize("kind", KINDS)
def test_those_that_wait_for_room_are_stored_in_their_order(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path, maxsize=3) as q:
            puts = await started(*map(q.put, range(50)))
            got = list[int]()
            while len(got) < 50:
                got.append(await q.get())
                assert await q.qsize() <= 3
                await q.task_done()
            await asyncio.gather(*puts)
            assert got == list(range(50))

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_who_does_not_wait_is_told_that_it_is_full_and_holds_nobody_up(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path, maxsize=2) as q, first_put_under_way(q) as (held, _):
            hasty = [q.put_nowait("c"), q.put("d", block=False), q.put("e", timeout=0), q.put("f", timeout=0.001)]
            puts = await started(q.put("a"), q.put("b"), *hasty, q.put("g"))
            held.may_go_on.set()
            found = await asyncio.gather(*puts[2:6], return_exceptions=True)
            assert [type(each) for each in found] == [Full] * 4
            assert not puts[1].done()
            assert [await q.get() for _ in range(4)] == ["first", "a", "b", "g"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_who_does_not_wait_is_told_at_once_while_others_do(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path, maxsize=1) as q:
            await q.put("a")
            await started(q.put("b"))
            with pytest.raises(Full):
                await asyncio.wait_for(q.put_nowait("c"), 30)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_who_puts_where_there_is_room_waits_for_nobody(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path, maxsize=2) as q:
            puts = await started(*map(q.put, "abc"))
            await asyncio.gather(*puts[:2])
            assert [await q.get(), await q.get()] == ["a", "b"]
            await q.put_nowait("d")
            assert await all_of(q) == ["d", "c"]

    asyncio.run(main())


@pytest.mark.parametrize("maxsize", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_task_that_puts_back_what_it_has_taken_does_not_wait_for_itself(kind: Any, maxsize: int, path: str) -> None:
    """Others that wait for room had the room that it had made, and nobody was left to take anything."""

    async def main() -> None:
        async with kind(path, maxsize=maxsize) as q:
            producers = await started(*(q.put(n) for n in range(10)))
            for n in range(30):
                await asyncio.wait_for(_put_back(q), 30)
                if n % 3:
                    await asyncio.sleep(0.001)
            rest = [await q.get() for _ in range(10)]
            await asyncio.gather(*producers)
            assert sorted(rest) == list(range(10))

    async def _put_back(q: Any) -> None:
        item = await q.get()
        await q.put(item)
        await q.task_done()

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_where_another_handle_has_taken_the_room(kind: Any, path: str) -> None:
    left = [2]

    def refuse(puts: Sequence[Put]) -> None:
        if left[0] and b"first" not in puts[0].payload:
            left[0] -= 1
            raise LimitReached

    async def main() -> None:
        async with kind(path, maxsize=3) as q, first_put_under_way(q) as (held, first):
            held.refuse = refuse
            puts = await started(q.put("a"), q.put_nowait("b"))
            held.may_go_on.set()
            with pytest.raises(Full):
                await puts[1]
            await asyncio.gather(first, puts[0])
            assert await all_of(q) == ["first", "a"]

    asyncio.run(main())


@pytest.mark.parametrize("maxsize", [0, 4])
def test_equal_items_that_are_put_at_once(maxsize: int, path: str) -> None:
    async def main() -> None:
        async with AsyncUniqueQ(path, maxsize=maxsize) as q, first_put_under_way(q) as (held, _):
            puts = await started(*map(q.put, "aabcab"))
            held.may_go_on.set()
            assert await q.get() == "first"
            found = await asyncio.wait_for(asyncio.gather(*puts), 30)
            assert [id is None for id in found] == [False, True, False, False, True, True]
            assert await all_of(q) == ["a", "b", "c"]

    asyncio.run(main())


def test_their_ids_are_theirs(path: str) -> None:
    async def main() -> None:
        async with AsyncFILOSQLiteQueue(path) as q:
            ids = await asyncio.gather(*map(q.put, "abcde"))
            assert [await q.get(id=id) for id in ids] == list("abcde")

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_close_waits_for_puts_that_are_under_way(kind: Any, path: str) -> None:
    async def main() -> None:
        q = kind(path, maxsize=3)
        async with first_put_under_way(q) as (held, first):
            puts = await started(*map(q.put, "abcd"))
            closing = asyncio.create_task(q.close())
            await asyncio.sleep(0.01)
            assert not closing.done()
            held.may_go_on.set()
            await closing
            found = await asyncio.wait_for(asyncio.gather(first, *puts, return_exceptions=True), 30)
            assert [isinstance(each, StoreClosed) for each in found] == [False, False, False, True, True]
        async with kind(path) as q:
            assert await all_of(q) == ["first", "a", "b"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_close_does_not_wait_for_those_that_go_on_putting(kind: Any, path: str) -> None:
    async def producer(q: Any, name: str) -> None:
        with pytest.raises(StoreClosed):
            for n in range(100_000):
                await q.put(f"{name}{n}")

    async def main() -> None:
        q = kind(path)
        producers = await started(*(producer(q, name) for name in "abc"))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(q.close(), 30)
        await asyncio.gather(*producers)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_close_does_not_wait_for_those_that_never_have_room(kind: Any, path: str) -> None:
    async def put_back(q: Any) -> None:
        with pytest.raises(StoreClosed):
            while True:
                await q.put(await q.get())

    async def main() -> None:
        q = kind(path, maxsize=1)
        await q.put("a")
        waiting = await started(q.put("b"), q.put("c"))
        putting_back = asyncio.create_task(put_back(q))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(q.close(), 30)
        found = await asyncio.gather(putting_back, *waiting, return_exceptions=True)
        assert [isinstance(each, StoreClosed) for each in found] == [False, True, True]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_put_with_a_timeout_waits_for_room(kind: Any, path: str) -> None:
    async def main() -> None:
        async with kind(path, maxsize=1) as q:
            await q.put("a")
            (putting,) = await started(q.put("b", timeout=30))
            with pytest.raises(Full):
                await q.put("c", timeout=0)
            assert await q.get() == "a"
            await putting
            assert await all_of(q) == ["b"]

    asyncio.run(main())


class _Gone(BaseException):
    """As a thread may meet that a library ends."""


@pytest.mark.parametrize("kind", KINDS)
def test_whose_thread_is_ended_is_told(kind: Any, path: str) -> None:
    def refuse(puts: Sequence[Put]) -> None:
        raise _Gone

    async def main() -> None:
        q = kind(path)
        async with first_put_under_way(q) as (held, first):
            puts = await started(q.put("a"), q.put("b"))
            held.refuse = refuse
            held.may_go_on.set()
            found = await asyncio.wait_for(asyncio.gather(first, *puts, return_exceptions=True), 30)
            assert [type(each) for each in found] == [_Gone] * 3
            held.refuse = lambda puts: None
            await q.put("c")
            assert await all_of(q) == ["c"]
        await q.close()

    asyncio.run(main())


def locked_so_often(held: Any, times: int) -> list[int]:
    """What finds the database locked; how often it still does."""
    left = [times]

    def refuse(puts: Sequence[Put]) -> None:
        if left[0]:
            left[0] -= 1
            raise StoreLocked("locked")

    held.refuse = refuse
    return left


def test_close_waits_for_puts_that_find_the_database_locked(path: str) -> None:
    async def main() -> None:
        q = AsyncSQLiteQueue(path)
        async with first_put_under_way(q) as (held, first):
            locked_so_often(held, 3)
            held.may_go_on.set()
            await asyncio.wait_for(q.close(), 30)
            assert await first
        async with AsyncSQLiteQueue(path) as q:
            assert await all_of(q) == ["first"]

    asyncio.run(main())


def test_the_patience_of_one_that_had_no_room_begins_as_it_finds_the_database_locked(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of an earlier lock, which is over, is not counted."""
    now = [0.0]
    monkeypatch.setattr(_putting, "SYSTEM", SimpleNamespace(monotonic=lambda: now[0]))

    async def main() -> None:
        async with AsyncSQLiteQueue(path, maxsize=1) as q, first_put_under_way(q) as (held, first):
            left = locked_so_often(held, 1)
            held.may_go_on.set()
            await first
            (putting,) = await started(q.put("second"))
            now[0], left[0] = 100.0, 1
            assert await q.get() == "first"
            await putting
            assert await all_of(q) == ["second"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_behind_a_put_that_waited_for_room_nobody_waits(kind: Any, path: str) -> None:
    """Who looks out for it would find at each look that something has changed since."""

    async def main() -> None:
        async with kind(path, maxsize=1) as q:
            await q.put("a")
            (putting,) = await started(q.put("b"))
            assert q._puts._bell._waiting
            assert await q.get() == "a"
            await putting
            assert not q._puts._bell._waiting

    asyncio.run(main())


def test_the_patience_of_one_that_comes_while_the_database_is_locked_is_its_own(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be refused together with the first one, for which the database has been locked for longer."""
    now, left = [0.0], [3]
    monkeypatch.setattr(_putting, "SYSTEM", SimpleNamespace(monotonic=lambda: now[0]))

    def refuse(puts: Sequence[Put]) -> None:
        if left[0]:
            left[0] -= now[0] > 10
            raise StoreLocked("locked")

    async def main() -> None:
        async with AsyncSQLiteQueue(path, timeout=10) as q, first_put_under_way(q) as (held, first):
            held.refuse = refuse
            held.may_go_on.set()
            puts: Any = q._puts
            while puts._locked is None:
                await asyncio.sleep(0)
            now[0] = 8.0
            (second,) = await started(q.put("second"))
            now[0] = 11.0
            with pytest.raises(StoreLocked):
                await first
            assert await second
            assert await all_of(q) == ["second"]

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_close_that_is_cancelled_keeps_no_other_one_waiting(kind: Any, path: str) -> None:
    async def main() -> None:
        q = kind(path)
        errors = list[Any]()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        async with first_put_under_way(q) as (held, first):
            settling, other = await started(q._puts.settle(), q._puts.settle())
            settling.cancel()
            await asyncio.wait([settling])
            held.may_go_on.set()
            await asyncio.wait_for(other, 30)
            await first
            await q.close()
        assert errors == []

    asyncio.run(main())


def test_a_put_that_finds_the_database_locked_as_it_looks_for_room_is_tried_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with AsyncSQLiteQueue(path, maxsize=3) as q:
            depth, left = q._bell.depth, [3]

            def locked() -> Any:
                if left[0]:
                    left[0] -= 1
                    raise StoreLocked("locked")
                return depth()

            monkeypatch.setattr(q._bell, "depth", locked)
            await asyncio.gather(q.put("a"), q.put("b"))
            assert left == [0]
            assert await all_of(q) == ["a", "b"]

    asyncio.run(main())


def test_nobody_overtakes_those_that_wait_for_a_locked_database(path: str) -> None:
    async def main() -> None:
        async with AsyncSQLiteQueue(path) as q, first_put_under_way(q) as (held, first):
            left = [5]

            def refuse(puts: Sequence[Put]) -> None:
                if left[0]:
                    left[0] -= 1
                    raise StoreLocked("locked")

            held.refuse = refuse
            held.may_go_on.set()
            tasks = [first]
            for n in range(100):
                tasks += await started(q.put(n))
            await asyncio.gather(*tasks)
            assert await all_of(q) == ["first", *range(100)]

    asyncio.run(main())


def test_a_database_that_stays_locked_is_an_error_after_the_timeout(path: str) -> None:
    async def main() -> None:
        async with AsyncSQLiteQueue(path, timeout=0.1) as q, first_put_under_way(q) as (held, first):

            def refuse(puts: Sequence[Put]) -> None:
                raise StoreLocked("locked")

            held.refuse = refuse
            held.may_go_on.set()
            for put in (first, q.put("a"), q.put("b")):
                with pytest.raises(StoreLocked):
                    await put
            held.refuse = lambda puts: None
            await q.put("c")
            assert await all_of(q) == ["c"]

    asyncio.run(main())

@pytest.mark.parametrize("kind", KINDS)
def test_a_put_that_waits_for_room_where_no_thread_can_be_had(
    kind: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells it that there is room: it looks for itself."""
    start, refused = threading.Thread.start, threading.Event()

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "pqadapters-watcher":
            refused.set()
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> None:
        async with kind(path, maxsize=1) as q:
            await q.put("first")
            monkeypatch.setattr(threading.Thread, "start", refuse)
            (second,) = await started(q.put("second"))
            while not refused.is_set():
                await asyncio.sleep(0)
            assert not second.done()
            store, name = q._bell._store, q._bell._queue
            store.commit(*map(Ack, store.claim(name)))  # as another process does
            await asyncio.wait_for(second, 30)
            assert [claim.attempt for claim in store.claim(name)] == [1]

    asyncio.run(main())
