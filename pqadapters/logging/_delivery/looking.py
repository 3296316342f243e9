"""A look at a spool: whether everything was confirmed, and how much waits for which sink."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ...clock import SYSTEM
from ...errors import StoreClosed
from ...store import Depth, Order, State, Store, dead_queue
from .._spools.names import Spooled
from .delivery import Delivery

_STEP = 0.05  #: seconds between two looks
_RECORD = 1e-5  #: seconds that it takes to deliver one, about
_AT_BEST = 1e-6  #: seconds that no delivery of a record is below
_WORTH = 0.002  #: seconds; with less to wait for there is nothing to be gained
_PATIENCE = 20  #: as many times as long as a look takes, with many records: those who deliver wait for it


def confirmed(spool: Spooled, timeout: float | None, sinks: Sequence[str] | None = None) -> bool:
    """Whether the sinks have confirmed all that was logged before this call; waits up to `timeout` seconds for that
    (None: for ever). `sinks`: the names of those that count; None: all that ever fell behind. Raises StoreError."""
    store, names = spool.store, spool.names
    deadline = None if timeout is None else SYSTEM.monotonic() + timeout
    if not _is_through(store, names.inbox, deadline):
        return False
    wanted = names.known(store) if sinks is None else [name for name in names.known(store) if name in sinks]
    return all(_is_through(store, names.sink(name), deadline) for name in wanted)


def _is_through(store: Store, queue: str, deadline: float | None) -> bool:
    """Whether what is in the queue now has left it, claimed or not.

    Mostly it is empty before anybody has to look which record is the newest: that takes time, and who delivers waits
    for it. Which one that is is looked at later, then; what has come meanwhile is waited for as well.
    """
    count = store.depth(queue).unfinished
    if not count or _is_emptied(store, queue, max(_STEP, count * _RECORD), deadline, share=0.5):
        return True
    if deadline is not None and SYSTEM.monotonic() >= deadline:
        return False
    newest = next(store.browse(queue, order=Order.NEWEST, state=None), None)
    pause = _STEP
    while newest is not None and not _is_emptied(store, queue, pause, deadline):
        begun = SYSTEM.monotonic()
        if _has_passed(store, queue, newest.id):
            return True
        if deadline is not None and begun >= deadline:
            return False
        pause = max(_STEP, _PATIENCE * (SYSTEM.monotonic() - begun))
    return True


def _is_emptied(store: Store, queue: str, seconds: float, deadline: float | None, *, share: float = 1.0) -> bool:
    """Waits so long, and for so large a part of the time that is left."""
    now = SYSTEM.monotonic()
    end = now + (seconds if deadline is None else min(seconds, share * (deadline - now)))
    if end > now:
        _let_deliver(store, queue, end)
    left = end - SYSTEM.monotonic()
    return left > 0 and store.wait(queue, lambda depth: not depth.unfinished, left)


def _let_deliver(store: Store, queue: str, end: float) -> None:
    """Look away for as long as what waits takes at the very least: who waits in the store is woken by each batch, and
    those who deliver wait for it."""
    while (pause := store.depth(queue).unfinished * _AT_BEST) >= _WORTH and (left := end - SYSTEM.monotonic()) > 0:
        time.sleep(min(pause, left, _STEP))


def _has_passed(store: Store, queue: str, id: int) -> bool:
    """Whether all records of the queue came behind that one."""
    for state in (State.READY, None):  # the former is cheaper, and the answer until near the end
        oldest = next(store.browse(queue, state=state), None)
        if oldest is not None and oldest.id <= id:
            return False
    return True


def stats(spool: Spooled, delivery: Delivery | None) -> dict[str, Any]:
    """Of the whole: depth (records), bytes, oldest_age (seconds), dead (letters), dropped by reason, unencodable
    (values that were stored as their repr), disk_bytes of this process's files. Of each sink, by its name: depth,
    bytes, oldest_age of what it hasn't confirmed; delivered, retried, dead, last_error. Raises StoreError."""
    was_open = spool.is_open
    try:
        return _stats(spool, spool.store, delivery)
    except StoreClosed:  # whoever delivered has let go of it meanwhile: once more, with what is opened for this
        was_open = False
        return _stats(spool, spool.store, delivery)
    finally:
        if not was_open:
            spool.let_go(None)  # it stays open for those that use it


def _stats(spool: Spooled, store: Store, delivery: Delivery | None) -> dict[str, Any]:
    names = spool.names
    depths = {queue: _depth(store, queue) for queue in names.all(store)}
    inbox = depths[names.inbox]
    posts = delivery.posts if delivery is not None else []
    return {
        "place": spool.place,
        **_sum(*depths.values()),
        "dead": sum(store.depth(dead_queue(queue)).ready for queue in depths),
        "dropped": dict(spool.limit.dropped),
        "unencodable": spool.codec.unencodable,
        "disk_bytes": spool.limit.used(),
        "sinks": {
            post.name: {
                **_sum(inbox, depths.get(names.sink(post.name))),
                "delivered": post.sink.delivered,
                "retried": post.sink.retried,
                "dead": post.sink.dead,
                "last_error": post.sink.last_error,
            }
            for post in posts
        },
    }


def _depth(store: Store, queue: str) -> Depth:
    """The age is that of the first record that isn't confirmed: a sink may have it in hand, or wait to try it again."""
    found = store.depth(queue)
    if found.unfinished == found.ready:
        return found
    oldest = next(store.browse(queue, state=None), None)
    return found if oldest is None else found._replace(oldest_age=max(0.0, SYSTEM.wall() - oldest.put_at))


def _sum(*depths: Depth | None) -> dict[str, Any]:
    found = [depth for depth in depths if depth is not None]
    ages = [depth.oldest_age for depth in found if depth.oldest_age is not None]
    return {
        "depth": sum(depth.unfinished for depth in found),
        "bytes": sum(depth.bytes for depth in found),
        "oldest_age": max(ages, default=None),
    }
