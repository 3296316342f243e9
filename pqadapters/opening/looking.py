"""Looking at stores, and at files that may be one, without taking part."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..sight import Sight
from .urls import WHERE, read

if TYPE_CHECKING:
    from ..stores.sqlite.frozen import FrozenTables
    from ..stores.sqlite.takeover.probe import Probe

T = TypeVar("T")


def look_at(path: str, look: Callable[[Sight], T]) -> T:
    """What `look` makes of the store in a directory or file, which may be in use: see `pqadapters.sight`.

    `look` takes from it all that it needs, and may be called again where files have changed meanwhile.
    Raises StoreRefused where there is no store, FormatError for a newer or damaged one, DiskError.
    """
    if os.path.isdir(path):
        from ..stores.segment import onlooker as segment

        return segment.see(path, look)
    from ..stores.sqlite import onlooker as sqlite

    return sqlite.see(path, look)


def look_at_server(url: str, look: Callable[[Sight], T]) -> T:
    """As `look_at`, of the store on a server that a URL names; nothing is made. Raises StoreRefused where there is no
    store, FormatError for a newer one, StoreError, ValueError as `open_store`, ImportError without PyMySQL."""
    from ..stores.mysql import onlooker

    _, _, options = read(url)
    where = {name: value for name, value in options.items() if name in WHERE}
    return onlooker.see(url.partition("?")[0], look, **where)


def slot_directories(directory: str) -> list[str]:
    """The slots in a directory of slots, and what they have adopted; [] where there are none. Raises DiskError."""
    from ..stores.segment.onlooker import slot_directories

    return slot_directories(directory)


def is_directory_store(directory: str) -> bool:
    """Whether there is a store in the directory. Raises DiskError."""
    from ..stores.segment.onlooker import is_store

    return is_store(directory)


def check_content(directory: str) -> None:
    """Raises StoreRefused where there is something in it that is no part of a store, DiskError."""
    from ..stores.segment.directory import check_content

    check_content(directory)


def open_frozen(path: str) -> FrozenTables:
    """The tables of a database that this process can't write, to be looked at. Raises StoreError."""
    from ..stores.sqlite.frozen import FrozenTables

    return FrozenTables(path)


def probe_file(path: str) -> Probe:
    """What a file that is there is to a SQLite store; nothing is changed. Raises DiskError, StoreLocked."""
    from ..stores.sqlite.takeover.probe import probe

    return probe(path)


def users_of(files: list[str]) -> set[int]:
    """The pids of other processes that have one of these files open, as far as the system shows them."""
    from ..stores._holders import users_of

    return users_of(files)


def is_written_here(files: list[str]) -> bool:
    """Whether this process has one of these files open for writing, as far as the system shows it."""
    from ..stores._holders import is_written_here

    return is_written_here(files)
