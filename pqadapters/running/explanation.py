"""`--explain`: what a run has swapped, where its queues and shelves live, what is in them. On stderr, at its end.

Only the process that was started says it. Looks at what is on disk, and changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import wraps
from types import ModuleType
from typing import Any, TextIO

from .finder import Notes

_LEARNT = {"task_done": "task_done()", "next": "the next get, or a normal exit"}


class Shelves:
    """Shelves that a program opens, by the functions that it gets for that."""

    def __init__(self) -> None:
        self.opened: dict[str, str] = {}  #: path or URL -> the kind of shelf

    def taken(self, mirror: ModuleType, name: str) -> Any:
        """What is taken from a module of ours by a name; a function that opens shelves notes which."""
        found = getattr(mirror, name)
        if mirror.__name__ != "pqadapters.stdlib.shelve" or name != "open":
            return found

        @wraps(found)
        def noting(filename: Any, *more: Any, **options: Any) -> Any:
            shelf = found(filename, *more, **options)
            path = os.path.abspath(os.fsdecode(filename))
            self.opened[path] = "durable" if isinstance(shelf, mirror.DbfilenameShelf) else "a dbm file, used as it is"
            return shelf

        return noting


def explain_at_end(notes: Notes, shelves: Shelves) -> None:
    """Say it when this process ends."""
    from ..ending import at_end

    started, stream = os.getpid(), sys.stderr  # the program may put another one in its place, and leave it there
    at_end(lambda: _explain(notes, shelves, stream) if os.getpid() == started else None, last=True)


def _explain(notes: Notes, shelves: Shelves, stream: TextIO) -> None:
    text = ""
    for title, lines in (
        ("swapped", _swapped(notes)),
        ("left alone", (f"{module}: {why}" for module, why in notes.left.items())),
        ("queues", _queues()),
        ("shelves", _shelves(shelves)),
    ):
        said = list(lines)
        if said or title == "swapped":
            text += f"pqadapters: {title}{'' if said else ': nothing'}\n"
            text += "".join(f"  {line}\n" for line in said)
    stream.write(text)


def _swapped(notes: Notes) -> Iterator[str]:
    for module, (file, found) in notes.swapped.items():
        yield f"{module} ({file}): {'; '.join(found)}"


def _queues() -> Iterator[str]:
    if "pqadapters.stdlib._exit" not in sys.modules:
        return
    open_ones = dict(_open_ones())
    yield from open_ones.values()
    for place in _made():
        if place not in open_ones:
            yield _on_disk(place)


def _made() -> list[tuple[str, int]]:
    """Place and index of the queues without a name that this process has made."""
    from ..home.places import made

    return sorted(made())


def _open_ones() -> Iterator[tuple[object, str]]:
    """Queues that the program still has."""
    from ..stdlib._exit import _lines

    for line in sorted(_lines, key=lambda line: line.label):
        private: Any = line.private
        if line.flags.closed or line.flags.forked or (private is not None and private._slot is None):
            continue
        with suppress(Exception):  # its store may be gone
            name = repr(line.name) if private is None else private._spot.name
            place = line if private is None else (name, private._spot.index)
            left = line.store.depth(line.name)
            yield place, _say(name, line.store.place, _policy(line.policy.value), left.unfinished, left.dead)


def _policy(ack: Any) -> str:
    return f"an item is done by {_LEARNT[ack]}" if ack in _LEARNT else "when an item is done wasn't learnt yet"


def _on_disk(place: tuple[str, int]) -> str:
    """A queue whose slot this process has let go of, or never had."""
    from ..durability import Durability
    from ..home.application import application
    from ..home.ground import home_of
    from ..home.places import directory_name
    from ..opening import open_slots

    name, index = place
    program = application()
    directory = os.path.join(home_of(program), program.name, directory_name(name, index))
    slots = open_slots(directory, durability=Durability())
    depths = [found.store.depth("default") for found in slots.look() if found.store is not None]
    if not os.path.isdir(directory):
        return f"{name}: nothing was put"
    left, dead = sum(depth.unfinished for depth in depths), sum(depth.dead for depth in depths)
    return _say(name, directory, _policy(slots.note().get("ack")), left, dead)


def _say(name: str, directory: str, learnt: str, left: int, dead: int) -> str:
    letters = f", {dead} dead letters" if dead else ""
    return f"{name} in {directory}: {learnt}; {left} items left{letters}"


def _shelves(shelves: Shelves) -> Iterator[str]:
    return (f"{path}: {kind}" for path, kind in shelves.opened.items())
