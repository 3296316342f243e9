"""Puts at "power", which a thread commits in batches: cancelled, refused, failed, or without that thread."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from pqadapters.durability import Survives
from pqadapters.errors import DiskError, LimitReached, OutcomeUnknown, StoreError, StoreForked, StoreLocked
from pqadapters.stdlib._loops import committer as committers
from pqadapters.stdlib._loops.committer import Committer
from pqadapters.stdlib.asyncio import Queue, QueueFull
from pqadapters.store import Put
from tests.home.world import Child, begin_anew, child

from .running import PATIENCE, refusals_told_late, run, turns


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


def test_a_put_behind_any_number_that_are_cancelled_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million of them in front of it kept it from its turn."""
    monkeypatch.setattr(committers, "_AT_ONCE", 1)  # as many batches as a million have
    taken: list[str] = []

    async def main() -> None:
        committer = Committer(lambda items, puts: taken.extend(items), lambda: None, lambda: None)

        def put(item: str, place: int) -> asyncio.Task[None]:
            return asyncio.ensure_future(committer.put(item, Put("q", b""), place))

        first, *cancelled, last = [put(item, place) for place, item in enumerate(["a", *"b" * 2000, "c"])]
        await asyncio.sleep(0)
        for each in cancelled:
            each.cancel()
        await asyncio.wait_for(asyncio.gather(first, last), PATIENCE)
        assert taken == ["a", "c"]

    run(main())


def test_room_that_comes_while_a_put_at_power_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The get had nobody to wake: the put heard of its refusal only then, and waited for ever."""
    begin_anew(monkeypatch, tmp_path)
    async def main() -> None:
        q = Queue[int](maxsize=1, durability="power")
        is_full = q._is_full
        monkeypatch.setattr(q, "_is_full", lambda coming: is_full(lambda ready: 0))  # as where another handle is faster
        both_there, refused, taken = refusals_told_late(q)
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


def test_a_put_that_is_ready_before_its_sync_is_over_takes_no_second_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had taken it, and put something in its place, waited for itself: the room went to who had waited longer."""
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        async with Queue[str](maxsize=1, durability="power") as q:
            await q.put("a")
            stored, over, real = threading.Event(), threading.Event(), q._committer._commit

            def commit(items: list[Any], puts: list[Any]) -> None:
                real(items, puts)
                stored.set()
                assert over.wait(PATIENCE)

            q._committer._commit = commit
            waiting = [asyncio.ensure_future(q.put(item)) for item in "bc"]
            await turns()
            assert q.get_nowait() == "a"
            await turns()
            assert await asyncio.get_running_loop().run_in_executor(None, stored.wait, PATIENCE)
            assert q.get_nowait() == "b"
            again = asyncio.ensure_future(q.put("b again"))
            await turns()
            over.set()
            await asyncio.wait_for(again, PATIENCE)
            assert not waiting[1].done()
            assert [await q.get(), await q.get()] == ["b again", "c"]
            await asyncio.gather(*waiting)

    run(main())


def test_a_put_that_is_not_ready_yet_takes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        async with Queue[str](maxsize=2, durability="power") as q:
            await q.put("a")
            go_on, real = threading.Event(), q._committer._commit

            def commit(items: list[Any], puts: list[Any]) -> object:
                assert go_on.wait(PATIENCE)
                return real(items, puts)

            q._committer._commit = commit
            puts = [asyncio.ensure_future(q.put(item)) for item in "bc"]
            await turns()
            assert len(q._putters) == 1
            assert q.get_nowait() == "a"
            await turns()
            puts.append(asyncio.ensure_future(q.put("d")))
            await turns()
            assert len(q._putters) == 1
            go_on.set()
            assert [await q.get() for _ in puts] == ["b", "d", "c"]
            await asyncio.gather(*puts)

    run(main())


def test_a_batch_begins_also_where_the_store_cannot_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_anew(monkeypatch, tmp_path)

    def refuse() -> int:
        raise DiskError("no")

    async def main() -> None:
        async with Queue[str](maxsize=3, durability="power") as q:
            real: Any = q._committer._go_on

            def go_on(loop: asyncio.AbstractEventLoop) -> None:
                with monkeypatch.context() as patched:
                    patched.setattr(q._line, "ready", refuse)
                    real(loop)

            monkeypatch.setattr(q._committer, "_go_on", go_on)
            await asyncio.gather(*map(q.put, "abc"))
            assert [q.get_nowait() for _ in range(3)] == [*"abc"]

    run(main())


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_room_that_puts_at_power_leave_which_come_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Who waited for it was told by nobody, and waited for ever beside a get that waited for an item."""
    begin_anew(monkeypatch, tmp_path)

    async def main() -> None:
        async with Queue[int](maxsize=2, durability="power") as q:
            go_on, real = threading.Event(), q._committer._commit

            def commit(items: list[Any], puts: list[Any]) -> object:
                assert go_on.wait(PATIENCE)
                if how == "failed" and items != [3]:
                    raise DiskError("no")
                return real(items, puts)

            q._committer._commit = commit
            puts = [asyncio.ensure_future(q.put(n)) for n in range(4)]
            await turns()
            assert len(q._putters) == 2
            if how == "cancelled":
                puts[1].cancel()
                puts[2].cancel()
            go_on.set()
            await puts[3]
            await asyncio.gather(*puts, return_exceptions=True)
            assert [q.get_nowait() for _ in range(q.qsize())] == ([0, 3] if how == "cancelled" else [3])

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


def test_behind_a_put_that_is_refused_none_of_its_batch_is_stored() -> None:
    """There was room again when the next one was tried by itself, and it went before the one that had come first."""
    taken: list[list[str]] = []

    def commit(items: list[str], puts: list[Put]) -> None:
        taken.append(items)
        if len(items) > 1 or len(taken) == 3:
            raise LimitReached("full")

    async def main() -> None:
        committer = Committer(commit, lambda: None, lambda: None)
        puts = [asyncio.ensure_future(committer.put(item, Put("q", b""), place)) for place, item in enumerate("abcd")]
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        assert taken == [["a"], ["b", "c", "d"], ["b"]]
        assert [type(outcome) for outcome in outcomes] == [type(None), LimitReached, LimitReached, LimitReached]

    run(main())
