"""One of several sinks: the thread that is handed records for it, and works off its own queue when it is behind."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from ...ending import enduring
from ...errors import StoreClosed
from ...store import Ack, Store
from .feedback import deliver_apart
from .post import Post

AGAIN = 0.5  #: seconds until a store that failed is tried again
_REST = 0.05  #: seconds until it is looked whether a refused record's pause is over


class Job:
    """Records that a sink was given, and what became of them. `before`: so many in front of these, of the same batch,
    it is done with already. `stays`: where there is no room for copies, they are tried until they are done, or it is
    `over`. `refused`: why, of those of the batch that the sink doesn't take, by their places; it is done with these."""

    def __init__(
        self,
        records: Sequence[logging.LogRecord],
        before: int = 0,
        *,
        stays: bool = False,
        refused: dict[int, str] | None = None,
    ) -> None:
        self.records, self.before, self.stays = records, before, stays
        self.refused = {} if refused is None else refused
        self.ended, self.over = threading.Event(), threading.Event()
        self.done = 0  #: of these, from the first on
        self.lock = threading.Lock()
        self.diverted: list[int] | None = None  #: ids in its own queue, of what it was too slow for; [] if dropped
        self.first = 0  #: the first of these records that is there, or was dropped

    @property
    def confirmed(self) -> int:
        """How many of the batch it is done with."""
        with self.lock:
            return self.before + (self.done if self.stays or self.ended.is_set() else 0)

    def refuse(self, reason: str) -> None:
        """The next one is refused, unless it is another one's by now."""
        with self.lock:
            if not self.over.is_set():
                self.refused[self.before + self.done] = reason
                self.done += 1

    def end(self) -> None:
        """What isn't done is another one's."""
        with self.lock:
            self.over.set()


class Courier:
    """The thread of one of several sinks."""

    def __init__(self, post: Post, queue: str, spool: object) -> None:
        self.post, self.queue = post, queue
        self.behind: list[Store] = []  #: stores in which its queue may have something
        self._changed = threading.Condition()
        self._job: tuple[Job, Store] | None = None
        self.thread = threading.Thread(
            target=deliver_apart, args=(enduring(self._run), spool), name=f"pqadapters-logging-{post.name}", daemon=True
        )

    @property
    def is_behind(self) -> bool:
        return bool(self.behind)

    def give(self, job: Job, store: Store) -> None:
        with self._changed:
            self._job = job, store
            self._changed.notify_all()

    def fall_behind(self, store: Store) -> None:
        """Its queue there has something now. The caller holds the lock of the delivery."""
        with self._changed:
            if store not in self.behind:
                self.behind.append(store)
            self._changed.notify_all()

    def catch_up(self) -> None:
        """Its queues are another one's to work off."""
        with self._changed:
            self.behind = []

    def stop(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        stopping = self.post.stopping
        while not stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._job or self.behind or stopping.is_set())
                behind = list(self.behind)
                given, self._job = self._job, None  # last: nothing is lost where memory is lacking
            try:
                if given is not None:
                    self._carry(*given)
                elif self.is_over() or not any(map(self._work_off, behind)):
                    self._rest()
                self.post.tell("")
            except Exception as error:
                self.post.tell(str(error))
                stopping.wait(AGAIN)

    def _work_off(self, store: Store) -> bool:
        """Whether there was anything. A slot may be let go of in between: all of it was delivered."""
        try:
            if self.post.work_off(store, self.queue):
                return True
            self.caught_up(store)
        except StoreClosed:
            with self._changed:
                self.behind = [each for each in self.behind if each is not store]
            return True
        return False

    def _rest(self) -> None:
        """What it still has is to be tried again later."""
        with self._changed:
            if self.behind and self._job is None and not self.post.stopping.is_set():
                self._changed.wait(_REST)

    caught_up: Callable[[Store], None]
    is_over: Callable[[], bool]  #: whether the turn to deliver is another listener's. Raises StoreError
    not_dropped: Callable[[int], None]  #: so many records that were counted as dropped
    takes_another: Callable[[Store], bool]  #: whether it takes the record behind those of the batch

    def _carry(self, job: Job, store: Store) -> None:
        try:
            if job.stays:
                self._insist(job, store)
            else:
                job.done, _ = self.post.hand_over(job.records)
        finally:
            with job.lock:
                job.ended.set()
                is_late = job.diverted is not None
        if is_late:
            self.done_late(job, store)

    def done_late(self, job: Job, store: Store) -> None:
        """It has ended, with more confirmed than was known when the rest was put into the sink's own queue, or dropped:
        that is done there, and what isn't there any more was counted as dropped, and wasn't."""
        count = max(0, job.done - job.first)
        ids = (job.diverted or [])[:count]
        claims = store.claim(self.queue, ids=ids, limit=len(ids)) if ids else []
        self.not_dropped(count - len(claims))
        self.post.owed.carry_out(store, [Ack(claim, lazy=True) for claim in claims])

    def _insist(self, job: Job, store: Store) -> None:
        """As `Post.work_off`, with what has no queue of the sink's own to go into, and keeps its place."""
        sink, tries = self.post.sink, 0
        while job.done < len(job.records) and not job.over.is_set() and not self.post.stopping.is_set():
            left = job.records[job.done :]
            given = left[:1] if self.post.careful else left
            done, failure = self.post.hand_over(given)
            with job.lock:
                job.done += done
            tries = 0 if done else tries
            if failure is None:
                continue
            sink.retried += 1
            if sink.takes_batches and len(given) > 1:
                continue  # which record is it? They are tried one by one
            tries += 1
            asks = tries % sink.retries == 0
            if asks and (not failure.outage or (not failure.full and self._is_its_fault(job, store))):
                job.refuse(failure.text)
                tries = 0
            else:
                job.over.wait(sink.pause(tries))

    def _is_its_fault(self, job: Job, store: Store) -> bool:
        """Whether the sink takes the next record and not this one: then this is refused, whatever it raises."""
        if not self.takes_another(store):
            return False
        done, _ = self.post.hand_over(job.records[job.done :][:1])
        with job.lock:
            job.done += done
        return not done
