"""From what is written on the command line to a directory, a file or a server with a store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar, Union
from urllib.parse import urlsplit

from ..errors import NoHome, StoreRefused
from ..home.application import home_directory
from ..home.families import DATABASE as OF_PROCESSES
from ..home.shared import DATABASE as NAMED
from ..opening import (
    check_url,
    is_directory_store,
    look_at,
    look_at_server,
    open_database,
    open_path,
    open_store,
    path_of,
    slot_directories,
)
from ..paths import absolute
from ..sight import Sight
from ..store import Store
from ..wording import shown
from .failures import Failure

T = TypeVar("T")
DATABASES = (NAMED, OF_PROCESSES)  #: of an application
_OWN = "data.db"  #: in the directory of a database class of persist-queue's


@dataclass(frozen=True)
class OnServer:
    """A store that a URL names. Whether it is there is known when it is looked at. As text it has no password."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        return shown(self.url)


Place = Union[str, OnServer]  #: the path of a directory or file; or a URL


def find(place: str) -> Place:
    """Where the store is. Raises Failure where nothing is there; nothing is made."""
    scheme = place.partition(":")[0].lower()
    if scheme in ("sqlite", "file") and ":/" in place:
        return _there(of_url(place))
    if scheme == "mysql" and ":" in place:
        return _on_server(place)
    if place.lower().startswith("memory:"):
        bare = shown(place).partition("?")[0]
        raise Failure(f"{bare}: only what is in a directory, a database or on a server can be looked at from outside")
    if is_there(place):
        return _one(absolute(place))
    in_home = _in_home(place)
    if in_home is None and ("://" in place or place.lower().startswith(("sqlite:", "file:"))):
        _check_url(place)
    if in_home is None:
        what = shown(place)
        raise Failure(f"{what} isn't there: neither as a file or directory, nor as a place in the home (see `ls`)")
    return _one(in_home)


def _check_url(url: str) -> None:
    try:
        check_url(url)
    except ValueError as error:
        raise Failure(str(error)) from None


def _on_server(url: str) -> OnServer:
    _check_url(url)
    if url[len("mysql") :][:3] != "://":
        raise Failure(f"{shown(url)}: write mysql://user@host:3306/database")
    return OnServer(url)


def of_url(url: str) -> str:
    parts = urlsplit(url)
    path = path_of(parts)
    if parts.scheme == "sqlite":
        path = path[1:]
    if parts.netloc not in ("", "localhost") or not path.strip("/"):
        raise Failure(f"{url}: write sqlite:///jobs.db, sqlite:////abs/jobs.db or file:///abs/dir")
    return path


def is_there(path: str) -> bool:
    """Raises OSError where nobody can tell: what is another user's alone may be there."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last one of a null byte
        return False
    return True


def _there(path: str) -> str:
    if not is_there(path):
        raise Failure(f"{path} isn't there")
    return absolute(path)


def _in_home(place: str) -> str | None:
    try:
        path = absolute(os.path.join(home_directory(), place))
    except NoHome:
        return None
    return path if is_there(path) else None


def _one(path: str) -> str:
    """The store itself, where the path is of an application or of a place of one."""
    if not os.path.isdir(path) or is_directory_store(path):
        return path
    slots = slot_directories(path)
    if len(slots) == 1:
        return slots[0]
    if slots:
        raise Failure(f"{path} holds several stores: choose one of {', '.join(slots)}")
    own = os.path.join(path, _OWN)
    return next(databases_in(path), own if os.path.isfile(own) else path)


def databases_in(directory: str) -> Iterator[str]:
    """Those of an application that are there: the one of its named queues first."""
    return filter(os.path.isfile, (os.path.join(directory, name) for name in DATABASES))


def seen(place: Place, look: Callable[[Sight], T]) -> T:
    """As `look_at`. Raises Failure for what persist-queue has written and nobody has moved over yet."""
    return look_at_server(place.url, look) if isinstance(place, OnServer) else _seen_there(place, look)


def _seen_there(path: str, look: Callable[[Sight], T]) -> T:
    try:
        return look_at(path, look)
    except StoreRefused as error:
        from ..persistqueue import conversion  # with all that it imports

        if not (conversion.is_file_queue if os.path.isdir(path) else conversion.is_theirs)(path):
            raise
        raise Failure(f"{path} is persist-queue's: `pqadapters migrate` moves it over, and keeps it") from error


def check_own(path: str) -> None:
    """Raises Failure where what is there is another user's, and is to be changed."""
    if hasattr(os, "geteuid") and os.path.exists(path) and (owner := os.stat(path).st_uid) != os.geteuid():
        raise Failure(f"{path} belongs to user {owner}: only what is one's own is changed; call this as that user")


def opened(place: Place) -> Store:
    """The store, to be changed. Raises Failure where it is another user's, StoreLocked with the pid of a process that
    holds it, StoreError."""
    if isinstance(place, OnServer):
        return open_store(place.url)
    check_own(place)
    return open_path(place) if os.path.isdir(place) else open_database(place)
