"""Every exception and warning of pqadapters.

Each message says what happened, to which file or queue, and what to do about it.
Where the standard library has an exception for a case (`queue.Empty`, `queue.Full`, `ValueError`
for a negative timeout), the adapters raise that one and nothing here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if sys.version_info < (3, 13):

    class ShutDown(Exception):
        """Raised when put or get is used with a queue that was shut down (`queue.ShutDown` before 3.13)."""

elif TYPE_CHECKING:
    from queue import ShutDown as ShutDown
else:

    def __getattr__(name: str) -> Any:
        if name == "ShutDown":  # not before: `python -m pqadapters` comes by here while a queue.py nearby hides it
            from queue import ShutDown

            return ShutDown
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class PqadaptersError(Exception):
    """The root of pqadapters' own exceptions."""


class NotSerializable(PqadaptersError, TypeError):
    """An item could not be turned into bytes. Nothing was stored."""


class RankError(PqadaptersError, TypeError):
    """A value has no place in the order of a priority queue (NaN), or none that bytes can express."""


class ConditionFailed(PqadaptersError):
    """A condition that travelled with an operation did not hold. Nothing of the commit was stored."""


class LimitReached(ConditionFailed):
    """A `Put` with `limit=` or `limit_bytes=` found its queue full. Nothing of the commit was stored."""


class Stopped(ConditionFailed):
    """The `stop` predicate of a commit was true. Nothing of the commit was stored."""


class LeaseLost(PqadaptersError):
    """A claim is no longer held: it was acknowledged, given back or taken over. Nothing was stored."""


class StoreError(PqadaptersError):
    """A store can't be opened or used."""


class StoreClosed(StoreError, ValueError):
    """The store was closed; open it again. A ValueError, as for a file."""


class StoreForked(StoreError):
    """A store that belongs to one process was used in a forked child of it."""


class StoreLocked(StoreError):
    """Another process holds the store. `pid` is that process, or None where it could not be read."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class StorePoisoned(StoreError):
    """A sync to disk failed, so nobody knows what is on it. The store refuses work until it is reopened."""


class StoreRefused(StoreError):
    """A directory or file isn't fit to be a store: foreign content, somebody else's, not a directory."""


class TooLarge(StoreError, ValueError):
    """More at once than the store will ever take, however long one waits. Nothing of the commit was stored."""


class StoreUnreachable(StoreError, ConnectionError):
    """The server of a store can't be reached, or had no answer in time. Nothing of the call was stored."""


class OutcomeUnknown(StoreUnreachable):
    """A server was asked to commit, and was gone before it said whether it did. Nobody knows whether it was stored."""


class NoHome(StoreError):
    """There is no directory for queues without a name or path: set PQADAPTERS_HOME to one."""


class FormatError(StoreRefused):
    """A file was written in a format that this version doesn't read."""


class DiskError(StoreError, OSError):
    """The operating system refused a read or a write. Nothing of the commit was stored.

    It is an `OSError` with the `errno` of the refusal (`ENOSPC`: the disk is full).
    """


class ReadOnlyError(StoreError, OSError):
    """A mapping that was opened for reading was to be changed. An OSError, as those of the dbm modules."""


FOR_GOOD = (StorePoisoned, StoreClosed, StoreForked)  #: behind these a handle never works again, and its claims ended


class NotDurableWarning(UserWarning):
    """Something is kept in memory alone and would be lost in a crash."""


class UnsafeFilesystemWarning(UserWarning):
    """A store lies on a filesystem where locks or fsync are not to be relied on."""
