"""Looking at records without claiming them. The lock is held."""

from __future__ import annotations

from ...store import Depth, Order, Record, State
from .core import Core
from .queues import Extra, Queue
from .reader import Unreadable


def first(core: Core, queue: Queue, order: Order) -> int | None:
    """The id of the first ready record."""
    queue.mature(core.clock.wall())
    return queue.first(order)


def states(core: Core, queue: Queue, order: Order, state: State | None, after: int) -> dict[int, State]:
    """Ids of the queue's records in this state (None: all) above that one, in order."""
    queue.mature(core.clock.wall())
    if state is State.READY:
        return dict.fromkeys(queue.ids(order, after), State.READY)
    found = dict.fromkeys(queue.ids(Order.OLDEST, after), State.READY) if state is None else {}
    if state in (None, State.DELAYED):
        found.update((entry[1], State.DELAYED) for entry in queue.delayed if entry[1] > after)
    if state in (None, State.CLAIMED):
        found.update((id, State.CLAIMED) for id in queue.claimed if id > after)
    ids = sorted(found, reverse=order is Order.NEWEST)
    if order is Order.RANK:
        ranks = _ranks(queue)
        ids.sort(key=lambda id: ranks.get(id, b""))
    return {id: found[id] for id in ids}


def state(core: Core, queue: Queue, id: int) -> State | None:
    """The state of the queue's record of that id; None where there is none."""
    queue.mature(core.clock.wall())
    found = standing(core, queue, id)
    return found[0] if found is not None else None


def standing(core: Core, queue: Queue, id: int) -> tuple[State, bytes] | None:
    """The state and the rank of the queue's record of that id; None where there is none. Its frame, and what has
    changed since, tell: others aren't looked at, however many there are."""
    held = queue.claimed.get(id)
    if held is not None:
        return State.CLAIMED, held[0].rank
    if core.log.locate(id) is None:
        return None
    fields = core.whole_locked(id)
    if fields is None:
        return None
    extra = core.catalog.extra.get(id) or Extra(0, fields.not_before)
    if (extra.queue or fields.queue) != queue.number:  # 0 for a table's key
        return None
    late = queue.delayed and extra.not_before >= queue.delayed[0][0]  # the clock may have gone on since those were due
    return State.DELAYED if late else State.READY, fields.rank


def _ranks(queue: Queue) -> dict[int, bytes]:
    ranks = {id: claim.rank for id, (claim, _) in queue.claimed.items()}
    ranks.update((id, rank) for _, id, rank in queue.delayed)
    ranks.update((id, rank) for rank, id in queue.heap or ())
    return ranks


def record(core: Core, queue: Queue, id: int, state: State) -> Record | None:
    """A record as it is; None where it has left."""
    if core.log.locate(id) is None:
        return None
    fields = core.whole_locked(id)
    if fields is None:
        return None
    extra = core.catalog.extra.get(id) or Extra(fields.attempts, fields.not_before, 0, fields.note)
    held = queue.claimed.get(id)
    return Record(
        queue.name,
        id,
        state,
        fields.payload,
        fields.rank,
        held[0].attempt if held is not None else extra.attempts,
        fields.put_at,
        extra.not_before,
        extra.note,
    )


def depth(core: Core, queue: Queue, *, age: bool) -> Depth:
    """How much is in the queue; `age`: with that of the oldest, where it can be read. Where records have ranks all of
    them are gone through for that."""
    now = core.clock.wall()
    found = core.catalog.depth(queue, now)
    oldest = queue.first(Order.OLDEST) if age else None
    if oldest is None:
        return found
    recent = core.recent.get(oldest)
    try:
        put_at = recent[1] if recent is not None else core.read_locked(oldest).put_at
    except (Unreadable, OSError):
        return found  # whoever claims it is told
    return found._replace(oldest_age=max(0.0, now - put_at))
