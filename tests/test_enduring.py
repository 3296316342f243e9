"""Threads of ours that lack memory for a moment (`ulimit -v`): others rely on them, so they go on behind it. Each of
them ended, and what it was there for wasn't done any more until the process did."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import ThreadPoolExecutor
from pqadapters.concurrent.futures._backlog import clock
from pqadapters.interrupts import Flag
from pqadapters.logging._delivery.delivery import Delivery
from pqadapters.logging.handlers import QueueHandler, QueueListener
from pqadapters.opening import open_store
from pqadapters.stdlib import queue as threaded
from pqadapters.stdlib.asyncio import Queue
from pqadapters.store import Put
from pqadapters.stores._disk import Disk

from .aio.running import PATIENCE, run, turns
from .logging.sinks import Noting, logger_of


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads of ours that lacked memory in a wait: each does, once."""
    names: list[str] = []

    def lacking(wait: Callable[..., bool]) -> Callable[..., bool]:
        def waiting(what: Any, timeout: float | None = None) -> bool:
            name = threading.current_thread().name
            if name.startswith("pqadapters-") and name not in names:
                names.append(name)
                raise MemoryError
            return wait(what, timeout)

        return waiting

    for kind in (threading.Condition, Flag):
        monkeypatch.setattr(kind, "wait", lacking(kind.wait))
    return names


@pytest.mark.parametrize("url", ["file://{}/store", "sqlite:///{}/q.db"])
def test_what_was_written_is_synced(
    url: str, tmp_path: Path, struck: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = threading.Event(), Disk.sync

    def told(disk: Disk, fd: int) -> None:
        sync(disk, fd)
        if threading.current_thread().name in struck:
            synced.set()

    monkeypatch.setattr(Disk, "sync", told)
    with open_store(f"{url.format(tmp_path)}?durability=process&max_lag=0.05") as store:
        for _ in range(int(PATIENCE * 10)):
            store.commit(Put("q", b"A"))
            if synced.wait(0.1):
                break
        assert synced.is_set()


def test_a_task_hears_of_what_others_put(tmp_path: Path, struck: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/q.db"

    async def main() -> None:
        async with Queue[int](store=url, name="q") as q:
            getter = asyncio.ensure_future(q.get())
            while "pqadapters-watcher" not in struck:
                await turns()
            with threaded.Queue[int](store=url, name="q") as other:
                other.put(1)
                assert await asyncio.wait_for(getter, PATIENCE) == 1

    run(main())


def test_delayed_jobs_are_begun(tmp_path: Path, struck: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_clocks", {})
    with ThreadPoolExecutor(1, path=tmp_path / "jobs") as executor:
        assert executor.using(delay=0.05).submit(abs, -7).result(PATIENCE) == 7
    assert "pqadapters-executor-clock" in struck


def test_who_reads_the_inbox_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lacks memory for a second time where it waits until the first time is over."""
    sink, step = Noting(), Delivery._step
    failed: list[Delivery] = []

    def failing(delivery: Delivery, before: Any) -> Any:
        if failed:
            return step(delivery, before)
        failed.append(delivery)
        monkeypatch.setattr(delivery.stopping, "wait", lacking)
        raise MemoryError

    def lacking(timeout: float | None = None) -> bool:
        monkeypatch.undo()
        raise MemoryError

    monkeypatch.setattr(Delivery, "_step", failing)
    handler = QueueHandler(tmp_path / "spool")
    with QueueListener(tmp_path / "spool", sink):
        logger_of(handler).info("m")
        sink.until_count(1)
    assert failed


@pytest.mark.parametrize("own", [True, False])
def test_each_sink_gets_its_records(tmp_path: Path, struck: list[str], own: bool) -> None:
    """`own`: the program has a queue of its own, and the sinks share what is read from it."""
    sinks = [Noting(), Noting()]
    spool: Any = threaded.Queue[Any](path=tmp_path / "own") if own else str(tmp_path / "spool")
    handler = QueueHandler(spool)
    with QueueListener(spool, *sinks):
        while len([name for name in struck if name.startswith("pqadapters-logging-")]) < 2:
            time.sleep(0.001)
        logger_of(handler).info("m")
        for sink in sinks:
            sink.until_count(1)
