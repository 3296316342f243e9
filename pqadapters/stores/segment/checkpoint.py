"""The checkpoint: what is in memory, written down, so that opening needn't read the whole log.

It is a shortcut and nothing more: a missing, stale or damaged one costs time only. The file::

      0   8  magic        b"PQACKPT\\n"
      8   2  version
     10   4  h, the length of the head
     14   h  head         JSON: everything small, and the lengths of the arrays in the body
   14+h   b  body         arrays: offsets by segment, records that were moved (ids, segments, offsets), ids by queue,
                          keys by table
    ...   4  CRC-32       of all before it

The log is synced up to `segment` and `offset` before a checkpoint that names them is written, and the frames behind
that place are replayed on top of it. Ready records of the largest queue aren't listed: they are the live ones that
nothing else lists. Claims aren't kept: they end with the process, and their records are ready.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from array import array
from collections import deque
from collections.abc import Iterable
from itertools import compress
from typing import Any, NamedTuple
from zlib import crc32

from ...interrupts import SuppressRefusals
from .._disk import Disk, open_file
from . import format
from .directory import CHECKPOINT
from .log import Log
from .places import Segment
from .queues import Catalog, Extra, Key, Queue

_MAGIC = b"PQACKPT\n"
_VERSION = 1
_HEAD = struct.Struct("<8sHI")


def write(log: Log, catalog: Catalog, keep: list[Segment], *, sync: bool) -> int:
    """Write the checkpoint of a log that is synced; `keep` are the segments that stay. Its size in bytes. Without
    `sync` it is on the disk in the system's own time, for whoever doesn't rely on its being there.

    Raises OSError, and the old checkpoint is as it was then; StorePoisoned.
    """
    log.check_place()
    data = _encode(log, catalog, keep)
    path = os.path.join(log.directory, CHECKPOINT)
    try:
        log.disk.write_file(path + ".tmp", data, sync=sync)
    except BaseException:
        with contextlib.suppress(OSError):
            log.disk.unlink(path + ".tmp")
        raise
    with log.changing_names() if sync else contextlib.nullcontext():
        log.disk.rename(path + ".tmp", path)
    return len(data)


def is_there(log: Log) -> bool:
    """Whether there is one, be it of no use."""
    return os.path.lexists(os.path.join(log.directory, CHECKPOINT))


def remove(log: Log) -> None:
    """Remove the checkpoint: no space for a new one, or it isn't true any more. Raises OSError, StorePoisoned."""
    with SuppressRefusals(FileNotFoundError), log.changing_names():
        log.check_place()
        log.disk.unlink(os.path.join(log.directory, CHECKPOINT))


def _encode(log: Log, catalog: Catalog, keep: list[Segment]) -> bytes:
    queues = list(catalog.queues.values())
    unranked = [queue for queue in queues if queue.heap is None]
    largest = max(unranked, key=lambda queue: queue.total, default=None)
    counts, plain = _plain_of(queues, largest)
    moved = [array("Q", log.moved), array("Q", (segment.number for segment in log.moved.values()))]
    moved += [array("Q", (segment.guests[id] for id, segment in log.moved.items()))]
    head: dict[str, Any] = {
        "store": log.store.hex(),
        "segment": log.tail.number,
        "offset": log.tail.end,
        "next": log.next,
        "segments": [[s.number, s.base, s.end, len(s.index), sorted(s.names)] for s in keep],
        "largest": largest.number if largest is not None else 0,
        "queues": [  # by columns: a list for each of thousands keeps the garbage collector busy
            [queue.number for queue in queues],
            [queue.name for queue in queues],
            [queue.named for queue in queues],
            [queue.payload_bytes() for queue in queues],
            counts,
            [queue.heap is not None for queue in queues],
        ],
        "ranked": [[queue.number, _ranked(queue)] for queue in queues if queue.heap or queue.claimed],
        "delayed": [[queue.number, _delayed(queue)] for queue in queues if queue.delayed],
        "tables": [[table.number, table.name, table.named, len(table.keys)] for table in catalog.tables.values()],
        "extra": [[id, *extra] for id, extra in catalog.extra.items()],
        "moved": len(log.moved),
        "live_bytes": catalog.live_bytes(log),
    }
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    parts = [_HEAD.pack(_MAGIC, _VERSION, len(text)), text]
    parts += [segment.index.tobytes() for segment in keep]
    parts += [numbers.tobytes() for numbers in (*moved, plain)]
    for table in catalog.tables.values():
        parts += [struct.pack("<QQII", *key, len(name)) + name for name, key in table.keys.items()]
    data = b"".join(parts)
    return data + format.CRC.pack(crc32(data))


def _plain_of(queues: list[Queue], largest: Queue | None) -> tuple[list[int], array[int]]:
    """How many plain records each has, and their ids, one queue's behind the other's; of the largest none."""
    counts: list[int] = []
    ids = array("Q")
    for queue in queues:
        before = len(ids)
        if queue is not largest and queue.heap is None:
            ids.extend(_plain(queue))
        counts.append(len(ids) - before)
    return counts, ids


def _plain(queue: Queue) -> Iterable[int]:
    """Ready records without a rank, and claimed ones: they will be ready."""
    if not (queue.back or queue.gone or queue.claimed):
        return queue.ready
    return sorted([*(id for id in (*queue.ready, *queue.back) if id not in queue.gone), *_unranked(queue)])


def _unranked(queue: Queue) -> list[int]:
    return [id for id, (claim, _) in queue.claimed.items() if not claim.rank]


def _ranked(queue: Queue) -> list[list[Any]]:
    ranked = [(rank, id) for rank, id in queue.heap or () if id not in queue.gone]
    ranked += [(claim.rank, id) for id, (claim, _) in queue.claimed.items() if claim.rank or queue.heap is not None]
    return [[rank.hex(), id] for rank, id in ranked]


def _delayed(queue: Queue) -> list[list[Any]]:
    return [[at, id, rank.hex()] for at, id, rank in queue.delayed]


class Saved(NamedTuple):
    """A checkpoint as it was read. What it tells may be nonsense, `load` says."""

    head: dict[str, Any]
    body: memoryview
    store: bytes
    size: int
    segment: int
    offset: int
    next: int

    @property
    def numbers(self) -> list[int]:
        """The segments that it needs."""
        return [entry[0] for entry in self.head["segments"]]


def read(directory: str) -> Saved | None:
    """The checkpoint, or None where none is whole."""
    try:
        with open(os.path.join(directory, CHECKPOINT), "rb", opener=open_file) as file:
            if Disk().filled(file.fileno()) < os.fstat(file.fileno()).st_size:
                return None  # a hole at its end, perhaps of more than there is memory for
            data = file.read()
        magic, version, length = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != _VERSION or crc32(memoryview(data)[:-4]) != format.CRC.unpack(data[-4:])[0]:
            return None
        start = _HEAD.size + length
        head = json.loads(data[_HEAD.size : start])
        small = [head[name] for name in ("segment", "offset", "next")]
        numbers = [*small, *(entry[0] for entry in head["segments"])]
        if not all(type(number) is int and 0 < number < 1 << 63 for number in numbers):
            return None
        return Saved(head, memoryview(data)[start:-4], bytes.fromhex(head["store"]), len(data), *small)
    except Exception:  # whatever it holds: it is a shortcut, and there is the long way
        return None


def load(saved: Saved, log: Log, catalog: Catalog, segments: list[Segment]) -> None:
    """Fill an empty log and catalog; `segments` are those of the head, in its order, as found in the directory.

    Raises all sorts of exceptions where the checkpoint is nonsense.
    """
    head, body, at = saved.head, saved.body, 0
    for segment, (_, base, end, count, names) in zip(segments, head["segments"], strict=True):
        longest = max(format.DATA, os.path.getsize(segment.path))  # one that has no frames ends with its header
        if base != segment.base or not format.DATA <= end <= longest:
            raise ValueError(f"it is not about the {segment.path} that is there")
        segment.end = end
        segment.index.frombytes(body[at : at + 4 * count])
        segment.names.update(names)
        at += 4 * count
        log.add_segment(segment)
    at = _load_moved(head["moved"], body, at, log)
    if saved.segment != log.tail.number or saved.offset != log.tail.end or saved.next != log.tail.next:
        raise ValueError("it contradicts itself")
    for segment in segments:
        segment.live = len(segment.index) - segment.index.count(0) + len(segment.guests)
    catalog.extra.update((id, Extra(*values)) for id, *values in head["extra"])
    listed: set[int] = set()
    at = _load_queues(head, body, at, catalog, listed)
    at = _load_tables(head, body, at, catalog, listed)
    if at != len(body):
        raise ValueError("its lengths are wrong")
    if head["largest"]:
        _load_largest(catalog, head["largest"], log, listed)
    log.next = saved.next
    log.synced = log.next - 1
    log.more_bytes = _number(_number(head["live_bytes"]) - catalog.live_bytes(log))
    log.key_bytes = sum(sum(map(len, table.keys)) for table in catalog.tables.values())
    log.saved = saved.next, segments, saved.size


def _load_moved(count: int, body: memoryview, at: int, log: Log) -> int:
    by_number = {segment.number: segment for segment in log.segments}
    columns, size = [], 8 * count
    for _ in range(3):
        columns.append(array("Q"))
        columns[-1].frombytes(body[at : at + size])
        at += size
    for id, number, offset in zip(*columns, strict=True):
        log.moved[id] = by_number[number]
        by_number[number].guests[id] = offset
    return at


def _number(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no number of bytes")
    return value


def _load_queues(head: dict[str, Any], body: memoryview, at: int, catalog: Catalog, listed: set[int]) -> int:
    all_ranked, all_delayed = dict(head["ranked"]), dict(head["delayed"])
    for number, name, named, size, count, is_ranked in zip(*head["queues"], strict=True):
        queue = catalog.add_queue(name, number, named)
        queue.bytes = _number(size)
        ids = array("Q")
        ids.frombytes(body[at : at + 8 * count])
        at += 8 * count
        ranked = all_ranked.get(number, ())
        if is_ranked or ranked:
            queue.heap = sorted([*((b"", id) for id in ids), *((bytes.fromhex(rank), id) for rank, id in ranked)])
        else:
            queue.ready = deque(ids)
        queue.delayed = sorted((float(due), id, bytes.fromhex(rank)) for due, id, rank in all_delayed.get(number, ()))
        listed.update(ids, (id for _, id in queue.heap or ()), (entry[1] for entry in queue.delayed))
    return at


def _load_tables(head: dict[str, Any], body: memoryview, at: int, catalog: Catalog, listed: set[int]) -> int:
    fields = struct.Struct("<QQII")
    for number, name, named, count in head["tables"]:
        table = catalog.add_table(name, number, named)
        for _ in range(count):
            id, place, size, length = fields.unpack_from(body, at)
            at += fields.size + length
            table.keys[bytes(body[at - length : at])] = Key(id, place, size)
            listed.add(id)
    return at


def _load_largest(catalog: Catalog, number: int, log: Log, listed: set[int]) -> None:
    """Its ready records are the live ones that nothing else lists."""
    queue = catalog.by_number[number]
    assert isinstance(queue, Queue)
    for segment in log.segments:
        queue.ready.extend(compress(range(segment.base, segment.next), segment.index))
    if listed:
        queue.ready = deque(id for id in queue.ready if id not in listed)
    queue.back = sorted(id for id in log.moved if id not in listed)
