"""Log records as bytes: all their fields, not a formatted text, so that formatters print what they would have printed.

    format:1  version:1  payload        format: M MessagePack, J JSON in UTF-8; the version is 1

    payload   [name, msg, ... , taskName, layout]                       the values of `LogRecord`'s own attributes
              [name, msg, ... , taskName, others, layout]               with the others by name: what `extra` has set
              [name, msg, ... , taskName, others, kind, text, layout]   of a subclass; text: what its `getMessage` gave
    layout    1 with taskName (Python 3.12), 0 without; 2: [[[attribute, value], ...], kind, text, 2]

Values are written as `values` says, but the tuple `args` as a list. MessagePack where it is installed, JSON otherwise;
JSON is always read. A value that neither has is stored as its repr and counted; if that is an argument of the message
and its repr won't do, the message is stored formatted. No record is lost, and reading one runs nothing that it says.

Not stored: the local variables of tracebacks, the attributes of exceptions that traceback doesn't print. The order of a
set is the reader's, except in arguments. Any thread may use a codec.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from ...errors import FormatError
from ...interrupts import works
from .fields import COUNT, LAYOUT, NAMES, read_record, write_bare, write_record
from .scalars import write_bytes
from .values import is_flat, read_tag

try:
    import msgpack
except ImportError:
    msgpack = None

VERSION = 1
_MSGPACK, _JSON = b"M%c" % VERSION, b"J%c" % VERSION
_JSON_PLAIN: frozenset[Any] = frozenset({str, int, float, bool, type(None)})
_PLAIN = _JSON_PLAIN | {bytes}
_LARGE = 1 << 20  #: bytes; a packer keeps a buffer for as much as it has packed
_Record = logging.LogRecord
_scan: Any = json.JSONDecoder(object_hook=read_tag).scan_once  # type: ignore[attr-defined]


def _encoder() -> Callable[[Any], str]:
    """What `JSONEncoder.encode` makes anew for each value, where the interpreter has it in C."""
    options: dict[str, Any] = {"ensure_ascii": False, "check_circular": False, "separators": (",", ":")}
    plain = json.JSONEncoder(default=write_bytes, **options)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    chunks = make(None, write_bytes, json.encoder.encode_basestring, None, ":", ",", False, False, True)
    return lambda values: "".join(chunks(values, 0))


_encode = _encoder()


class NotReadHere(FormatError):
    """Another installation reads it: a newer pqadapters, or one with msgpack. It is left for that one."""


class Codec:
    """Log records to bytes and back. `unencodable` counts the values that were stored as their text."""

    def __init__(self, *, binary: bool | None = None) -> None:
        self.unencodable = 0
        self._binary = msgpack is not None if binary is None else binary
        self._plain = _PLAIN if self._binary else _JSON_PLAIN
        self._packers: list[Any] = []  #: those that aren't in the middle of a record

    def dumps(self, record: logging.LogRecord) -> bytes:
        """All fields of the record, which isn't changed. Raises nothing for whatever it holds."""
        values = self._flat(record)
        if values is not None:
            try:
                return self._encoded(values)
            except (OverflowError, ValueError):  # an int that is too long, or a lone surrogate
                pass
        for _ in range(2):  # the first one may have been interrupted by a signal handler that raises something
            try:
                return self._counted(*write_record(record))
            except Exception:  # no stack is left, or a value does what nobody has thought of
                continue
        return self._counted(*write_bare(record))

    def loads(self, data: bytes) -> logging.LogRecord:
        """A record with the same fields. Raises FormatError for what `dumps` didn't write, NotReadHere among them;
        MemoryError, and what a signal handler raises meanwhile."""
        try:
            found = self._read(data)
        except MemoryError:
            raise
        except Exception as error:
            if works(self._read, data):
                raise  # a signal handler's exception, and no fault of the record
            raise FormatError(
                f"a log record of {len(data)} bytes is damaged ({type(error).__name__}: {error}): "
                "it can't be delivered; look at it with `pqadapters peek`, or drop it"
            ) from error
        if found is None:
            raise _foreign(data[:2])
        return found

    def _read(self, data: bytes) -> logging.LogRecord | None:
        """None for another format. Raises anything."""
        head = data[:2]
        if head == _MSGPACK and msgpack is not None:
            return read_record(msgpack.unpackb(data[2:], object_hook=read_tag, unicode_errors="surrogatepass"))
        if head == _JSON:
            text = data.decode("utf-8", "surrogatepass")
            values, end = _scan(text, len(_JSON))
            if end == len(text):
                return read_record(values)
            raise ValueError("something else behind it")
        return None

    def _flat(self, record: logging.LogRecord) -> list[Any] | None:
        """The payload of an ordinary record, whose values are what both formats hold; of another one None."""
        fields = record.__dict__
        names, values = tuple(fields), list(fields.values())
        if type(record) is not _Record or len(names) != len(values):  # another thread formats it, in between as well
            return None
        others = None
        if names != NAMES:
            others = _others(names, values, self._plain)
            if others is None:
                return None
        msg, args = values[1], values[2]
        plain = self._plain.issuperset
        if type(args) is tuple and plain(map(type, args)):
            values[2] = None
        if type(msg) is dict and is_flat(msg, self._plain) and "exc_info" not in msg:
            values[1] = None
        if not plain(map(type, values)):
            return None
        values[1] = msg
        if type(args) is tuple:
            values[2] = list(args)
        if others is not None:
            values.append(others)
        values.append(LAYOUT)
        return values

    def _counted(self, payload: list[Any], lost: int) -> bytes:
        data = self._encoded(payload)
        self.unencodable += lost  # no lock: a finalizer that logs may come in between
        return data

    def _encoded(self, values: list[Any]) -> bytes:
        if not self._binary:
            return _JSON + _encode(values).encode("utf-8", "surrogatepass")
        try:
            packer = self._packers.pop()
        except IndexError:
            packer = _packer()
        try:
            data: bytes = packer.pack(values)
        except UnicodeEncodeError:
            return _MSGPACK + bytes(_packer(unicode_errors="surrogatepass").pack(values))
        if len(data) < _LARGE:
            self._packers.append(packer)
        return _MSGPACK + data


def _others(names: tuple[str, ...], values: list[Any], plain: frozenset[Any]) -> dict[str, Any] | None:
    """The attributes behind a record's own, which they are taken away from; None where that isn't all."""
    if names[:COUNT] != NAMES:
        return None
    others = dict(zip(names[COUNT:], values[COUNT:]))  # noqa: B905  # both are of the same dict
    del values[COUNT:]
    logger: Any = others.get("_logger")  # structlog's
    by_name = type(logger) is logging.Logger and type(logger.name) is str and "_name" in others
    if by_name:
        others["_logger"] = None
    if not is_flat(others, plain):
        return None
    if by_name:
        others["_logger"] = {"$logger": logger.name}
    return others


def _packer(**options: Any) -> Any:
    return msgpack.Packer(strict_types=True, **options)


def _foreign(head: bytes) -> FormatError:
    """Why a payload with this beginning isn't read."""
    if head == _MSGPACK:
        return NotReadHere(
            "a log record was written with msgpack, which isn't installed here: pip install 'pqadapters[msgpack]', "
            "then it is delivered"
        )
    if head[:1] in (_MSGPACK[:1], _JSON[:1]) and len(head) == 2 and head[1] > VERSION:
        return NotReadHere(
            f"a log record was written by a newer pqadapters, in version {head[1]} of its format, and this one reads "
            f"version {VERSION}: upgrade pqadapters here"
        )
    return FormatError(
        f"this isn't a log record of pqadapters (it begins with {head!r}): was something else put into its queue?"
    )
