"""Bytes that are no frames: copied aside, and overwritten by a PAD frame so that they are met once."""

from __future__ import annotations

import itertools
import os

from ...store import Damage
from . import checkpoint, format
from .log import Log, Segment
from .scan import scan

_SOON = 1 << 40  #: added to what was written since the last checkpoint: the next one is due


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
    target = _free_name(log, f"damaged-{os.path.basename(damage.path)[:16]}-{damage.offset}", data)
    if not os.path.exists(target):
        _write_copy(log, target, data)
    return damage._replace(quarantine=target)


def _free_name(log: Log, stem: str, data: bytes) -> str:
    """A path that is not in use, or one with just these bytes."""
    for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))):
        path = os.path.join(log.directory, f"{stem}{suffix}.bin")
        if not os.path.exists(path):
            return path
        with open(path, "rb") as file:
            if file.read(len(data) + 1) == data:
                return path
    raise AssertionError("the names don't end")


def _write_copy(log: Log, target: str, data: bytes) -> None:
    copy = log.disk.open(target + ".tmp", create=True)
    try:
        log.disk.truncate(copy, 0)
        log.disk.write(copy, data, 0)
        log.disk.sync(copy)
    finally:
        log.disk.close(copy)
    log.disk.rename(target + ".tmp", target)
    log.sync_directory()


def pad(log: Log, segment: Segment, start: int, end: int, number: int, *, damaged: bool) -> None:
    """Overwrite bytes that are no frame by a PAD frame; they have been copied if they are `damaged`. Raises OSError.

    Zeros come first, so that a crash in between leaves what looks like a crash (`scan.never_written`).
    """
    flags = 0 if damaged else format.WHOLE
    size = max(end - start, format.FRAME_COST)
    frame = format.encode_frame(format.PAD, flags, number, bytes(size - format.FRAME_COST), segment.seed)
    fd = log.disk.open(segment.path)
    try:
        for data in (bytes(size), frame):
            log.disk.write(fd, data, start)
            log.disk.sync(fd)
    finally:
        log.disk.close(fd)


def heal(log: Log, segment: Segment, offset: int) -> tuple[Damage, list[int]]:
    """Put aside a damaged frame, and those behind it up to the next healthy one: what was there, and whose it was.

    The ids are still live in memory when this returns. The checkpoint on the disk, which lists them, is gone.
    Raises OSError, StorePoisoned.
    """
    data = log.read(segment, 0, segment.end)
    before = scan(data[:offset], format.DATA, segment.seed, segment.base)
    last = before.frames[-1][2] if before.frames else segment.base - 1
    found = scan(data, offset, segment.seed, last + 2)  # what is damaged has a number, too
    first = found.frames[0] if found.frames else None
    end, number = (first[3], first[2] - 1) if first is not None else (segment.end, segment.next - 1)
    damage = quarantine(log, Damage(segment.path, offset, end - offset, "its checksum is wrong"))
    ids = [segment.base + at for at, place in enumerate(segment.index) if offset <= place < end]
    ids += [id for id, place in segment.guests.items() if offset <= place < end]
    checkpoint.remove(log)
    log.since_checkpoint += _SOON
    pad(log, segment, offset, end, number, damaged=True)
    return damage, ids
