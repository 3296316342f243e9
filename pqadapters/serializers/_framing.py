"""Values one after another in a file, for formats that don't say where a value ends.

::

    length:4 (unsigned, little-endian)  data:length
"""

from __future__ import annotations

import struct
from typing import BinaryIO

_LENGTH = struct.Struct("<L")
_LONGEST = (1 << 32) - 1


def write_frame(fp: BinaryIO, data: bytes) -> None:
    """Append the data behind its length. Raises ValueError, and writes nothing, from 4 GiB on."""
    if len(data) > _LONGEST:
        raise ValueError(f"{len(data)} bytes don't fit a frame, which holds {_LONGEST} at most")
    fp.write(_LENGTH.pack(len(data)) + data)


def read_frame(fp: BinaryIO) -> bytes:
    """The data of the next frame. Raises EOFError at the end of the file and where a frame is cut short."""
    (length,) = _LENGTH.unpack(_read(fp, _LENGTH.size))
    return _read(fp, length)


def _read(fp: BinaryIO, size: int) -> bytes:
    data = fp.read(size)
    if len(data) < size:
        raise EOFError(f"the file ends {size - len(data)} bytes before its next value does")
    return data
