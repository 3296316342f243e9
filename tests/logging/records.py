"""Log records to try the codec with."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from pqadapters.logging._records.records import Codec

Raised = tuple[type[BaseException], BaseException, TracebackType | None]


def record(msg: Any, *args: Any, exc_info: Any = None, **extra: Any) -> logging.LogRecord:
    """What a logger makes of these."""
    logger = logging.getLogger("app.sub")
    return logger.makeRecord("app.sub", 20, "/srv/app.py", 42, msg, args, exc_info, "fn", extra or None)


def through(codec: Codec, original: logging.LogRecord) -> logging.LogRecord:
    """The record that comes back. The original isn't changed."""
    before = dict(original.__dict__)
    loaded = codec.loads(codec.dumps(original))
    assert original.__dict__.keys() == before.keys()
    assert all(original.__dict__[name] is value for name, value in before.items())
    return loaded


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types all the way."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(map(same, one.items(), other.items()))
    if isinstance(one, (set, frozenset)):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    if type(one) is int:  # its repr may be longer than Python writes
        return bool(one == other)
    return repr(one) == repr(other) and (one == other or one != one)


def raised(fail: Callable[[], object]) -> Raised:
    """What `sys.exc_info()` gives for the exception of a call."""
    try:
        fail()
    except BaseException:
        kind, error, trace = sys.exc_info()
        assert kind is not None
        assert error is not None
        return kind, error, trace
    raise AssertionError("nothing was raised")
