"""What pickle takes, and can't be anywhere else: a connection of multiprocessing, by the bare number of its descriptor.

A copy of it in the same process closes the descriptor when it is dropped, under the one that was put; behind a restart
the number is anybody's. Only multiprocessing's own pickler hands them on.
"""

from __future__ import annotations

import pickle
import re
import sys

_MODULE = "multiprocessing.connection"
_NAME = b"Connection"
#: Its class in a pickle of protocol 4 or 5, where module and name are two short texts, or of an older one: where Python
#: 2 would read it, the module is another one.
_CLASS = re.compile(
    rb"\x8c\x1amultiprocessing\.connection.*\x8c(?:\x0a|\x0ePipe)Connection"
    rb"|c(?:_multiprocessing|multiprocessing\.connection)\n(?:Pipe)?Connection\n",
    re.DOTALL,
)


def without_connections(data: bytes) -> bytes:
    """The pickle. Raises PicklingError where there is a connection in it."""
    if _MODULE in sys.modules and _NAME in data and _CLASS.search(data):
        raise pickle.PicklingError(
            "a connection of multiprocessing can't be stored: a copy would close it under the one that was put, and "
            "behind a restart it would be another file"
        )
    return data
