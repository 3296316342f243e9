"""The adapters on a server: the same programs, and no pickle that somebody else may have put there."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Full
from typing import Any

import pytest

from pqadapters.clock import Clock
from pqadapters.errors import OutcomeUnknown, StoreRefused
from pqadapters.stdlib import shelve
from pqadapters.stdlib._lines import owed
from pqadapters.stdlib.asyncio import Queue as LoopQueue
from pqadapters.stdlib.multiprocessing import Queue as SharedQueue
from pqadapters.stdlib.pdict import PDict
from pqadapters.stdlib.queue import PriorityQueue, Queue, SimpleQueue
from pqadapters.store import Put, State
from pqadapters.stores.mysql import MysqlStore, core
from tests.segment.programs import run

from .proxy import Proxy
from .server import PATIENCE, Server

KEY = "0123456789abcdef" * 2


class Bomb:
    """Loading its pickle makes a directory."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)


@pytest.mark.parametrize("make", [Queue, SimpleQueue, PriorityQueue, LoopQueue, SharedQueue, PDict, shelve.open])
def test_pickles_are_refused_without_a_key(url: str, make: Any) -> None:
    """And of the ways out only those are named that the class has an argument for."""
    more = ["shelf"] if make is shelve.open else []
    with pytest.raises(ValueError, match=r"127\.0\.0\.1.*PQADAPTERS_SIGNING_KEY") as refused:
        make(*more, store=url)
    for argument in ("signing_key", "serializer"):
        assert (f"{argument}=" in str(refused.value)) == (argument in inspect.signature(make).parameters)


def test_a_queue_that_cannot_be_opened_lets_go_of_its_store(url: str, server: Server) -> None:
    """Who follows the advice to drop the other tables, and opens it again, has nothing open to close."""
    database = url.rpartition("/")[2]
    Queue(store=url, name="jobs", serializer="json").close()
    server.run("DROP TABLE pqa_kinds", database=database)
    refused: list[BaseException] = []  # with all that their frames know
    for options in ({}, {"volatile": "warn"}):
        try:
            Queue(store=url, name="jobs", serializer="json", **options)  # type: ignore[arg-type]
        except (StoreRefused, ValueError) as error:
            refused.append(error)
    server.run(f"DROP DATABASE {database}", f"CREATE DATABASE {database}")
    with Queue[int](store=url, name="jobs", serializer="json") as queue:
        queue.put(1)
        assert (queue.get(timeout=PATIENCE), len(refused)) == (1, 2)


def test_json_needs_no_key(url: str) -> None:
    with Queue[Any](store=url, serializer="json") as queue:
        queue.put({"a": [1]})
        assert queue.get() == {"a": [1]}
        queue.task_done()


def test_a_key_from_the_environment_is_enough(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    with Queue[Any](store=url, name="jobs") as queue:
        queue.put(("a", 1))
        told = run(
            "import sys\n"
            "from pqadapters.stdlib.queue import Queue\n"
            "with Queue(store=sys.argv[1], name='jobs') as queue:\n"
            "    print(queue.get())\n"
            "    queue.task_done()",
            url,
        )
        assert told == "('a', 1)"
        queue.join()
    with shelve.open(url) as shelf, PDict[str, Any](url) as mapping:
        shelf["k"] = mapping["k"] = {1, 2}
        assert (shelf["k"], mapping["k"]) == ({1, 2}, {1, 2})


def test_a_wrong_signature_goes_to_the_dead_letters_unopened(url: str, tmp_path: Path) -> None:
    with MysqlStore(url) as attacker, Queue[str](store=url, name="jobs", signing_key=KEY) as queue:
        bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
        attacker.commit(Put("jobs", bomb), Put("jobs", b"H" + bytes(32) + bomb))
        queue.put("mine")
        assert queue.get() == "mine"
        assert [("sign" in letter.reason) for letter in queue.dead_letters()] == [True, True]
    assert not (tmp_path / "exploded").exists()


def test_a_priority_queue_keeps_its_order(url: str) -> None:
    with PriorityQueue[Any](store=url, serializer="json") as queue:
        for number in (3, 1, 2, -5, 2.5):
            queue.put(number)
        assert [queue.get() for _ in range(5)] == [-5, 1, 2, 2.5, 3]


def test_a_bounded_queue_waits_for_room(url: str) -> None:
    with Queue[int](2, store=url, serializer="json") as queue:
        queue.put(1)
        queue.put(2)
        assert queue.full()
        assert queue.get() == 1
        queue.put(3, timeout=PATIENCE)
        assert queue.qsize() == 2


def test_a_loop_goes_on_while_another_thread_is_served(url: str) -> None:
    """`await put()` raised StoreUnreachable where another thread of the process was in the middle of a commit."""
    begun, may_end = threading.Event(), threading.Event()

    def served() -> bool:
        begun.set()
        return not may_end.wait(PATIENCE)

    async def main() -> None:
        with MysqlStore(url, durability="process") as store, ThreadPoolExecutor(1) as threads:
            async with LoopQueue[int](store=store, signing_key=KEY) as q:
                await q.put(0)
                other = threads.submit(store.commit, Put("other", b""), stop=served)
                assert begun.wait(PATIENCE)
                task = asyncio.ensure_future(q.put(1))
                try:
                    for _ in range(20):  # the loop isn't stopped, and comes here again and again
                        await asyncio.sleep(0.005)
                    assert not task.done()
                finally:
                    may_end.set()
                await task
                assert other.result(PATIENCE)
                assert [await q.get(), await q.get()] == [0, 1]

    asyncio.run(main())


def test_a_loop_goes_on_while_the_server_refuses_connections(
    server: Server, url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A getter of a queue that was empty looked for five seconds each time, and the loop stood still."""
    rests: list[float] = []

    def rest(pause: float) -> float:
        if threading.current_thread() is threading.main_thread():
            rests.append(pause)
        return core.rest(pause)

    async def main() -> None:
        with MysqlStore(server.url(url.rpartition("/")[2], port=proxy.port)) as store:
            async with LoopQueue[int](store=store, signing_key=KEY) as q:
                await q.put(0)
                assert await q.get() == 0
                task = asyncio.ensure_future(q.get())
                await asyncio.sleep(0)
                monkeypatch.setattr(store._core.reader, "_rest", rest)
                proxy.refuse()
                another = asyncio.ensure_future(q.get())
                await asyncio.sleep(0)
                assert not another.done()
                assert not rests
                proxy.accept()
                for item in (1, 2):
                    await q.put(item)
                assert sorted(await asyncio.gather(task, another)) == [1, 2]

    asyncio.run(main())

@pytest.mark.parametrize("maxsize", [0, 3])
def test_a_loop_puts_and_is_done_while_the_server_refuses_connections(
    server: Server, url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, maxsize: int
) -> None:
    """It stood still until the server was back, for five seconds at most, and `task_done()` raised OutcomeUnknown."""
    rests: list[str] = []

    def rest(pause: float) -> float:
        if threading.current_thread() is threading.main_thread():
            rests.append(threading.current_thread().name)
        return core.rest(pause)

    async def main() -> None:
        through = server.url(url.rpartition("/")[2], port=proxy.port)
        with MysqlStore(through, durability="process") as store:
            async with LoopQueue[int](maxsize, store=store, signing_key=KEY) as q:
                await q.put(0)
                await q.put(1)
                assert [await q.get(), await q.get()] == [0, 1]
                joining = asyncio.ensure_future(q.join())
                await asyncio.sleep(0.01)
                proxy.refuse()
                with monkeypatch.context() as patch:
                    patch.setattr(owed, "AT_ONCE", 0.0)
                    patch.setattr(store._core.reader, "_rest", rest)
                    patch.setattr(store._core.writer, "_rest", rest)
                    q.task_done()
                    task = asyncio.ensure_future(q.put(2))
                    for _ in range(20):
                        await asyncio.sleep(0.005)
                    assert not task.done()
                    assert not rests
                proxy.accept()
                await asyncio.wait_for(task, PATIENCE)
                assert await asyncio.wait_for(q.get(), PATIENCE) == 2
                q.task_done()
                q.task_done()
                await asyncio.wait_for(joining, PATIENCE)

    asyncio.run(main())


def test_a_loop_asks_a_queue_that_counts_by_itself_whether_there_is_room(url: str) -> None:
    class Weighty(LoopQueue[int]):
        def qsize(self) -> int:
            return 10 * super().qsize()

    async def main() -> None:
        async with Weighty(10, store=url, signing_key=KEY) as q:
            await q.put(1)
            task = asyncio.ensure_future(q.put(2))
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert not task.done()
            await q.get()
            await asyncio.wait_for(task, PATIENCE)

    asyncio.run(main())


def test_a_put_that_waits_for_room_in_a_loop_asks_the_server_seldom(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server says that there is none; nothing else is asked before."""
    asked: list[object] = []

    async def main() -> None:
        with MysqlStore(url, durability="process") as store:
            do = store._core.writer.do
            monkeypatch.setattr(store._core.writer, "do", lambda work: asked.append(work) or do(work))
            async with LoopQueue[int](1, store=store, signing_key=KEY) as q:
                await q.put(0)
                task = asyncio.ensure_future(q.put(1))
                for _ in range(100):
                    await asyncio.sleep(0)
                assert not task.done()
                assert len(asked) <= 4
                assert await q.get() == 0
                await asyncio.wait_for(task, PATIENCE)
                assert await q.get() == 1

    asyncio.run(main())


def test_a_loop_does_not_store_again_what_may_be_stored(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with LoopQueue[int](store=url, signing_key=KEY) as q:
            tried = []

            def commit(*ops: Any, **options: Any) -> Any:
                tried.append(ops)
                raise OutcomeUnknown("nobody knows")

            monkeypatch.setattr(q._line, "commit", commit)
            with pytest.raises(OutcomeUnknown):
                await q.put(1)
            assert len(tried) == 1

    asyncio.run(main())


def test_timeouts_and_delays_end_while_a_test_has_stopped_the_clock(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As freezegun does: a get with a timeout never ended here, nor did a delay."""
    with Queue[str](1, store=url, name="jobs", serializer="json", ack="task_done") as queue:
        monkeypatch.setattr(time, "monotonic", lambda: 0.0)
        monkeypatch.setattr(time, "time", lambda: 4e9)
        with pytest.raises(Empty):
            queue.get(timeout=0.01)
        queue.put("a")
        with pytest.raises(Full):
            queue.put("b", timeout=0.01)
        queue.nack(queue.get(), delay=0.01)
        assert queue.get() == "a"


@pytest.mark.parametrize("wrong", [-5000, 5000])
def test_a_delay_is_as_long_on_a_host_whose_clock_is_wrong(
    url: str, server: Server, wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was added to the host's own time, and compared with the server's: over at once, or an hour late."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + wrong)
    monkeypatch.setattr(Clock, "wall", staticmethod(lambda: time.time()))
    with Queue[str](store=url, name="jobs", serializer="json", ack="task_done") as queue:
        queue.put("a")
        queue.nack(queue.get(), delay=1000)
        assert queue.stats()["delayed"] == 1
    ((ahead,),) = server.run("SELECT not_before - UNIX_TIMESTAMP() FROM pqa_items", database=url.rpartition("/")[2])
    assert 0 < ahead < 1100
    with MysqlStore(url) as store:
        (record,) = store.browse("jobs", state=State.DELAYED)
        assert 0 < record.not_before - time.time() < 1100
        assert abs(record.put_at - time.time()) < 100
        monkeypatch.setattr(time, "time", lambda: real() + wrong + 2000)
        store.commit(Put("other", b"", put_at=time.time() - 50, not_before=time.time() - 10))
        (claim,) = store.claim("other")
        assert abs(claim.put_at - time.time()) < 100


_PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import spawn",
    "eventlet": "import eventlet; eventlet.monkey_patch(); from eventlet import spawn",
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("library", list(_PATCHES))
def test_greenlets(url: str, library: str, when: str) -> None:
    """eventlet takes `select.poll` away: nothing went there, and the end of the store never came."""
    imports = "from pqadapters import PDict; from pqadapters.stdlib.queue import Queue"
    first, second = (_PATCHES[library], imports) if when == "before" else (imports, _PATCHES[library])
    code = f"""
{first}
{second}
import sys
place, got = sys.argv[1], []

def work():
    for _ in range(10):
        got.append(q.get())
        q.task_done()
        with d.edit("n") as n:
            d["n"] = n + 1
    left.pop()
    if not left:
        done.put("all")

how = {{"store": place, "serializer": "json"}}
with Queue(name="q", **how) as q, Queue(name="done", **how) as done, PDict(name="d", **how) as d:
    d["n"] = 0
    left = [spawn(work) for _ in range(3)]
    for n in range(30):
        spawn(q.put, n)
    assert done.get(timeout={PATIENCE}) == "all"
    q.join()
    assert sorted(got) == list(range(30)) and d["n"] == 30
print("done")
"""
    assert run(code, url) == "done"


def _fail_with(size: int) -> None:
    raise ValueError("x" * size)


class _Wordy:
    """What is raised when it is loaded says more than the server takes."""

    def __reduce__(self) -> Any:
        return _fail_with, (20 << 20,)


def test_an_item_whose_error_is_larger_than_the_servers_packets_stands_in_nobodys_way(url: str) -> None:
    """Its burial was refused as TooLarge, which each get() raised from then on."""
    with Queue[Any](store=url, signing_key=KEY) as q:
        q.put_many([_Wordy(), 1])
        assert q.get(timeout=PATIENCE) == 1
        (letter,) = q.dead_letters()
    assert letter.reason.startswith("can't be decoded: ValueError: xxx")
