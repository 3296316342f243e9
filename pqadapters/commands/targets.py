"""Where `migrate --to` puts things: what keeps a store from being opened there, told before anything is made."""

from __future__ import annotations

import os
from contextlib import closing

from ..opening import check_content, check_url, is_directory_store, look_at, visit_server
from ..paths import absolute
from ..persistqueue import conversion
from ..sight import Sight
from ..wording import shown
from .failures import Failure
from .places import check_own, is_there, of_url


def check_target(url: str) -> None:
    """Raises Failure for a store that is gone at once, for one that hides a dbm file, whose own files have other names:
    programs that open that shelf would find the store's file, and nothing in it; and for a new one inside of a file
    queue, which nobody could open any more."""
    if url.lower().startswith("memory:"):
        raise Failure("what is moved to memory: is gone as soon as this command ends: choose a store that stays")
    if not _is_here(url):
        return
    path = absolute(of_url(url))
    above = _above(path)
    if not is_there(path) and _is_queue(above):
        raise Failure(
            f"{shown(url)} would be made in {above}, which is a file queue and couldn't be opened any more with "
            "something else in it: choose another place"
        )
    if conversion.is_shelf(path):
        raise Failure(
            f"{shown(url)} is the name of the dbm file {path}, which it would hide: choose another one, or leave out "
            "--to, which makes a shelf of it in its place"
        )


def _is_queue(path: str) -> bool:
    """Whether it is a directory of files of a queue, of ours or of persist-queue's."""
    if not (os.path.isdir(path) and os.access(path, os.R_OK)):
        return False
    return is_directory_store(path) or conversion.is_file_queue(path)


def look_at_target(url: str) -> None:
    """For a dry run, which makes and changes nothing. Raises Failure, ValueError and StoreError for what the real one
    would be refused for."""
    check_url(url)
    if not _is_here(url):
        with closing(visit_server(url)):
            return
    path = absolute(of_url(url))
    if is_there(path):
        _check_there(path, as_directory=url.lower().startswith("file:"))
    else:
        _check_above(path)


def _is_here(url: str) -> bool:
    return url.partition(":")[0].lower() in ("sqlite", "file")


def _check_there(path: str, *, as_directory: bool) -> None:
    if os.path.isdir(path) != as_directory:
        raise Failure(f"{path} is {'a file: file:' if as_directory else 'a directory: sqlite:'} is no URL of it")
    check_own(path)
    _check_writable(path)
    if as_directory:
        check_content(path)
    if is_directory_store(path) if as_directory else os.path.getsize(path):
        look_at(path, _check_free)


def _check_free(sight: Sight) -> None:
    if sight.kind == "directory" and sight.pids:
        holder = f"process {sight.pids[0]}" if sight.pids[0] else "another process"
        raise Failure(f"{sight.place} is held by {holder}: end it before what is here is moved there")


def _above(path: str) -> str:
    """The first directory above it that is there."""
    above = os.path.dirname(path)
    while not is_there(above):
        above = os.path.dirname(above)
    return above


def _check_above(path: str) -> None:
    above = _above(path)
    if not os.path.isdir(above):
        raise Failure(f"{path} can't be made: {above} is no directory")
    _check_writable(above)


def _check_writable(path: str) -> None:
    if not os.access(path, os.W_OK):
        raise Failure(f"{path} can't be written by this user, or its disk not at all")
