"""Who holds an item: the thread object, the asyncio task, the greenlet; what is kept of them when they have ended."""

from __future__ import annotations

import asyncio
import sys
import threading
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import greenlet  # type: ignore[import-untyped]
import pytest

from pqadapters.stdlib._lines import held as _held
from pqadapters.stdlib._lines.held import Held, consumer, known
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Claim, Store

from .background import PATIENCE, Background, in_thread
from .conftest import Place
from .programs import run


def left(place: Place) -> list[Any]:
    """What a restart finds."""
    return list(Queue[Any](store=place.restart()).queue)


def filled(place: Place, count: int, **options: Any) -> Queue[int]:
    q: Queue[int] = Queue(store=place.open(), ack=options.pop("ack", "task_done"), **options)
    q.put_many(range(count))
    return q


def test_a_thread_is_its_object() -> None:
    assert consumer().who is threading.current_thread()
    background = Background(lambda: (consumer(), consumer().who))
    found, thread = background.result()
    assert thread is background.thread
    assert (found is consumer(), found.is_gone, consumer().is_gone) == (False, True, False)


def test_a_thread_that_python_did_not_start_is_one_consumer(place: Place) -> None:
    import _thread

    q = filled(place, 2)
    ended = threading.Event()

    def work() -> None:
        q.get()
        q.task_done()
        ended.set()

    _thread.start_new_thread(work, ())
    ended.wait()
    assert left(place) == [1]


def test_tasks_of_one_thread_are_consumers_of_their_own(place: Place) -> None:
    q = filled(place, 4)

    async def work(mine: asyncio.Event, others: asyncio.Event, done: bool) -> int:
        item = q.get_nowait()
        mine.set()
        await others.wait()
        if done:
            q.task_done()
        return item

    async def main() -> list[int]:
        first, second = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(work(first, second, False), work(second, first, True)))

    assert asyncio.run(main()) == [0, 1]
    assert left(place) == [0, 2, 3]


def test_under_next_a_task_that_asks_again_ends_its_own_item_alone(place: Place) -> None:
    q = filled(place, 4, ack="next")

    async def work(again: bool) -> None:
        q.get_nowait()
        await asyncio.sleep(0)
        if again:
            q.get_nowait()

    async def main() -> None:
        await asyncio.gather(work(False), work(True))

    asyncio.run(main())
    assert left(place) == [0, 2, 3]


def test_a_tasks_items_stay_its_own_when_it_has_ended(place: Place) -> None:
    q = filled(place, 3)

    async def take() -> None:
        q.get_many(2)

    async def finish() -> None:
        q.task_done()

    asyncio.run(take())
    asyncio.run(finish())  # another task: of two items one is reported done, and nobody knows which
    assert q.unfinished_tasks == 2
    assert left(place) == [0, 1, 2]


def test_a_callback_belongs_to_its_thread(place: Place) -> None:
    q = filled(place, 2)
    seen: list[object] = []

    def callback() -> None:
        seen.append(consumer())
        q.get_nowait()

    async def main() -> None:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0)
        assert consumer().who is asyncio.current_task()

    asyncio.run(main())
    assert seen == [consumer()]
    q.task_done()
    assert left(place) == [1]


def test_greenlets_of_one_thread_are_consumers_of_their_own(place: Place) -> None:
    q = filled(place, 3)
    main = greenlet.getcurrent()

    def work(done: bool) -> None:
        q.get_nowait()
        main.switch()
        if done:
            q.task_done()

    first, second = greenlet.greenlet(work), greenlet.greenlet(work)
    first.switch(False)
    second.switch(True)
    second.switch()
    first.switch()
    assert consumer().who is threading.current_thread()
    assert (first.dead, second.dead) == (True, True)
    assert left(place) == [0, 2]


def test_a_task_within_a_greenlet_is_the_task() -> None:
    async def main() -> tuple[object, object]:
        return consumer().who, asyncio.current_task()

    seen: list[tuple[object, object]] = []
    greenlet.greenlet(lambda: seen.append(asyncio.run(main()))).switch()
    ((found, task),) = seen
    assert found is task


def test_a_name_in_sys_modules_that_is_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sys.modules["greenlet"] = None` keeps others from importing it; a module may also be half imported."""
    monkeypatch.setattr(_held, "_running_loop", None)
    monkeypatch.setattr(_held, "_current_greenlet", None)
    for strange in (None, types.ModuleType("half")):
        for name in ("asyncio", "greenlet"):
            monkeypatch.setitem(sys.modules, name, strange)
        assert consumer().who is threading.current_thread()


def test_frameworks_are_found_when_they_are_imported_later(tmp_path: Any) -> None:
    program = """
    from pqadapters.stdlib._lines.held import consumer
    assert not {"asyncio", "greenlet"} & set(sys.modules), "we import neither"
    assert consumer().who is threading.current_thread()
    import asyncio, greenlet
    async def main():
        return consumer().who is asyncio.current_task()
    print(asyncio.run(main()))
    mine = greenlet.greenlet(lambda: print(consumer().who is mine))
    mine.switch()
    """
    assert run(program, tmp_path).out.split() == ["True", "True"]


def _by_threads(q: Queue[int], count: int) -> None:
    for _ in range(count):
        in_thread(lambda: (q.get_nowait(), q.task_done()))


def _by_tasks(q: Queue[int], count: int) -> None:
    async def work() -> None:
        q.get_nowait()
        q.task_done()

    async def main() -> None:
        for _ in range(count):
            await asyncio.create_task(work())

    asyncio.run(main())


def _by_greenlets(q: Queue[int], count: int) -> None:
    for _ in range(count):
        greenlet.greenlet(lambda: (q.get_nowait(), q.task_done())).switch()


@pytest.mark.parametrize("work", [_by_threads, _by_tasks, _by_greenlets], ids=["threads", "tasks", "greenlets"])
def test_consumers_that_come_and_go_are_forgotten(store: Store, work: Callable[[Queue[int], int], None]) -> None:
    q: Queue[int] = Queue(store=store)
    q.put_many(range(300))
    work(q, 300)
    assert (q.unfinished_tasks, len(q._line.held)) == (0, 0)
    assert len(q._line.held.by) <= 66


def _claim(id: int) -> Claim:
    return Claim("q", id, 1, b"")


def test_the_sweep_forgets_the_ended_that_hold_nothing_and_nobody_else() -> None:
    held = Held()
    ended = Background(held.own)
    ended.result()
    holds = Background(lambda: (held.own().__setitem__(1, (_claim(1), "item")), consumer())[1])
    holder = holds.result()
    go_on = threading.Event()
    looked = threading.Event()
    alive = Background(lambda: (held.own(), looked.set(), go_on.wait()))
    looked.wait()
    held.sweep()
    assert [who is holder or who.who is alive.thread for who in held.by] == [True, True]
    go_on.set()
    alive.result()


def test_a_greenlet_that_was_not_started_is_not_gone() -> None:
    class Sized(greenlet.greenlet):  # type: ignore[misc]
        def done(self, count: int) -> int:  # a greenlet of the user's, with a method like a task's
            return count

    fresh = Sized(lambda: None)
    assert not known(fresh).is_gone
    fresh.switch()
    assert known(fresh).is_gone


def _each_in_a_thread(q: Queue[int], count: int) -> None:
    for _ in range(count):
        in_thread(q.get_nowait)


def _each_in_a_task(q: Queue[int], count: int) -> None:
    async def work() -> None:
        q.get_nowait()

    async def main() -> None:
        for _ in range(count):
            await asyncio.create_task(work())

    asyncio.run(main())


def _each_in_a_greenlet(q: Queue[int], count: int) -> None:
    for _ in range(count):
        greenlet.greenlet(q.get_nowait).switch()


@pytest.mark.parametrize("work", [_each_in_a_thread, _each_in_a_task, _each_in_a_greenlet])
def test_what_ended_consumers_took_is_done_under_next(store: Store, work: Callable[[Queue[int], int], None]) -> None:
    """A thread or task for each item asks for no other: all items stayed claimed, and came again after a crash."""
    q: Queue[int] = Queue(store=store, ack="next")
    q.put_many(range(500))
    work(q, 500)
    assert q.stats()["claimed"] <= 130
    assert len(q._line.held.by) <= 130


def test_what_a_live_thread_has_in_hand_is_not_done_with_what_ended_ones_took_under_next(store: Store) -> None:
    q: Queue[int] = Queue(store=store, ack="next")
    q.put_many(range(300))
    has, end = threading.Event(), threading.Event()

    def work() -> int:
        item = q.get_nowait()
        has.set()
        end.wait(PATIENCE)
        return item

    worker = Background(work)
    assert has.wait(PATIENCE)
    _each_in_a_thread(q, 299)
    assert q.stats()["claimed"] <= 130
    first = next(store.browse(q.name, state=None))
    end.set()
    assert q._line.decode(first.payload) == worker.result() == 0


def test_what_cancelled_tasks_had_in_hand_is_not_done_under_next(store: Store) -> None:
    """Neither in the turns of the loop until they hear of that."""
    q: Queue[int] = Queue(store=store, ack="next")
    q.put_many(range(300))
    seen: list[bool] = []

    async def work() -> None:
        q.get_nowait()
        await asyncio.Event().wait()

    async def main() -> None:
        for _ in range(300):
            task = asyncio.create_task(work())
            task.add_done_callback(lambda ended: seen.append(known(ended).was_cut))
            await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert (q.stats()["claimed"], all(seen)) == (300, True)


def test_a_thread_with_methods_like_a_tasks_is_a_thread(store: Store) -> None:
    class Worker(threading.Thread):
        def add_done_callback(self, function: object) -> None:
            raise AssertionError("nobody asks for it")

        def run(self) -> None:
            q.get()

    q: Queue[int] = Queue(store=store, ack="next")
    q.put(1)
    worker = Worker()
    worker.start()
    worker.join()
    q.close()
    assert next(store.browse("default", state=None), None) is None
