"""The door: from a path or a URL to a store. The only module that names the stores, and it imports them when asked.

file:///abs/dir?durability=process&segment_bytes=65536
sqlite:///relative.db
sqlite:////abs/file.db?durability=process&prefetch=32
mysql://user@host:3306/database?password_file=/run/secrets/pqa&tls=verify&prefetch=32
memory:
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from .durability import Durability, Survives
from .errors import StoreError
from .forking import before_fork
from .sight import Sight
from .store import Damage, Store
from .telling import shown

if TYPE_CHECKING:
    from sqlite3 import Error

    from .stores._directory import Locks, Member
    from .stores.mysql.guest import Guest
    from .stores.segment import SegmentStore
    from .stores.segment.estates import Estate
    from .stores.segment.predecessor import Predecessor as OldFiles
    from .stores.segment.slots import Slots
    from .stores.sqlite.damage.trees import Raw
    from .stores.sqlite.frozen import FrozenTables
    from .stores.sqlite.takeover.conversion import Conversion
    from .stores.sqlite.takeover.predecessor import Predecessor, Snapshot
    from .stores.sqlite.takeover.probe import Probe

T = TypeVar("T")


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
    from .stores.segment import SegmentStore

    check_path(os.fsdecode(directory))
    options: dict[str, Any] = {"durability": durability, "max_lag": max_lag, "segment_bytes": segment_bytes}
    given = {name: value for name, value in options.items() if value is not None}
    return SegmentStore(directory, trust_directory=trust_directory, **given)


def check_path(path: str) -> None:
    """Raises ValueError for a URL where a directory is meant."""
    scheme, slash, _ = path.partition(":/")  # a Path has one slash of several
    if path.strip().lower() == "memory:" or (slash and scheme.strip().lower() in _OPENERS):
        raise ValueError(f"path is a directory, and {shown(path)!r} is the URL of a store: give it as store=")


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
    from .stores.sqlite import SqliteStore

    options: dict[str, Any] = {"durability": durability, "max_lag": max_lag, "prefetch": prefetch}
    given = {name: value for name, value in options.items() if value is not None}
    return SqliteStore(path, trust_directory=trust_directory, **given)


def open_server(url: str, **options: Any) -> Store:
    """A MySQL store in a database of a server; the URL has no query. Options are those of the store.

    Raises what `pqadapters.stores.mysql.MysqlStore` raises: StoreRefused, FormatError, StoreUnreachable, ValueError;
    and ImportError where PyMySQL isn't installed.
    """
    from .stores.mysql import MysqlStore

    return MysqlStore(url, **options)


def visit_server(url: str) -> Guest:
    """A connection to the database that the URL of a MySQL store names, for tables there that aren't ours. Raises
    StoreError, ValueError for a URL that makes no sense, ImportError without PyMySQL."""
    from urllib.parse import urlsplit  # loaded by who has a URL

    from .stores.mysql.guest import Guest

    parts = urlsplit(url)
    options = _query(url, parts.scheme, parts.query)
    where = {name: value for name, value in options.items() if name in _WHERE}
    return Guest(url.partition("?")[0], **where)


def probe_file(path: str) -> Probe:
    """What a file that is there is to a SQLite store; nothing is changed. Raises DiskError, StoreLocked."""
    from .stores.sqlite.takeover.probe import probe

    return probe(path)


def is_there(url: str) -> bool:
    """Whether a store of that URL was made before; of one on a server nobody knows before it is opened."""
    from urllib.parse import unquote, urlsplit  # loaded by who has a URL

    parts = urlsplit(url)
    path = unquote(parts.path)
    return {"sqlite": os.path.isfile(path[1:]), "file": os.path.isdir(path)}.get(parts.scheme, True)


def look_at(path: str, look: Callable[[Sight], T]) -> T:
    """What `look` makes of the store in a directory or file, which may be in use: see `pqadapters.sight`.

    `look` takes from it all that it needs, and may be called again where files have changed meanwhile.
    Raises StoreRefused where there is no store, FormatError for a newer or damaged one, DiskError.
    """
    if os.path.isdir(path):
        from .stores.segment import onlooker as segment

        return segment.see(path, look)
    from .stores.sqlite import onlooker as sqlite

    return sqlite.see(path, look)


def look_at_server(url: str, look: Callable[[Sight], T]) -> T:
    """As `look_at`, of the store on a server that a URL names; nothing is made. Raises StoreRefused where there is no
    store, FormatError for a newer one, StoreError, ValueError as `open_store`, ImportError without PyMySQL."""
    from .stores.mysql import onlooker

    _, _, options = _read(url)
    where = {name: value for name, value in options.items() if name in _WHERE}
    return onlooker.see(url.partition("?")[0], look, **where)


def slot_directories(directory: str) -> list[str]:
    """The slots in a directory of slots, and what they have adopted; [] where there are none. Raises DiskError."""
    from .stores.segment.onlooker import slot_directories

    return slot_directories(directory)


def is_directory_store(directory: str) -> bool:
    """Whether there is a store in the directory. Raises DiskError."""
    from .stores.segment.onlooker import is_store

    return is_store(directory)


def remove_database(path: str) -> None:
    """A database that nobody has open goes, if it is there. Raises DiskError."""
    from .stores.sqlite.takeover.probe import remove

    remove(path)


def open_frozen(path: str) -> FrozenTables:
    """The tables of a database that this process can't write, to be looked at. Raises StoreError."""
    from .stores.sqlite.frozen import FrozenTables

    return FrozenTables(path)


def move_database(path: str, to: str) -> None:
    """Put a database that nobody has open in the place of another file, on the disk. Raises DiskError."""
    from .stores.sqlite.takeover.probe import move

    move(path, to)


def begin_conversion(path: str) -> Conversion:
    """For who is to put a database in the place of what has that name: nobody else does, until it is closed. Waits for
    who is about that. Raises StoreLocked where that takes too long, StoreRefused, DiskError."""
    from .stores._disk import Disk
    from .stores.sqlite.takeover.conversion import Conversion

    return Conversion(path, Disk())


def keep_second_name(path: str, kept: str) -> None:
    """The file is there under the name `kept` as well, as a copy where the filesystem has no second names; on the disk.
    One of that name that is there stays. Raises DiskError."""
    from .stores._directory import refused
    from .stores._disk import Disk
    from .stores._kept import keep_file

    try:
        keep_file(path, kept, Disk())
    except OSError as error:
        raise refused(os.path.dirname(kept), error, "keep the old file in") from error


def take_over_database(path: str, *, seconds: float) -> Predecessor:
    """Another program's database, in whose place one of ours is to be put: see `stores.sqlite.predecessor`. Raises
    StoreLocked, DiskError."""
    from .stores.sqlite.takeover.predecessor import Predecessor

    return Predecessor(path, seconds=seconds)


def open_snapshot(path: str) -> Snapshot:
    """Another program's database as it is now, to be read: see `stores.sqlite.predecessor`. Raises StoreError."""
    from .stores.sqlite.takeover.predecessor import Snapshot

    return Snapshot(path)


def roll_back(path: str) -> None:
    """What a killed process has left half-written in a database is undone. Raises StoreError."""
    from .stores.sqlite.takeover.predecessor import roll_back

    roll_back(path)


def words_of(error: Error, path: str) -> StoreError:
    """The error of ours for one of SQLite's."""
    from .stores.sqlite.errors import translated

    return translated(error, path)


def open_raw(path: str) -> Raw:
    """The raw pages of a database, whatever SQLite says of it: see `stores.sqlite.trees`. Raises DiskError."""
    from .stores.sqlite.damage.trees import Raw

    return Raw(path)


def take_over_directory(directory: str, is_theirs: Callable[[str], bool]) -> OldFiles:
    """A directory of another program's files (those of which `is_theirs` says so by their names), in which a store is
    to be put in their place: see `stores.segment.predecessor`. Raises StoreLocked, DiskError."""
    from .stores.segment.predecessor import Predecessor

    return Predecessor(directory, is_theirs)


def is_unfinished(directory: str) -> bool:
    """Whether a store that was to take the place of another program's files was all but there."""
    from .stores.segment.predecessor import is_unfinished

    return is_unfinished(directory)


def users_of(files: list[str]) -> set[int]:
    """The pids of other processes that have one of these files open, as far as the system shows them."""
    from .stores._holders import users_of

    return users_of(files)


def is_written_here(files: list[str]) -> bool:
    """Whether this process has one of these files open for writing, as far as the system shows it."""
    from .stores._holders import is_written_here

    return is_written_here(files)


def note_damage(store: Store, damage: Sequence[Damage]) -> None:
    """What was found unreadable on the way into a store, for `store.damage` of this process."""
    known = getattr(getattr(store, "_core", None), "damage", None)
    if isinstance(known, list):
        known.extend(damage)


def check_prefetch(prefetch: int) -> None:
    """Raises TypeError and ValueError for what a store's `prefetch` can't be."""
    from .stores._handle import check_prefetch

    check_prefetch(prefetch)


def load_databases() -> None:
    """Import what a database needs before anybody forks: what is loaded first looks after its own forks first."""
    import_module(f"{__package__}.stores.sqlite")


def open_locks(directory: str, *, trust_directory: bool = False) -> Locks:
    """Locks by name, as files of that directory. Raises DiskError, StoreRefused."""
    from .stores._directory import Locks

    return Locks(directory, trust=trust_directory)


def member_of(fd: int) -> Member:
    """The share in a lock that a descriptor holds, which another process has given to this one."""
    from .stores._directory import Member

    return Member(fd)


def load_slots() -> None:
    """Import what slots need, so that no thread's first use of one does: were the process forked in the middle of that,
    the module would stay locked in the child for ever."""
    import_module(f"{__package__}.stores.segment.slots")


def open_slots(
    directory: str,
    *,
    durability: Durability,
    scratch: bool = False,
    trust_directory: bool = False,
    segment_bytes: int | None = None,
    ours_above: bool = True,
) -> Slots:
    """The slots in a directory, each a segment store for one process. Nothing is touched yet.

    `scratch`: nothing in it need survive a power cut; `ours_above`: the directory above is made private, too.
    """
    from .stores.segment.slots import Slots

    more: dict[str, Any] = {} if segment_bytes is None else {"segment_bytes": segment_bytes}
    more |= {"scratch": scratch, "trust_directory": trust_directory, "ours_above": ours_above}
    return Slots(directory, durability=durability, **more)


def open_estate(estate: Estate, *, repair: bool) -> SegmentStore:
    """A slot that was left behind and adopted, to be closed by `discard()`. It is only read; with `repair`, what is
    damaged in it is put aside. Raises StoreError."""
    from .stores.segment.estates import open_estate

    return open_estate(estate, repair=repair)


def open_store(url: str, **options: Any) -> Store:
    """The store that a URL names. Options of the store are its query; keyword arguments win over it.

    Raises ValueError for a URL that names no store or an option that the store doesn't have, and what the store raises.
    """
    scheme, path, in_url = _read(url)
    named = {name: value for name, value in options.items() if value is not None}
    return _OPENERS[scheme](url, path, in_url | named)


def check_url(url: str) -> None:
    """Raises ValueError as `open_store`, before anything is opened."""
    _read(url)


def is_memory(url: str) -> bool:
    """Whether it is that of a store in memory, which has no options."""
    return url.partition(":")[0].strip().lower() == "memory"


def url_in_environment() -> str | None:
    """Where what has a name alone lives, if PQADAPTERS_URL says it. Raises ValueError."""
    url = os.environ.get("PQADAPTERS_URL")
    if not url:
        return None
    try:
        check_url(url)
    except ValueError as error:
        raise ValueError(f"PQADAPTERS_URL: {error}") from None
    return url


def absolute_url(url: str) -> str:
    """The same store, named so that it stays that one in another directory; as it is where it isn't relative. Raises
    ValueError for one that names no file, which would name one then."""
    scheme, is_one, file = url.partition(":///")
    if scheme.strip().lower() != "sqlite" or not is_one or file.startswith("/"):
        return url
    check_url(url)
    from urllib.parse import quote  # loaded by who has a URL

    return f"{scheme}:///{os.path.join(quote(os.fsencode(os.getcwd())), file)}"


def _read(url: str) -> tuple[str, str, dict[str, Any]]:
    """Its scheme, path and options."""
    from urllib.parse import unquote, urlsplit  # loaded by who has a URL

    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(_unknown(url)) from None
    if parts.fragment:
        raise ValueError(f"{shown(url)!r}: '#' ends a URL's path; write %23 for one in a name or a password")
    if parts.scheme not in _OPENERS:
        raise ValueError(_unknown(url))
    options, path = _query(url, parts.scheme, parts.query), unquote(parts.path)
    if parts.scheme in _CHECKS:
        _CHECKS[parts.scheme](url, parts.netloc, path)
    return parts.scheme, path, options


def _unknown(url: str) -> str:
    return (
        f"{shown(url)!r} names no store: use sqlite:////abs/file.db, file:///abs/dir, mysql://user@host:3306/database "
        "or memory:"
    )


def _query(url: str, scheme: str, query: str) -> dict[str, Any]:
    from urllib.parse import parse_qsl  # loaded by who has a URL

    readers: dict[str, Callable[[str], Any]] = {"durability": str, "max_lag": float, **_READERS.get(scheme, {})}
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in readers and "@" in query:  # what stands there is the end of a password
            raise ValueError(f"{shown(url)!r}: '?' begins a URL's options; write %3F for one in a password")
        if name not in readers:
            raise ValueError(f"{shown(url)!r}: {name!r} is no option of this store; there are {', '.join(readers)}")
        try:
            options[name] = readers[name](value)
        except ValueError:
            raise ValueError(f"{shown(url)!r}: {value!r} is no value for {name}") from None
    return options


def _flag(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _check_file(url: str, host: str, path: str) -> None:
    if host not in ("", "localhost") or not path.startswith("/") or path == "/":
        raise ValueError(
            f"{url!r}: write file:/// and an absolute path, three slashes in all, as in file:///var/lib/app/jobs"
        )


def _check_sqlite(url: str, host: str, path: str) -> None:
    if host or path in ("", "/", "//", "/:memory:", "//:memory:") or not url.partition(":")[2].startswith("///"):
        raise ValueError(
            f"{url!r}: write sqlite:/// and the path of a file: sqlite:///jobs.db for one in the working directory, "
            "sqlite:////var/lib/app/jobs.db, with four slashes, for an absolute one; or memory: for no file at all"
        )


def _check_memory(url: str, host: str, path: str) -> None:
    if host or path or "?" in url:
        raise ValueError(f"{url!r}: memory: takes no path and no options")


def _open_memory(url: str, path: str, options: dict[str, Any]) -> Store:
    from .stores.memory import MemoryStore

    if options:
        raise ValueError(f"{url!r}: memory: takes no path and no options")
    return MemoryStore()


_WHERE = ("prefix", "socket", "password_file", "tls", "tls_ca", "tls_cert", "tls_key")

#: Of each store's own options, what makes one of the text in a query.
_READERS: dict[str, dict[str, Callable[[str], Any]]] = {
    "file": {"segment_bytes": int, "trust_directory": _flag},
    "memory": {"segment_bytes": int, "trust_directory": _flag},
    "mysql": {
        "prefetch": int,
        "lease": float,
        **dict.fromkeys(_WHERE, str),
    },
    "sqlite": {"prefetch": int, "trust_directory": _flag},
}
#: Whether host and path make sense; those of a server are its store's own.
_CHECKS: dict[str, Callable[[str, str, str], None]] = {
    "file": _check_file,
    "memory": _check_memory,
    "sqlite": _check_sqlite,
}
_OPENERS: dict[str, Callable[[str, str, dict[str, Any]], Store]] = {
    "file": lambda url, path, options: open_path(path, **options),
    "memory": _open_memory,
    "mysql": lambda url, path, options: open_server(url.partition("?")[0], **options),
    "sqlite": lambda url, path, options: open_database(path[1:], **options),
}


_STORES = f"{__package__}.stores"
_FIRST = ("segment", "segment.slots", "segment.estates", "sqlite")  #: which the first queue of a process imports
_MYSQL = f"{_STORES}.mysql"


def _import_all() -> None:
    """Before a fork: a thread that is importing one of them would leave its lock to the child, for ever."""
    if threading.active_count() > 1:
        begun = [_MYSQL] if _MYSQL in sys.modules else []
        for name in ("platformdirs", *(f"{_STORES}.{name}" for name in _FIRST), *begun):
            with suppress(ImportError):
                import_module(name)


before_fork(_import_all)
