"""Ranks: bytes whose memcmp order is Python's order of the values they were made from.

A priority queue's store compares ranks, never values. `rank` is a pure function of its value: any thread, nothing kept.
Ranks are stored, so the bytes below are part of the file format; a tag is never given another meaning.

A rank is one element. Every element is self-delimiting, and 0xff starts none, so that elements can follow each other::

    02                              None (Python has no order for it, but finds it equal to itself inside tuples)
    10 ~magnitude                   a negative number: all bits of the magnitude flipped
    11 magnitude                    zero or a positive number: bool, int, float, Decimal, Fraction, one scale for all
    20 utf-8 00                     str, 00 inside written as 00 ff; lone surrogates like other code points
    21 bytes 00                     bytes, bytearray, likewise
    30 ordinal:4                    date
    31 span:16 | 32 span:16         datetime since year 1: naive | aware, in UTC
    33 span:16 | 34 span:16         naive time since midnight | timedelta
    40 elements 00                  tuple; a shorter one sorts before what it is the beginning of
    41 elements 00                  list
    42 elements 00                  dataclass(order=True): its fields with compare=True
    01                              here the rank stops: Python can't order the value that stands here

    magnitude = float:8 00          the IEEE double, big-endian: the number is just that
              | float:8 01 rest     the largest double below it, and what is left of it as a continued fraction
    rest      = term ~term term ~term ... ff      at odd places, where a greater term makes the number smaller, flipped
    term      = length:1 big-endian integer       from 254 bytes on: fe, length:8 (ff: infinity, the end)
    span      = days + 2**31:4  seconds:4  microseconds:4, each unsigned and big-endian

A whole number up to 2**53 is a double, which makes the common rank ten bytes. What is left of other numbers may be any
rational: each has exactly one finite continued fraction, whatever type the number came in.

Where this order and Python's part, on purpose:

- Values that Python doesn't compare at all (1 and "a", a naive and an aware datetime) have the order of their tags.
- Aware datetimes have the order of their instants. Python compares two with the very same tzinfo by their wall time,
  even in the hour that a clock is set back; that order isn't transitive.
- An element that Python can't order (a dict, an object()) ends the rank, even where Python would find two of them equal
  and look further. Ties are the store's to break, by order of arrival.
- A dataclass that was given another `__lt__` or `__eq__` by hand is ranked by its fields all the same.
"""

from __future__ import annotations

import math
import operator
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from .errors import RankError

_END, _CUT, _NONE = b"\x00", b"\x01", b"\x02"
_NEGATIVE, _POSITIVE = b"\x10", b"\x11"
_STR, _BYTES = b"\x20", b"\x21"
_DATE, _NAIVE, _AWARE, _TIME, _TIMEDELTA = b"\x30", b"\x31", b"\x32", b"\x33", b"\x34"
_TUPLE, _LIST, _DATACLASS = b"\x40", b"\x41", b"\x42"

_FLIP = bytes(range(255, -1, -1))
_pack_whole = struct.Struct(">cdB").pack
_pack_double = struct.Struct(">d").pack
_pack_span = struct.Struct(">cIII").pack
_pack_ordinal = struct.Struct(">cI").pack

_EXACT_INT = 1 << 53  #: up to here every int is a double
_EXPONENT_LIMIT = 4096  #: Decimals with a larger exponent, and Fractions with a denominator like that, aren't spelt out
_DENOMINATOR_LIMIT = 10**_EXPONENT_LIMIT


class _Inexpressible(Exception):
    """Python has an order for this value that bytes don't express."""


def rank(value: object) -> tuple[bytes, bool]:
    """The value's rank, and whether it is all there is to say about the value's place.

    `(bytes, True)`: whoever compares the bytes has compared the values. `(bytes, False)`: the rank stops at an element
    that Python can't order either, such as the dict in `(1, {})`; equal ranks go by order of arrival.
    `(b"", False)`: no rank. Python orders the value, or a part of it, in a way that bytes don't express (a class with
    its own `__lt__`), or can't order it at all.

    Raises RankError for NaN, also inside a tuple: it is neither less nor greater than anything, so no order holds.
    A value of an unknown class is compared with itself to learn whether it has an order.
    """
    kind = type(value)
    if kind is int or kind is float:
        return _LEAVES[kind](value), True
    out: list[bytes] = []
    try:
        whole = _encode(value, out)
    except (_Inexpressible, RecursionError):
        return b"", False
    return (b"", False) if out[0] == _CUT else (b"".join(out), whole)


def _encode(value: Any, out: list[bytes]) -> bool:
    """Append the value's element; False where the rank stops in it."""
    family = _family(type(value))
    if family is tuple or family is list:
        return _elements(_TUPLE if family is tuple else _LIST, family.__iter__(value), out)
    leaf = _LEAVES.get(family)
    if leaf is not None:
        out.append(leaf(_PLAIN[family](value) if family in _PLAIN else value))
        return True
    if (owner := _ordered_dataclass(family)) is not None:
        return _elements(_DATACLASS, _compared(owner, value), out)
    if _has_order(value):
        raise _Inexpressible
    out.append(_CUT)
    return False


def _elements(tag: bytes, values: Iterable[object], out: list[bytes]) -> bool:
    out.append(tag)
    for value in values:
        leaf = _LEAVES.get(type(value))
        if leaf is not None:
            out.append(leaf(value))
        elif not _encode(value, out):
            return False
    out.append(_END)
    return True


def _family(kind: type) -> type[Any]:
    """The type whose comparison methods `kind` uses unchanged, if it is one that ranks know; else `kind`."""
    if kind in _LEAVES or kind is tuple or kind is list:
        return kind
    for base in _BASES:
        if issubclass(kind, base) and all(getattr(kind, name) is getattr(base, name) for name in _COMPARISONS):
            return base
    return kind


def _ordered_dataclass(kind: type) -> type[Any] | None:
    """The dataclass that generated the `__lt__` of `kind`, if one did."""
    owner = next(owner for owner in kind.__mro__ if "__lt__" in vars(owner))
    params = vars(owner).get("__dataclass_params__")
    return owner if params is not None and params.order else None


def _compared(owner: type[Any], value: object) -> Iterator[object]:
    return (getattr(value, field.name) for field in fields(owner) if field.compare)


def _has_order(value: Any) -> bool:
    kind: Any = type(value)
    plain: Any = object
    if kind.__lt__ is plain.__lt__ and kind.__gt__ is plain.__gt__:
        return False
    try:
        operator.lt(value, value)  # a dict has an `__lt__` too: only trying tells
    except TypeError:
        return False
    except Exception:
        return True
    return True


def _number(value: float) -> bytes:
    """A float, or an int that is one exactly."""
    if value >= 0:
        return _pack_whole(_POSITIVE, value + 0.0, 0)  # -0.0 + 0.0 is 0.0
    if value < 0:
        return _NEGATIVE + _pack_whole(_POSITIVE, -value, 0)[1:].translate(_FLIP)
    raise RankError("NaN has no place in the order of a priority queue: it is neither less nor greater than anything")


def _int(value: int) -> bytes:
    return _number(value) if -_EXACT_INT <= value <= _EXACT_INT else _rational(value, 1)


def _decimal(value: Decimal) -> bytes:
    if value.is_nan() or value.is_infinite() or not value:
        return _number(math.nan if value.is_nan() else float(value))
    if abs(int(value.as_tuple().exponent)) > _EXPONENT_LIMIT:
        raise _Inexpressible
    return _rational(*value.as_integer_ratio())


def _fraction(value: Fraction) -> bytes:
    if value.denominator > _DENOMINATOR_LIMIT:
        raise _Inexpressible
    return _rational(value.numerator, value.denominator)


def _rational(n: int, d: int) -> bytes:
    return _NEGATIVE + _magnitude(-n, d).translate(_FLIP) if n < 0 else _POSITIVE + _magnitude(n, d)


def _magnitude(n: int, d: int) -> bytes:
    below = _double_below(n, d)
    p, q = below.as_integer_ratio()
    rest = n * q - p * d
    return _pack_double(below) + (b"\x01" + _continued_fraction(rest, d * q) if rest else b"\x00")


def _double_below(n: int, d: int) -> float:
    """The largest finite double that isn't above n/d."""
    try:
        near = n / d  # correctly rounded, so the one below is it or its neighbour
    except OverflowError:
        return sys.float_info.max
    p, q = near.as_integer_ratio()
    return near if p * d <= n * q else math.nextafter(near, 0.0)


def _continued_fraction(n: int, d: int) -> bytes:
    terms = []
    while d:
        term, rest = divmod(n, d)
        terms.append(_term(term))
        n, d = d, rest
    terms.append(b"\xff")
    terms[1::2] = [term.translate(_FLIP) for term in terms[1::2]]
    return b"".join(terms)


def _term(value: int) -> bytes:
    size = (value.bit_length() + 7) // 8
    length = bytes((size,)) if size < 0xFE else b"\xfe" + size.to_bytes(8, "big")
    return length + value.to_bytes(size, "big")


def _str(value: str) -> bytes:
    return _STR + str.encode(value, "utf-8", "surrogatepass").replace(b"\x00", b"\x00\xff") + _END


def _bytes(value: bytes | bytearray) -> bytes:
    return _BYTES + bytes(value).replace(b"\x00", b"\x00\xff") + _END


def _date(value: date) -> bytes:
    return _pack_ordinal(_DATE, value.toordinal())


def _datetime(value: datetime) -> bytes:
    wall = timedelta(value.toordinal(), value.hour * 3600 + value.minute * 60 + value.second, value.microsecond)
    offset = value.utcoffset()
    return _span(_NAIVE, wall) if offset is None else _span(_AWARE, wall - offset)


def _time(value: time) -> bytes:
    if value.utcoffset() is not None:
        raise _Inexpressible
    return _span(_TIME, timedelta(0, value.hour * 3600 + value.minute * 60 + value.second, value.microsecond))


def _timedelta(value: timedelta) -> bytes:
    return _span(_TIMEDELTA, value)


def _span(tag: bytes, value: timedelta) -> bytes:
    return _pack_span(tag, value.days + (1 << 31), value.seconds, value.microseconds)


def _none(_: None) -> bytes:
    return _NONE


_LEAVES: dict[type, Callable[[Any], bytes]] = {
    int: _int,
    bool: _int,
    float: _number,
    str: _str,
    bytes: _bytes,
    bytearray: _bytes,
    Decimal: _decimal,
    Fraction: _fraction,
    datetime: _datetime,
    date: _date,
    time: _time,
    timedelta: _timedelta,
    type(None): _none,
}
#: Subclasses may have arithmetic of their own.
_PLAIN: dict[type, Callable[[Any], object]] = {int: int.__index__, float: float.__float__}
_COMPARISONS = ("__lt__", "__gt__", "__eq__")
#: What a subclass may be ranked as. A datetime is no date here: its comparisons are its own.
_BASES: tuple[type, ...] = (tuple, list, *(kind for kind in _LEAVES if kind not in (bool, type(None))))
