"""The floor of "power": as bare_write, into a file that was allocated before, with an fdatasync for each item."""

from __future__ import annotations

import os
import pickle
import struct
from zlib import crc32

from ..contender import Contender, Handle, Level, Speed, itself, nothing, refuse_get

_HEAD = struct.Struct("<II")
_AHEAD = 2 << 20
_sync = getattr(os, "fdatasync", os.fsync)  # there is no fdatasync on macOS


def open_queue(directory: str, level: Level) -> Handle:
    fd = os.open(os.path.join(directory, "log"), os.O_WRONLY | os.O_CREAT, 0o600)
    end = room = 0

    def put(item: str) -> None:
        nonlocal end, room
        data = pickle.dumps(item, 5)
        frame = _HEAD.pack(len(data), crc32(data)) + data
        if end + len(frame) > room:
            room = _allocate(fd, end + len(frame) + _AHEAD)
        os.pwrite(fd, frame, end)
        _sync(fd)
        end += len(frame)

    room = _allocate(fd, _AHEAD)
    return Handle(put, refuse_get, refuse_get, nothing, itself, lambda: os.close(fd))


def _allocate(fd: int, size: int) -> int:
    os.posix_fallocate(fd, 0, size)
    os.fsync(fd)
    return size


CONTENDER = Contender(
    name="bare-fdatasync",
    about="a loop of pickle, CRC-32, os.pwrite and os.fdatasync in an allocated file",
    open=open_queue,
    speed={Level.POWER: Speed(8_000, 0)},
    gets=False,
    floor=True,
)
