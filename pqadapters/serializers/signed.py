"""Signed values: whoever can write to a store, and doesn't have the key, can't make a program load what they have made.

A signed value is one letter, the HMAC-SHA256 (RFC 2104) of what follows, and the serializer's bytes::

    "H":1  mac:32  data

The MAC is checked before the data is looked at. It says who has made the value, not when or for which queue: somebody
who can write to a store may still delete values, and put old ones again. Any thread may use these; no message and no
repr has the key in it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO, Union

from . import in_bytes
from ._framing import read_frame, write_frame

KEY = "PQADAPTERS_SIGNING_KEY"
SHORTEST = 16  #: bytes of a key
_LETTER = b"H"
SIGNATURE = 33  #: bytes in front of the data
#: What can be done where values have to be signed, beside the environment: if the caller has the argument for it.
GIVE = "give signing_key="
CHOOSE = "choose serializer='json' or 'msgpack'"

Key = Union[str, bytes]


class WrongSignature(ValueError):
    """A value isn't signed, or by none of the keys; nothing of it was loaded."""


class Seal:
    """What signs and checks. `keys`: the first one signs, all of them are accepted, so that keys can be changed.

    Raises TypeError for what is no key, ValueError for one of less than 16 bytes.
    """

    of = ""  #: what it is a part of that is checked, for people

    def __init__(self, keys: Key | Sequence[Key]) -> None:
        import hmac  # loads OpenSSL, which a program without keys needn't

        self._digest, self._same = hmac.digest, hmac.compare_digest
        given = list(keys) if isinstance(keys, Iterable) and not isinstance(keys, (str, bytes)) else [keys]
        if not given or not all(isinstance(key, (str, bytes)) for key in given):
            raise TypeError("signing_key is text or bytes, or several of them, of which the first one signs")
        self._keys = [key.encode() if isinstance(key, str) else key for key in given]
        if any(len(key) < SHORTEST for key in self._keys):
            raise ValueError(f"a key in signing_key= or {KEY} has {SHORTEST} bytes or more: take secrets.token_hex(32)")

    def others(self) -> list[Seal]:
        """What signs by each of the other keys."""
        return [Seal(key) for key in self._keys[1:]]

    def sign(self, data: bytes) -> bytes:
        return _LETTER + self._digest(self._keys[0], data, "sha256") + data

    def check(self, signed: bytes) -> bytes:
        """The data. Raises WrongSignature."""
        mac, data = signed[1:SIGNATURE], signed[SIGNATURE:]
        if signed[:1] != _LETTER or len(mac) < SIGNATURE - 1:
            raise WrongSignature(f"{self.of}it isn't signed, and this program takes signed ones alone")
        if not any(self._same(mac, self._digest(key, data, "sha256")) for key in self._keys):
            raise WrongSignature(f"{self.of}its signature is by none of this program's keys")
        return data


class Signed:
    """A serializer that signs what another one makes, and loads what is signed alone."""

    def __init__(self, plain: Any, seal: Seal) -> None:
        self.plain = plain
        self._seal = seal
        self.sign, self.check = seal.sign, seal.check
        self._dumps, self._loads = plain.dumps, plain.loads

    def tell_of(self, place: str) -> None:
        """Errors say that it was there."""
        self._seal.of = f"something in {place} was refused: "

    def others(self) -> list[Signed]:
        """What signs by each of the other keys."""
        return [Signed(self.plain, seal) for seal in self._seal.others()]

    def dumps(self, value: object, sort_keys: bool = False) -> bytes:
        return self.sign(in_bytes(self._dumps(value, True) if sort_keys else self._dumps(value)))

    def loads(self, data: bytes) -> object:
        """Raises WrongSignature, and what the serializer raises."""
        value: object = self._loads(self.check(data))
        return value

    def dump(self, value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
        """Write the signed value behind its length."""
        write_frame(fp, self.dumps(value, sort_keys))

    def load(self, fp: BinaryIO) -> object:
        """The next value in the file. Raises EOFError at its end, WrongSignature."""
        return self.loads(read_frame(fp))


def peeled(data: bytes) -> bytes:
    """What may be signed, without its signature, to be looked at and not loaded: nothing is checked."""
    return data[SIGNATURE:] if data[:1] == _LETTER else data


def perhaps_signed(data: bytes, error: BaseException) -> str:
    """What to add to the error of a program without a key that may have met a signed value; else nothing."""
    if isinstance(error, WrongSignature) or data[:1] != _LETTER or len(data) < SIGNATURE:
        return ""
    return "; it may be signed: give the signing_key= that it was put with"


def hint(data: bytes, error: Exception) -> None:
    """The same, in the error's own text."""
    if (more := perhaps_signed(data, error)) and len(error.args) == 1:
        error.args = (f"{error}{more}",)


def seal_for(key: Key | Sequence[Key] | None, *, hosts: bool) -> Seal | None:
    """The seal of a key that was given; on a store of several hosts the environment's stands for it."""
    if key is None and hosts:
        key = os.environ.get(KEY) or None
    return None if key is None else Seal(key)


def protected(
    plain: Any, key: Key | Sequence[Key] | None, *, hosts: bool, place: str, ways: Sequence[str] = (GIVE, CHOOSE)
) -> Any:
    """The serializer, signed if there is a key. Raises ValueError where pickles would be loaded that anybody on the
    network may have put there; it names the `ways` out."""
    if isinstance(plain, Signed):
        return plain
    seal = seal_for(key, hosts=hosts)
    if seal is not None:
        return Signed(plain, seal)
    if hosts and runs_code(plain):
        raise ValueError(unsigned(place, *ways))
    return plain


def unsigned(place: str, *ways: str) -> str:
    return (
        f"{place}: loading a pickle runs what it says, and whoever can write to this server could run code here. "
        f"{', or '.join([f'Set {KEY} (one secret for all programs that use it)', *ways])}"
    )


def runs_code(serializer: Any) -> bool:
    """Whether loading one of its values may run anything."""
    return getattr(serializer, "loads", None) is pickle.loads
