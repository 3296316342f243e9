"""Payloads as text. Nothing in them is run: a pickle is shown by what it says, and loaded only if that is asked for.

Payloads don't say which serializer wrote them. A pickle is known by its first and last bytes; JSON, MessagePack and
CBOR are tried in that order, and one that reads all of it is taken for it. What is signed is shown without its
signature, which isn't checked.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

from .. import live
from ..serializers import serializer
from ..serializers.signed import SIGNATURE, peeled
from ..wording import named
from .pickles import is_pickle, summary
from .values import written

FORMATS = ("auto", "pickle", "json", "msgpack", "cbor2", "bytes")
_LARGE = 1 << 20  #: bytes, from which on only the beginning is shown


class Shown(NamedTuple):
    """A payload, for people and programs."""

    format: str  #: one of FORMATS, or "object" for one that stands for an object of the process that put it
    text: str
    value: Any = None  #: what JSON says


def shown(payload: bytes, length: int, *, format: str = "auto", unpickle: bool = False) -> Shown:
    """`length` is about how many characters to show. With `unpickle` a pickle is loaded, which runs what it says."""
    if live.is_live(payload):
        return Shown("object", "an object of the process that put it")
    payload = live.unescape(payload)
    if len(payload) > _LARGE and not unpickle:
        return _bytes(payload, length)
    for data in (payload, _unsigned(payload)):
        for name, read in _READERS.items():
            if format in ("auto", name):
                found = read(data, length, unpickle)
                if found is not None:
                    return found
    return _bytes(payload, length)


def _unsigned(payload: bytes) -> bytes:
    """A text may begin as what is signed does, a signature is none."""
    return payload if payload[:SIGNATURE].isascii() else peeled(payload)


def _bytes(payload: bytes, length: int) -> Shown:
    return Shown("bytes", written(payload, length))


def _pickle(payload: bytes, length: int, unpickle: bool) -> Shown | None:
    if not is_pickle(payload):
        return None
    if unpickle:
        try:
            return Shown("pickle", written(pickle.loads(payload), length))
        except (Exception, SystemExit) as error:
            return Shown("pickle", f"{named(error):.1000}")
    text = summary(payload, length)
    return None if text is None else Shown("pickle", text)


def _json(payload: bytes, length: int, unpickle: bool) -> Shown | None:
    try:
        value = serializer("json").loads(payload)
    except (ValueError, RecursionError):
        return None
    return Shown("json", written(value, length), value)


def _decoded(name: str, loads: Callable[[bytes], object]) -> Callable[[bytes, int, bool], Shown | None]:
    def read(payload: bytes, length: int, unpickle: bool) -> Shown | None:
        try:
            return Shown(name, written(loads(payload), length))
        except Exception:  # each library has its own; and one that isn't installed reads nothing
            return None

    return read


def _cbor(payload: bytes) -> object:
    from cbor2 import CBORDecoder

    file = io.BytesIO(payload)
    value: object = CBORDecoder(file).decode()
    if file.tell() != len(payload):
        raise ValueError("there is more behind it")
    return value


_READERS: dict[str, Callable[[bytes, int, bool], Shown | None]] = {
    "pickle": _pickle,
    "json": _json,
    "msgpack": _decoded("msgpack", lambda payload: serializer("msgpack").loads(payload)),
    "cbor2": _decoded("cbor2", _cbor),
}
