"""The standard library's values that are stored exactly: how each is written, and read.

Dates and times keep their zone: a `timezone` exactly, a `ZoneInfo` by its key, and where the reader has no such zone as
the offset that it had.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from zoneinfo import ZoneInfo

_datetime: Any = datetime
_time: Any = time


def write_scalar(kind: type, value: Any) -> Any:
    """The tag for a value of a type in `SCALARS`; None where this one isn't stored exactly."""
    name, write, _ = SCALARS[kind]
    parts = write(value)
    return None if parts is None else {name: parts}


def _write_zone(value: datetime | time) -> Any:
    zone = value.tzinfo
    if zone is None:
        return []
    offset = value.utcoffset()
    if type(zone) is timezone and offset is not None:
        return _write_timezone(zone)
    if type(zone) is ZoneInfo and type(zone.key) is str and zone.key:
        return [*(_delta(offset) if offset is not None else [0, 0, 0]), zone.key, True]
    return None


def _write_timezone(zone: timezone) -> Any:
    made: Any = zone
    args = made.__getinitargs__()
    return [*_delta(args[0]), args[1] if len(args) > 1 else None, False]


def _read_zone(parts: Any) -> Any:
    if not parts:
        return None
    days, seconds, microseconds, name, is_zone = parts
    offset = timedelta(days, seconds, microseconds)
    if is_zone:
        try:
            return ZoneInfo(name)
        except (OSError, LookupError, ValueError):  # `from_file` takes any key, as that of a path
            return timezone(offset)
    if name is None:
        return timezone(offset)
    return timezone(offset, name)


def _delta(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _write_datetime(value: datetime) -> Any:
    zone = _write_zone(value)
    return None if zone is None else [*value.timetuple()[:6], value.microsecond, value.fold, *zone]


def _write_time(value: time) -> Any:
    zone = _write_zone(value)
    return None if zone is None else [value.hour, value.minute, value.second, value.microsecond, value.fold, *zone]


def _read_datetime(parts: Any) -> datetime:
    moment: datetime = _datetime(*parts[:7], _read_zone(parts[8:]), fold=parts[7])
    return moment


def _read_time(parts: Any) -> time:
    moment: time = _time(*parts[:4], _read_zone(parts[5:]), fold=parts[4])
    return moment


def _path(kind: type) -> tuple[Callable[[Any], str], Callable[[Any], Any]]:
    pure = PureWindowsPath if issubclass(kind, PureWindowsPath) else PurePosixPath
    made: Any = kind if kind is type(Path()) or not issubclass(kind, Path) else pure  # of the other system: pure
    return str, lambda text: made(_exactly(str, text))


def _exactly(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise ValueError("a tag of the wrong content")
    return value


def read_bytes(text: Any) -> bytes:
    """Of JSON, which has none. Raises ValueError."""
    return base64.b64decode(_exactly(str, text), validate=True)


def write_bytes(value: bytes) -> Any:
    return {"$bytes": base64.b64encode(value).decode()}


#: The tag's name, the writer and the reader of each type.
SCALARS: dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]] = {
    bytearray: ("$bytearray", bytes, lambda data: bytearray(_exactly(bytes, data))),
    complex: ("$complex", lambda value: [value.real, value.imag], lambda parts: complex(*map(float, parts))),
    datetime: ("$datetime", _write_datetime, _read_datetime),
    time: ("$time", _write_time, _read_time),
    date: ("$date", lambda value: [value.year, value.month, value.day], lambda parts: date(*parts)),
    timedelta: ("$timedelta", _delta, lambda parts: timedelta(*parts)),
    timezone: ("$timezone", _write_timezone, _read_zone),
    Decimal: ("$decimal", str, lambda text: Decimal(_exactly(str, text))),
    uuid.UUID: ("$uuid", lambda value: value.hex, lambda text: uuid.UUID(_exactly(str, text))),
    PosixPath: ("$posixpath", *_path(PosixPath)),
    WindowsPath: ("$windowspath", *_path(WindowsPath)),
    PurePosixPath: ("$pureposixpath", *_path(PurePosixPath)),
    PureWindowsPath: ("$purewindowspath", *_path(PureWindowsPath)),
}
