"""From a path or a URL to a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..durability import Durability, Survives
from ..store import Damage, Store
from .urls import WHERE, check_path, options_of, read

if TYPE_CHECKING:
    from ..stores.mysql.guest import Guest


def open_store(url: str, **options: Any) -> Store:
    """The store that a URL names. Options of the store are its query; keyword arguments win over it.

    Raises ValueError for a URL that names no store or an option that the store doesn't have, and what the store raises.
    """
    scheme, path, in_url = read(url)
    return _OPENERS[scheme](url, path, in_url | given(**options))


def given(**options: Any) -> dict[str, Any]:
    """Without those that are None: they stand for the store's own defaults."""
    return {name: value for name, value in options.items() if value is not None}


def open_given(store: Any, options: dict[str, Any]) -> Store:
    """A store that a program has in place of a URL. Raises TypeError for what is none, ValueError for any option."""
    if not all(callable(getattr(store, method, None)) for method in ("commit", "claim", "browse", "wait")):
        raise TypeError(f"store is a store or the URL of one, not {type(store).__name__}")
    if options:
        raise ValueError(f"{', '.join(options)}: the store that was given is open already; give it when opening that")
    found: Store = store
    return found


def open_path(
    directory: str | os.PathLike[str],
    *,
    durability: str | Survives | Durability | None = None,
    max_lag: float | None = None,
    trust_directory: bool = False,
    segment_bytes: int | None = None,
) -> Store:
    """A segment store in the directory; None stands for the store's own default.

    Raises what `pqadapters.stores.segment.SegmentStore` raises: StoreRefused, StoreLocked, FormatError, DiskError
    (an OSError), ValueError.
    """
    from ..stores.segment import SegmentStore

    check_path(os.fsdecode(directory))
    options = given(durability=durability, max_lag=max_lag, segment_bytes=segment_bytes)
    return SegmentStore(directory, trust_directory=trust_directory, **options)


def open_database(
    path: str | os.PathLike[str],
    *,
    durability: str | Survives | Durability | None = None,
    max_lag: float | None = None,
    prefetch: int | None = None,
    trust_directory: bool = False,
) -> Store:
    """A SQLite store in the file; None stands for the store's own default.

    Raises what `pqadapters.stores.sqlite.SqliteStore` raises: StoreRefused, StoreLocked, FormatError, DiskError
    (an OSError), ValueError.
    """
    from ..stores.sqlite import SqliteStore

    options = given(durability=durability, max_lag=max_lag, prefetch=prefetch)
    return SqliteStore(path, trust_directory=trust_directory, **options)


def open_server(url: str, **options: Any) -> Store:
    """A MySQL store in a database of a server; the URL has no query. Options are those of the store.

    Raises what `pqadapters.stores.mysql.MysqlStore` raises: StoreRefused, FormatError, StoreUnreachable, ValueError;
    and ImportError where PyMySQL isn't installed.
    """
    from ..stores.mysql import MysqlStore

    return MysqlStore(url, **options)


def _open_memory(url: str, path: str, options: dict[str, Any]) -> Store:
    from ..stores.memory import MemoryStore

    if options:
        raise ValueError(f"{url!r}: memory: takes no path and no options")
    return MemoryStore()


def visit_server(url: str) -> Guest:
    """A connection to the database that the URL of a MySQL store names, for tables there that aren't ours. Raises
    StoreError, ValueError for a URL that makes no sense, ImportError without PyMySQL."""
    from urllib.parse import urlsplit  # loaded by who has a URL

    from ..stores.mysql.guest import Guest

    parts = urlsplit(url)
    options = options_of(url, parts.scheme, parts.query)
    where = {name: value for name, value in options.items() if name in WHERE}
    return Guest(url.partition("?")[0], **where)


def note_damage(store: Store, damage: Sequence[Damage]) -> None:
    """What was found unreadable on the way into a store, for `store.damage` of this process."""
    known = getattr(getattr(store, "_core", None), "damage", None)
    if isinstance(known, list):
        known.extend(damage)


def check_prefetch(prefetch: int) -> None:
    """Raises TypeError and ValueError for what a store's `prefetch` can't be."""
    from ..stores._handle import check_prefetch

    check_prefetch(prefetch)


_OPENERS: dict[str, Callable[[str, str, dict[str, Any]], Store]] = {
    "file": lambda url, path, options: open_path(path, **options),
    "memory": _open_memory,
    "mysql": lambda url, path, options: open_server(url.partition("?")[0], **options),
    "sqlite": lambda url, path, options: open_database(path[1:], **options),
}
