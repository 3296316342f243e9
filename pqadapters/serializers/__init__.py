"""Serializers: values to bytes and back.

A serializer is a module or an object with `dumps` and `loads` for single values, and `dump` and `load` for files that
hold values one after another. The four here are functions without state: any thread may call them. They are named

- "pickle", the default: any value that pickle takes. Loading a pickle runs what it says; open only what you trust.
- "json": for everybody to read. Tuples come back as lists; what else JSON can't say is an error.
- "msgpack" and "cbor2": compact, also for other languages. They need the library (`pip install 'pqadapters[msgpack]'`).

`sort_keys=True` makes equal dicts give equal bytes, whatever the order in which their keys were set.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import BinaryIO, Protocol

NAMES = ("pickle", "json", "msgpack", "cbor2")
_METHODS = ("dump", "load", "dumps", "loads")


class Serializer(Protocol):
    """What turns values into bytes. What can't be turned raises (TypeError, ValueError, pickle.PicklingError ...)."""

    def dump(self, value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
        """Write the value behind what `fp` holds already."""

    def load(self, fp: BinaryIO) -> object:
        """The next value that `dump` wrote. Raises EOFError at the end of the file."""

    def dumps(self, value: object, sort_keys: bool = False) -> bytes: ...

    def loads(self, data: bytes) -> object: ...


def serializer(choice: str | ModuleType | Serializer) -> Serializer:
    """The serializer that is meant: a name of ours, the library of that name (`json` itself), or the user's own object.

    Raises ValueError for another name, TypeError for an object without one of the four methods, and ImportError where
    the library that a name needs isn't installed.
    """
    name = choice.__name__ if isinstance(choice, ModuleType) else choice
    if isinstance(name, str) and name in NAMES:
        return _ours(name)
    if isinstance(choice, str):
        raise ValueError(
            f"there is no serializer {choice!r}: choose one of {', '.join(map(repr, NAMES))}, or give an object"
        )
    missing = [method for method in _METHODS if not callable(getattr(choice, method, None))]
    if missing:
        raise TypeError(f"{choice!r} is not a serializer: it lacks {', '.join(f'{method}()' for method in missing)}")
    return choice


def in_bytes(data: object) -> bytes:
    """What `dumps` of a user's own serializer gave. Raises TypeError where that is neither bytes nor as good."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"the serializer's dumps() gave {type(data).__name__} and not bytes")


def _ours(name: str) -> Serializer:
    module: Serializer = importlib.import_module(f"{__name__}.{name}")
    module.dumps(None)  # a missing library shows here, not in the first put
    return module
