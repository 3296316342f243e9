"""Slots that are kept open behind their queues.

Those of places that make a queue for each call are ready for the next one: so it costs no files. There is nothing in
them but dead letters, if anything. And what a dropped queue has left is held until it is known whether its place makes
a queue for each call: meanwhile no other process is given it.

Any thread may call anything. A forked child has none; at the end of the process they are left like any slot.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..durability import Durability
from .adoption import QUEUE

if TYPE_CHECKING:
    from ..stores.segment.slots import Slot
    from .ground import Ground

Key = tuple[str, int, Durability, bool]  #: place, index, durability, whether other owners are trusted
Idle = tuple["Ground", "Slot"]

_MOST = 16  #: for each key
_idle: dict[Key, list[Idle]] = {}
_held: dict[str, list[Idle]] = {}  #: place -> what its dropped queues have left


def again(key: Key) -> Idle | None:
    """A slot that is ready for another queue."""
    try:
        return _idle[key].pop()
    except LookupError:
        return None


def keep(key: Key, idle: Idle) -> bool:
    """Keep a slot for later; False where there are enough."""
    kept = _idle.setdefault(key, [])
    if len(kept) >= _MOST:
        return False
    kept.append(idle)
    return True


def hold(place: str, left: Idle) -> None:
    """Hold what a dropped queue of the place has left."""
    _held.setdefault(place, []).append(left)


def held(place: str) -> Iterator[Idle]:
    """What dropped queues of the place have left, which isn't held any more then."""
    left = _held.get(place)
    while left:
        try:
            yield left.pop()
        except IndexError:  # another thread has taken it
            return


def leave_all() -> None:
    """The end of the process."""
    for place in list(_held):
        for ground, slot in held(place):
            ground.leave(slot, empty=False)
    for key in list(_idle):
        while (idle := again(key)) is not None:
            ground, slot = idle
            ground.leave(slot, empty=not slot.store.depth(QUEUE).dead)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)
    os.register_at_fork(after_in_child=_held.clear)
