"""From the inbox to the sinks: what a listener's threads do.

One sink reads the inbox itself. Several are given each batch together, and who is slow has a queue of its own
(`diverting.py`). A queue of the program's own has no queues beside it: there the records of all sinks are kept in
memory (`sharing.py`).

Threads: one reads inboxes; with several sinks each has one of its own. Other processes' slots are read when they are
dead, one behind the other.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from ...clock import SYSTEM
from ...ending import enduring, start_thread
from ...errors import StoreError
from ...store import Claim, Store
from ...telling import logger
from .._spools.names import Left, Spooled
from .couriers import AGAIN
from .diverting import Diverting
from .feedback import deliver_apart
from .looks import Looks
from .owed import Owed
from .post import BATCH, Post
from .sharing import SharedPost, Sharing
from .sinks import Sink
from .turn import Turn

_log = logger("pqadapters.logging")
_LOOK = 2.0  #: seconds between two looks for slots of dead processes
_HANGS = 5.0  #: seconds that the turn isn't given up for a sink that is still at it
_STEP = 0.02


class Keeper(Protocol):
    """The listener that it belongs to."""

    def is_forsaken(self) -> bool:
        """Whether it is to end once nothing waits for its sinks."""


class Delivery:
    """What a listener runs, from `start` to `stop`."""

    def __init__(self, spool: Spooled, sinks: Mapping[str, Sink], keeper: Keeper, *, respect_level: bool) -> None:
        self.spool = spool
        self._keeper: Keeper | None = keeper  #: lives for as long as this is carried out, whoever lets go of it
        self.stopping = threading.Event()
        self._stoppers: set[int] = set()  #: threads in the middle of `stop`: they may have the lock of that
        self._hurries = False  #: nothing is collected any more: listening is about to end
        kind = Post if spool.diverts or len(sinks) < 2 else SharedPost
        self._owed = owed = Owed()
        self.posts = [kind(name, sink, spool.codec, respect_level, self.stopping, owed) for name, sink in sinks.items()]
        self._names = spool.names
        self._turn = Turn(spool, owed)
        several = len(self.posts) > 1
        self._diverting = Diverting(self.posts, spool, self._turn) if several and spool.diverts else None
        self._sharing = Sharing(self.posts, spool) if several and not spool.diverts else None
        self._several = self._sharing or self._diverting
        self._left: list[Left] = []
        self._begun: weakref.WeakSet[Store] = weakref.WeakSet()  #: of those: it is known what waits for sinks of ours
        self._backlogs: weakref.WeakSet[Store] = weakref.WeakSet()  #: where the one sink's own queue has something
        self._others_wait = False  #: whether something in those is for sinks of ours
        self._look_at = 0.0
        self._trouble = ""  #: why the last step failed
        self._looks = Looks()
        self.looked = self._looks.ask()  #: at everything that waits, slots of dead processes included
        self.thread = threading.Thread(
            target=deliver_apart, args=(self._run, spool), name="pqadapters-logging", daemon=True
        )

    def start(self) -> None:
        """Raises RuntimeError where no thread can be started any more, and ValueError where a handler isn't there. Who
        calls it stops it then, too."""
        self.spool.use(self)
        for post in self.posts:
            post.sink.begin()
        self.spool.limit.delivers(self)
        for thread in self._threads:
            start_thread(thread)

    @property
    def _threads(self) -> list[threading.Thread]:
        return [*(self._several.threads if self._several else []), self.thread]

    @property
    def running(self) -> bool:
        return self.thread.is_alive() and not self.stopping.is_set()

    def drain(self, seconds: float, *, whole: bool) -> None:
        """Wait until everything is delivered; or, not `whole`, what can be: a sink that fails keeps the rest. At most
        `seconds`. Raises StoreError."""
        deadline = SYSTEM.monotonic() + seconds
        self._hurries = True
        self.spool.store.wake(self._names.inbox)
        self._wait_until_done(deadline, whole)
        if self._sharing is not None:
            self._see_handed_out(self._sharing, deadline, whole)
        slots = bool(self.posts) and not self.spool.shared  # of dead processes, which may have left some
        if slots and SYSTEM.monotonic() < deadline and not self._keeps_some(whole):
            self._look(deadline, whole=whole)

    def _wait_until_done(self, deadline: float, whole: bool) -> None:
        while self.running and not self._is_done(whole) and (left := deadline - SYSTEM.monotonic()) > 0:
            self.spool.store.wait(self._names.inbox, lambda depth: not depth.unfinished, min(left, 0.02))

    def _see_handed_out(self, sharing: Sharing, deadline: float, whole: bool) -> None:
        """What the thread that reads has claimed isn't the sinks' yet, who may all be idle: behind a look it is."""
        if sharing.is_full or not self._turn.is_held or not self.spool.store.depth(self._names.inbox).unfinished:
            return
        self._look(deadline, whole=True)
        self._wait_until_done(deadline, whole)

    def _keeps_some(self, whole: bool) -> bool:
        return not whole and any(post.failing for post in self.posts)

    def has_looked(self, deadline: float | None) -> bool:
        """Whether all was delivered that dead processes had left when this was asked; waits for that. Where there is no
        time for it: whether none of it is known, and nobody waits for a look."""
        if self.spool.shared or not self.posts:
            return True
        if deadline is not None and SYSTEM.monotonic() >= deadline:
            return not self._others_wait and not self._looks.is_awaited
        return self._look(deadline, whole=True)

    def _look(self, deadline: float | None, *, whole: bool) -> bool:
        look = self._looks.ask()
        self.spool.store.wake(self._names.inbox)
        while self.running and not look.is_set() and not self._keeps_some(whole):
            left = _STEP if deadline is None else min(_STEP, deadline - SYSTEM.monotonic())
            if left <= 0:
                break
            look.wait(left)
        return look.is_set()

    def _is_done(self, whole: bool) -> bool:
        store = self.spool.store
        if whole:
            return not self._names.unfinished(store)
        inbox = store.depth(self._names.inbox)
        if self._diverting is not None:
            return not inbox.unfinished and self._diverting.is_done(store)
        if self._sharing is not None:
            return not inbox.unfinished or self._sharing.is_done(inbox)
        return not inbox.unfinished or all(post.failing for post in self.posts)

    def stop(self, patience: float) -> None:
        """End the threads; who hangs in a handler is left behind after `patience` seconds. From a signal handler or a
        finalizer that logs in the middle of this: nothing, it goes on."""
        thread = threading.get_ident()
        if thread in self._stoppers:
            return
        try:
            self._stoppers.add(thread)
            self._stop(patience)
        finally:
            self._stoppers.discard(thread)

    def _stop(self, patience: float) -> None:
        self.say_stop()
        deadline = SYSTEM.monotonic() + patience
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - SYSTEM.monotonic()))
        if self.thread.ident is None:  # it couldn't be started
            self.spool.let_go(self)
        for post in self.posts:
            post.sink.end()

    def say_stop(self) -> None:
        """The threads end as soon as they can."""
        self.stopping.set()
        self.spool.limit.delivers_no_more(self)
        if self.spool.is_open:
            with suppress(StoreError):
                self.spool.store.wake(self._names.inbox)
        if self._several is not None:
            self._several.stop()

    def abandon(self) -> None:
        """In a forked child where greenlets live on: these end, and have no turn of this process's."""
        self._turn = Turn(self.spool, self._owed)
        self.stopping.set()
        if self._several is not None:
            self._several.stop()

    # The thread that reads

    def _run(self) -> None:
        try:
            enduring(self._go_on)()
        finally:
            if self._several is not None:
                self._wait_for(self._several.threads)
                self._several.give_back()
            for left in self._left:
                left.leave()
            self._turn.give_up()
            if self._keeper is None:
                for post in self.posts:
                    post.sink.end()
            self.spool.let_go(self)
            self._owed.pay_at_last()

    def _go_on(self) -> None:
        if not self.posts:  # nobody to deliver to: the records wait
            self.stopping.wait()
        store: Store | None = None
        while not self.stopping.is_set():
            try:
                store = self._step(store)
                self._trouble = ""
                if self._is_forsaken(store):
                    self._keeper = None
                    self.say_stop()
            except Exception as error:
                store = None
                self._tell(str(error))
                self.stopping.wait(AGAIN)

    def _is_forsaken(self, store: Store | None) -> bool:
        """Whether there is nothing to be done any more. Raises StoreError."""
        if self._keeper is None or not self._keeper.is_forsaken():
            return False
        return store is None or not (self._others_wait or self._waits_for_ours(store))

    @staticmethod
    def _wait_for(threads: list[threading.Thread]) -> None:
        """What the sinks have in hand comes before what the next listener gives them. One that hangs keeps it from them
        for a while only."""
        deadline = SYSTEM.monotonic() + _HANGS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - SYSTEM.monotonic()))

    def _tell(self, trouble: str) -> None:
        """Once, however often it is tried."""
        if trouble != self._trouble and not self.stopping.is_set():
            self._trouble = trouble
            _log.warning("log records in %s wait: %s", self.spool.place, trouble)

    def _step(self, before: Store | None) -> Store | None:
        """`before`: the store that was begun with."""
        store = self.spool.store
        if not self._turn.is_ours(self.stopping):
            if not self.spool.shared:  # the listener of this process that delivers looks
                self._looks.begin()
                self._looks.end()
            if self._diverting is not None:
                self._diverting.end_with()
            return None
        if store is not before:  # not before it is our turn: whoever has it may still fill the sinks' own queues
            self._begin_with(store)
        if self._read(store, 0.0) and not self._looks.is_awaited:
            return store
        for left in self._others():
            if left.store not in self._begun:
                self._begin_with(left.store)
                self._begun.add(left.store)
            if not self._read(left.store, 0.0) and self._is_done_with(left.store):
                self._left.remove(left)
                left.leave()
        self._others_wait = any(self._waits_for_ours(left.store) for left in self._left)
        if not self._others_wait:
            self._looks.end()
        self._read(store, 0.1 if self._left or self._backlogs else _LOOK)
        return store

    def _begin_with(self, store: Store) -> None:
        """What is waiting for a sink from earlier."""
        known = {post.name for post in self.posts}
        if self._diverting is not None:
            self._diverting.begin_with(store)
        for name in self._names.known(store):
            waiting = store.depth(self._names.sink(name)).unfinished
            if waiting and (name not in known or self._diverting is None):
                self._keep_in_mind(store, name, waiting, known)

    def _keep_in_mind(self, store: Store, name: str, waiting: int, known: set[str]) -> None:
        if name in known:
            self._backlogs.add(store)
        else:
            _log.warning(
                "%d log records in %s wait for the sink %r, which isn't configured", waiting, self.spool.place, name
            )

    def _take_back(self, store: Store) -> None:
        """The backlog of a sink that has none of its own now: the one sink there is reads the inbox. What it refuses
        is tried again later, and others go on."""
        queue = self._names.sink(self.posts[0].name)
        while self.posts[0].work_off(store, queue):
            if self.stopping.is_set():
                return
        if not store.depth(queue).unfinished:
            self._backlogs.discard(store)

    def _others(self) -> list[Left]:
        """Slots of dead processes: looked for now and then."""
        if SYSTEM.monotonic() < self._look_at and not self._looks.is_due:
            return list(self._left)
        self._looks.begin()
        for left in self.spool.left_behind():
            self._left.append(left)  # first: it is held, and nobody else would let go of it
            if self._names.unfinished(left.store):  # else there are but dead letters in it
                _log.info("%s: log records that a dead process left are delivered", left.store.place)
        self._look_at = SYSTEM.monotonic() + _LOOK
        return list(self._left)

    def _waits_for_ours(self, store: Store) -> bool:
        queues = [self._names.inbox, *(self._names.sink(post.name) for post in self.posts)]
        return any(store.depth(queue).unfinished for queue in queues)

    def unknown(self) -> dict[str, int]:
        """How many records wait for sinks that aren't configured here, by their names. Raises StoreError."""
        known = {post.name for post in self.posts}
        found: Counter[str] = Counter()
        for store in [self.spool.store, *(left.store for left in list(self._left))]:
            for name in set(self._names.known(store)) - known:
                found[name] += store.depth(self._names.sink(name)).unfinished
        return {name: count for name, count in found.items() if count}

    def _is_done_with(self, store: Store) -> bool:
        return not self._names.unfinished(store)

    def _read(self, store: Store, timeout: float) -> bool:
        """A batch of the inbox. Whether there was anything."""
        self._owed.pay(store)
        if store in self._backlogs:
            self._take_back(store)
        if len(self.posts) == 1 and self.posts[0].careful:
            return self.posts[0].work_off(store, self._names.inbox, timeout, self._is_called)
        claims = self._claimed(store, timeout)
        if not claims:
            return False
        if self._several is not None:
            self._several.hand_out(store, claims)
        else:
            self.posts[0].deliver(store, claims)
        return True

    def _claimed(self, store: Store, timeout: float) -> list[Claim]:
        """A batch; where there is a limit, and some of it may have to be copied, one of so many bytes."""
        most = self._diverting.most_bytes if self._diverting is not None else None
        batch, wait = self._batch
        limit = max(BATCH, batch) if most is None else 1
        stop = self._is_called if timeout else self.stopping.is_set
        claims = store.claim(self._names.inbox, limit=limit, timeout=timeout, stop=stop)
        deadline = SYSTEM.monotonic() + wait
        enough = most if most is not None else self.spool.limit.collected_bytes
        size = sum(len(claim.payload) for claim in claims) if enough is not None else 0
        while claims and (most is not None or len(claims) < batch) and (enough is None or size < enough):
            left = max(0.0, deadline - SYSTEM.monotonic()) if len(claims) < batch and not self._hurries else 0.0
            limit = 1 if most is not None else batch - len(claims)
            stop = self._waits_no_more if left else self.stopping.is_set
            try:
                more = store.claim(self._names.inbox, limit=limit, timeout=left, stop=stop)
            except BaseException:
                self._owed.give_back(store, claims)
                raise
            if not more and (not left or self.stopping.is_set()):
                break
            claims += more
            size += sum(len(claim.payload) for claim in more) if enough is not None else 0
        return claims

    def _is_called(self) -> bool:
        return self._looks.is_due or self.stopping.is_set()

    def _waits_no_more(self) -> bool:
        return self._hurries or self.stopping.is_set()

    @property
    def _batch(self) -> tuple[int, float]:
        """How many records a sink wants at once, and how many seconds they are collected for."""
        waiting = [post.sink for post in self.posts if post.sink.batch_wait]
        return max((sink.batch for sink in waiting), default=0), max((sink.batch_wait for sink in waiting), default=0.0)
