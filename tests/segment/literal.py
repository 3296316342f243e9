"""The format once more, written down from docs/format.md and without a line of the package's: what old stores hold.

Should the package's own encoding ever change, these bytes don't, and the tests that open them turn red.
"""

from __future__ import annotations

import struct
from zlib import crc32

STORE = bytes(range(16))
CREATED = 1_700_000_000.0

PUT, RECORD, ACK, STATE, SET, DELETE, NAME, SYNC, PAD = range(1, 10)
FIRST, LAST = 1, 2


def header(number: int = 1, base: int = 1, version: int = 1, store: bytes = STORE) -> bytes:
    """The first 1024 bytes of a segment: the header, twice."""
    fields = b"PQASEG\r\n" + struct.pack("<HH16sQQd", version, 0, store, number, base, CREATED)
    copy = fields + struct.pack("<I", crc32(fields))
    return copy.ljust(512, b"\0") + copy.ljust(512, b"\0")


def frame(kind: int, sequence: int, body: bytes, *, flags: int = FIRST | LAST, number: int = 1) -> bytes:
    """A frame of segment `number`."""
    seed = crc32(struct.pack("<Q", number), crc32(STORE))
    data = b"\xabq" + struct.pack("<BBIQ", kind, flags, len(body), sequence) + body
    return data + struct.pack("<I", crc32(data, seed))


def queue_number(name: bytes) -> int:
    return crc32(name)


def table_number(name: bytes) -> int:
    return crc32(name, 1)


def queue_name(name: bytes) -> bytes:
    return struct.pack("<IB", queue_number(name), 0) + name


def table_name(name: bytes) -> bytes:
    return struct.pack("<IB", table_number(name), 1) + name


def put(queue: bytes, payload: bytes, put_at: float = CREATED) -> bytes:
    return struct.pack("<Id", queue_number(queue), put_at) + payload


def record(
    queue: bytes,
    payload: bytes,
    *,
    id: int = 0,
    due: float = 0.0,
    attempts: int = 0,
    rank: bytes = b"",
    note: bytes = b"",
) -> bytes:
    fields = struct.pack("<IdQdIII", queue_number(queue), CREATED, id, due, attempts, len(rank), len(note))
    return fields + rank + note + payload


def ack(*ids: int) -> bytes:
    return struct.pack(f"<{len(ids)}Q", *ids)


def state(id: int, queue: bytes, *, due: float = 0.0, attempts: int = 0, note: bytes = b"") -> bytes:
    return struct.pack("<QIdI", id, queue_number(queue), due, attempts) + note


def set_key(table: bytes, key: bytes, value: bytes, place: int = 0) -> bytes:
    return struct.pack("<IQI", table_number(table), place, len(key)) + key + value


def delete_key(table: bytes, key: bytes) -> bytes:
    return struct.pack("<I", table_number(table)) + key


def sync(offset: int) -> bytes:
    return struct.pack("<Q", offset)


def example() -> bytes:
    """The worked example of docs/format.md."""
    frames = [
        frame(NAME, 1, queue_name(b"jobs")),
        frame(PUT, 2, put(b"jobs", b"hello")),
        frame(PUT, 3, put(b"jobs", b"world", CREATED + 1)),
        frame(ACK, 4, ack(2)),
    ]
    data = header() + b"".join(frames)
    return data + frame(SYNC, 5, sync(len(data)))
