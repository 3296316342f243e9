"""Bytes that are no frames: copied aside, and overwritten by a PAD frame so that they are met once."""

from __future__ import annotations

import os

from ...store import Damage
from . import format
from .log import Log, Segment
from .scan import scan


def quarantine(log: Log, damage: Damage) -> Damage:
    """Copy the damaged bytes to a file of their own beside the segments, where there are any. Raises OSError."""
    if not damage.length:
        return damage
    name = f"damaged-{os.path.basename(damage.path)[:16]}-{damage.offset}.bin"
    target = os.path.join(log.directory, name)
    source = log.disk.open(damage.path, write=False)
    try:
        data = log.disk.read(source, damage.length, damage.offset)
    finally:
        log.disk.close(source)
    copy = log.disk.open(target, create=True)
    try:
        log.disk.truncate(copy, 0)
        log.disk.write(copy, data, 0)
        log.disk.sync(copy)
    finally:
        log.disk.close(copy)
    log.disk.sync_directory(log.directory)
    return damage._replace(quarantine=target)


def pad(log: Log, segment: Segment, start: int, end: int, number: int) -> None:
    """Overwrite bytes that are no frame by a PAD frame; they have been copied. Raises OSError."""
    fd = log.disk.open(segment.path)
    try:
        body = bytes(max(0, end - start - format.FRAME_COST))
        log.disk.write(fd, format.encode_frame(format.PAD, format.WHOLE, number, body, segment.seed), start)
        log.disk.sync(fd)
    finally:
        log.disk.close(fd)


def heal(log: Log, segment: Segment, offset: int) -> tuple[Damage, list[int]]:
    """Put aside a damaged frame, and those behind it up to the next healthy one: what was there, and whose it was.

    The ids are still live in memory when this returns. Raises OSError.
    """
    data = log.read(segment, 0, segment.end)
    found = scan(data, offset, segment.seed, 0)
    first = found.frames[0] if found.frames else None
    end, number = (first[3], first[2] - 1) if first is not None else (segment.end, segment.next - 1)
    damage = quarantine(log, Damage(segment.path, offset, end - offset, "its checksum is wrong"))
    ids = [segment.base + at for at, place in enumerate(segment.index) if offset <= place < end]
    ids += [id for id, place in segment.guests.items() if offset <= place < end]
    pad(log, segment, offset, end, number)
    return damage, ids
