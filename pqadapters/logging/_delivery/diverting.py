"""Several sinks with queues of their own beside the inbox.

They are given each batch together; what one of them hasn't confirmed within a second goes into its queue, in the commit
that acknowledges the inbox, and from then on so do all records for it, until its own thread has worked that off. So a
sink that fails or hangs keeps nothing from the others, and they get nothing twice because of it.

One thread hands out; each sink has one of its own. Each record is on the disk for each sink until it has confirmed it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from ...clock import SYSTEM
from ...store import Ack, Claim, Expect, Op, Put, Set, Store
from .._spools.names import Spooled
from .couriers import Courier, Job
from .post import Post, copied
from .turn import Turn

_SLOW = 1.0  #: seconds that sinks have for a batch
_STEP = 0.02


class Diverting:
    """The sinks' threads, and what each is given."""

    def __init__(self, posts: Sequence[Post], spool: Spooled, turn: Turn) -> None:
        self._posts, self._limit, self._names = posts, spool.limit, spool.names
        self._stopping, self._owed = posts[0].stopping, posts[0].owed
        self._had: dict[Courier, set[int]] = {}  #: what they have confirmed of a batch that came back, by its ids
        self._had_in: Store | None = None
        self._lock = threading.Lock()  #: who is behind, and the commit that follows from it
        self._couriers = [Courier(post, self._names.sink(post.name), spool) for post in posts]
        for courier in self._couriers:
            courier.caught_up, courier.is_over = self._caught_up_with(courier), turn.is_lost
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
            self._settle(store, [claim for claim, _ in entries], jobs)
            self._had.clear()
        except BaseException:
            if jobs:
                self._had_in = store
                self._had = {courier: set(ids[: self._confirmed(job)]) for courier, job in jobs.items()}
            self._owed.give_back(store, claims)
            raise

    def _confirmed_before(self, courier: Courier, store: Store, ids: Sequence[int]) -> int:
        """How many of these, from the first one on, when they were handed out the last time."""
        had = self._had.get(courier, set()) if store is self._had_in else set()
        return next((at for at, id in enumerate(ids) if id not in had), len(ids))

    def _wait(self, jobs: Iterable[Job]) -> None:
        """Until all have ended, or for a second; not while listening ends."""
        deadline = SYSTEM.monotonic() + _SLOW
        for job in jobs:
            while not job.ended.wait(min(_STEP, max(0.0, deadline - SYSTEM.monotonic()))):
                if self._stopping.is_set() or SYSTEM.monotonic() >= deadline:
                    return

    def _settle(self, store: Store, claims: Sequence[Claim], jobs: Mapping[Courier, Job]) -> None:
        """One commit: the inbox is done with these, and who hasn't confirmed some of them has them in its own queue."""
        late = [each for each in self._couriers if each not in jobs or self._confirmed(jobs[each]) < len(claims)]
        size = len(late) * sum(len(claim.payload) for claim in claims)
        queues = [courier.queue for courier in late]
        fits = not late or self._limit.admits_copies(size, store, queues, self._stopping)
        with self._lock:
            ops: list[Op] = [Ack(claim, lazy=True) for claim in claims]
            places: list[tuple[Courier, Job | None, int, int]] = []
            for courier in self._couriers:
                job = jobs.get(courier)
                first = 0 if job is None else self._confirmed(job)
                if first < len(claims) and fits:
                    places.append((courier, job, first, len(ops)))
                    ops += [self._moved(courier, claim) for claim in claims[first:]]
                elif first < len(claims):
                    self._limit.dropped[self._limit.when_full.value] += len(claims) - first
            for courier in {place[0] for place in places}:
                if store.get(self._names.sinks, courier.post.name.encode()) is None:
                    ops.append(Set(self._names.sinks, courier.post.name.encode(), b"", Expect.ANY))
            ids = store.commit(*ops)
            for courier, job, first, at in places:
                if job is not None:
                    self._divert(job, first, list(ids[at : at + len(claims) - first]), courier, store)
                courier.fall_behind(store)

    @staticmethod
    def _confirmed(job: Job) -> int:
        with job.lock:
            return job.before + (job.done if job.ended.is_set() else 0)

    @staticmethod
    def _moved(courier: Courier, claim: Claim) -> Put:
        return Put(courier.queue, claim.payload, put_at=claim.put_at)

    def _divert(self, job: Job, first: int, ids: list[int], courier: Courier, store: Store) -> None:
        """Say to a thread that is still at it where the rest is; or, if it has just ended, do its work for it."""
        first -= job.before
        with job.lock:
            ended = job.ended.is_set()
            job.diverted, job.first = ids, first
        if ended and job.done > first:
            done = ids[: job.done - first]
            claims = store.claim(courier.queue, ids=done, limit=len(done))
            self._owed.carry_out(store, [Ack(claim, lazy=True) for claim in claims])

    def _caught_up_with(self, courier: Courier) -> Callable[[Store], None]:
        def caught_up(store: Store) -> None:
            with self._lock:
                if not store.depth(courier.queue).unfinished and store in courier.behind:
                    courier.behind.remove(store)

        return caught_up
