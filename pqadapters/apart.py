"""Slow calls of the system, made so that others run meanwhile.

Threads need nothing for that. In a process that gevent has patched, a call that blocks stops all greenlets of its
thread: there it is made in gevent's own pool of native threads, and the greenlet waits for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def is_shared() -> bool:
    """Whether greenlets share this thread, so that what blocks it blocks them all."""
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return False
    gevent: Any = sys.modules.get("gevent")
    current = gevent.getcurrent()
    return current is not gevent.get_hub() and not isinstance(current, gevent.hub.Hub)


def apart(call: Callable[..., T], *arguments: Any) -> T:
    """The result of a slow call, which takes no lock of ours. A greenlet that is killed meanwhile waits for its end."""
    if "gevent.monkey" not in sys.modules or not is_shared():
        return call(*arguments)
    gevent: Any = sys.modules["gevent"]
    result = gevent.get_hub().threadpool.spawn(call, *arguments)
    interrupt: BaseException | None = None
    while not result.ready():
        try:
            result.wait()
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
    found: T = result.get()
    return found
