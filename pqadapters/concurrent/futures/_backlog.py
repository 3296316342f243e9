"""The jobs of one executor: in its store, and those that were submitted here also as live objects.

How a job goes, each line one commit:

    submit    Put(job), with a key also Set(keys, key, job id) on the condition that the key is free
    start     claim(counted): the attempt is on disk before the job runs
    outcome   Ack(job), with Set(results, job id, outcome) where that is kept; then the future's waiters see it
    retry     Update(job, failures), Nack(job, not before)
    parked    Nack(job, dead), with Set(results) for one that has a key
    cancel    Ack(job), Delete(keys, key); for a delayed one Set(cancelled, job id), Delete(keys, key)

A crash between two of them leaves the job where the first one put it; between start and outcome it is ready again, with
its attempt counted. An acknowledgement without a result is lazy: SIGKILL doesn't undo it, a power cut may, and the job
runs once more. Whoever has lost a claim (it ran out of time, another process has taken over) finds its outcome refused.

Any thread may use a backlog. Its lock guards its own counts and is never held across a call of the store.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from itertools import count, islice
from queue import Full
from typing import TYPE_CHECKING, Any

from ... import telling
from ...ending import at_end, others_run, start_thread
from ...errors import ConditionFailed, LimitReached, StoreForked
from ...home.private import PrivateStore
from ...rank import rank
from ...store import PLAIN as PLAIN_PUT
from ...store import Ack, Delete, Depth, Expect, Op, Put, Set, State, Store
from . import _wire as wire
from ._cancelling import cancel
from ._clock import CLOCK
from ._future import JobFuture
from ._options import PLAIN, Options, Settings
from ._outcome import Outcome
from ._outcome import dump as dump_outcome
from ._outcome import load as load_outcome
from ._place import Place
from ._sealing import Sealing
from ._suspects import Suspects
from ._words import Recover, WhenFull

if TYPE_CHECKING:
    from ...store import Claim
    from ._sharing import Sharing
    from ._starting import Started

_log = telling.logger("pqadapters.executor")
_new: Any = tuple.__new__  # a named tuple without the detour through its own __new__; for the hot path
_REMEMBERED = 10_000  #: futures of recovered jobs that were begun before `recovered()` was called
_SOON = 5.0  #: seconds
_AGAIN = 1.0  #: seconds
_all: weakref.WeakSet[Backlog] = weakref.WeakSet()


class Backlog:
    """The jobs of one executor."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self.place, self.names, self.settings = place, place.names, settings
        self.lock = threading.Lock()
        self.forked = False  #: this is a child of the process that it belongs to
        self.token = os.urandom(8)
        self._numbers = count(1)
        self.attaching = threading.Lock()  #: held from a future's entry in `attached` to the look whether it may stay
        self.made_at = time.monotonic()
        self.owner: Callable[[], object] = lambda: None  #: the executor, while there is one
        self.live: dict[bytes, JobFuture] = {}  #: submitted here and not begun
        self.attached: dict[bytes, JobFuture] = {}  #: of jobs that somebody else has submitted, or runs
        self.running: dict[bytes, JobFuture] = {}
        self.begun: deque[JobFuture] | None = deque(maxlen=_REMEMBERED)
        self.known: weakref.WeakValueDictionary[bytes, JobFuture] = weakref.WeakValueDictionary()
        self.foreign = False  #: jobs that others have submitted are run, too
        self.recovering = False  #: there may be more of these
        self.ranked = self.tombs = False
        self.suspects = Suspects()
        self.delayed: set[bytes] = set()  #: jobs that the clock will bring back
        self.closing = self.stopped = self.closed = False
        self.broken: BaseException | None = None
        self.sharing: Sharing | None = None
        self._look_at = 0.0  #: not before that time jobs of ours are looked for under other records
        self.modest_until = 0.0  #: before that time jobs of others are left to others: we had one that isn't for us
        self.ranks = False  #: jobs were submitted here that have a priority
        self._store: Store | None = None
        self.sealing: Sealing
        self.shared = False  #: other processes may use the store as well
        self.kept = 0  #: outcomes that were kept
        self.swept: bytes | None = None  #: how far they were looked through for such as have run out
        self.added: Callable[[], bool] = lambda: True  #: a job is ready; False if nobody will ever run it
        self.idle: Callable[[], bool] = lambda: True  #: nobody works on any job
        self.changed: Callable[[], None] = lambda: None  #: somebody may be waiting for the end of all jobs
        self.ended: Callable[[], None] = lambda: None  #: the last job after a shutdown is done
        _all.add(self)

    # The store

    @property
    def store(self) -> Store:
        """The store, opened now if it isn't yet. Raises StoreError, NoHome."""
        return self._store or self.open()

    def open(self) -> Store:
        """Open the store, and look what is in it."""
        self._check_fork()
        with self.lock:
            if self._store is None:
                if self.closed:
                    raise RuntimeError("the executor was shut down")
                store = self.place.open()
                try:
                    self._begin(store)
                except BaseException:
                    if self.sharing is not None:
                        self.sharing.close()
                        self.sharing = None
                    if self.place.owned and self.place.private is None:
                        store.close()  # a private one opens by itself when it is used; closed, it would stay so
                    raise
                self._store = store
                at_end(_close_all)
        return self._store

    def _begin(self, store: Store) -> None:
        self.shared = not store.capabilities.exclusive
        self.sealing = Sealing(store)
        self._bind(store)
        if isinstance(store, PrivateStore):
            store.settled = partial(_settled, weakref.ref(self))
            store.renewed = partial(_renewed, weakref.ref(self), weakref.ref(store))
        depth = store.depth(self.names.jobs)  # which is also the look that takes over what dead processes left
        self.ranked = self.shared or store.get(self.names.facts, b"ranked") is not None
        self.tombs = store.count(self.names.cancelled) > 0
        if self.settings.recover is not Recover.MANUAL:
            self.foreign, self.recovering = True, depth.ready > 0
        if depth.ready or depth.delayed:
            _log.info("%s in %s: earlier runs left %d jobs", self.names.jobs, store.place, depth.unfinished)
        if self.shared:
            from ._sharing import Sharing

            self.sharing = Sharing(self, store)
        if depth.delayed:
            self._expect_soon(store)
        if self.shared or depth.delayed:
            from ._watch import watch

            watch(self, store)

    def _expect_soon(self, store: Store) -> None:
        """Jobs that an earlier process has put back for a moment: who shuts down waits for those as well."""
        now = time.time()
        for record in islice(store.browse(self.names.jobs, state=State.DELAYED), _REMEMBERED):
            if record.not_before <= now + _SOON:
                self.come_back(wire.id_of(record.payload), max(0.0, record.not_before - now))

    def _bind(self, store: Store) -> None:
        self.commit, self.claim = store.commit, store.claim

    def _check_fork(self) -> None:
        if self.forked:
            raise StoreForked("an executor belongs to the process that has made it: make another one after a fork")

    # Submitting

    def check(self) -> None:
        """Raises what submit() does where no job is taken any more."""
        self._check_fork()
        if self.broken is not None:
            raise type(self.broken)(*self.broken.args)
        if self.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def submit(self, call: wire.Call, options: Options = PLAIN, flags: int = 0) -> JobFuture:
        """Store a job; the future of what becomes of it. Raises NotSerializable, queue.Full, RuntimeError, StoreError;
        no job was stored then."""
        self.check()
        store = self._store or self.open()
        id = self.token + next(self._numbers).to_bytes(8, "big")
        data = wire.dump(call, options.retry_on)
        main = wire.main_of(call, data) if self.shared else ""
        data = self.sealing.close(data)
        future = JobFuture(self, id, call, options)
        if options is PLAIN and not (self.ranked or self.settings.max_pending or self.settings.max_bytes):
            put = _new(Put, (self.names.jobs, wire.write(id, data, flags=flags)) + PLAIN_PUT)  # noqa: RUF005  # faster
            self._store_job(future, (put,))
        elif options.key is not None:
            from ._keys import submit_keyed

            return submit_keyed(self, store, future, self.put_for(future, data, flags, main))
        else:
            self._store_job(future, (self.put_for(future, data, flags, main),))
        return future

    def put_for(self, future: JobFuture, data: bytes, flags: int, main: str) -> Put:
        """What stores a job that has options, or stands beside others that have."""
        options = future._options
        if options.priority and not self.ranked:
            self.commit(Set(self.names.facts, b"ranked", b"1"))
            self.ranked = True
        self.ranks = self.ranks or bool(options.priority)
        flags |= wire.REPLY if self.shared else 0
        meta = options.meta()
        if main:
            meta["main"] = main
        return Put(
            self.names.jobs,
            wire.write(future._id, data, flags=flags, meta=meta),
            rank(options.priority)[0] if self.ranked else b"",
            time.time() + options.delay if options.delay else 0.0,
            self.settings.max_pending,
            self.settings.max_bytes,
        )

    def _store_job(self, future: JobFuture, ops: tuple[Op, ...]) -> None:
        self.live[future._id] = future  # before it is stored: whoever claims it at once finds it
        try:
            self.put(future, ops)
        except BaseException:
            self.live.pop(future._id, None)
            raise

    def put(self, future: JobFuture, ops: tuple[Op, ...]) -> None:
        """Carry out what stores the job, as soon as there is room. Then it is to be run."""
        options = future._options
        if options.delay or options.retries:
            future._owner = self.owner()  # it must be there when the job is due
        while True:
            try:
                future._record = self.commit(*ops)[-1]
                break
            except LimitReached:
                self._wait_for_room(ops[-1])
        if options.delay:
            self.come_back(future._id, options.delay)
        elif not self.added() and future._id in self.live:
            cancel(self, future)
            self.check()
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _wait_for_room(self, put: Any) -> None:
        limit, most = self.settings.max_pending, self.settings.max_bytes
        if self.settings.when_full is WhenFull.RAISE:
            raise Full(f"{self.names.jobs} has {limit} jobs" if limit else f"{self.names.jobs} has {most} bytes")
        size = len(put.payload)

        def has_room(depth: Depth) -> bool:
            fits = most is None or depth.bytes + size <= most or not depth.unfinished
            return self.closing or (fits and (limit is None or depth.ready < limit))

        self.store.wait(self.names.jobs, has_room)
        self.check()

    # Jobs that somebody else has submitted, or runs

    def remember(self, future: JobFuture) -> None:
        """A recovered job is begun."""
        begun, call = self.begun, self.settings.on_recovered
        if begun is not None:
            begun.append(future)
        if call is not None:
            try:
                call(future)
            except Exception:
                _log.exception("on_recovered= failed")

    def wait_for_others(self, future: JobFuture) -> None:
        """Another process runs our job, and will say what it came to."""
        if self.sharing is not None and not future.done() and future._id not in self.live:
            self.attached.setdefault(future._id, future)

    def settle(self, id: bytes, data: bytes) -> None:
        """Another process has brought a job to its end."""
        future = self.live.pop(id, None) or self.attached.pop(id, None)
        if future is not None:
            found = load_outcome(data, self.sealing)
            if isinstance(found.error, CancelledError):
                future.cancel_here()
            else:
                future.settle(found.result, found.error)
            self.delayed.discard(id)
            self.changed()

    # Time

    def time_out(self, started: Started) -> None:
        """See that the job fails if it isn't done in time."""
        seconds = started.options.timeout
        assert seconds is not None
        rest: tuple[Any, ...] = started.claim, (None, (), {}), *started[3:]
        CLOCK.call_in(seconds, partial(_run_out, weakref.ref(self), weakref.ref(started.future), rest))

    def come_back(self, id: bytes, seconds: float) -> None:
        """A job is ready in that many seconds: see to it then."""
        self.delayed.add(id)
        CLOCK.call_in(seconds + 0.001, partial(self._back, id))

    def look_later(self) -> None:
        """No job could be claimed, since the store failed (a full disk): that may be over in a moment."""
        CLOCK.call_in(_AGAIN, partial(_look, weakref.ref(self)))

    def _back(self, id: bytes) -> None:
        """It is due, or was: somebody may have begun it already, and it may be waiting for its next try by now."""
        self.delayed.discard(id)
        if not self.closed:
            self.added()
            if id in self.live:  # all are busy; or the store's clock isn't there yet
                CLOCK.call_in(_AGAIN, partial(self._back, id))

    def forget(self, id: bytes) -> JobFuture | None:
        """A job that isn't on disk any more; its future."""
        future = self.live.pop(id, None) or self.attached.pop(id, None)
        self.delayed.discard(id)
        self.changed()
        return future

    def forget_key(self, payload: bytes) -> list[Op]:
        """What makes the job's key free."""
        key = wire.read(payload).meta.get("key")
        return [] if key is None else [Delete(self.names.keys, bytes.fromhex(key), Expect.ANY)]

    def find_moved(self) -> bool:
        """Another process may have put back a job of ours, which is another record then: whether one was found."""
        began = time.monotonic()
        if self.sharing is None or began < self._look_at:
            return False
        self._look_at = began + _AGAIN
        found = False
        for record in self.store.browse(self.names.jobs, state=State.READY):
            future = self.live.get(wire.id_of(record.payload))
            if future is not None and future._record and future._record != record.id:
                future._record, found = record.id, True
        now = time.monotonic()
        self._look_at = now + max(_AGAIN, 10 * (now - began))  # a long backlog isn't looked through all the time
        return found

    def commit_ends(self, ops: list[Op], *payloads: bytes) -> None:
        """Commit that jobs are gone without an outcome: to who waits for one in another process it is cancelled."""
        if self.sharing is None:
            self.commit(*ops)
            return
        cancelled = self.sealing.close(dump_outcome(Outcome(error=CancelledError())))
        while True:
            more: list[Op] = []
            for payload in payloads:
                if id := wire.id_of(payload):
                    more += self.sharing.tell(id, cancelled, payload[1])
            try:
                self.commit(*ops, *more)
                return
            except ConditionFailed:  # somebody began to wait for one just now
                continue

    # Putting back

    def put_back(self, claim: Claim, seconds: float) -> None:
        """A job that was claimed and isn't begun: ready again in that time, and the attempt doesn't count."""
        put = Put(
            claim.queue,
            claim.payload,
            claim.rank,
            time.time() + seconds,
            attempts=claim.attempt - 1,
            put_at=claim.put_at,
        )
        record = self.commit(Ack(claim), put)[1]
        future = self.live.get(wire.id_of(claim.payload))
        if future is not None:
            future._record = record
        self.come_back(wire.id_of(claim.payload), seconds)

    def wait_again(self, future: JobFuture) -> None:
        """A job that was begun here waits again: first its future, then what is on disk, so whoever claims it at once
        finds it."""
        id = future._id
        with self.lock:
            if id.startswith(self.token) or self.attached.setdefault(id, future) is not future:
                self.live[id] = future
            self.running.pop(id, None)

    # The end

    def drained(self) -> bool:
        """Whether nothing is left to do here."""
        if self.running or not self.idle():
            return False
        return self.stopped or not (self.live or self.delayed or (self.recovering and self.foreign))

    def leave(self) -> None:
        """No job is begun any more; what wasn't begun stays on disk, and its futures here are cancelled."""
        self.closing = self.stopped = True
        futures = [*self.live.values(), *self.attached.values()]
        self.live.clear()
        self.attached.clear()
        for future in futures:
            future.cancel_here()

    def break_with(self, error: BaseException) -> None:
        """The pool can't run anything any more: as the standard library's, the futures fail; the jobs stay on disk."""
        self.broken = error
        self.stopped = True
        futures = [*self.live.values(), *self.attached.values(), *self.running.values()]
        self.live.clear()
        self.attached.clear()
        for future in futures:
            future.settle(None, type(error)(*error.args))

    def close(self) -> None:
        """Let go of the store. What is claimed is ready for others. A second call does nothing."""
        with self.lock:
            if self.closed:
                return
            self.closed = self.closing = self.stopped = True
            store = self._store
        if self.forked:
            return
        if store is None:
            if self.place.private is not None:
                self.place.private.close()  # its number at its place is free
            return
        if self.sharing is not None:
            self.sharing.close()
        store.wake(self.names.jobs)
        if self.place.owned:
            store.close()


def _run_out(ref: weakref.ref[Backlog], future: weakref.ref[JobFuture], rest: tuple[Any, ...]) -> None:
    from ._finishing import finish
    from ._starting import Started

    backlog, found = ref(), future()
    if backlog is None or found is None or backlog.running.get(found._id) is not found:
        return
    started = Started(found, *rest)
    if found.attempts == started.claim.attempt:
        error = TimeoutError(
            f"job {found.job_id} wasn't done in {started.options.timeout} seconds: its outcome will be refused. What "
            "runs it can't be stopped, and goes on"
        )
        # Its callbacks may take long, and the clock has others to call.
        thread = threading.Thread(target=finish, args=(backlog, started, None, error), daemon=True)
        thread.name = "pqadapters-executor-timeout"
        start_thread(thread)


def _look(ref: weakref.ref[Backlog]) -> None:
    backlog = ref()
    if backlog is not None and not (backlog.closed or backlog.stopped):
        backlog.added()


def _settled(ref: weakref.ref[Backlog], store: Store) -> None:
    backlog = ref()
    if backlog is not None:
        backlog._bind(store)


def _renewed(ref: weakref.ref[Backlog], private: weakref.ref[PrivateStore]) -> None:
    backlog, store = ref(), private()
    if backlog is not None and store is not None:
        backlog._bind(store)


def _close_all() -> None:
    for backlog in list(_all):
        try:
            if not backlog.forked and (backlog.idle() or not others_run()):
                backlog.close()
        except Exception as error:
            _log.warning("%s could not be closed: %s", backlog.names.jobs, error)


def _true() -> bool:
    return True


def _false() -> bool:
    return False


def _none() -> None:
    pass


def _begin_again() -> None:
    """In a forked child: the threads that held the locks are the parent's."""
    for backlog in list(_all):
        backlog.lock, backlog.attaching, backlog.forked = threading.Lock(), threading.Lock(), True
        backlog.live.clear()
        backlog.running.clear()
        backlog.suspects = Suspects()
        # What tickets and calls wait on is bound to the old lock, and none of them is here.
        backlog.added, backlog.idle, backlog.changed, backlog.ended = _false, _true, _none, _none


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
