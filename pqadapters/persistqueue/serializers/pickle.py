"""The serializer `pickle` of pqadapters at persist-queue's protocol: see `pqadapters.serializers.pickle`."""

from __future__ import annotations

from typing import BinaryIO

from ...serializers import pickle
from ...serializers.pickle import load, loads

__all__ = ["dump", "dumps", "load", "loads", "protocol"]

protocol = 4


def dump(value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
    """Write the value's pickle."""
    fp.write(dumps(value, sort_keys))


def dumps(value: object, sort_keys: bool = False) -> bytes:
    """The value's pickle; with `sort_keys`, the same for equal values."""
    return pickle.dumps(value, sort_keys, protocol=protocol)
