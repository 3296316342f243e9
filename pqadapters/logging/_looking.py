"""A look at a spool: whether everything was confirmed, and how much waits for which sink."""

from __future__ import annotations

import time
from typing import Any

from ..store import Depth, Store, dead_queue
from ._delivery import Delivery
from ._names import Spooled

_STEP = 0.05  #: seconds between two looks


def confirmed(spool: Spooled, timeout: float | None) -> bool:
    """Whether the sinks have confirmed all that was logged before this call; waits up to `timeout` seconds for that
    (None: for ever). Raises StoreError."""
    store, begun = spool.store, time.time()
    deadline = None if timeout is None else time.monotonic() + timeout
    if not _is_through(store, spool.names.inbox, begun, deadline):
        return False
    return all(_is_through(store, queue, begun, deadline) for queue in spool.names.all(store)[1:])


def _is_through(store: Store, queue: str, begun: float, deadline: float | None) -> bool:
    while not _has_only_newer(store, queue, begun):
        left = _STEP if deadline is None else min(_STEP, deadline - time.monotonic())
        if left <= 0:
            return False
        store.wait(queue, lambda depth: not depth.unfinished, left)
    return True


def _has_only_newer(store: Store, queue: str, begun: float) -> bool:
    now = time.time()  # before the look: no record is taken for younger than it is
    depth = store.depth(queue)
    return not depth.unfinished or (depth.oldest_age is not None and now - depth.oldest_age > begun)


def stats(spool: Spooled, delivery: Delivery | None) -> dict[str, Any]:
    """Of the whole: depth (records), bytes, oldest_age (seconds), dead (letters), dropped by reason, unencodable
    (values that were stored as their repr), disk_bytes of this process's files. Of each sink, by its name: depth,
    bytes, oldest_age of what it hasn't confirmed; delivered, retried, dead, last_error. Raises StoreError."""
    store, names = spool.store, spool.names
    depths = {queue: store.depth(queue) for queue in names.all(store)}
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


def _sum(*depths: Depth | None) -> dict[str, Any]:
    found = [depth for depth in depths if depth is not None]
    ages = [depth.oldest_age for depth in found if depth.oldest_age is not None]
    return {
        "depth": sum(depth.unfinished for depth in found),
        "bytes": sum(depth.bytes for depth in found),
        "oldest_age": max(ages, default=None),
    }
