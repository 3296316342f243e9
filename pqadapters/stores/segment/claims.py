"""Claiming: which records a claim takes, and what becomes of them when it fails half-way. The lock is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice, repeat, takewhile
from typing import Any

from ...store import Claim, Order, State
from . import format, looks, space
from .core import RECENT_RECORDS, Core
from .queues import Extra, Queue
from .reader import Unreadable


def take(
    core: Core, queue: Queue, order: Order, ids: Sequence[int] | None, limit: int, counted: bool, owner: object,
    claims: list[Claim],
) -> None:  # fmt: skip
    """Add claims on up to `limit` ready records. Raises DiskError where one can't be read or counted: none is claimed
    then. What interrupts the caller behind this is its own to deal with: see `untake`."""
    if queue.delayed:
        queue.mature(core.clock.wall())
    wanted: Iterator[int] | None = None
    if ids is not None:
        wanted = iter(_ready_ids(core, queue, ids, order))
    taken: list[int] = []
    run = _RUN
    try:
        while True:
            if wanted is None and _is_plain(queue, order):
                run = _take_plain(core, queue, limit, owner, claims, taken, run)
            if len(claims) >= limit or (claim := _next(core, queue, order, wanted, owner, taken)) is None:
                break
            claims.append(claim)
        if counted and claims:
            _count(core, queue, claims)
        if claims:
            _taken(queue)
    except BaseException:
        _untake_all(queue, taken)  # an interrupt, or a disk that refuses
        raise


def take_one(core: Core, queue: Queue, order: Order, owner: object, counted: bool) -> Claim | None:
    """`take` for one record; None where none is ready."""
    if queue.delayed:
        queue.mature(core.clock.wall())
    ready = queue.ready  # none where there is a heap
    if ready and order is _OLDEST and not (queue.back or queue.gone) and (id := ready[0]) not in core.catalog.extra:
        found = core.recent.pop(id, None) or _at_hand(core, queue, id)
        if found is not None:
            payload, put_at = found
            plain: Claim = _new(Claim, (queue.name, id, 1, payload, b"", put_at, ""))
            queue.claimed[id] = plain, owner
            try:
                ready.popleft()
                if counted:
                    _count(core, queue, [plain])
                if queue.crowd.size:
                    _taken(queue)
            except BaseException:
                _untake_all(queue, [id])
                raise
            return plain
    taken: list[int] = []
    try:
        claim = _next(core, queue, order, None, owner, taken)
        if counted and claim is not None:
            _count(core, queue, [claim])
        if claim is not None:
            _taken(queue)
    except BaseException:
        _untake_all(queue, taken)
        raise
    return claim


def untake(core: Core, claims: Sequence[Claim]) -> None:
    """An interrupt has kept these from being handed out: they are ready again, for somebody else who waits."""
    for claim in claims:
        queue = core.catalog.queue(claim.queue)
        held = queue.claimed.get(claim.id)
        if held is not None and held[0] is claim:  # else its handle was closed meanwhile
            _untake_all(queue, [claim.id])
            _taken(queue)


def _is_plain(queue: Queue, order: Order) -> bool:
    """Whether claims go through the ready records from the first on."""
    return order is _OLDEST and not (queue.back or queue.gone) and queue.heap is None


def _take_plain(
    core: Core, queue: Queue, limit: int, owner: object, claims: list[Claim], taken: list[int], run: int
) -> int:
    """Claim what came by plain puts, is at hand and hasn't changed since, up to the first that isn't so. So many as
    `run` are looked at in one go; returns how many are worth it the next time."""
    ready = queue.ready
    while ready and len(claims) < limit:
        ids = _unchanged(core, list(islice(ready, min(limit - len(claims), run))))
        found = _recent(core, ids) or core.reader.run(ids, queue)
        if not found:
            return 1
        _hand_out(core, queue, ids[: len(found)], found, owner, claims, taken)
        run = min(2 * run, _RUN)
    return run


def _recent(core: Core, ids: list[int]) -> list[tuple[bytes, float]]:
    """Payload and time of the first of these, as far as they are still in memory."""
    recent = core.recent
    if not ids or ids[0] not in recent:
        return []
    return [recent[id] for id in takewhile(recent.__contains__, ids)]


def _hand_out(
    core: Core, queue: Queue, ids: list[int], found: list[tuple[bytes, float]], owner: object,
    claims: list[Claim], taken: list[int],
) -> None:  # fmt: skip
    """Claim the first ready records, which are these. What an interrupt breaks off can be undone by `taken`."""
    name, ready, recent = queue.name, queue.ready, core.recent
    made: list[Claim] = [
        _new(Claim, (name, id, 1, payload, b"", put_at, ""))
        for id, (payload, put_at) in zip(ids, found)  # noqa: B905  # as many of both
    ]
    taken.extend(ids)
    queue.claimed.update(zip(ids, zip(made, repeat(owner))))  # noqa: B905
    for _ in ids:
        ready.popleft()
    claims.extend(made)
    if recent:
        for id in ids:
            recent.pop(id, None)


def _at_hand(core: Core, queue: Queue, id: int) -> tuple[bytes, float] | None:
    """Payload and time of a record that came by a plain put, if they needn't be read from disk."""
    recent = core.recent
    if id not in recent:
        if len(recent) > 2 * RECENT_RECORDS:  # where claims aren't in order, most are of no use to anybody
            recent.clear()
        ready = queue.ready
        ids = list(islice(ready, _AT_ONCE)) if ready and ready[0] == id else [id]
        recent.update(zip(ids, core.reader.run(_unchanged(core, ids), queue)))  # noqa: B905  # up to the first that isn't
    return recent.pop(id, None)


def _unchanged(core: Core, ids: list[int]) -> list[int]:
    """Up to the first of which more is known than its frame tells."""
    changed = core.catalog.extra
    if changed and not changed.keys().isdisjoint(ids):
        return list(takewhile(lambda id: id not in changed, ids))
    return ids


_TRIES = 1000
_RUN = 1024  #: records that are looked at in one go
_AT_ONCE = 32  #: the same, where one is asked for
_OLDEST = Order.OLDEST  # an enum's attribute takes a search
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path


def _taken(queue: Queue) -> None:
    if queue.crowd.size:
        queue.changed()
        if len(queue):
            queue.wake_taker()


def _next(
    core: Core, queue: Queue, order: Order, wanted: Iterator[int] | None, owner: object, taken: list[int]
) -> Claim | None:
    """The next record that is whole; damaged ones are put aside on the way."""
    while True:
        if wanted is None and queue.heap is not None:
            queue.prepare(order)  # for each: to put a damaged record aside has undone it
        id = queue.first(order) if wanted is None else next(wanted, None)
        if id is None:
            return None
        try:
            return _claim(core, queue, id, owner, taken)
        except Unreadable as error:
            core.heal_locked(error)


def _claim(core: Core, queue: Queue, id: int, owner: object, taken: list[int]) -> Claim:
    found = _at_hand(core, queue, id)
    rank, note, attempts = b"", "", 0
    if found is not None:
        payload, put_at = found
    else:
        fields = core.read_locked(id)
        payload, put_at, rank, note, attempts = fields[2], fields[1], fields.rank, fields.note, fields.attempts
    extra = core.catalog.extra.get(id) if core.catalog.extra else None
    if extra is not None:
        note, attempts = extra.note, extra.attempts
    taken.append(id)
    claim = Claim(queue.name, id, attempts + 1, payload, rank, put_at, note)
    queue.claimed[id] = claim, owner
    queue.take(id)
    return claim


def _untake_all(queue: Queue, taken: list[int]) -> None:
    """Make them ready again. What another interrupt breaks off is done again."""
    for id in taken:
        for _ in range(_TRIES):
            with suppress(BaseException):
                _untake(queue, id)
                break


def _untake(queue: Queue, id: int) -> None:
    held = queue.claimed.get(id)
    if held is not None:
        if not queue.has(id):  # else it wasn't taken out yet
            queue.give_back(id, held[0].rank)
        del queue.claimed[id]


def _count(core: Core, queue: Queue, claims: list[Claim]) -> None:
    """Write the attempts down, so that they are known after a crash."""
    bodies = [format.encode_state(c.id, queue.number, 0.0, c.attempt, c.note) for c in claims]
    size = sum(map(len, bodies)) + format.FRAME_COST * len(bodies)
    log = core.log
    if log.tail.end + size > log.ack_room or queue.number not in log.tail.names:
        space.make_room(log, core.catalog, size, (queue.number,), shrinks=True)
    kind, whole, seed = format.STATE, format.WHOLE, log.tail.seed
    frames = [format.encode_frame(kind, whole, number, body, seed) for number, body in enumerate(bodies, log.next)]
    log.add(b"".join(frames), len(frames))
    for claim in claims:
        core.catalog.extra[claim.id] = Extra(claim.attempt, 0.0, queue.number, claim.note)


def _ready_ids(core: Core, queue: Queue, ids: Sequence[int], order: Order) -> list[int]:
    """Those of `ids` that are ready in this queue, in order. No other record is looked at."""
    there = {id: looks.standing(core, queue, id) for id in ids}
    ready = [(id, each[1]) for id, each in there.items() if each is not None and each[0] is State.READY]
    found = [(rank if order is Order.RANK else b"", id) for id, rank in ready]
    return [id for _, id in sorted(found, reverse=order is Order.NEWEST)]
