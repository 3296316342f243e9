"""Coroutines of a test, each run in a loop of its own, and turns of that loop. Nothing here looks at the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

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
