"""Coroutines of a test, each run in a loop of its own, and turns of that loop. Nothing here looks at the time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from pqadapters.errors import LimitReached

PATIENCE = 60.0  #: seconds until a test gives up on a coroutine or a thread
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


def refusals_told_late(q: Any) -> tuple[threading.Event, threading.Event, threading.Event]:
    """Of its committer. To be set: it may begin; it may tell of a refusal, of which the event between says."""
    go_on, refused, tell = threading.Event(), threading.Event(), threading.Event()
    real = q._committer._commit

    def commit(items: list[Any], puts: list[Any]) -> None:
        assert go_on.wait(PATIENCE)
        try:
            real(items, puts)
        except LimitReached:
            refused.set()
            assert tell.wait(PATIENCE)
            raise

    q._committer._commit = commit
    return go_on, refused, tell
