"""Carrying out a commit: make room, write, then change memory. All of it with the lock held.

The two plain cases, a put and an acknowledgement, go without a plan. In each the write comes first, and then the
numbers change in one run without a call, in which no signal handler can raise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from operator import itemgetter
from typing import cast

from ...store import Ack, Claim, Op, Order, Put
from . import format, space
from .core import RECENT_BYTES, RECENT_RECORDS, Core
from .draft import Draft, check_size, lease_lost
from .format import encode_ack, encode_put
from .queues import Queue
from .reader import Unreadable

_PUT_COST, _ACK_FRAME = format.PUT_COST, format.ACK_FRAME
_LONG = 65536
_TRIES = 1000
_id, _payload, _rank, _note = map(itemgetter, map(Claim._fields.index, ("id", "payload", "rank", "note")))
_is_lazy = itemgetter(Ack._fields.index("lazy"))


def put(core: Core, op: Put) -> int:
    """A plain put as a commit of its own; the record's id."""
    name, payload = op[:2]
    size = len(payload)
    if size > _LONG:
        check_size(payload)
    log = core.log
    queue = core.catalog.queues.get(name)
    if queue is None:
        queue = core.catalog.queue(name)
    tail = log.tail
    offset = tail.end
    end = offset + size + _PUT_COST
    if end > log.put_room or queue.number not in tail.names:
        core.tidy_locked()
        space.make_room(log, core.catalog, size + _PUT_COST, (queue.number,))
        tail = log.tail
        offset = tail.end
        end = offset + size + _PUT_COST
    id, now = log.next, core.clock.wall()
    frame = encode_put(id, queue.number, now, payload, tail.seed)
    try:
        log.disk.write(tail.fd, frame, offset)
    except BaseException as error:
        raise log.undone(error, offset, size + _PUT_COST)  # noqa: B904  # it has its cause
    tail.end = end
    log.next = id + 1
    tail.live += 1
    queue.bytes += size
    try:
        tail.index.append(offset)
        if queue.heap is None:
            queue.ready.append(id)
        else:
            queue.add(id)
    except BaseException:  # an interrupt between the two
        if len(tail.index) == id - tail.base:
            tail.index.append(offset)
        if id not in queue.ids(Order.NEWEST)[:1]:
            queue.add(id)
        raise
    if size <= RECENT_BYTES and len(core.recent) < RECENT_RECORDS:
        core.recent[id] = (payload, now)  # for whoever gets it soon
    if queue.crowd.size:
        queue.changed()
        queue.wake_taker()
    return id


def ack(core: Core, op: Ack, owner: object) -> None:
    """An acknowledgement as a commit of its own."""
    claim = op.claim
    catalog, log = core.catalog, core.log
    name, id, attempt, payload, rank, _, note = claim
    try:
        queue = catalog.queues[name]
        held, holder = queue.claimed[id]
    except KeyError:
        raise lease_lost(claim) from None
    if holder is not owner or (held is not claim and held.attempt != attempt):
        raise lease_lost(claim)
    size = len(payload if held is claim else held.payload)  # it may have been updated
    tail = log.tail
    if tail.end + _ACK_FRAME > log.ack_room:
        core.tidy_locked()
        if id not in queue.claimed:  # it was found damaged while space was given back
            raise lease_lost(claim)
        space.make_room(log, catalog, _ACK_FRAME, (), shrinks=True)
        tail = log.tail
    frame = encode_ack(log.next, id, tail.seed)
    offset = tail.end
    try:
        log.disk.write(tail.fd, frame, offset)
    except BaseException as error:
        raise log.undone(error, offset, _ACK_FRAME)  # noqa: B904
    tail.end = offset + _ACK_FRAME
    log.next += 1
    queue.bytes -= size
    if rank or note:
        log.more_bytes -= format.more_cost(rank, note)
    del queue.claimed[id]
    try:
        tail.index.append(0)
        segment = log.displace(id)
        if catalog.extra:
            catalog.extra.pop(id, None)
    except BaseException:
        if tail.next < log.next:
            tail.index.append(0)
        log.displace(id)
        raise
    if segment is not None and segment.live <= segment.few and segment is not tail:
        core.tidy_locked()
    if queue.crowd.size:
        queue.changed()


def carry_out(core: Core, ops: tuple[Op, ...], owner: object) -> tuple[tuple[int, ...], bool]:
    """Several operations, or one with conditions: their results, and whether no sync is needed."""
    log = core.log
    if {*map(type, ops)} == {Ack}:
        acks = cast("tuple[Ack, ...]", ops)
        if _ack_all(core, acks, owner):
            return (0,) * len(ops), all(map(_is_lazy, acks))
    draft = _plan(core, ops, owner)
    results = [0] * len(ops)
    first, offsets = 0, [0] * len(draft.frames)
    if draft.frames:
        if log.tail.end + draft.size > log.put_room:
            healed = len(core.damage)
            core.tidy_locked()
            if len(core.damage) != healed:  # what was planned may be gone
                return carry_out(core, ops, owner)
        space.make_room(log, core.catalog, draft.size, tuple(draft.numbers), draft.shrinks)
        first, offsets = _write(core, draft)
        results = [first + at if at >= 0 else 0 for at in draft.results]
    _apply(draft, first, offsets)
    for queue in draft.touched:
        queue.takers.wake_all()
        queue.changed()
    if log.dead:
        core.tidy_locked()
    return tuple(results), draft.lazy


def _ack_all(core: Core, ops: tuple[Ack, ...], owner: object) -> bool:
    """Acknowledge claims of one queue that are as they were handed out. False, and nothing, where they aren't."""
    claims = [op[0] for op in ops]
    ids = [*map(_id, claims)]
    catalog, log = core.catalog, core.log
    queue = catalog.queues.get(claims[0].queue)
    if queue is None or len({*ids}) < len(ids) or not _are_held(queue, ids, claims, owner):
        return False
    body = format.encode_ids(ids)
    size = format.FRAME_COST + len(body)
    if log.tail.end + size > log.put_room:
        core.tidy_locked()
        if not _are_held(queue, ids, claims, owner):  # some were found damaged while space was given back
            return False
    space.make_room(log, catalog, size, (), shrinks=True)
    payloads, more = sum(map(len, map(_payload, claims))), 0
    if any(map(_rank, claims)) or any(map(_note, claims)):
        more = sum(format.more_cost(claim.rank, claim.note) for claim in claims)
    log.append(format.ACK, body)
    _through(_end_of(queue, ids, payloads, more, core))
    if queue.crowd.size:
        queue.changed()
    if log.dead:
        core.tidy_locked()
    return True


def _are_held(queue: Queue, ids: list[int], claims: list[Claim], owner: object) -> bool:
    """Whether they are in the hands of that handle, as they were handed out."""
    return [*map(queue.claimed.get, ids)] == [*zip(claims, repeat(owner))]


def _end_of(queue: Queue, ids: list[int], payloads: int, more: int, core: Core) -> Callable[[], None]:
    """What ends these claims in memory; may be called again behind an interrupt."""
    counted = False

    def end() -> None:
        nonlocal counted
        if not counted:
            counted = True  # no call from here on, in which a signal handler might raise
            queue.bytes -= payloads
            core.log.more_bytes -= more
        claimed, extra = queue.claimed, core.catalog.extra
        for id in ids:
            claimed.pop(id, None)
        if extra:
            for id in ids:
                extra.pop(id, None)
        core.log.displace_all(ids)

    return end


def _through(change: Callable[[], object]) -> None:
    """Make a change in memory: an interrupt is raised when all of it is done."""
    try:
        change()
    except BaseException:
        _finish(change)
        raise


def _plan(core: Core, ops: tuple[Op, ...], owner: object) -> Draft:
    while True:
        draft = Draft(core.log, core.catalog, core.reader, owner, core.clock.wall())
        try:
            for op in ops:
                draft.add(op)
        except Unreadable as error:
            core.heal_locked(error)
            continue
        draft.finish()
        return draft


def _write(core: Core, draft: Draft) -> tuple[int, list[int]]:
    """Write the frames of a commit in one go: the first one's number, and where each stands."""
    log = core.log
    start, last = log.tail.end, len(draft.frames) - 1
    parts: list[bytes] = []
    offsets: list[int] = []
    end = start
    for at, (kind, body, _) in enumerate(draft.frames):
        flags = format.FIRST * (at == 0) | format.LAST * (at == last)
        parts.append(format.encode_frame(kind, flags, log.next + at, body, log.tail.seed))
        offsets.append(end)
        end += len(parts[-1])
    log.write(b"".join(parts), start)
    return log.advance([0] * len(parts), end - start), offsets


def _apply(draft: Draft, first: int, offsets: list[int]) -> None:
    """Change memory: what is on the disk has happened, and an interrupt is raised when all of it has."""
    interrupt: BaseException | None = None
    for at, (_, _, step) in enumerate(draft.frames):
        try:
            step(first + at, offsets[at])
        except BaseException as error:
            interrupt = error
            _finish(step, first + at, offsets[at])
    for change in draft.steps:
        try:
            change()
        except BaseException as error:
            interrupt = error
            _finish(change)
    if interrupt is not None:
        raise interrupt


def _finish(step: Callable[..., object], *arguments: int) -> None:
    """Bring a step to its end that was broken off, however many interrupts there are."""
    for _ in range(_TRIES):
        with suppress(BaseException):
            step(*arguments)
            return
