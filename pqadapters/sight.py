"""What there is to see of a store for somebody who takes no part in it: the command line, a monitor.

A sight changes no byte, takes no lock that a process which holds the store could run into, and works while one does. It
is opened for one look (`look_at` and `look_at_server` of `pqadapters.opening`), and shows what was written up to some
moment of it: in a directory no claim is written (a counted one adds an attempt), so what the holder has handed out is
shown as ready.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from .store import Damage, Depth, Record, State


class Sight(Protocol):
    """An open look, for one thread."""

    @property
    def place(self) -> str:
        """The directory or file; the URL of one on a server, without its password."""

    @property
    def kind(self) -> str:
        """ "directory", "database" or "MySQL store"."""

    @property
    def version(self) -> int:
        """Of the format that its files are in."""

    @property
    def pids(self) -> Sequence[int]:
        """The processes that hold it, as far as the system tells; 0 for one that can't be named."""

    @property
    def hosts(self) -> Sequence[str]:
        """On which each of them runs; of a store of one host, nothing."""

    @property
    def damage(self) -> Sequence[Damage]:
        """What couldn't be read, now or earlier; with the file (or table) that it was copied to."""

    def queues(self) -> list[str]:
        """The names of its queues, those of dead letters included."""

    def tables(self) -> list[str]: ...

    def depth(self, queue: str) -> Depth: ...

    def browse(self, queue: str, *, state: State | None) -> Iterator[Record]:
        """Records as they are, oldest first."""

    def count(self, table: str) -> int: ...

    def close(self) -> None: ...
