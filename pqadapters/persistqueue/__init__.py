"""persist-queue's classes over the stores of pqadapters: `import pqadapters.persistqueue as persistqueue`.

Names, arguments, results and errors are those of persist-queue 1.1.0; `docs/coming-from-persist-queue.md` says what
differs. What persist-queue itself has written is converted when it is opened, and kept beside it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import serializers
from .exceptions import Empty, Full
from .priorityqueue import PriorityQueue
from .queue import Queue
from .sqlackqueue import AckStatus, FIFOSQLiteAckQueue, FILOSQLiteAckQueue, SQLiteAckQueue, UniqueAckQ
from .sqlqueue import FIFOSQLiteQueue, FILOSQLiteQueue, SQLiteQueue, UniqueQ

if TYPE_CHECKING:
    from .async_queue import AsyncQueue
    from .async_sqlqueue import AsyncFIFOSQLiteQueue, AsyncFILOSQLiteQueue, AsyncSQLiteQueue, AsyncUniqueQ
    from .mysqlqueue import MySQLQueue
    from .pdict import PDict
else:  # to load asyncio takes as long as all the rest
    _LATER = {
        "async_queue": ("AsyncQueue",),
        "async_sqlqueue": ("AsyncFIFOSQLiteQueue", "AsyncFILOSQLiteQueue", "AsyncSQLiteQueue", "AsyncUniqueQ"),
        "mysqlqueue": ("MySQLQueue",),
        "pdict": ("PDict",),
    }

    def __getattr__(name: str) -> Any:
        for module, names in _LATER.items():
            if name == module or name in names:
                found = import_module(f".{module}", __name__)
                globals().update((each, getattr(found, each)) for each in names)
                return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER, *(name for names in _LATER.values() for name in names)})


__all__ = [
    "AckStatus",
    "AsyncFIFOSQLiteQueue",
    "AsyncFILOSQLiteQueue",
    "AsyncQueue",
    "AsyncSQLiteQueue",
    "AsyncUniqueQ",
    "Empty",
    "FIFOSQLiteAckQueue",
    "FIFOSQLiteQueue",
    "FILOSQLiteAckQueue",
    "FILOSQLiteQueue",
    "Full",
    "MySQLQueue",
    "PDict",
    "PriorityQueue",
    "Queue",
    "SQLiteAckQueue",
    "SQLiteQueue",
    "UniqueAckQ",
    "UniqueQ",
    "serializers",
]

__version__ = "1.1.0"  #: of persist-queue, whose names these are
