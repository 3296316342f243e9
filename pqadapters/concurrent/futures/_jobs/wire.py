"""A job as bytes: a head that says which job it is, options where it has any, and the call.

    format:1  flags:1  job id:16  failures:2  length:4 | options, JSON, of that length | the call, a pickle

All numbers big-endian. The job id is 8 random bytes, of the process that submitted it, and a number of that. The call
is a pickle of (function, args, kwargs) or of (function, args, kwargs, exceptions to retry on), the function being a
`Named` where it has a stable name. In one of cloudpickle's the exceptions may be by value: (module, name) of each comes
behind them. Who runs jobs looks at the head, and loads the call only to run it.
"""

from __future__ import annotations

import json
import os
import pickle
import pickletools
import struct
import sys
from importlib import import_module
from typing import Any, NamedTuple

from .... import wording
from ....errors import NotSerializable
from ....interrupts import works
from ....serializers.connections import without_connections
from .tasks import Named, task_of

FORMAT = 1
#: Flags: it came by `map`; who submitted it waits for a reply; its last attempt was begun.
MAPPED, REPLY, LAST = 1, 2, 4
_HEAD = struct.Struct(">BB16sHI")
_PROTOCOL = 5
MISSING = (ImportError, AttributeError, LookupError)  #: what `load` raises where something isn't there

#: The bytecode that this Python runs; that of another one may end the process.
PYTHON = str(sys.implementation.cache_tag)
_main = ""

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


class ByValue(bytes):
    """A call that cloudpickle has made bytes of."""


class Wire(NamedTuple):
    """A job that was read."""

    flags: int
    id: bytes
    failures: int
    meta: dict[str, Any]
    call: bytes


def write(id: bytes, call: bytes, *, flags: int = 0, meta: dict[str, Any] | None = None) -> bytes:
    """A job's payload."""
    options = json.dumps(meta).encode() if meta else b""
    return _HEAD.pack(FORMAT, flags, id, 0, len(options)) + options + call


def read(payload: bytes) -> Wire:
    """Raises ValueError for what is no job of a version that we know."""
    try:
        form, flags, id, failures, length = _HEAD.unpack_from(payload)
        if form != FORMAT:
            raise ValueError(f"it has the format {form}, which a newer version wrote")
        start = _HEAD.size + length
        meta = json.loads(payload[_HEAD.size : start]) if length else {}
    except struct.error:
        raise ValueError("it is no job") from None
    except RecursionError:
        meta = None
    if not isinstance(meta, dict):
        raise ValueError("its options are none")
    return Wire(flags, id, failures, meta, payload[start:])


def id_of(payload: bytes) -> bytes:
    """The job id alone; b"" for what is no job."""
    return payload[2:18] if payload[:1] == b"\1" and len(payload) >= _HEAD.size else b""


def id_from(job_id: str) -> bytes:
    """From what users write. Raises ValueError for what can't be a job id."""
    try:
        return bytes.fromhex(job_id)
    except (ValueError, TypeError):
        raise ValueError(f"a job id is what a future's job_id is, in hexadecimal digits; {job_id!r} is none") from None


def with_failures(payload: bytes, failures: int) -> bytes:
    """The same job, that has failed so often."""
    form, flags, id, _, length = _HEAD.unpack_from(payload)
    return _HEAD.pack(form, flags & ~LAST, id, min(failures, 0xFFFF), length) + payload[_HEAD.size :]


def on_its_last_attempt(payload: bytes) -> bytes:
    """The same job, that is begun for the last time."""
    return payload[:1] + bytes([payload[1] | LAST]) + payload[2:]


def dump(call: Call, retry_on: tuple[type[BaseException], ...] | None = None) -> bytes:
    """The call as bytes; what plain pickle refuses goes by cloudpickle, where that is installed.

    Raises NotSerializable.
    """
    function, args, kwargs = call
    known = task_of(function)
    if known is not None:
        function = Named(known.name, known.version, getattr(function, "__module__", "") or "")
    whole = (function, args, kwargs) if retry_on is None else (function, args, kwargs, retry_on)
    try:
        return _by_reference(whole)
    except MemoryError:
        raise
    except Exception as error:
        if works(_by_reference, whole):
            raise  # a signal handler's exception, and no fault of the call
        return _dump_by_value(whole, error)


def bounds_of(call: Call, data: bytes, *, shared: bool) -> dict[str, str]:
    """Who alone can run the call: in a store that processes share, the script that it belongs to, if it isn't of a
    module, and doesn't go by value; what another one calls so is something else. Where code is in it, this Python."""
    by_value = type(data) is ByValue
    if by_value and b"CodeType" in data:
        return {"python": PYTHON}
    if shared and b"__main__" in data and not by_value and task_of(call[0]) is None and this_main():
        return {"main": this_main()}
    return {}


def this_main() -> str:
    """What runs as `__main__` here: a module's name, or a file."""
    global _main
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None:
        _main = str(spec.name)
    elif file:
        _main = os.path.realpath(file)
    return _main  # behind its last line a script has no __file__ any more


def _by_reference(whole: tuple[Any, ...]) -> bytes:
    return without_connections(pickle.dumps(whole, _PROTOCOL))


def _dump_by_value(whole: tuple[Any, ...], refusal: Exception) -> bytes:
    why = wording.named(refusal)
    try:
        cloudpickle: Any = import_module("cloudpickle")
    except ImportError:
        raise NotSerializable(f"{why} (cloudpickle, the extra 'cloudpickle', takes lambdas and closures)") from refusal

    def by_value(whole: tuple[Any, ...]) -> bytes:
        return without_connections(cloudpickle.dumps(whole, _PROTOCOL))

    names = tuple((kind.__module__, kind.__qualname__) for kind in whole[3]) if len(whole) > 3 else ()
    whole = (*whole, names) if names else whole
    try:
        return ByValue(by_value(whole))
    except MemoryError:
        raise
    except Exception:
        if works(by_value, whole):
            raise
        raise NotSerializable(why) from refusal


def load(data: bytes) -> tuple[Call, tuple[type[BaseException], ...] | None]:
    """The call, and what to retry on. Raises whatever loading does, LookupError for a task that isn't there."""
    whole: Any = pickle.loads(data)
    function, args, kwargs = whole[:3]
    if type(function) is Named:
        function = function.find()
    return (function, args, kwargs), whole[3] if len(whole) > 3 else None


def name_of(call: bytes) -> str:
    """What the call's function is called, as far as a look at the pickle tells; nothing is loaded."""
    words: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(call):
            if opcode.name in ("SHORT_BINUNICODE", "BINUNICODE"):
                words.append(str(argument))
                if len(words) == 2 and words != [Named.__module__, "Named"]:
                    return ".".join(words)
                if len(words) == 3:
                    return words[2]
    except Exception:
        return "?"
    return "?"
