"""Calls that a signal handler interrupts wherever CPython calls one: logging goes on, and no thread is left behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

import pqadapters.logging
from pqadapters.logging._spools import limits
from pqadapters.logging.handlers import QueueHandler
from pqadapters.stdlib.queue import Queue
from pqadapters.stores.memory import MemoryStore

from ..contract.interrupting import interrupted
from ..contract.threads import Task
from .sinks import PATIENCE, Noting, logger_of

_HERE = (str(Path(pqadapters.logging.__file__).parent),)


def _log(handler: QueueHandler) -> None:
    logger_of(handler).info("interrupted")


def _restart(handler: QueueHandler) -> None:
    handler.listener.stop()
    handler.listener.start()


CALLS: dict[str, Callable[[QueueHandler], object]] = {
    "log": _log,
    "stop": lambda handler: handler.listener.stop(),
    "stop and start": _restart,
    "close": lambda handler: handler.close(),
    "flush": lambda handler: handler.flush(PATIENCE),
}


def _told(messages: list[str], sinks: int) -> list[str]:
    """Without the repeats that are allowed: the other one hadn't confirmed it when the start was taken back."""
    return messages if sinks == 1 else list(dict.fromkeys(messages))


@pytest.mark.parametrize("sinks", [1, 2])
@pytest.mark.parametrize("call", CALLS)
def test_logging_goes_on(call: str, sinks: int) -> None:
    """Threads that deliver were known to nobody any more: no stop() ended them, and another listener had no turn."""
    nth, struck, others = 0, True, set(threading.enumerate())
    while struck:
        nth += 1
        noting = [Noting() for _ in range(sinks)]
        handler = QueueHandler(Queue(store=MemoryStore()), handlers=noting)
        if call != "log":
            handler.listener.start()
        struck = interrupted(lambda handler=handler: CALLS[call](handler), nth, _HERE, exits=True)  # type: ignore[misc]
        with suppress(RuntimeError):  # as it still does
            handler.listener.start()
        try:
            logger_of(handler).info("after")
            assert handler.flush(PATIENCE), f"at place {nth}"
            for sink in noting:
                assert _told(sink.messages, sinks) in (["after"], ["interrupted", "after"]), f"at place {nth}"
        finally:  # what is left of a failure would be found by the next test
            handler.close()
            handler.listener.stop()
        for thread in {*threading.enumerate()} - others:
            if thread.name.startswith("pqadapters-logging"):
                thread.join(PATIENCE)  # stop() waits for a tenth of a second, which is little on a busy machine
                assert not thread.is_alive(), f"at place {nth}"
    assert nth > 10


def test_making_room_lets_go_of_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each log call of a full spool waited a second for it from then on, and made no room."""
    limit = limits.Limit(1 << 20, "drop_oldest")

    def is_free() -> bool:
        taken = limit._lock.acquire(blocking=False)
        if taken:
            limit._lock.release()
        return taken

    monkeypatch.setattr(limit, "_look", lambda size: False)
    with MemoryStore() as store:
        nth, struck = 0, True
        while struck:
            nth += 1
            call = partial(limit._when_full, 1, logging.INFO, store)
            struck = interrupted(call, nth, (limits.__file__,), exits=True, locks=True)
            assert Task(is_free, patience=PATIENCE).result(), f"at place {nth}"
    assert nth > 3
