"""Objects as what they are made of, where their pickles aren't the same for equal ones, or from one Python to the next.

`split` gives the name of a type and its parts, each of them a key; `join` makes the object again. Equal objects of one
type have equal parts, whatever the order of sets inside, the time zone, the zeros of a Decimal.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import io
import pathlib
import pickle
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from typing import Any

from ...errors import NotSerializable
from ...serializers.pickle import MAIN, SPAWNED_MAIN

Parts = tuple[object, ...]
_UTC = datetime.timezone.utc
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=_UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)


def split(key: Any) -> Parts | None:
    """The name of its type and its parts; None for one that isn't known here."""
    known = _KNOWN.get(type(key))
    return (known[0], *known[1](key)) if known is not None else None


def split_own(key: Any) -> Parts | None:
    """The same for types of a program's: to join their parts is to import and call what is named, as a pickle does."""
    kind: Any = type(key)
    parts: Parts | None = None
    if isinstance(key, Enum):
        if kind.__members__.get(key.name) is key:
            parts = ("enum", *_where(kind), key.name)
        elif isinstance(key, Flag):  # of several members, or of none: its name isn't the same in each Python
            parts = ("flag", *_where(kind), key.value)
    elif isinstance(key, tuple) and kind.__eq__ is tuple.__eq__ and hasattr(kind, "_make"):
        parts = ("named", *_where(kind), *key)
    elif dataclasses.is_dataclass(key) and _is_plain(kind):
        parts = ("data", *_where(kind), *(getattr(key, field.name) for field in dataclasses.fields(kind)))
    return parts if parts is not None and _comes_back(parts, key) else None


def _comes_back(parts: Parts, key: object) -> bool:
    """Whether it can be made again of them: its type is found by name, and takes them."""
    try:
        copy = join(parts, own=True)
        return type(copy) is type(key) and bool(copy == key)
    except Exception:
        return False


def is_known(parts: Sequence[Any]) -> bool:
    """Whether to join them is to make a type that is known here, and no other."""
    return parts[0] in _MAKERS


def join(parts: Sequence[Any], *, own: bool) -> Any:
    """The object again. Raises what its module and type raise; NotSerializable for a type of a program's, unless
    `own`."""
    name, rest = parts[0], parts[1:]
    if is_known(parts):
        return _MAKERS[name](*rest)
    if not own:
        raise NotSerializable(f"a key is of the type {rest[0]}.{rest[1]}, which only a mapping with pickle makes again")
    kind = _find(rest[0], rest[1])
    if not _is_such(name, kind):
        raise NotSerializable(f"a key is said to be of the type {rest[0]}.{rest[1]}, which isn't of that kind any more")
    if name == "enum":
        return kind[rest[2]]
    if name == "flag":
        return kind(rest[2])
    if name == "named":
        return kind._make(rest[2:])
    return kind(**dict(zip((field.name for field in dataclasses.fields(kind)), rest[2:], strict=True)))


#: What types of a program's are by each name.
_IS: dict[str, Callable[[Any], bool]] = {
    "enum": lambda kind: issubclass(kind, Enum),
    "flag": lambda kind: issubclass(kind, Flag),
    "named": lambda kind: issubclass(kind, tuple) and hasattr(kind, "_make"),
    "data": dataclasses.is_dataclass,
}


def _is_such(name: str, kind: Any) -> bool:
    return isinstance(kind, type) and name in _IS and _IS[name](kind)


def _is_plain(kind: Any) -> bool:
    """Whether a dataclass is compared by all of its fields, and made of all of them."""
    made = getattr(getattr(vars(kind).get("__eq__"), "__code__", None), "co_filename", "") == "<string>"
    return made and all(field.init and field.compare for field in dataclasses.fields(kind))


def _where(kind: type) -> tuple[str, str]:
    module = kind.__module__  # of the main one in a spawned child, the name that it has in every process
    return MAIN if module == SPAWNED_MAIN else module, kind.__qualname__


def _find(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


class _Scanner(pickle.Pickler):
    def persistent_id(self, part: object) -> None:
        if isinstance(part, (set, frozenset)):
            raise NotSerializable("it has a set inside, whose order differs from run to run")


def refuse_sets(key: object) -> None:
    """Raises NotSerializable for a key whose pickle would be another one in the next run."""
    try:
        _Scanner(io.BytesIO(), 5).dump(key)
    except NotSerializable:
        raise
    except Exception:  # what can't be pickled may be no matter to the mapping's serializer
        return


# The types that are known by name. The names are stored, so none is given another meaning.


def _digits(key: Decimal) -> Parts:
    hash(key)  # a signalling NaN has none
    sign, digits, exponent = key.as_tuple()
    if not isinstance(exponent, int):
        return (str(key),)
    while len(digits) > 1 and digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    return ("0" if digits == (0,) else str(Decimal((sign, digits, exponent))),)


def _moment(key: datetime.datetime) -> Parts:
    """Microseconds since 1970: in UTC for an aware one, and as they stand in a naive one."""
    if key.utcoffset() is not None:
        return ("aware", (key - _EPOCH) // _MICROSECOND)
    return ("naive", (key.replace(fold=0) - _EPOCH.replace(tzinfo=None)) // _MICROSECOND)


def _to_moment(kind: str, microseconds: int) -> datetime.datetime:
    since = microseconds * _MICROSECOND
    if kind == "naive":
        return _EPOCH.replace(tzinfo=None) + since
    try:
        return _EPOCH + since
    except OverflowError:  # UTC has no such day, and a zone far enough from it does
        away = datetime.timedelta(minutes=-1439 if microseconds > 0 else 1439)
        return (_EPOCH.replace(tzinfo=None) + (since + away)).replace(tzinfo=datetime.timezone(away))


def _range(key: range) -> Parts:
    return (key[0], key[-1] + (1 if key.step > 0 else -1), key.step if key[0] != key[-1] else 1) if key else (0, 0, 1)


def _to_range(start: int, stop: int, step: int) -> range:
    return range(start, stop, step if (stop - start) * step >= 0 else -step)


_Known = tuple[str, Callable[[Any], Parts], Callable[..., Any]]
_KNOWN: dict[type, _Known] = {
    Decimal: ("decimal", _digits, Decimal),
    Fraction: ("fraction", lambda key: (key.numerator, key.denominator), Fraction),
    uuid.UUID: ("uuid", lambda key: (key.bytes,), lambda data: uuid.UUID(bytes=data)),
    datetime.date: ("date", lambda key: (key.toordinal(),), datetime.date.fromordinal),
    datetime.datetime: ("datetime", _moment, _to_moment),
    datetime.timedelta: ("timedelta", lambda key: (key // _MICROSECOND,), lambda n: n * _MICROSECOND),
    range: ("range", _range, _to_range),
    **{
        kind: (kind.__name__, lambda key: (str(key),), kind)
        for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
    },
}
_MAKERS: dict[str, Callable[..., Any]] = {name: make for name, _, make in _KNOWN.values()}
