"""MessagePack; in files, each value behind its length (4 bytes, little-endian).

Lists and tuples come back as tuples, so that they may be keys of dicts; bytearrays come back as bytes. Any thread may
call these functions. They need the library msgpack, which is imported at the first use.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, BinaryIO

from ._framing import read_frame, write_frame
from ._sorting import with_sorted_keys


def dump(value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
    """Write the value behind its length; several in one file are read back by as many `load`s."""
    write_frame(fp, dumps(value, sort_keys))


def load(fp: BinaryIO) -> object:
    """The next value in the file. Raises EOFError at its end or where the value is cut short."""
    return loads(read_frame(fp))


def dumps(value: object, sort_keys: bool = False) -> bytes:
    """The value as MessagePack. Raises TypeError for what it doesn't know, OverflowError for an int over 64 bits."""
    packed: bytes = _library().packb(with_sorted_keys(value, plain=True) if sort_keys else value, use_bin_type=True)
    return packed


def loads(data: bytes) -> object:
    """The value. Raises ValueError for what isn't MessagePack."""
    value: object = _library().unpackb(data, raw=False, use_list=False, strict_map_key=False)
    return value


@cache
def _library() -> Any:
    try:
        return importlib.import_module("msgpack")
    except ImportError as error:
        raise ImportError(
            "the serializer msgpack needs the library msgpack: pip install 'pqadapters[msgpack]'", name="msgpack"
        ) from error
