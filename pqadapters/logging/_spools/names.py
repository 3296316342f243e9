"""What a spool is to those that deliver from it, and how its queues are named.

    <inbox>             a queue: what was logged
    <sinks>/<sink>      a queue for each sink that has fallen behind; the table <sinks> has their names
    <turn>              a queue of one record: whoever has it claimed delivers
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ...store import Store
from .limits import Limit


class Names(NamedTuple):
    """Of the queues of one spool."""

    inbox: str = "inbox"
    sinks: str = "sinks"
    turn: str = "deliverer"

    def sink(self, name: str) -> str:
        """The queue of a sink that has fallen behind."""
        return f"{self.sinks}/{name}"

    @staticmethod
    def entry(name: str) -> bytes:
        """What stands in the table for a sink. A name may be a file's."""
        return name.encode("utf-8", "surrogatepass")

    def known(self, store: Store) -> list[str]:
        """The sinks that have ever fallen behind."""
        return [name.decode("utf-8", "surrogatepass") for name in store.keys(self.sinks)]

    def all(self, store: Store) -> list[str]:
        """The queues in which records wait to be delivered."""
        return [self.inbox, *map(self.sink, self.known(store))]

    def unfinished(self, store: Store) -> int:
        """How many records wait in them."""
        return sum(store.depth(queue).unfinished for queue in self.all(store))


def of_queue(name: str) -> Names:
    """Of a queue of the program's own."""
    return Names(name, f"{name}.sinks", f"{name}.deliverer")


class Codec(Protocol):
    """Records as bytes."""

    @property
    def unencodable(self) -> int: ...
    def dumps(self, record: logging.LogRecord, /) -> bytes: ...
    def loads(self, data: bytes, /) -> logging.LogRecord: ...


class Left(Protocol):
    """What a dead process left."""

    @property
    def store(self) -> Store: ...
    def leave(self) -> None: ...


class Spooled(Protocol):
    """Where records wait."""

    @property
    def place(self) -> str: ...
    @property
    def names(self) -> Names: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def limit(self) -> Limit: ...
    @property
    def shared(self) -> bool:
        """Whether other processes put into the same queues."""
    @property
    def turn(self) -> threading.Lock:
        """Of the listener that delivers, where the process is alone."""
    @property
    def diverts(self) -> bool:
        """Whether sinks may have queues of their own beside the inbox."""
    @property
    def is_open(self) -> bool:
        """Whether this process has used it."""
    @property
    def refused(self) -> bool:
        """Whether it couldn't be opened for the last record."""
    @property
    def left(self) -> bool:
        """Whether something waited in it when it was closed."""
    @property
    def store(self) -> Store:
        """Opened now, if it isn't yet. Raises StoreError."""
    def put(self, record: logging.LogRecord, /) -> None: ...
    def left_behind(self) -> Iterator[Left]: ...
    def use(self, user: object) -> None:
        """It stays open for that one."""
    def is_used_beside(self, *users: object) -> bool:
        """Whether others than these use it, as far as it is known."""
    def let_go(self, user: object) -> None:
        """That one is done with it."""
