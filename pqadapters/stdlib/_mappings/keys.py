"""Keys of mappings as bytes, such that equal keys have equal bytes, and back.

A dict finds a key by hash and equality; a store finds it by bytes. The first byte says what follows::

    n                        None
    s utf-8                  str; lone surrogates like other code points
    b bytes                  bytes
    i hexadecimal            int, and what equals one: True, 2.0, -0.0
    f double                 another float (8 bytes, big-endian)
    c double double          complex, with an imaginary part
    t (length:4 key)*        tuple; lengths unsigned, big-endian
    z (length:4 key)*        frozenset, in the order of the bytes
    o (length:4 key)*        an object of one of the types in parts.py: the type's name, and what it is made of
    h signature (length:4 key)*   the same for a type of the program's, where the mapping's values are signed
    p data                   anything else, by the mapping's serializer, which signs it where it signs values

So 1, 1.0 and True are one key, as in a dict, and come back as 1; 1 and "1" are two. Instances of subclasses of the
first ones, and numpy's numbers, are that value where they are equal to it and have its hash, and come back as it.
Named tuples, Decimals, and whatever has a type of its own are keys apart from those of other types, and come back as
they were, or equal. NaN is equal to itself here. What isn't equal to its own copy (an object that is compared by
identity), or has a set inside, whose order differs from run to run, is no key: nobody would find it again.
"""

from __future__ import annotations

import math
import numbers
import struct
from collections.abc import Callable, Hashable
from typing import Any

from ...errors import NotSerializable, StoreError
from ...interrupts import works
from ...serializers import Serializer, pickle
from ...serializers.signed import Signed, WrongSignature
from ...wording import excerpt_of, text_of
from .parts import is_known, join, refuse_sets, split, split_own

_LENGTH = struct.Struct(">I")
_DOUBLE = struct.Struct(">d")
_COMPLEX = struct.Struct(">dd")


class Keys:
    """Both ways, for one mapping. Any thread may use it."""

    def __init__(self, serializer: Serializer, label: str = "a mapping") -> None:
        self._serializer, self._label = serializer, label
        self._signed = serializer if isinstance(serializer, Signed) else None
        #: whether types of the program's may be made again
        self._own = getattr(serializer, "plain", serializer) is pickle

    def encode(self, key: object) -> bytes:
        """Raises TypeError for an unhashable key, NotSerializable (a TypeError) for one that has no bytes."""
        if type(key) is str:
            try:
                return b"s" + key.encode()
            except UnicodeEncodeError:
                return b"s" + key.encode("utf-8", "surrogatepass")
        encode = _ENCODERS.get(type(key))
        if encode is not None:
            return encode(self, key)
        hash(key)  # raises what Python raises for it
        plain = _plain(key)
        if plain is not None:
            return self.encode(plain)
        parts, seal = split(key), None
        if parts is None and self._own:
            parts, seal = split_own(key), self._signed
        if parts is None:
            return self._other(key)
        data = b"".join(map(_framed, map(self.encode, parts)))
        return b"o" + data if seal is None else b"h" + seal.sign(data)

    def decode(self, data: bytes) -> Any:
        """The key. Raises StoreError for what is none, and what the serializer raises."""
        kind = data[:1]
        if kind in _DECODERS:
            return _DECODERS[kind](self, data[1:])
        if kind not in _PLAIN:
            raise self._no_key()
        try:
            return _PLAIN[kind](data[1:])
        except _STRANGE as error:
            raise self._no_key() from error

    def _no_key(self) -> StoreError:
        return StoreError(
            f"a key in {self._label} isn't one that a mapping has stored: something else has changed it there. clear() "
            "deletes all keys"
        )

    def _joined(self, data: bytes) -> Any:
        parts = self._parts(data)
        if not parts:
            raise self._no_key()
        if is_known(parts):
            try:
                return join(parts, own=False)
            except _STRANGE as error:
                raise self._no_key() from error
        if self._signed is not None:
            raise WrongSignature(
                f"a key in {self._label}, of a program's own type, isn't signed, and this program takes signed ones"
            )
        return join(parts, own=self._own)

    def _joined_if_signed(self, data: bytes) -> Any:
        if self._signed is None:
            raise WrongSignature(f"a key in {self._label} is signed, and this program was given no signing_key=")
        return join(self._parts(self._signed.check(data)), own=self._own)

    def _other(self, key: object) -> bytes:
        try:
            data, copy = self._copied(key)
        except MemoryError:
            raise
        except Exception as error:
            if works(self._copied, key):
                raise  # a signal handler's exception, and no fault of the key
            raise NotSerializable(
                f"key {excerpt_of(key)} can't be serialised: {text_of(error)}. Nothing was stored"
            ) from error
        if not isinstance(copy, Hashable) or hash(copy) != hash(key) or copy != key:
            raise NotSerializable(
                f"key {excerpt_of(key)} isn't equal to its own copy, so nobody would find it again. Give its class "
                "__eq__ and __hash__ by value, or use a key made of text and numbers. Nothing was stored"
            )
        return b"p" + data

    def _copied(self, key: object) -> tuple[bytes, Any]:
        refuse_sets(key)
        data = self._serializer.dumps(key, sort_keys=True)
        return data, self._serializer.loads(data)

    def _tuple(self, key: tuple[object, ...]) -> bytes:
        return b"t" + b"".join(map(_framed, map(self.encode, key)))

    def _frozenset(self, key: frozenset[object]) -> bytes:
        return b"z" + b"".join(sorted(map(_framed, map(self.encode, key))))

    def _parts(self, data: bytes) -> list[Any]:
        parts, at = [], 0
        while at < len(data):
            start = at + _LENGTH.size
            at = start + int.from_bytes(data[at:start], "big")
            if at > len(data):
                raise self._no_key()
            parts.append(self.decode(data[start:at]))
        return parts


def _framed(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _int(_: Keys, key: int) -> bytes:
    return b"i%x" % key


def _float(keys: Keys, key: float) -> bytes:
    if key.is_integer():
        return _int(keys, int(key))
    return b"f" + _DOUBLE.pack(math.nan if key != key else key)


def _complex(keys: Keys, key: complex) -> bytes:
    if not key.imag:
        return _float(keys, key.real)
    return b"c" + _COMPLEX.pack(key.real + 0.0, key.imag)  # -0.0 is 0.0


def _plain(key: object) -> object:
    """The value of a common type that is the same key to a dict; None where there is none."""
    candidates: tuple[tuple[type, Callable[[Any], object]], ...] = (
        (str, str.__str__),
        (bytes, bytes),
        (int, int.__int__),
        (float, float.__float__),
        (numbers.Integral, int),
        (numbers.Rational, lambda _: None),  # exact; as floats they would be others
        (numbers.Real, float),
        (complex, complex),
    )
    for kind, to_plain in candidates:
        if isinstance(key, kind):
            plain = to_plain(key)
            return plain if plain is not None and hash(plain) == hash(key) and plain == key else None
    return None


_ENCODERS: dict[type, Callable[[Keys, Any], bytes]] = {
    bytes: lambda _, key: b"b" + key,
    int: _int,
    bool: _int,
    float: _float,
    complex: _complex,
    type(None): lambda _, key: b"n",
    tuple: Keys._tuple,
    frozenset: Keys._frozenset,
}
_PLAIN: dict[bytes, Callable[[bytes], Any]] = {
    b"n": lambda data: None,
    b"s": lambda data: data.decode("utf-8", "surrogatepass"),
    b"b": lambda data: data,
    b"i": lambda data: int(data, 16),
    b"f": lambda data: _DOUBLE.unpack(data)[0],
    b"c": lambda data: complex(*_COMPLEX.unpack(data)),
}
_STRANGE = (ValueError, TypeError, ArithmeticError, struct.error)  #: raised where what is stored is no such value
_DECODERS: dict[bytes, Callable[[Keys, bytes], Any]] = {
    b"o": Keys._joined,
    b"h": Keys._joined_if_signed,
    b"t": lambda keys, data: tuple(keys._parts(data)),
    b"z": lambda keys, data: frozenset(keys._parts(data)),
    b"p": lambda keys, data: keys._serializer.loads(data),
}
