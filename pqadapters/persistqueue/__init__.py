"""persist-queue's classes over the stores of pqadapters: `import pqadapters.persistqueue as persistqueue`.

Names, arguments, results and errors are those of persist-queue 1.1.0; `docs/coming-from-persist-queue.md` says what
differs. What persist-queue itself has written is converted when it is opened, and kept beside it.
"""

from . import serializers
from .async_queue import AsyncQueue
from .async_sqlqueue import AsyncFIFOSQLiteQueue, AsyncFILOSQLiteQueue, AsyncSQLiteQueue, AsyncUniqueQ
from .exceptions import Empty, Full
from .mysqlqueue import MySQLQueue
from .pdict import PDict
from .priorityqueue import PriorityQueue
from .queue import Queue
from .sqlackqueue import AckStatus, FIFOSQLiteAckQueue, FILOSQLiteAckQueue, SQLiteAckQueue, UniqueAckQ
from .sqlqueue import FIFOSQLiteQueue, FILOSQLiteQueue, SQLiteQueue, UniqueQ

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
