"""What a job came to, as bytes: a kind, and a pickle that was tried before it was kept; behind that of an exception
another one, of its traceback as text."""

from __future__ import annotations

import io
import pickle
import struct
from functools import partial
from typing import Any, NamedTuple

from ....errors import NotSerializable
from ....interrupts import is_fault
from ....serializers.connections import without_connections
from .errors import JobParked, RemoteError, lines_of, qualified, raised_there, told, whole_text
from .sealing import Sealing

_RESULT, _ERROR, _REMOTE, _PARKED = b"R", b"E", b"X", b"P"
_MOST_LINES = 1 << 16  #: characters of a traceback: the last ones say most
_ENTRY = struct.Struct(">dI")


class Outcome(NamedTuple):
    """A result, or the exception in its place."""

    result: Any = None
    error: BaseException | None = None


def dump(outcome: Outcome) -> bytes:
    """The bytes. What can't be serialised becomes a RemoteError that says so, also where that raises SystemExit or the
    like: it is for a thread that runs jobs, which has the outcome to tell."""
    if isinstance(outcome.error, JobParked):
        return _PARKED + whole_text(outcome.error).encode("utf-8", "surrogatepass")  # a file's name is in it, say
    if outcome.error is not None:
        return _dump_error(outcome.error)
    try:
        return _RESULT + without_connections(pickle.dumps(outcome.result, 5))
    except BaseException as error:
        text = f"the result, of the type {type(outcome.result).__qualname__}, can't be kept: {whole_text(error)}"
        return _remote(RemoteError(qualified(NotSerializable), text))


def _dump_error(error: BaseException) -> bytes:
    """An exception as it is, if it survives a round trip: those with an __init__ of their own may not."""
    try:
        if isinstance(error, RemoteError):
            return _remote(error)
        data = without_connections(pickle.dumps(error, 5))
        again = pickle.loads(data)
        if type(again) is type(error) and str(again) == str(error):
            return _ERROR + data + pickle.dumps(lines_of(error)[-_MOST_LINES:], 5)
    except BaseException:
        pass
    return _remote(told(error))


def _remote(error: RemoteError) -> bytes:
    return _REMOTE + pickle.dumps((error.type, error.text, error.traceback), 5)


def load(stored: bytes, sealing: Sealing, *, by_thread: bool = False) -> Outcome:
    """The outcome again; where it can't be loaded here, a RemoteError. `by_thread`: the caller is one of our own, which
    no signal handler interrupts, and somebody waits for what it tells; so that is whatever loading raises. Else what a
    handler has raised, or a lack of memory, isn't what the job came to, and is raised."""
    opened = partial(_loaded, sealing)
    try:
        return opened(stored)
    except BaseException as error:
        if not (by_thread or (isinstance(error, (Exception, SystemExit)) and is_fault(error, opened, stored))):
            raise
        text = f"what was kept can't be loaded here: {whole_text(error)}"
        return Outcome(error=RemoteError(qualified(type(error)), text))


def _loaded(sealing: Sealing, stored: bytes) -> Outcome:
    data = sealing.open(stored)
    kind, body = data[:1], data[1:]
    if kind == _PARKED:
        return Outcome(error=JobParked(body.decode("utf-8", "surrogatepass")))
    if kind == _ERROR:
        source = io.BytesIO(body)
        error: Any = pickle.load(source)
        return Outcome(error=raised_there(error, pickle.load(source) if source.tell() < len(body) else ""))
    value: Any = pickle.loads(body)
    if kind == _REMOTE:
        remote = RemoteError(*value)
        return Outcome(error=raised_there(remote, remote.traceback))
    return Outcome(value)


class Kept(NamedTuple):
    """An entry of the table of results."""

    until: float  #: when it runs out, in seconds since the epoch
    key: bytes  #: the job's; b"" for none
    outcome: bytes

    def dump(self) -> bytes:
        return _ENTRY.pack(self.until, len(self.key)) + self.key + self.outcome

    @classmethod
    def load(cls, entry: bytes) -> Kept:
        """One that is too short was changed by something else: it has run out."""
        if len(entry) < _ENTRY.size:
            return cls(0.0, b"", entry)
        until, length = _ENTRY.unpack_from(entry)
        start = _ENTRY.size
        return cls(until, entry[start : start + length], entry[start + length :])
