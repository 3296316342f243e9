"""Pickle, at the protocol that all supported Pythons read. Any thread may call these functions; none keeps anything.

Loading a pickle runs what it says: load only what you trust.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from collections.abc import Callable
from typing import BinaryIO

from ._sorting import with_sorted_keys
from .connections import without_connections

PROTOCOL = 5
MAIN, SPAWNED_MAIN = "__main__", "__mp_main__"  #: a spawned child has the program's main module under both names
_FRAME = struct.Struct("<2scQ")  #: how a pickle of protocol 4 or 5 begins that is one frame
_SHORT = 255
#: What stands before a text of so many bytes, by protocol, and behind it: PEP 3154's SHORT_BINUNICODE in a frame.
_TEXT = {
    protocol: [
        _FRAME.pack(pickle.PROTO + bytes([protocol]), pickle.FRAME, size + 4) + pickle.SHORT_BINUNICODE + bytes([size])
        for size in range(_SHORT + 1)
    ]
    for protocol in range(4, PROTOCOL + 1)
}
#: Types (no subclasses) of which each value has a pickle that anybody loads, and none begins with a zero.
SIMPLE = frozenset((str, bytes, int, float, bool))
_TEXT_END = pickle.MEMOIZE + pickle.STOP

if MAIN in sys.modules:  # as multiprocessing does: what a spawned child has dumped is loaded by a run without it, too
    sys.modules.setdefault(SPAWNED_MAIN, sys.modules[MAIN])

#: The value. Raises what pickle raises: UnpicklingError, EOFError, AttributeError, ModuleNotFoundError ...
loads: Callable[[bytes], object] = pickle.loads


def dump(value: object, fp: BinaryIO, sort_keys: bool = False) -> None:
    """Write the value's pickle; several in one file are read back by as many `load`s."""
    fp.write(dumps(value, sort_keys))


def load(fp: BinaryIO) -> object:
    """The next value in the file. Raises EOFError at its end, and what pickle raises for a damaged one."""
    value: object = pickle.load(fp)
    return value


def dumps(value: object, sort_keys: bool = False, *, protocol: int = PROTOCOL) -> bytes:
    """The value's pickle.

    With `sort_keys`, equal values made of dicts, lists, tuples, text, bytes and numbers of the same types give equal
    bytes. (A plain pickle also tells which of its parts are one object, and so do two equal values differ.)
    Raises what pickle raises, and PicklingError for a connection of multiprocessing.
    """
    if type(value) is str and not sort_keys and value.isascii() and len(value) <= _SHORT:
        heads = _TEXT.get(protocol)
        if heads is not None:
            return heads[len(value)] + value.encode() + _TEXT_END  # a pickler takes three times as long
    data = _canonical(with_sorted_keys(value), protocol) if sort_keys else pickle.dumps(value, protocol)
    return data if type(value) in SIMPLE else without_connections(data)


def _canonical(value: object, protocol: int) -> bytes:
    out = io.BytesIO()
    pickler = pickle.Pickler(out, protocol)
    pickler.fast = True  # no memo: the bytes say what the parts are, not which are one object
    pickler.dump(value)
    data = out.getvalue()
    return _of_main(data) if SPAWNED_MAIN.encode() in data else data


def _of_main(data: bytes) -> bytes:
    """The pickle without a memo that a process makes which isn't a spawned child."""
    import pickletools  # large, and hardly ever needed

    start, opcode, size = _FRAME.unpack_from(data)
    if opcode != pickle.FRAME or _FRAME.size + size != len(data):
        return data
    ops = [(op, found, at or 0) for op, found, at in pickletools.genops(data)]
    whole, end = b"", _FRAME.size
    for (_, module, at), _, (op, _, _) in zip(ops, ops[1:], ops[2:], strict=False):
        if op.name == "STACK_GLOBAL" and module == SPAWNED_MAIN:
            whole += data[end:at] + _short(MAIN)
            end = at + len(_short(SPAWNED_MAIN))
    whole += data[end:]
    return _FRAME.pack(start, opcode, len(whole)) + whole


def _short(text: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode()
