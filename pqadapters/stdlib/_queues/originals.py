"""The standard library's own classes of `queue`, whatever gevent or eventlet has put in their place: theirs, which know
nothing of hooks and conditions, are no base for ours."""

from __future__ import annotations

import queue
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from queue import LifoQueue, PriorityQueue, Queue, SimpleQueue
else:

    def _find() -> Any:
        """Called with a name, what the standard library has under it."""
        gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
        if gevent is not None:
            return partial(gevent.get_original, "queue")
        if eventlet is not None and eventlet.is_monkey_patched("thread"):
            return partial(getattr, _made_anew())
        return partial(getattr, queue)

    def _made_anew() -> Any:
        """The module once more, over the `threading` that eventlet has patched: what it keeps is over native locks."""
        from importlib.util import find_spec, module_from_spec

        spec = find_spec("queue")
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        for name in ("Empty", "Full", "ShutDown"):
            if hasattr(queue, name):
                setattr(module, name, getattr(queue, name))
        return module

    Queue, LifoQueue, PriorityQueue, SimpleQueue = map(
        _find(), ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")
    )

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "SimpleQueue"]
