"""Bytes that are no frames: copied aside, and overwritten by a PAD frame so that they are met once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

from ...store import Damage
from .._disk import is_there, open_file
from . import checkpoint, format
from .log import Log
from .places import Segment
from .scan import scan


def quarantine(log: Log, damage: Damage) -> Damage:
    """Copy the damaged bytes to a file of their own beside the segments, where there are any. Raises OSError.

    A copy that is there is never replaced: who died in the middle of putting right may have left worse bytes.
    """
    if not damage.length:
        return damage
    source = log.disk.open(damage.path, write=False)
    try:
        data = log.disk.read(source, damage.length, damage.offset)
    finally:
        log.disk.close(source)
    target = _free_name(log, _stem(damage.path, damage.offset), data)
    if not is_there(target):
        _write_copy(log, target, data)
    return damage._replace(quarantine=target)


def was_put_aside(log: Log, path: str, offset: int, length: int) -> bool:
    """Whether these bytes were copied: who was to put a PAD in their place may have died in the middle of that, and
    what it has left looks like a write that was never finished. Copies of others may be left from a store that stood
    there before. Raises OSError."""
    for target in _names(log, _stem(path, offset)):
        if not is_there(target):
            return False
        if os.path.getsize(target) == length:
            return True
    raise AssertionError("the names don't end")


def _stem(path: str, offset: int) -> str:
    return f"damaged-{os.path.basename(path)[:16]}-{offset}"


def _names(log: Log, stem: str) -> Iterator[str]:
    return (
        os.path.join(log.directory, f"{stem}{n}.bin")
        for n in itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    )


def _free_name(log: Log, stem: str, data: bytes) -> str:
    """A path that is not in use, or one with just these bytes."""
    for path in _names(log, stem):
        if not is_there(path):
            return path
        with open(path, "rb", opener=open_file) as file:
            if file.read(len(data) + 1) == data:
                return path
    raise AssertionError("the names don't end")


def _write_copy(log: Log, target: str, data: bytes) -> None:
    log.disk.write_file(target + ".tmp", data)
    with log.changing_names():
        log.disk.rename(target + ".tmp", target)


def pad(log: Log, segment: Segment, start: int, end: int, number: int, *, damaged: bool) -> None:
    """Overwrite bytes that are no frame by a PAD frame; they have been copied if they are `damaged`. Raises OSError."""
    flags = 0 if damaged else format.WHOLE
    size = max(end - start, format.FRAME_COST)
    frame = format.encode_frame(format.PAD, flags, number, bytes(size - format.FRAME_COST), segment.seed)
    fd = log.disk.open(segment.path)
    try:
        log.disk.write(fd, frame, start)
        log.disk.sync(fd)
    finally:
        log.disk.close(fd)


def heal(log: Log, segment: Segment, offset: int) -> tuple[Damage, list[int]]:
    """Put aside the bytes without a frame that `offset` is in: what was there, and which records it had.

    The ids are still live in memory when this returns. The checkpoint on the disk, which lists them, is gone:
    write a new one, for the damage may have hit acknowledgements that only the old one knew of. Where no byte is
    damaged (length 0) it was the checkpoint that was wrong; then write none. Raises OSError, StorePoisoned.
    """
    log.check_place()
    start, end, number = _region(segment, log.read(segment, 0, segment.end), offset)
    reason = "its checksum is wrong" if end > start else "no record begins there"
    damage = quarantine(log, Damage(segment.path, start, end - start, reason))
    ids = [segment.base + at for at, place in enumerate(segment.index) if start <= place < end or place == offset]
    ids += [id for id, place in segment.guests.items() if start <= place < end or place == offset]
    if segment is log.tail:
        log.mark_here()
    checkpoint.remove(log)
    if end > start:
        pad(log, segment, start, end, number, damaged=True)
    return damage, ids


def _region(segment: Segment, data: bytes, offset: int) -> tuple[int, int, int]:
    """Start and end of the bytes around `offset` that are no frame (empty if all is healthy), and a PAD's number."""
    found = scan(data, format.DATA, segment.seed, segment.base)
    for region in found.regions:
        if region.start <= offset < region.end:
            return region.start, region.end, found.frames[region.before][2] - 1
    if offset >= found.end:
        return found.end, segment.end, segment.next - 1
    return offset, offset, 0
