"""Which modules of the standard library have a durable mirror, and which of them a run swaps.

A mirror is imported when the program imports what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import NamedTuple

from .. import late, telling


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


def heads() -> list[str]:
    """What `--only` may name: modules that aren't inside of another one of the table."""
    return [name for name in SWAPS if not any(name.startswith(f"{other}.") for other in SWAPS)]


def chosen(only: Iterable[str]) -> dict[str, Swap]:
    """Those that `--only` names, with what is inside of them; all, where it names none."""
    wanted = tuple(only)
    if not wanted:
        return dict(SWAPS)
    return {name: swap for name, swap in SWAPS.items() if any(f"{name}.".startswith(f"{head}.") for head in wanted)}


def load_mirrors(only: Iterable[str]) -> None:
    """Import all that `chosen` gives, and what they may need: behind this, modules of the program's own with the names
    of the standard library's are in nobody's way."""
    for swap in chosen(only).values():
        import_module(swap.mirror)
    import_module("platformdirs")  # which tells the home of queues without a name
    late.load_all()
    telling.get_ready()
