"""Where the items of a chunk file end: by pickle's instructions, which are skipped and not carried out, by lines, or by
lengths. Nothing is loaded but by a serializer of the program's own.

An item that isn't whole raises Broken; `again` is where the next one may begin. What a signal handler raises meanwhile,
or a lack of memory, says nothing of an item, and is raised as it is.
"""

from __future__ import annotations

import importlib
import io
import json
import pickle
import pickletools
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from mmap import mmap
from struct import Struct
from types import ModuleType
from typing import Any, Protocol, Union

from ...interrupts import is_fault, works
from ...serializers import NAMES, Serializer

Data = Union[bytes, mmap]
_LENGTH = Struct("<L")
_THEIRS = "persistqueue.serializers."  #: modules of persist-queue itself, which a program may still use


class Broken(ValueError):
    """There is no whole item here."""


class CutOff(Broken):
    """The item goes on behind the end of the data."""


class Framing(Protocol):
    """The way of one serializer. `limit` is where the data ends."""

    def end(self, data: Data, at: int, limit: int) -> int:
        """Where the item ends that begins at `at`. Raises Broken."""

    def again(self, data: Data, at: int, limit: int) -> int:
        """Where the next whole item begins behind the broken one at `at`, or `limit`."""

    def payload(self, data: Data, at: int, end: int) -> bytes:
        """The item as a store of ours has it. Raises Broken."""

    def value(self, data: Data, end: int) -> object:
        """What stands at the start of an `info`: numbers and text. Raises Broken."""


def framing_of(serializer: Serializer) -> Framing:
    """Of a serializer as persist-queue is given it."""
    name = name_of(serializer)
    return Own(serializer) if name is None else FRAMINGS[name]()


def name_of(serializer: Any) -> str | None:
    """Which of ours it is, or of persist-queue's own, which write the same; None for another."""
    if isinstance(serializer, ModuleType) and serializer.__name__.startswith(_THEIRS):
        last = serializer.__name__.removeprefix(_THEIRS)
        return "pickle" if last == "async_pickle" else last if last in NAMES else None
    for name in NAMES:
        if getattr(serializer, "load", None) is _ours(name).load:
            return name
    return None


def _ours(name: str) -> Any:
    return importlib.import_module(f"{__name__.split('.')[0]}.serializers.{name}")


# Pickles

_FIXED: dict[int, int] = {ord(opcode.code): opcode.arg.n if opcode.arg else 0 for opcode in pickletools.opcodes}
_UNKNOWN, _STOP, _LINE, _LINES, _BYTE, _FOUR, _EIGHT = -1, -2, -3, -4, -5, -6, -7
_COUNTED = {
    pickletools.UP_TO_NEWLINE: _LINE,
    pickletools.TAKEN_FROM_ARGUMENT1: _BYTE,
    pickletools.TAKEN_FROM_ARGUMENT4: _FOUR,
    pickletools.TAKEN_FROM_ARGUMENT4U: _FOUR,
    pickletools.TAKEN_FROM_ARGUMENT8U: _EIGHT,
    (_UNKNOWN_SIZE := -99): _UNKNOWN,
}
#: What follows an opcode: so many bytes, or one of the above.
_ARGUMENTS: list[int] = [_COUNTED.get(size := _FIXED.get(code, _UNKNOWN_SIZE), size) for code in range(256)]
_ARGUMENTS[ord(".")] = _STOP
_ARGUMENTS[ord("c")] = _ARGUMENTS[ord("i")] = _LINES  # module and name
_SIZES = {_BYTE: 1, _FOUR: 4, _EIGHT: 8}
_PROTO, _FRAME, _NEWEST = 0x80, 0x95, 5
_BEGUN = [bytes([_PROTO]), *(bytes([_PROTO, number]) for number in range(2, _NEWEST + 1))]  #: all that is left of one
_LONGEST = 1 << 18  #: bytes; no frame that Python writes has as many, so that one that says so is damaged
_FRAMED, _SMALL, _LARGE = 4, 5, 1 << 16  #: the protocol from which on all have one but those of so many bytes


class Pickles:
    """Protocol 2 and newer, of which each begins with its number."""

    def end(self, data: Data, at: int, limit: int) -> int:
        if not _begins(data, at, limit):
            raise Broken("no pickle begins here")
        end, frame = self._end(data, at, limit), _frame_end(data, at, limit)
        if frame != end and frame is not None and (frame > end or _begins(data, frame, limit)):
            raise Broken("the pickle isn't as long as it says")
        if frame is None and data[at + 1] >= _FRAMED and _SMALL < end - at < _LARGE:
            raise Broken("the pickle is too long for one without a frame")  # it has swallowed those behind it
        return end

    def _end(self, data: Data, at: int, limit: int) -> int:
        arguments = _ARGUMENTS
        while at < limit:
            kind = arguments[data[at]]
            if kind >= 0:
                at += 1 + kind
            elif kind == _STOP:
                return at + 1
            else:
                at = _behind(data, at, limit, kind)
        raise CutOff("the pickle is cut off")

    def again(self, data: Data, at: int, limit: int) -> int:
        """Where its frame says that it ends, or where one begins from which on there are pickles up to the end. What a
        damaged pickle holds may look like pickles, too: there something else follows, or its frame goes on."""
        frame = _frame_end(data, at, limit) or limit
        if limit < frame <= at + _LONGEST and self._is_cut_off(data, at, limit):
            return limit
        for start in chain([frame], _marks(data, at + 1, limit)):
            if _begins(data, start, limit) and self._goes_on(data, start, limit):
                return start
        return limit

    def _is_cut_off(self, data: Data, at: int, limit: int) -> bool:
        """Whether its instructions go on behind the limit."""
        try:
            self._end(data, at, limit)
        except CutOff:
            return True
        except Broken:
            pass
        return False

    def _goes_on(self, data: Data, at: int, limit: int) -> bool:
        """Whether pickles follow each other from a first whole one on, up to the end or another broken one."""
        begun = at
        with suppress(Broken):
            while at < limit:
                at = self.end(data, at, limit)
        return at > begun and (at == limit or _begins(data, at, limit) or data[at : min(at + 3, limit)] in _BEGUN)

    def payload(self, data: Data, at: int, end: int) -> bytes:
        return data[at:end]

    def value(self, data: Data, end: int) -> object:
        try:
            return _plain(data[:end])
        except Exception as error:
            if works(_plain, data[:end]):
                raise
            raise Broken(f"no pickle of numbers and text: {error}") from None


def _plain(data: bytes) -> object:
    return _Plain(io.BytesIO(data)).load()


class _Plain(pickle.Unpickler):
    """Makes numbers, text and containers of them, and finds nothing that could be called."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} has no place in it")


def _begins(data: Data, at: int, limit: int) -> bool:
    return at + 2 < limit and data[at] == _PROTO and 2 <= data[at + 1] <= _NEWEST


def _behind(data: Data, at: int, limit: int, kind: int) -> int:
    """Where an instruction ends whose length stands in it. Raises Broken."""
    if kind == _UNKNOWN:
        raise Broken("there is no such instruction in pickles")
    if kind in (_LINE, _LINES):
        for _ in range(1 if kind == _LINE else 2):
            at = data.find(b"\n", at, limit) + 1
            if not at:
                raise CutOff("the pickle is cut off")
        return at
    size = _SIZES[kind]
    return at + 1 + size + int.from_bytes(data[at + 1 : min(at + 1 + size, limit)], "little")


def _frame_end(data: Data, at: int, limit: int) -> int | None:
    """Where the first frame of the pickle that begins there says that it ends; None where it has none."""
    if not _begins(data, at, limit) or at + 11 > limit or data[at + 2] != _FRAME:
        return None
    return at + 11 + int.from_bytes(data[at + 3 : at + 11], "little")


def _marks(data: Data, at: int, limit: int) -> Iterator[int]:
    while (at := data.find(b"\x80", at, limit)) >= 0:
        yield at
        at += 1


# Lines of JSON


class Lines:
    """JSON, a value each line."""

    def end(self, data: Data, at: int, limit: int) -> int:
        end = data.find(b"\n", at, limit) + 1
        if not end:
            raise Broken("the line is cut off")
        try:
            json.loads(data[at : end - 1])
        except ValueError as error:
            raise Broken(f"no JSON: {error}") from None
        except RecursionError:
            pass
        return end

    def again(self, data: Data, at: int, limit: int) -> int:
        return data.find(b"\n", at, limit) + 1 or limit

    def payload(self, data: Data, at: int, end: int) -> bytes:
        return data[at : end - 1]

    def value(self, data: Data, end: int) -> object:
        try:
            found: object = json.loads(data[:end])
        except RecursionError as error:
            raise Broken(f"no JSON of numbers and text: {error}") from None
        return found


# Lengths


class Lengths:
    """Values behind their lengths, 4 bytes little-endian. A value that its library can't read is broken."""

    def __init__(self, name: str) -> None:
        self._loads: Callable[[bytes], object] = _ours(name).loads
        self._loads(b"\x00")  # where the library is missing it is said here
        if name == "cbor2":
            self._loads = _whole_cbor

    def end(self, data: Data, at: int, limit: int) -> int:
        end = self._end(data, at, limit)
        try:
            self._loads(data[at + 4 : end])
        except Exception as error:
            if not is_fault(error, self._loads, data[at + 4 : end]):
                raise
            raise Broken(f"no value that can be read: {type(error).__name__}") from None
        return end

    def _end(self, data: Data, at: int, limit: int) -> int:
        if at + 4 > limit:
            raise Broken("the length is cut off")
        end = at + 4 + int(_LENGTH.unpack(data[at : at + 4])[0])
        if end > limit or end == at + 4:
            raise Broken("the value is cut off, or its length is wrong")
        return end

    def again(self, data: Data, at: int, limit: int) -> int:
        """Where the length was right, behind it; else at the next place with two values, or one and the end."""
        starts: list[int] = []
        with suppress(Broken):
            starts.append(self._end(data, at, limit))
        for start in chain(starts, range(at + 1, limit)):
            try:
                end = self._end(data, start, limit)
                if end != limit:
                    self._end(data, end, limit)  # first: that is cheap, and nearly always tells
                self.end(data, start, limit)
                return start
            except Broken:
                continue
        return limit

    def payload(self, data: Data, at: int, end: int) -> bytes:
        return data[at + 4 : end]

    def value(self, data: Data, end: int) -> object:
        return self._loads(data[4:end])


def _whole_cbor(data: bytes) -> object:
    """The value; its library minds nothing that stands behind it. Raises what that raises, and ValueError."""
    file = io.BytesIO(data)
    value: object = importlib.import_module("cbor2").CBORDecoder(file).decode()
    if file.tell() != len(data):
        raise ValueError("there is more behind the value")
    return value


# A program's own


class Own:
    """By a serializer of the program's own: what its `load` reads, as its `dumps` writes it."""

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._file = io.BytesIO()
        self._data: Data = b""
        self._value: tuple[int, object] = (-1, None)

    def end(self, data: Data, at: int, limit: int) -> int:
        if data is not self._data:
            self._data, self._file = data, io.BytesIO(data[:limit])
        try:
            self._value = at, self._load(at)
        except (Exception, SystemExit) as error:
            if not is_fault(error, self._load, at):
                raise
            raise Broken(f"the serializer can't read it: {type(error).__name__}: {error}") from None
        end = self._file.tell()
        if end <= at:
            raise Broken("the serializer reads nothing")
        return end

    def _load(self, at: int) -> object:
        self._file.seek(at)
        return self._serializer.load(self._file)

    def again(self, data: Data, at: int, limit: int) -> int:
        return limit

    def payload(self, data: Data, at: int, end: int) -> bytes:
        if self._value[0] != at:
            self.end(data, at, end)
        try:
            return self._serializer.dumps(self._value[1])
        except Exception as error:
            if not is_fault(error, self._serializer.dumps, self._value[1]):
                raise
            raise Broken(f"the serializer can't write it: {type(error).__name__}: {error}") from None

    def value(self, data: Data, end: int) -> object:
        return self._value[1]


FRAMINGS: dict[str, Callable[[], Framing]] = {
    "pickle": Pickles,
    "json": Lines,
    "msgpack": lambda: Lengths("msgpack"),
    "cbor2": lambda: Lengths("cbor2"),
}
