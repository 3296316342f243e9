"""A serializer as persist-queue takes it: a module, or an object with functions for files, for values, or for both."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from ..serializers import Serializer
from ..serializers import serializer as choose_serializer


class NoSerializer(TypeError, AttributeError):
    """What was given is none; with persist-queue it is an AttributeError, in the constructor or at the first put."""


def serializer_of(choice: Any) -> Serializer:
    """One that has all four functions. Raises NoSerializer for an object with neither two of them."""
    if not isinstance(choice, str) and _has(choice, "dump", "load") != _has(choice, "dumps", "loads"):
        return _ByFile(choice) if _has(choice, "dump", "load") else _ByValue(choice)
    try:
        return choose_serializer(choice)
    except TypeError as error:
        raise NoSerializer(*error.args) from None


def _has(choice: Any, *functions: str) -> bool:
    return all(callable(getattr(choice, function, None)) for function in functions)


class _ByFile:
    """Over `dump(value, fp)` and `load(fp)`, which a file queue of persist-queue is content with."""

    def __init__(self, given: Any) -> None:
        self.dump, self.load = given.dump, given.load

    def dumps(self, value: object, sort_keys: bool = False) -> bytes:
        out = io.BytesIO()
        if sort_keys:
            self.dump(value, out, sort_keys=True)
        else:
            self.dump(value, out)
        return out.getvalue()

    def loads(self, data: bytes) -> object:
        value: object = self.load(io.BytesIO(data))
        return value


class _ByValue:
    """Over `dumps(value)` and `loads(data)`, which a database queue of persist-queue is content with."""

    def __init__(self, given: Any) -> None:
        self.dumps, self.loads = given.dumps, given.loads

    def dump(self, value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
        fp.write(self.dumps(value, sort_keys=True) if sort_keys else self.dumps(value))

    def load(self, fp: BinaryIO) -> object:
        value: object = self.loads(fp.read())
        return value
