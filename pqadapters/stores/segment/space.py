"""Giving space back: dead segments at the front go, and a front that a few old records pin is written again.

The log is cleaned in a circle. When what is dead outweighs what is live, the live records of the first segment are
written at the tail and the segment goes; whatever else stood in it is not needed any more, for nothing older is left
that it could acknowledge. Each byte is rewritten at most about once for each byte that was put.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import compress
from typing import NamedTuple

from ...errors import DiskError
from ...interrupts import check_refusal
from ...portions import portions
from . import checkpoint, format
from .files import NO_SPACE
from .log import SPARE, Log
from .places import Segment
from .queues import Catalog, Key, Table
from .reader import Reader

_LITTLE = 64  #: live records
_MOST_MOVED = SPARE // 2  #: bytes of live records that go into a segment begun in the room that another gives up
_AT_ONCE, _BYTES_AT_ONCE = 200, 1 << 16  #: records that are written again go in one write; more keep the collector busy
_PER_CHECKPOINT_ID = 4  #: bytes of a checkpoint for each frame of a segment, about


class _Move(NamedTuple):
    """A live record as it is to be written at the tail."""

    kind: int
    body: bytes
    number: int  #: of its queue or table
    id: int  #: by which it stands where it stands
    key: bytes = b""  #: of an entry


def wasteful(log: Log, catalog: Catalog) -> bool:
    """Whether the front is worth writing again."""
    front, dead = log.front, log.dead
    if front is log.tail:
        return False
    size = log.size - log.slack(front) - sum(segment.end for segment in dead)
    if front.live <= front.few and not dead:
        return True
    return size > 2 * catalog.least_live_bytes(log) and size > 2 * catalog.standing_bytes(log)


def worth_dropping(log: Log, catalog: Catalog) -> bool:
    """Whether the dead segments at the front outweigh the checkpoint that must be written before they go."""
    dead = log.dead
    cost = max(_PER_CHECKPOINT_ID * (log.next - log.segments[0].base), log.saved_bytes)
    return bool(dead) and (as_good_as_empty(log, catalog) or sum(segment.end for segment in dead) >= cost)


def as_good_as_empty(log: Log, catalog: Catalog) -> bool:
    """Whether next to nothing is live: what was learnt of the store's queues, say."""
    return log.live <= _LITTLE and catalog.live_bytes(log) * 4 <= log.segment_bytes


def rewrite_front(log: Log, catalog: Catalog, reader: Reader) -> None:
    """Write the live records of the front at the tail. Raises Unreadable, DiskError."""
    ids = _live(log.front)
    move = partial(_move, catalog, reader)
    is_little = len(ids) <= _LITTLE
    frees = is_little and _cost(catalog, map(move, ids), log.tail.names, log.in_reserve) <= log.in_reserve
    most = 1 if log.is_tight else min(_BYTES_AT_ONCE, log.segment_bytes // 8)
    for moves in portions(map(move, ids), _size, count=_AT_ONCE, most=most):
        _write(log, catalog, moves, frees)


def _size(move: _Move) -> int:
    return format.FRAME_COST + len(move.body)


def _write(log: Log, catalog: Catalog, moves: list[_Move], frees: bool) -> None:
    """Write these in one go, each as a commit of its own."""
    make_room(log, catalog, sum(map(_size, moves)), tuple({move.number for move in moves}), shrinks=frees)
    id, offset, seed = log.next, log.tail.end, log.tail.seed
    frames = [format.encode_frame(move.kind, format.WHOLE, id + n, move.body, seed) for n, move in enumerate(moves)]
    log.land(b"".join(frames), len(frames), [partial(_settle, log, catalog, moves, id, offset)])


def _settle(log: Log, catalog: Catalog, moves: list[_Move], first: int, offset: int) -> None:
    """What changes in memory when they stand at the tail from that number and offset on; made twice, it is the same."""
    for new, move in enumerate(moves, first):
        if move.kind == format.SET:
            table = catalog.by_number[move.number]
            assert isinstance(table, Table)
            _, place, size = table.keys[move.key]
            log.displace(move.id)
            log.place(new, log.tail, offset)
            table.keys[move.key] = Key(new, place, size)
        else:
            log.place(move.id, log.tail, offset)
        offset += _size(move)


def _live(segment: Segment) -> list[int]:
    return [*compress(range(segment.base, segment.next), segment.index), *segment.guests]


def is_pinned(log: Log) -> bool:
    """Whether a few records are all that keeps the front on a full disk, where the reserve may have room for them."""
    return log.is_full and 0 < log.segments[0].live <= _LITTLE


def begin_anew(log: Log, catalog: Catalog, reader: Reader) -> None:
    """Where a few records are all that keeps the front on a full disk: they go into the reserve. Those of the only
    segment go into a new one, in the room that the old one gives up. Raises Unreadable, DiskError."""
    if not is_pinned(log):
        return
    is_alone = len(log.segments) == 1
    most, names = (_MOST_MOVED, set[int]()) if is_alone else (log.in_reserve, log.tail.names)
    moved = _cost(catalog, map(partial(_move, catalog, reader), _live(log.segments[0])), names, most)
    if moved <= most and (not is_alone or log.start_over(moved)):
        rewrite_front(log, catalog, reader)


def _cost(catalog: Catalog, moves: Iterable[_Move], names: set[int], most: int) -> int:
    """Bytes that they take in a segment with these names; where that is more than `most`, something above it."""
    cost, named = 0, set(names)
    for move in moves:
        cost += _size(move)
        if move.number not in named:
            named.add(move.number)
            cost += format.FRAME_COST + len(_name(catalog, move.number))
        if cost > most:
            break
    return cost


def _move(catalog: Catalog, reader: Reader, id: int) -> _Move:
    kind, body = reader.body(id)
    if kind == format.SET:
        return _move_of_entry(catalog, id, bytes(body))
    return _move_of_record(catalog, id, kind, bytes(body))


def _move_of_record(catalog: Catalog, id: int, kind: int, body: bytes) -> _Move:
    body = format.restated(kind, body, id)
    extra = catalog.extra.get(id)
    if extra is not None:
        fields = format.decode_record(format.RECORD, memoryview(body))
        fields = fields._replace(
            queue=extra.queue or fields.queue, not_before=extra.not_before, attempts=extra.attempts, note=extra.note
        )
        body = format.encode_record(fields)
    return _Move(format.RECORD, body, format.queue_of(body), id)


def _move_of_entry(catalog: Catalog, id: int, body: bytes) -> _Move:
    number, key = format.key_of(body)
    table = catalog.by_number[number]
    assert isinstance(table, Table)
    return _Move(format.SET, format.placed(body, table.keys[key].place), number, id, key)


def make_room(
    log: Log, catalog: Catalog, size: int, numbers: tuple[int, ...], shrinks: bool = False, each: int = 0
) -> None:
    """Room for `size` bytes at the tail, in a segment that names these queues and tables. `shrinks`: on a full disk the
    reserve is for it; `each`: as `Log.make_room`. Raises DiskError."""
    while True:
        missing = [number for number in numbers if number not in log.tail.names]
        names = [_name(catalog, number) for number in missing]
        total = size + sum(format.FRAME_COST + len(name) for name in names)
        tail = log.tail
        if tail.end + total > (log.ack_room if shrinks else log.put_room):
            _find_room(log, catalog, total, shrinks, each)
        if tail is log.tail:
            break
    if names:
        encode = partial(format.encode_frame, format.NAME, format.WHOLE, start=log.tail.seed)
        frames = [encode(log.next + at, name) for at, name in enumerate(names)]
        log.add(b"".join(frames), len(frames))
        log.tail.names.update(missing)


def _find_room(log: Log, catalog: Catalog, size: int, shrinks: bool, each: int) -> None:
    """As `Log.make_room`; a full disk gives back what is dead, and acknowledgements may use the reserve."""
    try:
        log.make_room(size, each)
    except DiskError as error:
        if error.errno not in NO_SPACE:
            raise
        if log.dead or log.start_over():
            drop_dead(log, catalog)
            _find_room(log, catalog, size, shrinks, each)
        elif not (shrinks and log.use_reserve(size)):
            raise


def most_of_name(name: str) -> int:
    """So many bytes a name takes in a segment at most."""
    return format.FRAME_COST + format.NAME_FIELDS.size + 4 * len(name)


def _name(catalog: Catalog, number: int) -> bytes:
    owner = catalog.by_number[number]
    return format.NAME_FIELDS.pack(number, isinstance(owner, Table)) + owner.name.encode("utf-8", "surrogatepass")


def drop_dead(log: Log, catalog: Catalog) -> None:
    """Remove the dead segments at the front, once a checkpoint that doesn't need them is on the disk, or none is."""
    dead = log.dead
    if dead:
        log.sync_here()
        if checkpoint.is_there(log):
            save(log, catalog, log.segments[len(dead) :])
        log.drop(dead)


def save(log: Log, catalog: Catalog, keep: list[Segment], *, sync: bool = True) -> None:
    """Write a checkpoint of a synced log; on a full disk go without one. `sync` is `checkpoint.write`'s. Raises
    DiskError, StorePoisoned."""
    log.checkpointed()
    log.saved = None
    try:
        log.saved = log.next, keep, checkpoint.write(log, catalog, keep, sync=sync)
    except OSError as error:
        check_refusal(error)
        try:
            checkpoint.remove(log)  # it names segments that are about to go
        except OSError as refusal:
            raise log.refused(refusal, "give back space in") from refusal
