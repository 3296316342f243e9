"""Places where items of earlier runs wait, and no queue of this run has been made: named in the log once.

That is what a queue looks like whose place moved in the source; or one that is made later, so a warning comes only at
the end of a run, or when a second run begins so. Slots in which nothing is left go on the way. Any thread may call it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from .. import telling
from ..clock import SYSTEM
from ..ending import at_end
from ..errors import StoreError
from ..opening import open_slots
from .adoption import QUEUE
from .ground import MANY, Ground
from .places import directory_name, made

if TYPE_CHECKING:
    from ..stores.segment.slots import Slots
    from ..stores.segment.store import SegmentStore

_log = telling.logger("pqadapters.home")
_BUDGET = 0.1  #: seconds for looking around; the next run goes on
_ENDS = 2  #: so many runs begin without a queue there, until that is worth a warning
_looked: set[int] = set()  # processes
_ADVICE = "If that place moved in the source, open what waits, by the class that it was made by: %s"
_SHOWN = 3  #: so many directories are named
_OPENS = {"executor": "ThreadPoolExecutor"}  #: what opens the items of anything else than a queue


class _Place(NamedTuple):
    """A place where items wait."""

    slots: Slots
    name: str  #: of its directory
    made_in: str
    nth: int  #: of the queues made there, from 1 on
    what: str  #: "queue", "executor"
    waiting: dict[str, int]  #: slots, and how many items wait in each

    def told(self) -> tuple[object, ...]:
        """What messages say of it."""
        opens = _OPENS.get(self.what, "Queue")
        calls = [f"{opens}(path={directory!r})" for directory in self.waiting]
        more = [] if len(calls) <= _SHOWN else [f"and {len(calls) - _SHOWN} more, which homes() lists"]
        return sum(self.waiting.values()), self.what, self.made_in, self.nth, ", ".join(calls[:_SHOWN] + more)


def name_waiting_places(ground: Ground) -> None:
    """Look once for each process, at its first use of a queue; never in the way of that."""
    if os.getpid() in _looked:
        return
    _looked.add(os.getpid())
    try:
        places = _look(ground)
    except (StoreError, OSError) as error:
        _log.debug("can't look for waiting queues: %s", error)
        return
    if places:
        at_end(partial(_name_at_the_end, os.getpid(), places))


def _look(ground: Ground) -> list[_Place]:
    above = os.path.dirname(ground.directory)
    ours, deadline = _ours(), SYSTEM.monotonic() + _BUDGET
    found = []
    for name in sorted(set(os.listdir(above)) - ours):
        if SYSTEM.monotonic() > deadline:
            break
        slots = open_slots(os.path.join(above, name), durability=ground.durability)
        note = slots.note()
        if note and not note.get("named"):
            nth, what = int(note.get("index", 0)) + 1, str(note.get("what", "queue"))
            place = _Place(slots, name, str(note.get("place")), nth, what, _waiting(slots))
            if place.waiting:
                found.append(place)
                _pass(place, int(note.get("passed", 0)) + 1)
            elif place.nth > MANY:
                slots.remove()
    return found


def _ours() -> set[str]:
    return {directory_name(name, index) for name, index in made()}


def _waiting(slots: Slots) -> dict[str, int]:
    """How many items wait there for anybody, by slot; slots without any are taken away."""
    is_empty = partial(_is_empty, tables=slots.note().get("tables", ()))
    waiting, empty = {}, []
    for found in slots.look():
        if found.store is not None:
            if count := found.store.depth(QUEUE).unfinished:
                waiting[found.directory] = count
            if is_empty(found.store):
                empty.append(found.directory)
    for directory in empty:
        slots.take_away(directory, is_empty)
    return waiting


def _is_empty(store: SegmentStore, tables: Iterable[str]) -> bool:
    depth = store.depth(QUEUE)
    return not (depth.unfinished or depth.dead or any(store.count(table) for table in tables))


def _pass(place: _Place, times: int) -> None:
    """Another run begins without a queue there."""
    if times >= _ENDS:
        return _name(place)
    place.slots.add_to_note({"passed": times})
    text = "%d items of an earlier run wait for the %s made in %s (the %d. there), which isn't made yet. " + _ADVICE
    _log.info(text, *place.told())


def _name(place: _Place) -> None:
    if place.slots.add_to_note({"named": True}):  # else another process was faster
        text = "%d items of an earlier run wait for the %s made in %s (the %d. there), and none is made there. "
        _log.warning(text + _ADVICE, *place.told())


def _name_at_the_end(process: int, places: list[_Place]) -> None:
    """The run is over, and no queue was made there, nor has another process been given the items."""
    if process == os.getpid():
        ours = _ours()
        for place in places:
            if place.name not in ours and (waiting := _waiting(place.slots)):
                _name(place._replace(waiting=waiting))
