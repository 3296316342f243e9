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
    """The value's pickle; with `sort_keys`, the same for equal values. A dict of a derived class becomes a plain one
    then, as persist-queue's does."""
    if not sort_keys:
        return pickle.dumps(value, protocol=protocol)
    if isinstance(value, dict):
        value = dict(value)
    try:
        return pickle.dumps(value, True, protocol=protocol)
    except (ValueError, RecursionError):  # it holds itself, which a pickle says that tells its parts apart
        return pickle.dumps(dict(sorted(value.items())) if isinstance(value, dict) else value, protocol=protocol)
