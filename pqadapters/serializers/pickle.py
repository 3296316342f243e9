"""Pickle, at the protocol that all supported Pythons read. Any thread may call these functions; none keeps anything.

Loading a pickle runs what it says: load only what you trust.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import BinaryIO

from ._sorting import with_sorted_keys

PROTOCOL = 5

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
    """
    return _canonical(with_sorted_keys(value), protocol) if sort_keys else pickle.dumps(value, protocol)


def _canonical(value: object, protocol: int) -> bytes:
    out = io.BytesIO()
    pickler = pickle.Pickler(out, protocol)
    pickler.fast = True  # no memo: the bytes say what the parts are, not which are one object
    pickler.dump(value)
    return out.getvalue()
