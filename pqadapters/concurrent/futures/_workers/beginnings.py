"""Whether workers begin, in pools of processes of which several are tried: no job is what ends one before its first
call. Any thread may ask.

An initializer that raises says so. One that ends its worker tells nobody, and neither does a script that can't be
imported there; but in such a pool no worker ever begins.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.heap import BufferWrapper
from typing import Any

from .carrying import interrupt

_TRIES = 3  #: pools in which no worker began, each made as the one before was broken: somebody may have killed one
_TOKEN = 8
handlers: dict[int, Any] = {}  #: of signals, that a forked worker has from its parent and that aren't for it
_BEGUN, _FAILED = 0, _TOKEN  #: where a worker leaves the token of its pool


class Beginnings:
    """Of pools that are made with the same arguments, and known by their numbers, from 0 on."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._pools: list[_Marks] = []
        self._broken = -1  #: the last of them that is known to be

    def given(self, number: int) -> dict[str, Any]:
        """The arguments of the pool that is to have that number."""
        initializer = self._given["initializer"]
        if not (initializer is None or callable(initializer)):
            return self._given  # the standard library's constructor refuses it
        marks = _Marks(self._broken)
        self._pools[number:] = [marks]
        initargs = marks.room, marks.token, initializer, self._given["initargs"]
        return {**self._given, "initializer": initialize, "initargs": initargs}

    def has_begun(self, number: int) -> bool:
        """Whether a worker of that pool has."""
        return self._pools[number].has(_BEGUN)

    def have_failed(self) -> bool:
        """Whether the initializer has raised, so that a new pool would come to the same end."""
        return any(marks.has(_FAILED) for marks in self._pools)

    def cannot_begin(self, broken: int) -> bool:
        """The same; or the pool of that number, which is broken, was the last of some tries, and no worker has begun
        since the first. Pools that were made side by side are one try."""
        self._broken = max(self._broken, broken)
        first = broken
        for _ in range(_TRIES - 1):
            first = self._pools[first].behind if first >= 0 else first
        return self.have_failed() or (first >= 0 and not any(map(self.has_begun, range(first, len(self._pools)))))


class _Marks:
    """Of one pool: memory that its workers have, too. Nothing is locked, since a worker may be killed in the middle of
    anything, and nothing has a name that goes with the executor, while workers are still on their way."""

    def __init__(self, behind: int) -> None:
        self.behind = behind  #: the last pool that was known to be broken before; negative where none was
        self.token = os.urandom(_TOKEN)  # others may have had the room before, and may still write there
        self.room = BufferWrapper(2 * _TOKEN)

    def has(self, at: int) -> bool:
        return bytes(self.room.create_memoryview()[at : at + _TOKEN]) == self.token


def initialize(
    room: BufferWrapper, token: bytes, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    """In a worker."""
    for number, handler in handlers.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    view = room.create_memoryview()
    try:
        if initializer is not None:
            initializer(*initargs)
    except BaseException:
        view[_FAILED : _FAILED + _TOKEN] = token
        raise
    view[_BEGUN : _BEGUN + _TOKEN] = token
