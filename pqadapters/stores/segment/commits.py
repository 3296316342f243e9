"""Carrying out a commit: make room, write, then change memory. All of it with the lock held.

The two plain cases, a put and an acknowledgement, go without a plan. In each the write comes first, and then the
numbers change in one run without a call, in which no signal handler can raise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import cast
from zlib import crc32

from ...store import Ack, Claim, Op, Order, Put
from . import format, space
from .core import RECENT_BYTES, RECENT_RECORDS, Core
from .draft import Draft, check_size, lease_lost
from .format import ACK_LEAD, LONG, PUT_BESIDE, PUT_LEAD, join_frame, pack_ack, pack_put
from .log import Log
from .queues import Queue
from .reader import Unreadable

_PUT_COST, _ACK_FRAME = format.PUT_COST, format.ACK_FRAME
_id, _payload, _rank, _note = map(itemgetter, map(Claim._fields.index, ("id", "payload", "rank", "note")))
_is_lazy = itemgetter(Ack._fields.index("lazy"))


def put(core: Core, op: Put) -> int:
    """A plain put as a commit of its own; the record's id."""
    payload = op[1]
    size = len(payload)
    log = core.log
    queue = core.catalog.queues.get(op[0])
    if queue is None:
        queue = core.catalog.queue(op[0])
    tail = log.tail
    offset = tail.end
    end = offset + size + _PUT_COST
    if end > log.put_room or queue.number not in tail.names:
        check_size(payload)  # there is never room for too large a one
        if end + space.most_of_name(op[0]) > log.put_room:  # a name alone is no reason to look at all queues
            core.tidy_locked()
        space.make_room(log, core.catalog, size + _PUT_COST, (queue.number,), each=size)
        tail = log.tail
        offset = tail.end
        end = offset + size + _PUT_COST
    id, now = log.next, core.clock.wall()
    head = pack_put(PUT_LEAD, size + PUT_BESIDE, id, queue.number, now)
    if size < LONG:
        head += payload
        frame = head + crc32(head, tail.seed).to_bytes(4, "little")
    else:
        frame = join_frame(head, payload, tail.seed)
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
        _wake(queue)
        raise
    try:
        if size <= RECENT_BYTES and len(core.recent) < RECENT_RECORDS:
            core.recent[id] = (payload, now)  # for whoever gets it soon
        if queue.crowd.size:
            _wake(queue)
    except BaseException:  # the record is there, whatever comes next
        _wake(queue)
        raise
    return id


def _wake(queue: Queue) -> None:
    queue.changed()
    queue.wake_taker()


def ack(core: Core, op: Ack, owner: object) -> None:
    """An acknowledgement as a commit of its own."""
    claim = op[0]
    catalog, log = core.catalog, core.log
    name, id, attempt, payload, rank, _, note = claim
    try:
        queue = catalog.queues[name]
        held, holder = queue.claimed[id]
    except KeyError:
        raise lease_lost(claim) from None
    if held is not claim or holder is not owner:
        if holder is not owner or held.attempt != attempt:
            raise lease_lost(claim)
        payload = held.payload  # it may have been updated
    size = len(payload)
    more = format.more_cost(rank, note) if rank or note else 0
    tail = log.tail
    offset = tail.end
    if offset + _ACK_FRAME > log.ack_room:
        core.tidy_locked()
        if id not in queue.claimed:  # it was found damaged while space was given back
            raise lease_lost(claim)
        space.make_room(log, catalog, _ACK_FRAME, (), shrinks=True)
        tail = log.tail
        offset = tail.end
    head = pack_ack(ACK_LEAD, 8, log.next, id)
    try:
        log.disk.write(tail.fd, head + crc32(head, tail.seed).to_bytes(4, "little"), offset)
    except BaseException as error:
        raise log.undone(error, offset, _ACK_FRAME)  # noqa: B904
    tail.end = offset + _ACK_FRAME
    log.next += 1
    queue.bytes -= size
    if more:
        log.more_bytes -= more
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
        queue.changed()
        raise
    if queue.crowd.size:
        try:
            queue.changed()
        except BaseException:  # it is done, whatever comes next
            queue.changed()
            raise
    if segment is not None and segment.live <= segment.few and segment is not tail:
        core.tidy_locked()


def carry_out(
    core: Core, ops: tuple[Op, ...], owner: object, landed: list[bool] | None = None
) -> tuple[tuple[int, ...], bool]:
    """Several operations, or one with conditions: their results, and whether no sync is needed. The latter goes into
    `landed`, too, as they are done: for who is interrupted behind that."""
    log = core.log
    if {*map(type, ops)} == {Ack}:
        acks = cast("tuple[Ack, ...]", ops)
        if _ack_all(core, acks, owner, landed):
            return (0,) * len(ops), all(map(_is_lazy, acks))
    draft = _plan(core, ops, owner)
    if draft.frames:
        if log.tail.end + draft.size > log.put_room:
            healed = len(core.damage)
            core.tidy_locked()
            if len(core.damage) != healed:  # what was planned may be gone
                return carry_out(core, ops, owner, landed)
        each = draft.size // len(draft.frames)
        space.make_room(log, core.catalog, draft.size, tuple(draft.numbers), draft.shrinks, each)
    results = [log.next + at if at >= 0 else 0 for at in draft.results]
    data, count, changes = _encode(log, draft)
    log.land(data, count, [*changes, *_noting(landed, draft.lazy)])
    if log.dead:
        core.tidy_locked()
    return tuple(results), draft.lazy


def _ack_all(core: Core, ops: tuple[Ack, ...], owner: object, landed: list[bool] | None) -> bool:
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
    frame = format.encode_frame(format.ACK, format.WHOLE, log.next, body, log.tail.seed)
    ended = _end_of(queue, ids, payloads, more, core)
    log.land(frame, 1, [queue.changed, ended, *_noting(landed, all(map(_is_lazy, ops)))])
    if log.dead:
        core.tidy_locked()
    return True


def _noting(landed: list[bool] | None, lazy: bool) -> list[Callable[[], None]]:
    return [] if landed is None else [partial(landed.append, lazy)]


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


def _plan(core: Core, ops: tuple[Op, ...], owner: object) -> Draft:
    log = core.log
    while True:
        draft = Draft(log, core.catalog, core.reader, owner, core.clock.wall())
        try:
            for op in ops:
                draft.add(op)
        except Unreadable as error:
            core.heal_locked(error)
            continue
        except OSError as error:  # of a value that was to be compared
            raise log.refused(error, "read") from error
        draft.finish()
        return draft


def _encode(log: Log, draft: Draft) -> tuple[bytes, int, list[Callable[[], object]]]:
    """The frames of a commit, how many they are, and what changes in memory with them, the last one first."""
    last = len(draft.frames) - 1
    parts: list[bytes] = []
    changes: list[Callable[[], object]] = []
    end = log.tail.end
    for at, (kind, body, step) in enumerate(draft.frames):
        flags = format.FIRST * (at == 0) | format.LAST * (at == last)
        parts.append(format.encode_frame(kind, flags, log.next + at, body, log.tail.seed))
        changes.append(partial(step, log.next + at, end))
        end += len(parts[-1])
    changes += [*draft.steps, partial(_tell, draft)]
    return b"".join(parts), len(parts), changes[::-1]


def _tell(draft: Draft) -> None:
    for queue in draft.touched:
        queue.takers.wake_all()
        queue.changed()
