"""Futures for what earlier processes have left. Any thread may ask; the first one who does has them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....ending import is_over
from ....errors import StoreClosed
from .._jobs import wire
from .._jobs.errors import parked
from .._others import peers
from .backlog import SHUT_DOWN
from .future import JobFuture
from .records import there as all_there

if TYPE_CHECKING:
    from .backlog import Backlog


def recovered(backlog: Backlog) -> list[JobFuture]:
    """Those of jobs that were begun already, and of those that are still to be. Raises RuntimeError after shutdown."""
    try:
        return _recovered(backlog)
    except StoreClosed:
        if not backlog.closed:
            raise
        raise RuntimeError(SHUT_DOWN) from None  # just now, it may be


def _recovered(backlog: Backlog) -> list[JobFuture]:
    with backlog.attaching:
        try:
            there = _futures(backlog)
        finally:
            if backlog.closed:  # nobody will tell them any more; who closes looked before they were there
                backlog.let_go_of_attached()
    if not backlog.foreign:
        backlog.take_in()
    if not backlog.added() and not (backlog.closing or backlog.stopped or is_over()):
        raise RuntimeError(backlog.refusal)
    return list(there.values())


def _futures(backlog: Backlog) -> dict[bytes, JobFuture]:
    there: dict[bytes, JobFuture] = {}
    made: list[JobFuture] = []  #: others are told already, to whoever has them
    for record in all_there(backlog):
        id = wire.id_of(record.payload)
        if id and id[:8] != backlog.token and not peers.has(backlog, id):
            new = JobFuture(backlog, id, None, record=record.id)
            known = peers.find(backlog, id) or backlog.unfinished(id)
            there[id] = known or backlog.attached.setdefault(id, new)
            if there[id] is new:
                made.append(new)
    begun, backlog.begun = backlog.begun or (), None  # behind the look: what was begun before it, or meanwhile
    for future in list(begun):
        there[future._id] = future
        asked_for = backlog.attached.get(future._id)  # or itself: it may wait to be begun again
        if asked_for not in (None, future) and backlog.attached.pop(future._id, None) is asked_for:
            asked_for.follow(future)
    watched = [id for id in there if id in backlog.attached] if backlog.sharing is not None else []
    if backlog.sharing is not None:
        backlog.sharing.watch_all(watched)
    _look_again(backlog, there, made, watched)
    return there


def _look_again(backlog: Backlog, there: dict[bytes, JobFuture], made: list[JobFuture], watched: list[bytes]) -> None:
    """Some may have come to their end while we looked, and nobody will say so: their records are gone, or parked."""
    waiting = [future for future in made if future._id in backlog.attached]
    if waiting or watched:
        names, store = backlog.names, backlog.store
        left = {wire.id_of(record.payload) for record in all_there(backlog)}
        if backlog.sharing is not None:
            for id in watched:
                if id not in left:
                    backlog.sharing.watch_no_more(id)
        dead = {wire.id_of(record.payload): record.note for record in store.browse(names.dead, state=None)}
        for future in waiting:
            if future._id in left or backlog.attached.pop(future._id, None) is not future:
                continue
            if future._id in dead:
                future.settle(None, parked(dead[future._id]))
            else:
                there.pop(future._id, None)
                future.cancel_here()
