"""The serializer of queues between processes: pickle, with what `multiprocessing` has taught it besides.

Connections, sockets and shared memory travel as through `multiprocessing.Queue`. They end with the processes: such an
item that a later run finds becomes a dead letter. Any thread may call these functions.
"""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import BinaryIO

from ...serializers.pickle import PROTOCOL, load, loads
from ...serializers.pickle import dumps as plain_dumps

__all__ = ["dump", "dumps", "load", "loads"]

_SIMPLE = frozenset({str, bytes, int, float, bool})  #: what pickle never asks what it was taught for


def dumps(value: object, sort_keys: bool = False) -> bytes:
    """The value's pickle."""
    if type(value) in _SIMPLE or sort_keys:
        return plain_dumps(value, sort_keys)
    return bytes(ForkingPickler.dumps(value, PROTOCOL))


def dump(value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
    """Write the value's pickle; several in one file are read back by as many `load`s."""
    fp.write(dumps(value, sort_keys))
