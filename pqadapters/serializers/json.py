"""JSON as UTF-8, one value per line in files. Any thread may call these functions; none keeps anything.

Tuples come back as lists, and subclasses (enums, namedtuples) as what JSON has for them: the format knows no others.
NaN and the infinities are written as Python writes them, which other readers may refuse.
"""

from __future__ import annotations

import json
from typing import BinaryIO

# json.dumps makes such an encoder for each value.
_ENCODERS = {
    sort_keys: json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    for sort_keys in (False, True)
}


def dump(value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
    """Write the value as one line; several in one file are read back by as many `load`s."""
    fp.write(dumps(value, sort_keys) + b"\n")


def load(fp: BinaryIO) -> object:
    """The value on the next line. Raises EOFError at the end of the file, ValueError for what isn't JSON."""
    line = fp.readline()
    if not line:
        raise EOFError("the file holds no further JSON value")
    return loads(line)


def dumps(value: object, sort_keys: bool = False) -> bytes:
    """The value as compact JSON.

    Raises TypeError for a value that JSON doesn't know and for a dict key that isn't a str (the standard library
    would make one of it, and 1 and "1" the same), ValueError for a value that holds itself.
    """
    text = _ENCODERS[bool(sort_keys)].encode(value)
    _check_keys(value)
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: UTF-8 has none, an escape does
        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode()


def loads(data: bytes) -> object:
    """The value. Raises ValueError (JSONDecodeError, UnicodeDecodeError) for what isn't JSON in UTF-8."""
    value: object = json.loads(data.decode())
    return value


def _check_keys(value: object) -> None:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"JSON has no key {key!r}: the keys of a dict must be str")
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            _check_keys(part)
