"""Several sinks with queues of their own beside the inbox.

They are given each batch together; what one of them hasn't confirmed within a second goes into its queue, in the commit
that acknowledges the inbox, and from then on so do all records for it, until its own thread has worked that off. So a
sink that fails or hangs keeps nothing from the others, and they get nothing twice because of it. Where there is a limit
and no room for copies, the batch stays in the inbox until there is, or all have confirmed it.

One thread hands out; each sink has one of its own. Each record is on the disk for each sink until it has confirmed it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from ...clock import SYSTEM
from ...store import Ack, Claim, Expect, Nack, Op, Put, Set, Store
from .._spools.names import Spooled
from .couriers import Courier, Job
from .post import Entry, Post, copied
from .turn import Turn

_Late = tuple[Courier, int]  #: who hasn't confirmed all of a batch, and from where on
_SLOW = 1.0  #: seconds that sinks have for a batch
_STEP = 0.02


class Diverting:
    """The sinks' threads, and what each is given."""

    def __init__(self, posts: Sequence[Post], spool: Spooled, turn: Turn) -> None:
        self._posts, self._limit, self._names = posts, spool.limit, spool.names
        self._stopping, self._owed = posts[0].stopping, posts[0].owed
        self._had: dict[Courier, set[int]] = {}  #: what they have confirmed of a batch that came back, by its ids
        self._had_in: Store | None = None
        self._looking_ahead = threading.Lock()
        self._lock = threading.Lock()  #: who is behind, and the commit that follows from it
        self._couriers = [Courier(post, self._names.sink(post.name), spool) for post in posts]
        #: What they have confirmed of the batch behind: each adds to its own while all are gone through.
        self._ahead: dict[Courier, set[tuple[Store, int]]] = {courier: set() for courier in self._couriers}
        for courier in self._couriers:
            courier.caught_up, courier.is_over = self._caught_up_with(courier), turn.is_lost
            courier.not_dropped = self._not_dropped
            courier.takes_another = partial(self._takes_another, courier)
        self.threads = [courier.thread for courier in self._couriers]

    @property
    def most_bytes(self) -> int | None:
        """So many bytes are to be handed out at once, where there is a limit: all sinks may want a copy."""
        most = self._limit.batch_bytes
        return most and max(1, most // len(self._couriers))

    def begin_with(self, store: Store) -> None:
        """Who has something in its queue from earlier is behind."""
        for courier in self._couriers:
            if store.depth(courier.queue).unfinished:
                courier.fall_behind(store)

    def end_with(self) -> None:
        """Another listener works off their queues, too."""
        for courier in self._couriers:
            courier.catch_up()

    def is_done(self, store: Store) -> bool:
        """Whether all that can be delivered was, but for what is in the inbox."""
        return all(each.post.failing or not store.depth(each.queue).unfinished for each in self._couriers)

    def stop(self) -> None:
        """The threads end as soon as they can."""
        for courier in self._couriers:
            courier.stop()

    def give_back(self) -> None:
        """Listening ends: nothing is in hand but what is on the disk for its sink."""

    def hand_out(self, store: Store, claims: Sequence[Claim]) -> None:
        """To all sinks; waits a second for them. Raises StoreError: on a full disk there may be no room for what has to
        be copied, and the batch comes again. Who has confirmed some of it isn't given that once more."""
        ids: list[int] = []
        jobs: dict[Courier, Job] = {}
        try:
            entries = self._posts[0].decoded(store, claims)
            if not entries:
                return
            with self._lock:
                direct = [courier for courier in self._couriers if not courier.is_behind]
            ids = [claim.id for claim, _ in entries]
            for courier in direct:
                had = self._confirmed_before(courier, store, ids)
                jobs[courier] = Job([copied(record) for _, record in entries[had:]], had)
            for courier, job in jobs.items():
                courier.give(job, store)
            self._wait(jobs.values())
            self._settle(store, entries, jobs)
            self._had.clear()
            for ahead in self._ahead.values():
                ahead.difference_update((store, id) for id in ids)
        except BaseException:
            for job in jobs.values():
                job.end()
            if jobs:
                self._had_in = store
                self._had = {courier: set(ids[: job.confirmed]) for courier, job in jobs.items()}
            self._owed.give_back(store, claims)
            raise

    def _confirmed_before(self, courier: Courier, store: Store, ids: Sequence[int]) -> int:
        """How many of these, from the first one on, when they were handed out the last time."""
        had = self._had.get(courier, set()) if store is self._had_in else set()
        ahead = self._ahead[courier]
        return next((at for at, id in enumerate(ids) if id not in had and (store, id) not in ahead), len(ids))

    def _wait(self, jobs: Iterable[Job]) -> None:
        """Until all have ended, or for a second; not while listening ends."""
        deadline = SYSTEM.monotonic() + _SLOW
        for job in jobs:
            while not job.ended.wait(min(_STEP, max(0.0, deadline - SYSTEM.monotonic()))):
                if self._stopping.is_set() or SYSTEM.monotonic() >= deadline:
                    return

    def _settle(self, store: Store, entries: Sequence[Entry], jobs: dict[Courier, Job]) -> None:
        """One commit, the last one where copies are large: the inbox is done with these, and who hasn't confirmed some
        of them has them in its own queue."""
        claims = [claim for claim, _ in entries]
        fits = self._makes_room(store, entries, jobs)
        with self._lock:
            for job in jobs.values():
                job.end()
            done: list[Op] = [Ack(claim, lazy=True) for claim in claims]
            for at, reason in self._refused(jobs).items():
                done[at] = Nack(claims[at], dead=reason)
            firsts = {courier: self._confirmed(jobs.get(courier)) for courier in self._couriers}
            late = [(courier, first) for courier, first in firsts.items() if first < len(claims)]
            if fits:
                *apart, last = self._together(late, claims)
                for some in apart:
                    self._copy(store, claims, some, jobs, [])
                self._copy(store, claims, last, jobs, done)
            else:
                store.commit(*done)
                for courier, first in late:
                    self._limit.count_dropped(len(claims) - first)
                    self._divert(jobs.get(courier), first, [], courier, store)
        for courier, job in jobs.items():
            for at, reason in job.refused.items():
                courier.post.tell_of_dead(claims[at], reason)

    def _together(self, late: list[_Late], claims: Sequence[Claim]) -> list[list[_Late]]:
        """Who is given copies by one commit. Large ones come one by one, since a commit stands in one file, which is
        written again where some of it stays: a kill in between gives some of them the batch once more."""
        size = len(late) * sum(len(claim.payload) for claim in claims)
        return [[each] for each in late] if late and self._limit.is_large(size) else [late]

    def _copy(
        self, store: Store, claims: Sequence[Claim], late: list[_Late], jobs: Mapping[Courier, Job], done: list[Op]
    ) -> None:
        """Into the queues of these, from the first that each hasn't confirmed, in the commit that does the rest."""
        ops = list(done)
        for courier, first in late:
            ops += [self._moved(courier, claim) for claim in claims[first:]]
        names = [self._names.entry(courier.post.name) for courier, _ in late]
        ops += [Set(self._names.sinks, each, b"", Expect.ANY) for each in names if not self._is_known(each, store)]
        ids, at = store.commit(*ops), len(done)
        for courier, first in late:
            count = len(claims) - first
            self._divert(jobs.get(courier), first, list(ids[at : at + count]), courier, store)
            courier.fall_behind(store)
            at += count

    def _is_known(self, name: bytes, store: Store) -> bool:
        return store.get(self._names.sinks, name) is not None

    def _makes_room(self, store: Store, entries: Sequence[Entry], jobs: dict[Courier, Job]) -> bool:
        """Whether who hasn't confirmed some of these gets copies; False where they are dropped for it. Raises Full."""
        queues = [courier.queue for courier in self._couriers if self._confirmed(jobs.get(courier)) < len(entries)]

        def stay() -> int:
            self._insist(store, entries, jobs)
            return self._missing(entries, jobs)

        size = self._missing(entries, jobs) if queues else 0
        return not queues or self._limit.admits_copies(size, store, queues, self._stopping, stay)

    def _missing(self, entries: Sequence[Entry], jobs: Mapping[Courier, Job]) -> int:
        """Bytes of the copies that are wanted now."""
        firsts = [self._confirmed(jobs.get(courier)) for courier in self._couriers]
        return sum(len(claim.payload) for first in firsts for claim, _ in entries[first:])

    def _insist(self, store: Store, entries: Sequence[Entry], jobs: dict[Courier, Job]) -> None:
        """Who isn't at it yet tries these again, until there is room."""
        for courier in self._couriers:
            job, first = jobs.get(courier), self._confirmed(jobs.get(courier))
            if first < len(entries) and not courier.is_behind and (job is None or job.ended.is_set()):
                records = [copied(record) for _, record in entries[first:]]
                jobs[courier] = Job(records, first, stays=True, refused=None if job is None else job.refused)
                courier.give(jobs[courier], store)

    def _takes_another(self, courier: Courier, store: Store) -> bool:
        """Whether it takes the record behind the batch. It isn't given that once more."""
        if not self._looking_ahead.acquire(blocking=False):
            return False
        try:
            claims = store.claim(self._names.inbox)
            try:
                for claim, record in courier.post.decoded(store, claims):
                    if courier.post.hand_over([copied(record)])[0]:
                        self._ahead[courier].add((store, claim.id))
                        return True
            finally:
                self._owed.give_back(store, claims)
        finally:
            self._looking_ahead.release()
        return False

    @staticmethod
    def _refused(jobs: Mapping[Courier, Job]) -> dict[int, str]:
        """Why, by the place in the batch: one dead letter for all, since there is no room for more."""
        found: dict[int, str] = {}
        for courier, job in jobs.items():
            for at, reason in job.refused.items():
                text = f"{courier.post.name}: {reason}"
                found[at] = f"{found[at]}; {text}" if at in found else text
        return found

    @staticmethod
    def _confirmed(job: Job | None) -> int:
        return 0 if job is None else job.confirmed

    def _not_dropped(self, count: int) -> None:
        if count and self._limit.max_bytes is not None:  # else others have taken it away
            self._limit.count_dropped(-count)

    @staticmethod
    def _moved(courier: Courier, claim: Claim) -> Put:
        return Put(courier.queue, claim.payload, put_at=claim.put_at)

    def _divert(self, job: Job | None, first: int, ids: list[int], courier: Courier, store: Store) -> None:
        """Say to a thread that is still at it where the rest is; or, if it has just ended, do its work for it."""
        if job is None:
            return
        first -= job.before
        with job.lock:
            ended = job.ended.is_set()
            job.diverted, job.first = ids, first
        if ended and job.done > first:
            courier.done_late(job, store)

    def _caught_up_with(self, courier: Courier) -> Callable[[Store], None]:
        def caught_up(store: Store) -> None:
            with self._lock:
                if not store.depth(courier.queue).unfinished and store in courier.behind:
                    courier.behind.remove(store)

        return caught_up
