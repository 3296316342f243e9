"""The bytes on disk: segment headers and frames. docs/format.md has the worked example.

A store is a directory of segment files, numbered from 1 on; together they are one log. A segment is::

      0   header            56 bytes
    512   the header again, in a sector of its own
   1024   frames, one behind the other, then zeros up to what was allocated

Header (little-endian, like everything here)::

      0   8  magic          b"PQASEG\\r\\n"
      8   2  format version
     10   2  0
     12  16  store id       random, the same in all segments of a store
     28   8  number         also in the file's name
     36   8  base           sequence number of the first frame
     44   8  created        float64, seconds since the epoch
     52   4  CRC-32         of bytes 0 to 51

Frame::

      0   2  magic          b"\\xabq"
      2   1  kind
      3   1  flags          1 FIRST frame of a commit, 2 LAST frame of a commit
      4   4  n, the length of the body
      8   8  sequence number: one more than that of the frame before it
     16   n  body
   16+n   4  CRC-32         of bytes 0 to 15+n, started from the segment's seed

The seed is the CRC-32 of store id and segment number, so that frames of another store or segment inside a payload
are never taken for records; frames of the same segment inside a payload are told by their sequence number.
The CRC is zlib.crc32 (IEEE 802.3).

A commit is a run of frames from FIRST to LAST; a single frame is both. A run without its LAST never happened.
A record's id is the sequence number of the frame that brought it. Bodies::

   PUT     queue u32, put_at f64, payload
   RECORD  queue u32, put_at f64, id u64, not_before f64, attempts u32, rank length u32, note length u32,
           rank, note (UTF-8), payload          all there is to say; id 0 means the frame's sequence number
   ACK     id u64, as often as it takes
   STATE   id u64, queue u32, not_before f64, attempts u32, note
   SET     table u32, place u64, key length u32, key, value
           place: the id of the key's first SET, which orders the table; 0 means the frame's sequence number
   DELETE  table u32, key
   NAME    number u32, kind u8 (0 queue, 1 table), name    a segment names a number before it uses it.
           The number is the CRC-32 of the name (of a table: started from 1), or the next free one: should damage
           take the NAME, whoever opens the queue by its name still finds its records
   SYNC    offset u64      what stands before that offset was synced before this frame was written. It is the
           last frame of the log, if it is there at all: the next one is written over it, with its number
   PAD     zeros. What stood here was not readable and was overwritten by this frame. With flags FIRST and LAST it was
           never written whole; with 0 it was damaged, was copied elsewhere, and what stands on either side of it
           may be parts of one commit
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

from ...errors import FormatError

VERSION = 1
HEADER = struct.Struct("<8sHH16sQQdI")
HEADER_MAGIC = b"PQASEG\r\n"
SECTOR = 512  #: what a drive writes as a whole, or not at all
HEADER_COPY = SECTOR
DATA = 1024

MAGIC = b"\xabq"
FRAME = struct.Struct("<2sBBIQ")
FRAME_HEAD = FRAME.size
FRAME_COST = FRAME.size + 4  #: bytes of a frame beside its body
CRC = struct.Struct("<I")

FIRST, LAST = 1, 2
WHOLE = FIRST | LAST

PUT, RECORD, ACK, STATE, SET, DELETE, NAME, SYNC, PAD = range(1, 10)

PUT_FRAME = struct.Struct("<IIQId")  # a frame's head and a PUT's fields in one go; the first four bytes as a number
PUT_FIELDS = struct.Struct("<Id")
RECORD_FIELDS = struct.Struct("<IdQdIII")
STATE_FIELDS = struct.Struct("<QIdI")
SET_FIELDS = struct.Struct("<IQI")
DELETE_FIELDS = struct.Struct("<I")
NAME_FIELDS = struct.Struct("<IB")
SYNC_FIELDS = struct.Struct("<Q")
ID = struct.Struct("<Q")

PUT_COST = FRAME_COST + PUT_FIELDS.size  #: bytes of a PUT beside its payload
ACK_FRAME = FRAME_COST + ID.size  #: bytes of the acknowledgement of one record
SYNC_FRAME = FRAME_COST + SYNC_FIELDS.size
MAX_ATTEMPTS = 1 << 31  #: that a record may bring along; claims count on from there
_MOST = (1 << 32) - 1  #: that are written down; the count in memory goes on


class Header(NamedTuple):
    """What a segment says about itself."""

    store: bytes
    number: int
    base: int
    created: float

    @property
    def seed(self) -> int:
        return seed(self.store, self.number)


def seed(store: bytes, number: int) -> int:
    """Where the CRC of a segment's frames starts."""
    return crc32(ID.pack(number), crc32(store))


def encode_header(header: Header) -> bytes:
    body = HEADER.pack(HEADER_MAGIC, VERSION, 0, *header, 0)[:-4]
    return body + CRC.pack(crc32(body))


def decode_header(data: bytes, path: str) -> Header | None:
    """The header at the start of a segment, from whichever copy is whole; None where both are damaged.

    Raises FormatError for a newer version of the format.
    """
    copies = [data[start : start + HEADER.size] for start in (0, HEADER_COPY)]
    for copy in copies:
        if len(copy) == HEADER.size and crc32(copy[:-4]) == CRC.unpack(copy[-4:])[0] and copy[:8] == HEADER_MAGIC:
            _, version, _, store, number, base, created, _ = HEADER.unpack(copy)
            if version == VERSION:
                return Header(store, number, base, created)
            raise _unknown_version(path, version)
    versions = {copy[8:10] for copy in copies if copy[:8] == HEADER_MAGIC}
    if len(versions) == 1 and len(copies[1]) == HEADER.size and copies[0][:10] == copies[1][:10]:
        (version,) = struct.unpack("<H", versions.pop())
        if version > VERSION:  # a later version may keep its checksum elsewhere
            raise _unknown_version(path, version)
    return None


def _unknown_version(path: str, version: int) -> FormatError:
    return FormatError(
        f"{path} is written in format version {version}, and this pqadapters reads version {VERSION}: "
        "upgrade pqadapters, or open the store with the version that wrote it"
    )


def encode_frame(kind: int, flags: int, sequence: int, body: bytes, start: int) -> bytes:
    """A frame; `start` is the segment's seed."""
    head = FRAME.pack(MAGIC, kind, flags, len(body), sequence)
    if len(body) >= LONG:
        return join_frame(head, body, start)
    head += body
    return head + CRC.pack(crc32(head, start))


LONG = 4096  #: bytes of which a second copy takes longer than one more call


def join_frame(head: bytes, rest: bytes, start: int) -> bytes:
    """The frame that begins so, where the rest of it is long."""
    return b"".join((head, rest, CRC.pack(crc32(rest, crc32(head, start)))))


# The short ways for the two frames that nearly all logs consist of, and back. commits.py puts these together by itself:
# a function of its own for that takes 3 of 100 parts of a put's time.


def _lead(kind: int, flags: int = WHOLE) -> int:
    """The first four bytes of a frame, by default of one that is a commit of its own, as a number."""
    return int.from_bytes(MAGIC + bytes((kind, flags)), "little")


PUT_LEAD, ACK_LEAD, _SYNC_LEAD = _lead(PUT), _lead(ACK), _lead(SYNC)
_PUT_LEADS = frozenset(_lead(PUT, flags) for flags in range(WHOLE + 1))  #: those of larger commits, too
_ONE_NUMBER = struct.Struct("<IIQQ")
PUT_BESIDE, _PUT_HEAD, _COST = PUT_FIELDS.size, PUT_FRAME.size, FRAME_COST
pack_put, _unpack_put = PUT_FRAME.pack, PUT_FRAME.unpack_from
pack_ack = _ONE_NUMBER.pack
#: The CRC-32 of anything with its own CRC-32 behind it, wherever that started.
_RESIDUE = 0x2144DF1C


def encode_ids(ids: Sequence[int]) -> bytes:
    """The body of an ACK of all these records."""
    return struct.pack(f"<{len(ids)}Q", *ids)


def encode_sync(sequence: int, offset: int, start: int) -> bytes:
    """A SYNC frame: what stands before `offset` was synced."""
    head = _ONE_NUMBER.pack(_SYNC_LEAD, 8, sequence, offset)
    return head + crc32(head, start).to_bytes(4, "little")


def decode_puts(
    data: bytes, offsets: Iterable[int], sequences: Iterable[int], queue: int, start: int, first: int
) -> list[tuple[bytes, float]]:
    """Payload and time of the plain PUTs with these numbers into that queue at these offsets, up to the first that
    isn't whole there; `data` is what stands from offset `first` on. The offsets needn't rise: one of a record that was
    written again in its segment is behind those of the next."""
    found: list[tuple[bytes, float]] = []
    last = len(data) - PUT_COST
    for sequence, offset in zip(sequences, offsets):  # noqa: B905  # as many of both
        at = offset - first
        if not 0 <= at <= last:
            break
        lead, length, its, number, put_at = _unpack_put(data, at)
        end = at + length + _COST
        if lead not in _PUT_LEADS or its != sequence or number != queue or crc32(data[at:end], start) != _RESIDUE:
            break
        found.append((data[at + _PUT_HEAD : end - 4], put_at))
    return found


def is_whole(data: bytes, at: int, end: int, start: int) -> bool:
    """Whether the CRC at `end` is that of the frame from `at`; `start` is the segment's seed."""
    if end + 4 > len(data):
        return False
    frame = data[at:end] if end - at < LONG else memoryview(data)[at:end]  # a short copy is cheaper than a view
    return crc32(frame, start) == int.from_bytes(data[end : end + 4], "little")


def frame_at(data: bytes, at: int, start: int) -> tuple[int, int, int, int] | None:
    """Kind, flags, sequence number and body length of the frame at `data[at]`; None where none is whole and healthy.

    `start` is the segment's seed.
    """
    if at + FRAME_COST > len(data):
        return None
    magic, kind, flags, length, sequence = FRAME.unpack_from(data, at)
    if magic != MAGIC or not is_whole(data, at, at + FRAME_HEAD + length, start):
        return None
    return kind, flags, sequence, length


class Fields(NamedTuple):
    """A record as its frame tells it; `id` is 0 for "the frame's own sequence number"."""

    queue: int
    put_at: float
    payload: bytes
    id: int = 0
    not_before: float = 0.0
    attempts: int = 0
    rank: bytes = b""
    note: str = ""


def encode_note(note: str) -> bytes:
    return note.encode("utf-8", "surrogatepass")


def more_cost(rank: bytes, note: str) -> int:
    """What a record takes in the log beside its payload and PUT_COST, about."""
    return len(rank) + (len(encode_note(note)) if note else 0)


def encode_record(fields: Fields) -> bytes:
    """The body of a RECORD."""
    note = encode_note(fields.note)
    head = RECORD_FIELDS.pack(
        fields.queue,
        fields.put_at,
        fields.id,
        fields.not_before,
        min(fields.attempts, _MOST),
        len(fields.rank),
        len(note),
    )
    return b"".join((head, fields.rank, note, fields.payload))


def restated(kind: int, body: bytes, id: int) -> bytes:
    """The body of a RECORD that says of record `id` what the body of its PUT or RECORD said."""
    if kind == PUT:
        queue, put_at = PUT_FIELDS.unpack_from(body)
        return RECORD_FIELDS.pack(queue, put_at, id, 0.0, 0, 0, 0) + body[PUT_FIELDS.size :]
    return body[: PUT_FIELDS.size] + ID.pack(id) + body[PUT_FIELDS.size + ID.size :]  # it starts as a PUT does


def queue_of(body: bytes) -> int:
    """The queue's number in the body of a PUT or a RECORD."""
    return int.from_bytes(body[:4], "little")


def encode_state(id: int, queue: int, not_before: float, attempts: int, note: str) -> bytes:
    """The body of a STATE."""
    return STATE_FIELDS.pack(id, queue, not_before, min(attempts, _MOST)) + encode_note(note)


def decode_record(kind: int, body: memoryview) -> Fields:
    """The record in the body of a PUT or a RECORD."""
    if kind == PUT:
        queue, put_at = PUT_FIELDS.unpack_from(body)
        return Fields(queue, put_at, bytes(body[PUT_FIELDS.size :]))
    queue, put_at, id, not_before, attempts, rank, note = RECORD_FIELDS.unpack_from(body)
    at = RECORD_FIELDS.size
    return Fields(
        queue,
        put_at,
        bytes(body[at + rank + note :]),
        id,
        not_before,
        attempts,
        bytes(body[at : at + rank]),
        str(body[at + rank : at + rank + note], "utf-8", "surrogatepass"),
    )


class Entry(NamedTuple):
    """A key and its value as a SET tells them; `place` is 0 for "the frame's own sequence number"."""

    table: int
    place: int
    key: bytes
    value: bytes


def encode_entry(entry: Entry) -> bytes:
    """The body of a SET."""
    return SET_FIELDS.pack(entry.table, entry.place, len(entry.key)) + entry.key + entry.value


def decode_entry(body: memoryview) -> Entry:
    table, place, length = SET_FIELDS.unpack_from(body)
    at = SET_FIELDS.size
    return Entry(table, place, bytes(body[at : at + length]), bytes(body[at + length :]))


def key_of(body: bytes) -> tuple[int, bytes]:
    """Table and key in the body of a SET."""
    table, _, length = SET_FIELDS.unpack_from(body)
    return table, body[SET_FIELDS.size : SET_FIELDS.size + length]


def placed(body: bytes, place: int) -> bytes:
    """The body of a SET with the key's place told."""
    table, _, length = SET_FIELDS.unpack_from(body)
    return SET_FIELDS.pack(table, place, length) + body[SET_FIELDS.size :]
