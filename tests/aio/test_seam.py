"""Subclasses: hooks around ours, a container of their own, no hash."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import NotDurableWarning
from pqadapters.stdlib.asyncio import PriorityQueue, Queue

from .running import run, turns


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


def test_who_puts_by_the_hook_counts_the_task_itself(url: str) -> None:
    """As a `put_nowait` does that has room for one more: the task was counted twice, and `join` waited for ever."""

    class Urgent(Queue[str]):
        def put_anyway(self, item: str) -> None:
            self._put(item)
            self._unfinished_tasks += 1
            self._finished.clear()
            self._wakeup_next(self._getters)

    async def main() -> None:
        async with Urgent(1, store=url) as q:
            q.put_nowait("a")
            q.put_anyway("b")
            assert (q.qsize(), q._unfinished_tasks) == (2, 2)
            for item in "ab":
                assert await q.get() == item
                q.task_done()
            await asyncio.wait_for(q.join(), 60)

    run(main())


def test_a_put_counts_one_task_whatever_its_hook_makes_of_the_item(url: str) -> None:
    class Pairs(Queue[str]):
        def _put(self, item: str) -> None:
            if item == "bad":
                raise KeyError(item)
            for _ in range({"none": 0, "two": 2}[item]):
                super()._put(item)

    async def main() -> None:
        async with Pairs(store=url) as q:
            q.put_nowait("two")
            assert (q.qsize(), q._unfinished_tasks) == (2, 1)
            await q.put("none")
            with pytest.raises(KeyError):
                await q.put("bad")
            assert (q.qsize(), q._unfinished_tasks) == (2, 2)

    run(main())


def test_init_once_more_empties_it(url: str) -> None:
    async def main() -> None:
        async with Queue[int](store=url) as q:
            await q.put(1)
            q._init(q.maxsize)
            assert (q.empty(), q._unfinished_tasks) == (True, 1)

    run(main())


def test_attributes_of_a_subclass_take_the_place_of_ours(url: str) -> None:
    """To set a `name` was an AttributeError."""

    class Named(Queue[int]):
        def __init__(self) -> None:
            self.name = "mine"
            super().__init__(store=url, name="jobs")

    async def main() -> None:
        async with Named() as q:
            await q.put(1)
            assert (q.name, await q.get()) == ("mine", 1)

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


def test_a_subclass_that_cannot_be_hashed(url: str) -> None:
    class Comparable(Queue[int]):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Comparable) and self.name == other.name

    q = Comparable(store=url)
    q.put_nowait(1)
    assert q.get_nowait() == 1
    q.close()


def test_a_closed_queue_can_be_printed(url: str) -> None:
    async def main() -> None:
        q: Queue[int] = Queue(3, store=url)
        q.close()
        assert repr(q) == f"<Queue at {id(q):#x} maxsize=3 {q._line.label}>"
        assert q._line.store.place in str(q)

    run(main())


def test_what_a_hook_makes_of_an_item_is_stored(url: str) -> None:
    """The item itself was asked to be storable, and in a priority queue comparable, though it never got there."""

    class Jobs(PriorityQueue[Any]):
        def _put(self, item: Any) -> None:
            super()._put((item["urgency"], item["name"]))

        def _get(self) -> Any:
            return super()._get()[1]

    async def main() -> None:
        async with Jobs(store=url) as q:
            await q.put({"urgency": 2, "name": "later", "then": lambda: None})
            q.put_nowait({"urgency": 1, "name": "now", "then": lambda: None})
            assert [await q.get(), q.get_nowait()] == ["now", "later"]

    run(main())


def test_a_subclass_that_says_by_itself_when_it_is_full(url: str) -> None:
    """Without a `maxsize`, too, asyncio's own asks it; a put that waits for nobody else went past it."""

    class Few(Queue[int]):
        few = True

        def full(self) -> bool:
            return self.few and self.qsize() >= 1

    async def main() -> None:
        async with Few(store=url) as q:
            await q.put(1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(q.put(2), 0.01)
            q.few = False
            await q.put(3)
            assert [await q.get(), await q.get()] == [1, 3]

    run(main())


def test_what_waits_is_replaced_in_its_store(url: str) -> None:
    """As programs filter and sort it: what was put from then on was in memory alone, and nobody was told."""

    async def main() -> None:
        async with Queue[int](store=url) as q:
            for item in range(4):
                await q.put(item)
            q._queue = deque(item for item in q._queue if item % 2)
            q._queue += [7]
            await q.put(9)
            assert (q.qsize(), q._unfinished_tasks) == (4, 5)
        async with Queue[int](store=url) as q:
            assert [q.get_nowait() for _ in range(q.qsize())] == [1, 3, 7, 9]

    run(main())


def test_a_container_that_is_exchanged_later_with_hooks_is_a_warning_too(url: str) -> None:
    class Newest(Queue[int]):
        def __init__(self) -> None:
            super().__init__(store=url)
            self._queue: Any = []

        def _get(self) -> int:
            return int(self._queue.pop())

    async def main() -> None:
        with pytest.warns(NotDurableWarning, match="memory alone"):
            q = Newest()
        await q.put(1)
        await q.put(2)
        assert [await q.get(), await q.get()] == [2, 1]

    run(main())


def test_put_calls_the_put_nowait_of_a_subclass(url: str) -> None:
    """As asyncio's does: what a subclass does there was done for `put_nowait` alone."""

    class Ring(Queue[int]):
        def put_nowait(self, item: int) -> None:
            if item < 0:
                raise asyncio.QueueFull
            super().put_nowait(item * 10)

    async def main() -> None:
        for maxsize in (0, 1):
            async with Ring(maxsize, store=url) as q:
                await q.put(1)
                assert q.get_nowait() == 10
                with pytest.raises(asyncio.QueueFull):
                    await q.put(-1)
                await q.put(2)
                if maxsize:
                    waiting = asyncio.ensure_future(q.put(3))
                    await turns()
                    assert not waiting.done()
                    assert await q.get() == 20
                    await waiting
                    assert await q.get() == 30
                else:
                    assert await q.get() == 20

    run(main())


def test_get_asks_the_empty_of_a_subclass_and_empty_asks_nobody(url: str) -> None:
    class Paused(Queue[int]):
        paused = True

        def empty(self) -> bool:
            return self.paused or super().empty()

        def qsize(self) -> int:
            return 0 if self.empty() else super().qsize()

    async def main() -> None:
        async with Paused(store=url) as q:
            await q.put(1)
            with pytest.raises(asyncio.QueueEmpty):
                q.get_nowait()
            waiting = asyncio.ensure_future(q.get())
            await turns()
            assert not waiting.done()
            q.paused = False
            q._wakeup_next(q._getters)
            assert await waiting == 1
            assert (q.qsize(), q.empty()) == (0, True)

    run(main())


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("set_first", [True, False])
def test_the_recipe_that_empties_a_queue_ends_who_joins(
    url: str, private: bool, set_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a queue that this process has alone nobody looks again, and `join` waited for ever."""
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path / "home"))

    async def main() -> None:
        async with Queue[int](store=None if private else url) as q:
            for item in range(3):
                await q.put(item)
            joining = asyncio.ensure_future(q.join())
            await turns()
            assert not joining.done()
            assert not q._finished.is_set()
            q._queue.clear()
            if set_first:
                q._finished.set()
            q._unfinished_tasks = 0
            if not set_first:
                q._finished.set()
            await joining
            assert q._finished.is_set()
            assert await q._finished.wait()

    run(main())


def test_who_sets_finished_ends_who_joins(url: str) -> None:
    async def main() -> None:
        async with Queue[int](store=url) as q:
            await q.put(1)
            joining, waiting = asyncio.ensure_future(q.join()), asyncio.ensure_future(q._finished.wait())
            await turns()
            assert not joining.done()
            assert not waiting.done()
            q._finished.set()
            await joining
            await waiting
            assert (q.qsize(), q._unfinished_tasks) == (1, 1)

    run(main())


def test_a_join_of_a_subclass_waits_for_finished(url: str) -> None:
    """As one with a timeout does: it called itself for ever (RecursionError)."""

    class Patient(Queue[int]):
        async def join(self, timeout: float | None = None) -> None:
            await asyncio.wait_for(self._finished.wait(), timeout)

    async def main() -> None:
        async with Patient(store=url) as q:
            await q.put(1)
            with pytest.raises(asyncio.TimeoutError):
                await q.join(0.01)
            joining = asyncio.ensure_future(q.join(60))
            await turns()
            assert not joining.done()
            await q.get()
            q.task_done()
            await joining

    run(main())
