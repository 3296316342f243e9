"""Which modules of the standard library have a durable mirror, and which of them a run swaps.

A mirror is imported when the program imports what it stands for. One that isn't installed is no choice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import NamedTuple

from .. import late, telling

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Swap(NamedTuple):
    """A module, and what of it is ours."""

    mirror: str  #: our module
    names: tuple[str, ...] = ()  #: what is swapped; (): all in the mirror's `__all__` that the module has, too


_LOOPS = Swap("pqadapters.stdlib.asyncio", ("Queue", "LifoQueue", "PriorityQueue"))
_EXECUTORS = "pqadapters.concurrent.futures"

#: To swap one more, add its line.
SWAPS: Mapping[str, Swap] = {
    "queue": Swap("pqadapters.stdlib.queue", ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")),
    "shelve": Swap("pqadapters.stdlib.shelve", ("open", "Shelf", "DbfilenameShelf", "BsdDbShelf")),
    "asyncio": _LOOPS,
    "asyncio.queues": _LOOPS,
    "multiprocessing": Swap("pqadapters.stdlib.multiprocessing"),
    "multiprocessing.queues": Swap("pqadapters.stdlib.multiprocessing.queues"),
    "concurrent.futures": Swap(_EXECUTORS, ("ThreadPoolExecutor", "ProcessPoolExecutor")),
    "concurrent.futures.thread": Swap(_EXECUTORS, ("ThreadPoolExecutor",)),
    "concurrent.futures.process": Swap(_EXECUTORS, ("ProcessPoolExecutor",)),
    "logging.handlers": Swap("pqadapters.logging.handlers", ("QueueHandler", "QueueListener")),
}


def available() -> dict[str, Swap]:
    """Those whose mirror is there."""
    return {name: swap for name, swap in SWAPS.items() if _is_there(swap.mirror)}


def _is_there(module: str) -> bool:
    path = os.path.join(_ROOT, *module.split("."))
    return os.path.isfile(path + ".py") or os.path.isfile(os.path.join(path, "__init__.py"))


def heads() -> list[str]:
    """What `--only` may name: modules that aren't inside of another one of the table."""
    names = available()
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]


def chosen(only: Iterable[str]) -> dict[str, Swap]:
    """Those that `--only` names, with what is inside of them; all, where it names none."""
    wanted = tuple(only)
    found = available()
    if not wanted:
        return found
    return {name: swap for name, swap in found.items() if any(f"{name}.".startswith(f"{head}.") for head in wanted)}


def load_mirrors(only: Iterable[str]) -> None:
    """Import all that `chosen` gives, and what they may need: behind this, modules of the program's own with the names
    of the standard library's are in nobody's way."""
    for swap in chosen(only).values():
        import_module(swap.mirror)
    import_module("platformdirs")  # which tells the home of queues without a name
    late.load_all()
    telling.get_ready()
