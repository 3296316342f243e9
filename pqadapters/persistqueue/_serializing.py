"""A serializer as persist-queue takes it: a module, or an object with functions for files, for values, or for both."""

from __future__ import annotations

import inspect
import io
from typing import Any, BinaryIO

from ..errors import NotSerializable
from ..serializers import Serializer
from ..serializers import serializer as choose_serializer


class NoSerializer(TypeError, AttributeError):
    """What was given is none; with persist-queue it is an AttributeError, in the constructor or at the first put."""


def serializer_of(choice: Any) -> Serializer:
    """One that has all four functions. Raises NoSerializer for an object with neither two of them."""
    by_file, by_value = _has(choice, "dump", "load"), _has(choice, "dumps", "loads")
    if not isinstance(choice, str) and by_file != by_value:
        return _ByFile(choice) if by_file else _ByValue(_in_bytes(choice))
    if any(_is_coroutine(choice, function) for function in ("dump", "load", "dumps", "loads")):
        raise NoSerializer(f"{choice!r} is not a serializer here: its functions are coroutines; give plain ones")
    try:
        return _in_bytes(choose_serializer(choice))
    except TypeError as error:
        raise NoSerializer(*error.args) from None


def _has(choice: Any, *functions: str) -> bool:
    return all(callable(getattr(choice, each, None)) and not _is_coroutine(choice, each) for each in functions)


def _is_coroutine(choice: Any, function: str) -> bool:
    return inspect.iscoroutinefunction(getattr(choice, function, None))


def _in_bytes(given: Serializer) -> Serializer:
    none: object = None
    try:
        none = given.dumps(None)
    except ImportError:
        raise  # its library is missing, as every put would find
    except Exception:
        pass  # it takes no None
    if isinstance(none, str):
        return _OfText(given)
    return given if isinstance(none, bytes) else _Unsure(given)


class _Over:
    """What isn't here is the user's own."""

    def __init__(self, given: Any) -> None:
        self._given = given

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)


class _Unsure(_Over):
    """It takes no None: it is one of bytes, as most are, or says what it lacks."""

    def dumps(self, value: object, sort_keys: bool = False) -> bytes:
        data: bytes = self._given.dumps(value, sort_keys=True) if sort_keys else self._given.dumps(value)
        if isinstance(data, str):
            raise NotSerializable(
                f"{self._given!r} made text of {value!r:.60}. Whether what is stored is text or bytes is known by what "
                "its dumps(None) gives: let that be text, too, or encode() what it gives, and decode() in loads"
            )
        return data


class _OfText(_Over):
    """Over `dumps` and `loads` of text, which a database queue of persist-queue is content with."""

    def dumps(self, value: object, sort_keys: bool = False) -> bytes:
        text: str = self._given.dumps(value, sort_keys=True) if sort_keys else self._given.dumps(value)
        return text.encode()

    def loads(self, data: bytes) -> object:
        value: object = self._given.loads(data.decode())
        return value


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
