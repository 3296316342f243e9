"""A get, a put or a join() that is cancelled where it waits has done nothing, and holds nobody up."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import NoReturn

import pytest

from pqadapters.stdlib.asyncio import Queue
from tests.contract.threads import is_gone
from tests.home.world import begin_anew

from .running import PATIENCE, Loop, run, turns


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


def test_who_waits_keeps_its_place_where_a_cancelled_one_has_nothing_to_hand_on(url: str) -> None:
    """What it was woken for is another's by then. The next one was woken for nothing, and was the last one then."""

    async def main() -> None:
        async with Queue[str](1, store=url) as q:
            getters = [asyncio.ensure_future(q.get()) for _ in range(3)]
            await turns()
            q.put_nowait("a")
            assert q.get_nowait() == "a"
            getters[0].cancel()
            await turns()
            for number, item in ((1, "b"), (2, "c")):
                q.put_nowait(item)
                done, _ = await asyncio.wait(getters[number:], return_when=asyncio.FIRST_COMPLETED)
                assert done == {getters[number]}
            q.put_nowait("d")
            putters = [asyncio.ensure_future(q.put(item)) for item in "efg"]
            await turns()
            assert q.get_nowait() == "d"
            q.put_nowait("h")
            putters[0].cancel()
            await turns()
            assert [await q.get() for _ in range(3)] == ["h", "f", "g"]

    run(main())


def test_a_turn_is_handed_on_past_who_is_cancelled_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was cancelled while it waited passed for woken: the next one waited for good, beside an item or room."""
    begin_anew(monkeypatch, tmp_path)  # where no watcher puts it right

    async def main() -> None:
        async with Queue[str](1) as q:
            getters = [asyncio.ensure_future(q.get()) for _ in range(3)]
            await turns()
            q.put_nowait("a")
            for getter in getters[:2]:
                getter.cancel()
            assert await getters[2] == "a"
            q.put_nowait("b")
            putters = [asyncio.ensure_future(q.put(item)) for item in "cde"]
            await turns()
            assert q.get_nowait() == "b"
            for putter in putters[:2]:
                putter.cancel()
            await putters[2]
            assert q.get_nowait() == "e"

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


@pytest.mark.parametrize("url", ["memory:", "file:"])
def test_a_put_that_has_nothing_to_sync_leaves_nothing_to_cancel(tmp_path: Path, url: str) -> None:
    """In memory each one was handed to a thread, as at "power", and one that was cancelled was stored."""

    async def main() -> None:
        async with Queue[int](store=url.replace("file:", f"file://{tmp_path}/q")) as q:
            put = q.put(1)
            with pytest.raises(StopIteration):
                put.send(None)  # as asyncio's own: there was room, and the loop had no turn
            assert await q.get() == 1

    run(main())


@pytest.mark.filterwarnings("ignore::pqadapters.errors.NotDurableWarning")
def test_a_cancelled_put_keeps_nothing(tmp_path: Path) -> None:
    """What is in memory alone stayed there, once for each put that had waited for room in vain."""

    class Item:
        """Can't be stored."""

        def __reduce__(self) -> NoReturn:
            raise TypeError

    async def main() -> None:
        async with Queue[Item](1, path=tmp_path / "q", volatile="warn") as q:
            await q.put(Item())
            item = Item()
            gone = weakref.ref(item)
            putter = asyncio.ensure_future(q.put(item))
            await turns()
            putter.cancel()
            await asyncio.wait([putter])
            assert putter.cancelled()
            del item, putter
            gc.collect()
            assert gone() is None

    run(main())


@pytest.mark.parametrize("item", [False, True], ids=["waiting", "with an item"])
def test_a_queue_is_gone_with_the_task_that_was_cancelled_there(url: str, item: bool) -> None:
    """The task has the exception, that its frames, and those the queue: nothing else may have the task."""

    async def main() -> weakref.ref[Queue[int]]:
        q: Queue[int] = Queue(store=url, ack="task_done")

        async def take() -> None:
            await q.get()
            await q.get()

        if item:
            await q.put(1)
        taker = asyncio.ensure_future(take())
        await turns()
        taker.cancel()
        await asyncio.wait([taker])
        return weakref.ref(q)

    assert is_gone(run(main()), patience=PATIENCE)
