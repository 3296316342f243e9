"""Several sinks of one queue that has no others beside it: what a sink hasn't confirmed is kept in memory for it, and
stays claimed in the queue until all have confirmed it.

A sink that is down keeps nothing from the others until so many records wait for it that memory would suffer. Should the
process end before it is back, all sinks are given once more what it hadn't confirmed.
"""

from __future__ import annotations

import logging
import threading
from bisect import insort
from collections import deque
from collections.abc import Sequence
from typing import Any

from ...clock import SYSTEM
from ...ending import enduring
from ...store import Ack, Claim, Depth, Put, Store, dead_queue
from .couriers import AGAIN
from .feedback import deliver_apart
from .post import Entry, Post, copied

_MOST = 10_000  #: records that are kept


class SharedPost(Post):
    """A sink whose records are in memory. Its thread alone takes them; whoever reads the queue adds to them."""

    sharing: Sharing

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._waiting: deque[Entry] = deque()
        self._taken: dict[int, logging.LogRecord] = {}
        self._later: list[tuple[float, int, Claim]] = []  #: of those: when each is tried again, and its id

    @property
    def idle(self) -> bool:
        """Whether it has confirmed all that it was given."""
        return not self._waiting and not self._taken

    @property
    def rest(self) -> float | None:
        """Seconds until one that was refused is tried again; None where none is."""
        return max(0.0, self._later[0][0] - SYSTEM.monotonic()) if self._later else None

    def add(self, entries: Sequence[Entry]) -> None:
        """These copies are its own: a handler may change its record."""
        self._waiting.extend(entries)

    def _claimed(self, store: Store, queue: str, limit: int) -> Sequence[Claim]:
        self._come_again()
        entries = [self._waiting[place] for place in range(min(limit, len(self._waiting)))]
        self._taken.update((claim.id, record) for claim, record in entries)
        for _ in entries:  # not before: it would seem idle meanwhile
            self._waiting.popleft()
        return [claim for claim, _ in entries]

    def decoded(self, store: Store, claims: Sequence[Claim]) -> list[Entry]:
        return [(claim, self._taken[claim.id]) for claim in claims if claim.id in self._taken]

    def _give_back(self, store: Store, claims: Sequence[Claim]) -> None:
        for claim in reversed(claims):
            record = self._taken.get(claim.id)
            if record is not None:
                self._waiting.appendleft((claim, record))
                del self._taken[claim.id]

    def _put_off(self, store: Store, claim: Claim, seconds: float) -> None:
        insort(self._later, (SYSTEM.monotonic() + seconds, claim.id, claim))

    def _come_again(self) -> None:
        """Those whose pause is over, behind what waits."""
        while self.rest == 0.0:
            _, id, claim = self._later[0]
            self._waiting.append((claim, self._taken[id]))
            del self._taken[id], self._later[0]

    def _acknowledge(self, store: Store, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._taken.pop(claim.id, None)
        self.sharing.confirmed(store, claims)

    def _bury(self, store: Store, claim: Claim, reason: str) -> None:
        """A copy goes to the dead letters: others may take the record."""
        store.commit(Put(dead_queue(claim.queue), claim.payload, put_at=claim.put_at, note=f"{self.name}: {reason}"))
        self.tell_of_dead(claim, reason)
        self._acknowledge(store, [claim])


class Sharing:
    """The sinks' threads, and how many of them haven't confirmed a record yet."""

    def __init__(self, posts: Sequence[Any], spool: object) -> None:
        self._posts: Sequence[SharedPost] = posts
        self._store: Store | None = None
        self._left: dict[int, tuple[Claim, int]] = {}
        self._changed = threading.Condition()
        self.threads = []
        for post in self._posts:
            post.sharing = self
            run = enduring(self._working(post))
            name = f"pqadapters-logging-{post.name}"
            self.threads.append(threading.Thread(target=deliver_apart, args=(run, spool), name=name, daemon=True))

    def hand_out(self, store: Store, claims: Sequence[Claim]) -> None:
        """To all sinks. Waits while too many are kept. Raises StoreError."""
        self._store = store
        first = self._posts[0]
        try:
            entries = Post.decoded(first, store, claims)
            copies = [[(claim, copied(record)) for claim, record in entries] for _ in self._posts]
        except BaseException:
            first.owed.give_back(store, claims)
            raise
        with self._changed:
            self._left.update((claim.id, (claim, len(self._posts))) for claim, _ in entries)
            for post, own in zip(self._posts, copies, strict=True):
                post.add(own)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.is_full or first.stopping.is_set())

    @property
    def is_full(self) -> bool:
        """Whether nothing is handed out until one that is down has confirmed some."""
        return len(self._left) >= _MOST

    def is_done(self, depth: Depth) -> bool:
        """Whether all that can be delivered was, but for what whoever reads the queue has in hand."""
        if depth.ready and not self.is_full and not all(post.failing for post in self._posts):
            return False
        return all(post.failing or post.idle for post in self._posts)

    def confirmed(self, store: Store, claims: Sequence[Claim]) -> None:
        """By one more sink. Raises StoreError."""
        done = []
        with self._changed:
            for claim in claims:
                left = self._left.get(claim.id, (claim, 0))[1]  # none where listening has ended
                if left > 1:
                    self._left[claim.id] = claim, left - 1
                elif left:
                    del self._left[claim.id]
                    done.append(claim)
            self._changed.notify_all()
        if done:
            self._posts[0].owed.carry_out(store, [Ack(claim, lazy=True) for claim in done])

    def give_back(self) -> None:
        """Listening ends: what not all have confirmed is ready again."""
        with self._changed:
            left = [claim for claim, _ in self._left.values()]
            self._left.clear()
        if self._store is not None:
            self._posts[0].owed.give_back(self._store, left)

    def stop(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _working(self, post: SharedPost) -> Any:
        def run() -> None:
            while not post.stopping.is_set():
                with self._changed:
                    self._changed.wait_for(lambda: post._waiting or post.stopping.is_set(), post.rest)
                try:
                    if self._store is not None:
                        post.work_off(self._store, "")
                    post.tell("")
                except Exception as error:
                    post.tell(str(error))
                    post.stopping.wait(AGAIN)

        return run
