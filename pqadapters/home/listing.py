"""What is stored where: every slot below the home directory. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..durability import Durability
from ..opening import open_slots
from .adoption import QUEUE
from .application import home_directory

if TYPE_CHECKING:
    from ..stores.segment.slots import Found


class Home(NamedTuple):
    """A slot: the items that one process of an application has, or left, in a queue without a name."""

    application: str  #: the application's directory in the home
    program: str  #: what it runs: a script, `-m name`
    place: str  #: the module and function where the queue is made
    number: int  #: which of the queues made there, from 0 on
    directory: str  #: `Queue(path=directory)` opens it, while no process holds it
    pid: int | None  #: the process that holds it; None for nobody, 0 where that can't be told
    items: int | None  #: ready, delayed, or handed out and not done; None while a process holds it
    dead: int | None  #: dead letters
    bytes: int | None  #: of their payloads
    ack: str | None  #: what was learnt: "task_done", "next", or nothing yet
    transient: bool  #: a queue for each call is made there: what is left goes to the dead letters


def homes(directory: str | os.PathLike[str] | None = None) -> list[Home]:
    """All slots below `directory`, by default the home of this user: PQADAPTERS_HOME or the state directory.

    Nothing is changed by it; a directory that isn't there has none. Raises NoHome where this user can have no home.
    """
    home = home_directory() if directory is None else os.fspath(directory)
    return list(_homes(home))


def _homes(home: str) -> Iterator[Home]:
    for application in _directories(home):
        for place in _directories(os.path.join(home, application)):
            slots = open_slots(os.path.join(home, application, place), durability=Durability())
            note = slots.note()
            for found in slots.look():
                yield _home(application, note, found)


def directories(above: str) -> list[str]:
    """The names of those in it. Raises OSError."""
    with os.scandir(above) as entries:
        return sorted(entry.name for entry in entries if _is_directory(entry))


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """As the listing says: in a directory that may be listed, and no more, the system tells nothing else."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _directories(above: str) -> list[str]:
    try:
        return directories(above)
    except OSError:
        return []


def _home(application: str, note: dict[str, object], found: Found) -> Home:
    depth = None if found.store is None else found.store.depth(QUEUE)
    index, ack = note.get("index"), note.get("ack")
    return Home(
        application=application,
        program=str(note.get("program", "")),
        place=str(note.get("place", "")),
        number=index if isinstance(index, int) else 0,
        directory=found.directory,
        pid=found.pid,
        items=None if depth is None else depth.unfinished,
        dead=None if depth is None else depth.dead,
        bytes=None if depth is None else depth.bytes,
        ack=ack if isinstance(ack, str) else None,
        transient=bool(note.get("transient")),
    )
