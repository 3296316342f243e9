"""Places where items of earlier runs wait, and no queue of this run has been made: named in the log once.

That is what a queue looks like whose place moved in the source. Nothing is changed but the note that it was named.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..opening import open_slots
from .adoption import QUEUE
from .ground import Ground
from .places import directory_name, occupied

if TYPE_CHECKING:
    from ..stores.segment.slots import Slots

_log = logging.getLogger("pqadapters.home")
_looked: set[int] = set()  # processes


def name_waiting_places(ground: Ground) -> None:
    """Look once for each process, at its first use of a queue; never in the way of that."""
    if os.getpid() in _looked:
        return
    _looked.add(os.getpid())
    try:
        _look(ground)
    except (StoreError, OSError) as error:
        _log.debug("can't look for waiting queues: %s", error)


def _look(ground: Ground) -> None:
    above = os.path.dirname(ground.directory)
    ours = {directory_name(name, index) for name, index in occupied()}
    for name in sorted(set(os.listdir(above)) - ours):
        slots = open_slots(os.path.join(above, name), durability=ground.durability)
        note = slots.note()
        if not note or note.get("named"):
            continue
        waiting = _waiting(slots)
        if waiting and slots.add_to_note({"named": True}):  # else another process was faster
            _log.warning(
                "%d items of an earlier run wait for the queue made in %s (the %d. there), and no queue has been made "
                "there so far. If that place moved in the source, open what is in %s: Queue(path=that directory)",
                waiting,
                note.get("place"),
                note.get("index", 0) + 1,
                slots.directory,
            )


def _waiting(slots: Slots) -> int:
    return sum(found.store.depth(QUEUE).unfinished for found in slots.look() if found.store is not None)
