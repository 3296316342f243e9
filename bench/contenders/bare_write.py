"""The floor of "process": pickle, CRC-32 and one os.write for each item, and nothing else. It has no get."""

from __future__ import annotations

import os
import pickle
import struct
from zlib import crc32

from ..contender import Contender, Handle, Level, Speed, itself, nothing, refuse_get

_HEAD = struct.Struct("<II")


def open_queue(directory: str, level: Level) -> Handle:
    fd = os.open(os.path.join(directory, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def put(item: str) -> None:
        data = pickle.dumps(item, 5)
        os.write(fd, _HEAD.pack(len(data), crc32(data)) + data)

    return Handle(put, refuse_get, refuse_get, nothing, itself, lambda: os.close(fd))


CONTENDER = Contender(
    name="bare-write",
    about="a loop of pickle, CRC-32 and os.write",
    open=open_queue,
    speed={Level.PROCESS: Speed(500_000, 0)},
    gets=False,
    floor=True,
)
