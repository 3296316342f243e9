"""CBOR (RFC 8949); in files, each value behind its length (4 bytes, little-endian).

Tuples come back as lists, bytearrays as bytes. Any thread may call these functions. They need the library cbor2,
which is imported at the first use.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, BinaryIO

from ._framing import read_frame, write_frame
from ._sorting import with_sorted_keys

_NESTING = bytes(range(0x80, 0xE0))  #: how lists, dicts and tags begin (RFC 8949, 3.1)
_SHALLOW = 399  #: the library reads so many inside each other, and the list of `loads`, and writes any number
_END = b"\x48the end."  #: eight bytes, as CBOR


def dump(value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
    """Write the value behind its length; several in one file are read back by as many `load`s."""
    write_frame(fp, dumps(value, sort_keys))


def load(fp: BinaryIO) -> object:
    """The next value in the file. Raises EOFError at its end or where the value is cut short."""
    return loads(read_frame(fp))


def dumps(value: object, sort_keys: bool = False) -> bytes:
    """The value as CBOR. Raises cbor2.CBOREncodeError for what it doesn't know (a naive datetime among others), and
    ValueError for one that is nested more deeply than the library reads."""
    packed: bytes = _library().dumps(with_sorted_keys(value, plain=True) if sort_keys else value)
    if len(packed) > _SHALLOW and len(packed) - len(packed.translate(None, _NESTING)) > _SHALLOW:
        _check(packed)
    return packed


def loads(data: bytes) -> object:
    """The value. Raises cbor2.CBORDecodeError for what isn't CBOR, and ValueError where there is more behind the value.

    The library reads a value and never looks behind it: any pickle begins with what is an empty list to it. So it is
    given a list of two, the value and our end. (What it leaves of a file can't be asked for: some versions read ahead.)
    """
    value, end = _library().loads(b"\x82" + data + _END)
    if end != _END[1:]:
        raise ValueError("there is more behind the CBOR value: was this written by another serializer?")
    found: object = value
    return found


def _check(packed: bytes) -> None:
    try:
        loads(packed)
    except Exception as error:
        raise ValueError(f"cbor2 wouldn't read what it makes of the value: {error}") from error


@cache
def _library() -> Any:
    try:
        return importlib.import_module("cbor2")
    except ImportError as error:
        raise ImportError(
            "the serializer cbor2 needs the library cbor2: pip install 'pqadapters[cbor2]'", name="cbor2"
        ) from error
