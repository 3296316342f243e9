"""A commit of one operation that is one statement: a transaction without our saying so, and without a plan."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ...store import PLAIN, Ack, Claim, Expect, Put, Set, Stop
from .._handle import Handle
from .._trouble import lease_lost
from . import entries, schema
from .changes import place_of, put_plain
from .core import Core
from .schema import LONG, PART
from .work import Work

_BESIDE_RANK = PLAIN[1:]  #: what follows queue, payload and rank
_ALONE: Any = {"alone": True, "shrinks": False}


class Alone(Handle):
    """The part of a handle that makes these."""

    _core: Core
    _power: bool  #: whether a commit is synced

    def _plain(self, op: Any, stop: Stop | None, timeout: float | None, touched: dict[str, int | None]) -> Work | None:
        """An operation that is one statement: a short record without delay and conditions, an acknowledgement, or a key
        that is set whatever it was. None for anything else."""
        names = self._core.names
        if type(op) is Put and op[3:] == _BESIDE_RANK and len(op.payload) <= LONG:
            queue = names.queue(op.queue)
            if queue is not None and (not op.rank or names.is_ranked(queue)):
                touched[op.queue] = 1
                return Work(self._putting(op, queue, stop), **_ALONE, synced=self._power, timeout=timeout)
        elif type(op) is Ack:
            queue, owner = names.queues.get(op.claim.queue), self._core.owners.number
            if queue is not None and (owner is not None or not op.claim.attempt):
                touched[op.claim.queue] = 0
                run = self._acking(op.claim, queue, owner, stop)
                return Work(run, alone=True, synced=self._power and not op.lazy, timeout=timeout)
        elif type(op) is Set and op.expect is Expect.ANY and len(op.value) <= PART:
            table = names.table(op.table)
            if table is not None:
                return Work(self._setting(op, table, stop), **_ALONE, synced=self._power, timeout=timeout)
        return None

    def _putting(self, op: Put, number: int, stop: Stop | None) -> Callable[[sqlite3.Connection], tuple[int, ...]]:
        put = schema.put(number, op.payload, self._core.clock.wall(), op.rank)

        def run(connection: sqlite3.Connection) -> tuple[int, ...]:
            if stop is not None or self._closed:
                self._may_go_on(stop)
            return (put_plain(connection, put),)

        return run

    def _acking(
        self, claim: Claim, number: int, owner: int | None, stop: Stop | None
    ) -> Callable[[sqlite3.Connection], tuple[int, ...]]:
        place = place_of(number, claim.id)
        values: tuple[Any, ...] = (-place, owner, self._handle, claim.attempt) if claim.attempt else (place,)
        statement = schema.ACK if claim.attempt else schema.ACK_LOOKED_AT

        def run(connection: sqlite3.Connection) -> tuple[int, ...]:
            if stop is not None or self._closed:
                self._may_go_on(stop)
            if connection.execute(statement, values).rowcount != 1:
                raise lease_lost(claim)
            return (0,)

        return run

    def _setting(self, op: Set, number: int, stop: Stop | None) -> Callable[[sqlite3.Connection], tuple[int, ...]]:
        def run(connection: sqlite3.Connection) -> tuple[int, ...]:
            if stop is not None or self._closed:
                self._may_go_on(stop)
            entries.put(connection, number, op.key, op.value)
            return (0,)

        return run
