"""What pickle takes, and can't be anywhere else: a connection of multiprocessing, by the bare number of its descriptor.

A copy of it in the same process closes the descriptor when it is dropped, under the one that was put; behind a restart
the number is anybody's. Only multiprocessing's own pickler hands them on.
"""

from __future__ import annotations

import pickle
import re
import sys

_MODULE = "multiprocessing.connection"
#: Two short texts name its class in a pickle of protocol 4 or 5; each may stand first, for the sake of another item.
_SHORT_MODULE = b"\x8c\x1a" + _MODULE.encode()
_SHORT_NAMES = b"\x8c\x0aConnection", b"\x8c\x0ePipeConnection"
#: The same in an older one: where Python 2 would read it, the module is another one.
_GLOBAL = re.compile(rb"c(?:_multiprocessing|multiprocessing\.connection)\n(?:Pipe)?Connection\n")


def without_connections(data: bytes) -> bytes:
    """The pickle. Raises PicklingError where there is a connection in it."""
    if _MODULE in sys.modules and b"Connection" in data and _has_one(data):
        raise pickle.PicklingError(
            "a connection of multiprocessing can't be stored: a copy would close it under the one that was put, and "
            "behind a restart it would be another file"
        )
    return data


def _has_one(data: bytes) -> bool:
    is_named = _SHORT_MODULE in data and any(name in data for name in _SHORT_NAMES)
    return is_named or _GLOBAL.search(data) is not None
