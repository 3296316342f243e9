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
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from .... import telling
from ....clock import SYSTEM
from ....ending import at_end, others_run
from ....errors import ConditionFailed, PqadaptersError, StoreForked
from ....forking import in_child
from ....home.private import PrivateStore
from ....living import living
from ....store import Delete, Expect, Nack, Op, Store
from .._jobs import wire
from .._jobs.options import Settings
from .._jobs.outcome import Outcome
from .._jobs.outcome import dump as dump_outcome
from .._jobs.place import Place
from .._jobs.sealing import Sealing
from .._jobs.words import Recover
from .._others import peers
from . import suspects
from .ahead import Ahead
from .clock import call_in
from .future import JobFuture
from .returning import expect_soon, look
from .suspects import Suspects

if TYPE_CHECKING:
    from ....store import Claim
    from .._others.sharing import Sharing

_log = telling.logger("pqadapters.executor")
_REMEMBERED = 10_000  #: futures of recovered jobs that were begun before `recovered()` was called
_CANCELLED = dump_outcome(Outcome(error=CancelledError()))
_all: weakref.WeakSet[Backlog] = weakref.WeakSet()
SHUT_DOWN = "the executor was shut down"
ending: list[bool] = []  #: not empty once the program has ended, and its pools' threads are waited for


def nothing() -> None:
    """Nobody asks yet."""


class Backlog:
    """The jobs of one executor."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self.place, self.names, self.settings = place, place.names, settings
        self.lock = threading.RLock()  #: reentrant: a finalizer may end the executor in the middle of anything
        self._opening = threading.Lock()  #: held, before the other one, while the store is opened
        self._openers: set[int] = set()  #: threads that open the store, or wait for who does
        wire.this_main()  # it isn't known any more at the end of the interpreter
        self.forked = False  #: this is a child of the process that it belongs to
        self.token = os.urandom(8)
        self.numbers = count(1)
        self.attaching = threading.RLock()  #: held from a future's entry in `attached` to the look whether it may stay
        self.made_at = SYSTEM.monotonic()
        self.owner: Callable[[], object] = lambda: None  #: the executor, while there is one
        self.live: dict[bytes, JobFuture] = {}  #: submitted here and not begun
        self.attached: dict[bytes, JobFuture] = {}  #: of jobs that somebody else has submitted, or runs
        self.running: dict[bytes, JobFuture] = {}
        self.ahead = Ahead()
        self.begins_with_submit = settings.recover is Recover.ON_SUBMIT  #: and none was stored here yet
        self.mixed = False  #: jobs were submitted here that have options
        self.begun: deque[JobFuture] | None = deque(maxlen=_REMEMBERED)
        self.known: weakref.WeakValueDictionary[bytes, JobFuture] = weakref.WeakValueDictionary()
        self.foreign = False  #: jobs that others have submitted are run, too
        self.recovering = False  #: there may be more of these
        self._looking = 0  #: threads that look for them just now, with `recovering` not set meanwhile
        self._looks = threading.RLock()  #: of both, for a moment
        self.ranked = self.tombs = False
        self.suspects = Suspects(self.running, partial(look, weakref.ref(self)))
        self.delayed: dict[bytes, list[Callable[[], object]]] = {}  #: by the clock; what takes that back
        self.closing = self.stopped = self.closed = False
        self.left = False  #: by a signal handler
        self.pool_shut = False  #: it takes no more calls, and what waits is for those that look already
        self.to_come = set[int]()  #: those that are counted as such, and that the pool hasn't taken yet
        self.broken: BaseException | None = None
        self.refusal = "cannot schedule new futures after shutdown"  #: what the pool said to a call that it didn't take
        self.sharing: Sharing | None = None
        self.look_at = 0.0  #: not before that time jobs of ours are looked for under other records
        self.modest_until = 0.0  #: before that time jobs of others are left to others: we had one that isn't for us
        self.missed = set[str]()  #: what jobs wait for that was told already
        self.ranks = False  #: jobs were submitted here that have a priority
        self._store: Store | None = None
        self.sealing: Sealing
        self.shared = False  #: other processes may use the store as well
        self.unsaved: dict[bytes, Callable[[], object]] = {}  #: what the store refused, by job id
        self.interrupted: dict[bytes, Claim] = {}  #: jobs that are for the next executor, by job id
        self.refused_since = 0.0  #: by the monotonic clock; 0.0 while it doesn't refuse
        self.kept = 0  #: outcomes that were kept
        self.swept: bytes | None = None  #: how far they were looked through for such as have run out
        self.opened: Callable[[bytes], tuple[wire.Call, Any]] = wire.load  #: a stored call, and what to retry it on
        self.added: Callable[[], bool] = lambda: True  #: a job is ready; False if nobody will ever run it
        self.idle: Callable[[], bool] = lambda: True  #: nobody works on any job
        self.changed: Callable[[], None] = nothing  #: somebody may be waiting for the end of all jobs
        self.takes_time: Callable[[], None] = nothing  #: a future's callbacks are about to be called
        self.ended: Callable[[], None] = nothing  #: the last job after a shutdown is done
        _all.add(self)

    # The store

    @property
    def store(self) -> Store:
        """The store, opened now if it isn't yet. Raises StoreError, NoHome."""
        return self._store or self.open()

    def open(self) -> Store:
        """Open the store, and look what is in it."""
        self._check_fork()
        me = threading.get_ident()
        if me in self._openers and self.place.private is not None:
            return self._open_already(self.place.private)
        self._openers.add(me)
        try:
            with self._opening:
                return self._store or self._open_locked()
        finally:
            self._openers.discard(me)

    def _open_locked(self) -> Store:
        if self.closed:
            raise RuntimeError(SHUT_DOWN)
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
        return store

    def _open_already(self, store: Store) -> Store:
        """For a finalizer or signal handler that submits while its own thread is in the middle of opening the store,
        which is a private one then: others are open before anybody has the executor."""
        self.sealing = Sealing(store)
        self._bind(store)
        return store

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
        if self.settings.recover is Recover.AUTO:
            self.foreign, self.recovering = True, depth.ready > 0
        if depth.ready or depth.delayed:
            _log.info("%s in %s: earlier runs left %d jobs", self.names.jobs, store.place, depth.unfinished)
        if self.shared:
            from .._others.sharing import Sharing

            self.sharing = Sharing(self, store)
        else:
            peers.enter(self)
        if depth.delayed and self.foreign:
            expect_soon(self, store)
            self.recovering = self.recovering or store.depth(self.names.jobs).ready > 0  # one was due right before that
        if self.shared or depth.delayed:
            from .watch import watch

            watch(self, store)

    def _bind(self, store: Store) -> None:
        self.commit, self.claim = store.commit, store.claim

    def begin_look(self) -> bool:
        """Somebody looks for jobs of others; whether there may be some. Who puts one there meanwhile says so behind
        this."""
        with self._looks:
            before, self.recovering = self.recovering, False
            self._looking += before
        return before

    def end_look(self, before: bool, more: bool) -> None:
        """What `begin_look` said, and whether there may be more of them."""
        if before:
            with self._looks:
                self._looking -= 1
                self.recovering = self.recovering or more

    def only_ours(self) -> bool:
        """Whether what is ready is ours, as far as is known."""
        with self._looks:
            return not (self.recovering or self._looking or self.delayed)

    def take_in(self) -> None:
        """Jobs of others are begun, too, from here on."""
        self.begins_with_submit, self.foreign, self.recovering = False, True, True
        self.added()
        expect_soon(self, self.store)

    def _check_fork(self) -> None:
        if self.forked:
            raise StoreForked("an executor belongs to the process that has made it: make another one after a fork")

    # Its jobs

    def check(self) -> None:
        """Raises what submit() does where no job is taken any more."""
        self._check_fork()
        if self.broken is not None:
            raise _another(self.broken)
        if ending:  # else a thread that goes on submitting would keep the program from its end, which closes this, too
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if self.closing:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def unfinished(self, id: bytes) -> JobFuture | None:
        """The future of a job that has not come to its end, which somebody has here."""
        for futures in (self.live, self.running, self.attached):
            future = futures.get(id)
            if future is not None and not future.done():
                return future
        return None

    def forget(self, id: bytes) -> list[JobFuture]:
        """A job that isn't on disk any more; its futures. One of somebody else's that waits for its next try here, and
        that somebody has asked for meanwhile, has two."""
        futures = [each for each in (self.live.pop(id, None), self.attached.pop(id, None)) if each is not None]
        if peers.several():
            futures += peers.forget(self, id)
        self.not_due(id)
        self.less()
        return futures

    def forget_cancelled(self, id: bytes) -> None:
        """The same of a job that never came to an outcome: to who waits for it, it is cancelled."""
        for future in self.forget(id):
            future.cancel_here()

    def not_due(self, id: bytes) -> None:
        """The clock needn't bring the job back."""
        for take_back in self.delayed.pop(id, ()):
            take_back()

    def less(self) -> None:
        """A job is gone that nobody has run here; it may be the last one that an end waits for."""
        self.changed()
        if self.ended is not nothing and self.drained():
            call_in(0.0, self.ended)  # not here: whoever has brought that about is in the middle of it

    def forget_key(self, payload: bytes) -> list[Op]:
        """What makes the job's key free, unless another one has it by now: what was cancelled stays until it is due."""
        job = wire.read(payload)
        key = bytes.fromhex(job.meta.get("key", ""))
        is_its = bool(key) and self.store.get(self.names.keys, key) == job.id
        return [Delete(self.names.keys, key, Expect.ANY)] if is_its else []

    def commit_ends(self, ops: list[Op], *payloads: bytes, still: Callable[[], bool] = lambda: True) -> bool:
        """Commit that jobs are gone without an outcome: to who waits for one in another process it is cancelled. Not
        where a condition of theirs isn't met, and `still` says no. Whether that was done."""
        cancelled, sharing = self.sealing.close(_CANCELLED), self.sharing
        while True:
            more: list[Op] = []
            for payload in payloads:
                if sharing is not None and (id := wire.id_of(payload)):
                    more += sharing.tell(id, cancelled, payload[1], watched=True)
            try:
                self.commit(*ops, *more)
                return True
            except ConditionFailed:  # somebody began to wait for one just now
                if not still():
                    return False

    # The end

    def drained(self) -> bool:
        """Whether nothing is left to do here."""
        if self.running or not self.idle():
            return False
        others = self.recovering and self.foreign and not self.pool_shut  # else nobody looks for them any more
        return self.stopped or not (self.live or self.delayed or self.unsaved or others)

    def leave(self) -> None:
        """No job is begun any more; what wasn't begun stays on disk, and its futures here are cancelled."""
        self.closing = self.stopped = True
        futures: list[JobFuture] = []
        try:
            self._cancel_here(futures)
        except BaseException:  # of a callback, or of a signal handler
            self._cancel_here(futures)
            raise
        finally:
            self.ahead.give_back(self)

    def _cancel_here(self, futures: list[JobFuture]) -> None:
        self._take_out(futures)
        for future in futures:
            future.cancel_here()

    def _take_out(self, futures: list[JobFuture]) -> None:
        """Those of jobs that aren't begun, into that list: also such as come meanwhile, and none that is begun."""
        for there in (self.live, self.attached):
            while there:
                for id, future in there.copy().items():
                    futures.append(future)  # first: a signal handler may raise
                    taken = there.pop(id, None)
                    if taken is not future:
                        futures[-1:] = [taken] if taken is not None else []

    def break_with(self, error: BaseException, *, goes_on: bool = False) -> None:
        """The pool can't run anything any more: as the standard library's, the futures fail; the jobs stay on disk.
        `goes_on`: what runs comes to its end."""
        self.broken = error
        self.stopped = True
        futures = [] if goes_on else list(self.running.values())
        self._take_out(futures)
        for future in futures:
            future.settle(None, _another(error))
        if self._store is not None and not self.closed:
            self._store.wake(self.names.jobs)  # who waits for room is refused
        self.ahead.give_back(self)

    def turn_away(self, future: JobFuture) -> None:
        """Its job comes again in another executor."""
        if self.broken is not None:
            future.settle(None, _another(self.broken))
        else:
            future.cancel_here()

    def fail(self, error: Exception) -> None:
        """The store gives no jobs any more: those that aren't begun stay there, and their futures fail."""
        self.stopped = True
        futures: list[JobFuture] = []
        self._take_out(futures)
        for future in futures:
            future.settle(None, error)
        self.less()

    def close(self) -> None:
        """Let go of the store. What is claimed is ready for others. A second call does nothing."""
        with self._opening, self.lock:
            if self.closed:
                return
            self.closed = self.closing = self.stopped = True
            store = self._store
        if self.forked:
            return
        self.suspects.close()
        for id in list(self.delayed):
            self.not_due(id)
        self.let_go_of_attached()
        if store is None:
            if self.place.private is not None:
                self.place.private.close()  # its number at its place is free
            return
        for action in list(self.unsaved.values()):
            with suppress(PqadaptersError):
                action()
        for claim in list(self.interrupted.values()):
            with suppress(PqadaptersError):
                self.commit(Nack(claim))
        if self.sharing is not None:
            self.sharing.close()
        store.wake(self.names.jobs)
        if self.place.owned:
            store.close()

    def let_go_of_attached(self) -> None:
        """Nobody will tell these futures any more; their jobs stay on disk."""
        for future in list(self.attached.values()):
            future.cancel_here()


def _another(error: BaseException) -> BaseException:
    """For each who is told: whoever raises it writes its traceback there."""
    return type(error)(*error.args)


def _settled(ref: weakref.ref[Backlog], store: Store) -> None:
    backlog = ref()
    if backlog is not None:
        backlog._bind(store)


def _renewed(ref: weakref.ref[Backlog], private: weakref.ref[PrivateStore]) -> None:
    backlog, store = ref(), private()
    if backlog is not None and store is not None:
        backlog._bind(store)


def _close_all() -> None:
    for backlog in living(_all):
        try:
            if not backlog.forked and (backlog.idle() or not others_run()):
                backlog.close()
        except Exception as error:
            _log.warning("%s could not be closed: %s", backlog.names.jobs, error)


def _begin_again() -> None:
    """In a forked child: the threads that held the locks are the parent's."""
    suspects.begin_again()
    for backlog in living(_all):
        backlog.lock, backlog.attaching, backlog.forked = threading.RLock(), threading.RLock(), True
        backlog._opening, backlog._openers = threading.Lock(), set()
        backlog.live.clear()
        backlog.running.clear()
        backlog.ahead.forget()
        backlog.suspects = Suspects(backlog.running, partial(look, weakref.ref(backlog)))
        # What tickets and calls wait on is bound to the old lock, and none of them is here.
        backlog.added, backlog.idle = bool, lambda: True
        backlog.changed = backlog.ended = backlog.takes_time = nothing


in_child(_begin_again)
