"""What `migrate` finds in a place: databases, file queues and servers of persist-queue's, and dbm files.

Each can be looked at, moved over in its place, and moved into another store.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Protocol
from urllib.parse import urlsplit

import click

from ..errors import StoreRefused
from ..opening import is_directory_store, is_unfinished, look_at_server, open_store, path_of, probe_file
from ..paths import absolute
from ..persistqueue import conversion
from ..persistqueue.conversion import Progress, Report, servers
from ..serializers import serializer as choose_serializer
from ..store import Store
from ..wording import shown
from .failures import Failure
from .places import is_there

_ASIDE = ("-wal", "-shm", "-journal")


class Move(Protocol):
    """One thing to be moved over."""

    def named(self, *, elsewhere: bool) -> bool:
        """Whether `--queue` says something about it."""

    def look(self, *, elsewhere: bool) -> Report:
        """What there is; nothing is changed. `elsewhere`: that is where it is to go."""

    def here(self, progress: Progress) -> Iterable[Report]:
        """In its place; the original is kept under another name. Each as it is done."""

    def into(self, store: Store, progress: Progress) -> Report:
        """Into another store; the original stays as it is."""


class Database:
    """A file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def named(self, *, elsewhere: bool) -> bool:
        return False

    def look(self, *, elsewhere: bool) -> Report:
        return conversion.look_at_database(self.path, alone=not elsewhere)

    def here(self, progress: Progress) -> list[Report]:
        report = conversion.convert_database(self.path, progress=progress)
        return [] if report is None else [report]

    def into(self, store: Store, progress: Progress) -> Report:
        return conversion.move_database(self.path, store, progress=progress)


class Strays:
    """A file that is ours, into which persist-queue has put something since."""

    def __init__(self, path: str) -> None:
        self.path = path

    def named(self, *, elsewhere: bool) -> bool:
        return False

    def look(self, *, elsewhere: bool) -> Report:
        return conversion.look_at_strays(self.path)

    def here(self, progress: Progress) -> list[Report]:
        return [conversion.convert_strays(self.path, progress=progress)]

    def into(self, store: Store, progress: Progress) -> Report:
        return conversion.move_strays(self.path, store, progress=progress)


class Files:
    """A directory with a file queue. `name` is the queue's in another store."""

    def __init__(self, directory: str, serializer: str | None, name: str) -> None:
        self.directory, self._name = directory, name
        self._serializer = choose_serializer(serializer or conversion.guess(directory) or "pickle")

    def named(self, *, elsewhere: bool) -> bool:
        return elsewhere

    def look(self, *, elsewhere: bool) -> Report:
        if is_unfinished(self.directory):
            return Report(self.directory)  # its items are counted already
        return conversion.look_at_directory(self.directory, self._serializer)

    def here(self, progress: Progress) -> list[Report]:
        report = conversion.convert_directory(self.directory, self._serializer, progress=progress)
        return [] if report is None else [report]

    def into(self, store: Store, progress: Progress) -> Report:
        return conversion.move_directory(self.directory, self._serializer, store, self._name, progress=progress)


class Shelf:
    """A dbm file. `name` is the shelf's in another store."""

    def __init__(self, path: str, name: str) -> None:
        self.path, self._name = path, name

    def named(self, *, elsewhere: bool) -> bool:
        return elsewhere

    def look(self, *, elsewhere: bool) -> Report:
        return conversion.look_at_shelf(self.path, own=not elsewhere)

    def here(self, progress: Progress) -> list[Report]:
        return [conversion.convert_shelf(self.path, progress=progress)]

    def into(self, store: Store, progress: Progress) -> Report:
        return conversion.move_shelf(self.path, store, self._name, progress=progress)


class Server:
    """The queues in a database of a server, or the one of that name."""

    def __init__(self, url: str, name: str | None) -> None:
        self.url, self._name = url, name

    def named(self, *, elsewhere: bool) -> bool:
        return True

    def look(self, *, elsewhere: bool) -> Report:
        report = servers.look_at_server(self.url, self._name)
        if not report.parts and (elsewhere or not self._is_ours()):  # what was broken off is there under its new name
            raise Failure(f"{shown(self.url)} has {self._nothing()} that persist-queue has written")
        return report

    def _nothing(self) -> str:
        return "nothing" if self._name is None else f"no queue {self._name!r}"

    def here(self, progress: Progress) -> Iterator[Report]:
        with open_store(self.url) as store:
            names = servers.names(self.url, store, self._name)
            for name in names:
                if (report := servers.convert_queue(self.url, store, name, progress=progress)) is not None:
                    yield report

    def _is_ours(self) -> bool:
        try:
            return look_at_server(self.url, lambda sight: True)
        except StoreRefused:
            return False

    def into(self, store: Store, progress: Progress) -> Report:
        return servers.move_server(self.url, store, self._name, progress=progress)


def found_in(place: str, serializer: str | None, name: str | None) -> list[Move]:
    """What there is; nothing where it is ours already. Raises Failure where there is neither, StoreError."""
    if place.lower().startswith("mysql:"):
        return [Server(place, name)]
    path = _path(place)
    found: list[Move] = []
    if os.path.isdir(path):
        if conversion.is_file_queue(path):
            found.append(Files(path, serializer, name or "default"))
        found += [move for file in _files(path) if (move := _database(file)) is not None]
    elif (move := _database(path)) is not None:
        found.append(move)
    elif conversion.is_shelf(path):
        found.append(Shelf(path, name or os.path.basename(path)))
    if not found and not _is_ours(path):
        raise Failure(f"{shown(place)} {_nothing(path)}")
    return found


def check_name(found: list[Move], place: str, *, elsewhere: bool) -> None:
    """Raises UsageError where `--queue` says nothing about anything that was found: who gave it means less than all, or
    another name, than would be moved."""
    if any(move.named(elsewhere=elsewhere) for move in found):
        return
    if any(move.named(elsewhere=True) for move in found):
        raise click.UsageError(
            f"--queue: what {shown(place)} is called in another store, by --to; in its place it is as it was"
        )
    raise click.UsageError(
        f"--queue: {shown(place)} is moved over as a whole, its queues under the names that they have: leave it out"
    )


def _database(path: str) -> Move | None:
    if conversion.is_theirs(path):
        return Database(path)
    return Strays(path) if _is_our_file(path) and conversion.look_at_strays(path).parts else None


def _nothing(path: str) -> str:
    if not (is_there(path) and os.path.exists(path)):
        return "isn't there"
    owners = {os.stat(each).st_uid for each in ([path, *_files(path)] if os.path.isdir(path) else [path])}
    others = owners - {os.geteuid()} if hasattr(os, "geteuid") else owners
    if others:
        return f"belongs to user {min(others)}: only what is one's own is moved over, so call migrate as that user"
    return "has nothing that persist-queue or shelve has written"


def _path(place: str) -> str:
    if "://" not in place:
        return absolute(place)
    parts = urlsplit(place)
    path = path_of(parts)
    if parts.scheme not in ("sqlite", "file") or parts.netloc not in ("", "localhost") or not path.strip("/"):
        raise Failure(f"{shown(place)}: write a path, sqlite:////abs/data.db, file:///abs/dir or mysql://user@host/db")
    return absolute(path[1:] if parts.scheme == "sqlite" else path)


def _files(directory: str) -> Iterator[str]:
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if os.path.isfile(path) and not name.endswith(_ASIDE) and conversion.SUFFIX not in name:
            yield path


def _is_ours(path: str) -> bool:
    if os.path.isdir(path):
        return is_directory_store(path) or any(map(_is_our_file, _files(path)))
    return _is_our_file(path)


def _is_our_file(path: str) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) > 0 and probe_file(path).ours
