"""A ceiling: the least that a queue of pure Python does. What it lacks is what a queue is more than this for.

A put takes a lock, pickle, a CRC-32, one os.pwrite, a place in memory, and wakes whoever waits; a get the lock, a look
ahead in the file, the CRC and pickle again, and a note of what is out; an acknowledgement one os.pwrite. At "power" a
put waits for an fdatasync, which it shares with others that wait; acknowledgements don't. Opening it reads the file.
There is no second file and no space comes back; no leases, limits, conditions, redelivery in place, second handle, lock
of the directory or fork; a bad disk or an interrupt at the wrong moment tears it.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from collections import deque
from queue import Empty
from typing import Any
from zlib import crc32

from ..contender import Contender, Handle, Level, Speed

_PUT = struct.Struct("<IIQ")
_COST = _PUT.size + 4
_PUTS, _DONE = 1, 2
_RESIDUE = 0x2144DF1C  # the CRC-32 of anything with its own CRC-32 behind it
_AHEAD = 2 << 20
_WINDOW = 128 << 10
_sync = getattr(os, "fdatasync", os.fsync)  # there is no fdatasync on macOS


class _Queue:
    def __init__(self, directory: str, level: Level) -> None:
        self.fd = os.open(os.path.join(directory, "log"), os.O_RDWR | os.O_CREAT, 0o600)
        self.power = level is Level.POWER
        self.lock = threading.Lock()
        self.not_empty = threading.Condition(self.lock)
        self.room = self.end = 0
        self.next = 1
        self.ready: deque[tuple[int, int, int]] = deque()
        self.held: dict[int, bool] = {}
        self.start, self.window = 0, b""
        self.synced, self.syncing = 0, threading.Lock()
        self._read_back()

    def _read_back(self) -> None:
        data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
        found: dict[int, tuple[int, int, int]] = {}
        at = 0
        while at + _COST <= len(data):
            kind, length, id = _PUT.unpack_from(data, at)
            size = length + _COST
            if not kind or crc32(data[at : at + size]) != _RESIDUE:
                break
            if kind == _PUTS:
                found[id] = id, at, size
                self.next = id + 1
            else:
                found.pop(id, None)
            at += size
        self.end, self.room = at, len(data)
        self.ready.extend(found.values())

    def write(self, frame: bytes) -> int:
        at = self.end
        if at + len(frame) > self.room:
            self.room = at + len(frame) + _AHEAD
            os.posix_fallocate(self.fd, 0, self.room)
            os.fsync(self.fd)
        os.pwrite(self.fd, frame, at)
        self.end = at + len(frame)
        return at

    def put(self, item: str) -> None:
        data = pickle.dumps(item, 5)
        with self.lock:
            id = self.next
            head = _PUT.pack(_PUTS, len(data), id) + data
            frame = head + crc32(head).to_bytes(4, "little")
            self.ready.append((id, self.write(frame), len(frame)))
            self.next = id + 1
            self.not_empty.notify()
        if self.power:
            self.sync(id)

    def sync(self, id: int) -> None:
        """Until what was written up to `id` is on the disk: one waits for the disk, for all that came before."""
        while self.synced < id:
            with self.syncing:
                if self.synced < id:
                    upto = self.next - 1
                    _sync(self.fd)
                    self.synced = upto

    def get(self) -> Any:
        with self.lock:
            while not self.ready:
                self.not_empty.wait()
            id, at, size = self.ready.popleft()
            at -= self.start
            if not 0 <= at <= len(self.window) - size:
                self.start += at
                self.window = os.pread(self.fd, min(_WINDOW + size, self.end - self.start), self.start)
                at = 0
            frame = self.window[at : at + size]
            if crc32(frame) != _RESIDUE:
                raise OSError("a frame is damaged")
            self.held[id] = True
        return id, pickle.loads(frame[16:-4])

    def get_now(self) -> Any:
        if not self.ready:
            raise Empty
        return self.get()

    def done(self, got: Any) -> None:
        with self.lock:
            del self.held[got[0]]
            head = _PUT.pack(_DONE, 0, got[0])
            self.write(head + crc32(head).to_bytes(4, "little"))


def open_queue(directory: str, level: Level) -> Handle:
    queue = _Queue(directory, level)
    return Handle(queue.put, queue.get, queue.get_now, queue.done, lambda got: str(got[1]), lambda: os.close(queue.fd))


CONTENDER = Contender(
    name="bare-queue",
    about="the least that a queue of pure Python does: lock, pickle, CRC-32, os.pwrite, an index, a look ahead",
    open=open_queue,
    speed={Level.PROCESS: Speed(300_000, 200_000), Level.POWER: Speed(7_000, 200_000)},
)
