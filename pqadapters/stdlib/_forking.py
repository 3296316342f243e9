"""The serializer of queues between processes: pickle, with what `multiprocessing` has taught it besides.

Connections, sockets and shared memory travel as through `multiprocessing.Queue`. They end with the processes: such an
item that a later run finds becomes a dead letter. Any thread may call these functions.
"""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import BinaryIO

from ..serializers.pickle import PROTOCOL, load, loads
from ..serializers.pickle import dumps as sorted_dumps

__all__ = ["dump", "dumps", "load", "loads"]


def dumps(value: object, sort_keys: bool = False) -> bytes:
    """The value's pickle."""
    if sort_keys:
        return sorted_dumps(value, sort_keys)
    return bytes(ForkingPickler.dumps(value, PROTOCOL))


def dump(value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
    """Write the value's pickle; several in one file are read back by as many `load`s."""
    fp.write(dumps(value, sort_keys))
