"""`--explain`: what a run has swapped, where its queues, executors and shelves live, what is in them. On stderr, at its
end.

Only the process that was started says it. Looks at what is on disk, and changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from .finder import Finder, Notes

if TYPE_CHECKING:
    from ..home.families import Reference
    from ..stdlib._lines.line import Line

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


def explain_at_end(notes: Notes, shelves: Shelves, finder: Finder) -> None:
    """Say it when this process ends."""
    from ..ending import at_end

    started, stream = os.getpid(), sys.stderr  # the program may put another one in its place, and leave it there
    at_end(lambda: _explain(notes, shelves, finder, stream) if os.getpid() == started else None, last=True)


def _explain(notes: Notes, shelves: Shelves, finder: Finder, stream: TextIO) -> None:
    from ..wording import escaped

    text = ""
    left = {**dict(finder.passed_over()), **notes.left}
    for title, lines in (
        ("swapped", _swapped(notes)),
        ("left alone", (f"{module}: {why}" for module, why in left.items())),
        ("queues", _queues()),
        ("executors", (_on_disk(place, "executor") for place in _made("executor"))),
        ("shelves", _shelves(shelves)),
    ):
        said = list(lines)
        if said or title == "swapped":
            text += f"pqadapters: {title}{'' if said else ': nothing'}\n"
            text += "".join(f"  {escaped(line)}\n" for line in said)
    stream.write(text)


def _swapped(notes: Notes) -> Iterator[str]:
    for module, (file, found) in notes.swapped.items():
        yield f"{module} ({file}): {'; '.join(found)}"


def _queues() -> Iterator[str]:
    if "pqadapters.stdlib._lines.exit" not in sys.modules:
        return
    from ..home.families import founded

    families = founded()
    open_ones = dict(_open_ones(families))
    yield from open_ones.values()
    for place in _made("queue"):
        if place not in open_ones:
            yield _in_database(place[0], families[place]) if place in families else _on_disk(place)


def _made(what: str) -> list[tuple[str, int]]:
    """Place and index of the queues, or executors, without a name that this process has made."""
    if "pqadapters.home.places" not in sys.modules:
        return []
    from ..home.places import made

    return sorted(made(what))


def _open_ones(families: dict[tuple[str, int], Reference]) -> Iterator[tuple[object, str]]:
    """Queues that the program still has."""
    from ..stdlib._lines.exit import _lines

    for line in sorted(_lines, key=lambda line: line.label):
        private: Any = line.private
        if line.flags.closed or line.flags.forked or (private is not None and private._slot is None):
            continue
        with suppress(Exception):  # its store may be gone
            place, name, where = _whereabouts(line, families)
            left = line.store.depth(line.name)
            ack = line.policy.value if line.policy.value in _LEARNT else line.learnt()  # by another process
            yield place, _say(name, where, _policy(ack), left.unfinished, left.dead)


def _whereabouts(line: Line, families: dict[tuple[str, int], Reference]) -> tuple[object, str, str]:
    """Its place and index, or itself where it has none; how people know it; where it lives."""
    if line.private is not None:
        spot = line.private._spot
        return (spot.name, spot.index), spot.name, line.store.place
    for place, reference in families.items():
        if line.name == reference.queue and line.store.place == os.path.realpath(reference.path):
            return place, place[0], _address(reference)
    return line, repr(line.name), line.store.place


def _address(reference: Reference) -> str:
    return f"{reference.path}, as {reference.queue!r}"


def _in_database(name: str, reference: Reference) -> str:
    """A queue for several processes that this one has closed or dropped."""
    from ..opening import look_at

    left = look_at(reference.path, lambda sight: sight.depth(reference.queue))
    return _say(name, _address(reference), "", left.unfinished, left.dead)


def _policy(ack: Any) -> str:
    return f"an item is done by {_LEARNT[ack]}" if ack in _LEARNT else "when an item is done wasn't learnt yet"


def _on_disk(place: tuple[str, int], what: str = "queue") -> str:
    """A queue or an executor whose slot this process has let go of, or never had."""
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
        return f"{name}: nothing was {'put' if what == 'queue' else 'submitted'}"
    left, dead = sum(depth.unfinished for depth in depths), sum(depth.dead for depth in depths)
    if what == "executor":
        return _say(name, directory, "a job is done when its outcome is stored", left, dead, "jobs")
    return _say(name, directory, _policy(slots.note().get("ack")), left, dead)


def _say(name: str, directory: str, learnt: str, left: int, dead: int, things: str = "items") -> str:
    letters = f", {_count(dead, 'dead letters')}" if dead else ""
    return f"{name} in {directory}: {learnt}{'; ' if learnt else ''}{_count(left, things)} left{letters}"


def _count(number: int, things: str) -> str:
    return f"{number} {things.removesuffix('s') if number == 1 else things}"


def _shelves(shelves: Shelves) -> Iterator[str]:
    return (f"{path}: {kind}" for path, kind in shelves.opened.items())
