"""Where a spool is: a directory, or the URL of a store that processes share."""

from __future__ import annotations

import os

from ...errors import StoreRefused
from ...opening import absolute_url, check_url, path_of
from ...wording import shown


def place_of(given: str | os.PathLike[str]) -> str:
    """`file:///abs/dir` is that directory: as a store of its own it would be for one process. A database is the one in
    the directory of now: it is opened by the first record, and again and again. Raises ValueError."""
    place = os.fspath(given)
    if not isinstance(place, str) or not place:
        raise ValueError("path is the directory of the spool, or the URL of a store")
    scheme = place.partition(":")[0].strip().lower() if ":" in place else ""
    if scheme in ("sqlite", "mysql") and not is_url(place):  # as a Path it has one slash of several
        raise ValueError(f"{shown(place)!r} lacks slashes: the URL of a store, as str, begins with {scheme}://")
    if scheme == "file":
        return _directory(place)
    if is_url(place):
        check_url(place)
        return absolute_url(place)
    return place


def _directory(url: str) -> str:
    from urllib.parse import urlsplit  # loaded by who has a URL

    parts = urlsplit(url)
    path = path_of(parts)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or path == "/":
        raise ValueError(f"{url!r}: write file:/// and an absolute path, as in file:///var/log/shop")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r}: options of a spool are the handler's arguments, as in durability='power'")
    return path


def is_url(place: str) -> bool:
    return "://" in place or place.strip().lower() == "memory:"


def refuse_store(directory: str) -> None:
    """A spool is a directory of stores: inside of one it would make that one foreign. Raises StoreRefused."""
    try:
        names = os.listdir(directory)
    except OSError:  # not there yet; or for others to say
        return
    if _is_store(names):
        raise StoreRefused(f"{directory} is the directory of a queue or a mapping: give another one to the log records")


def has_slots(directory: str) -> bool:
    """Whether it has slots, or had some: who delivers all takes them away, and leaves a lock, as stores have it too."""
    names = os.listdir(directory)
    return any(map(str.isdecimal, names)) or ("LOCK" in names and not _is_store(names))


def _is_store(names: list[str]) -> bool:
    return any(name.endswith(".seg") for name in names)
