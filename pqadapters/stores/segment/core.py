"""What the handles of one process on one directory share: the log, what is in memory of it, the lock.

The lock is reentrant because a finalizer or a signal handler may call the store in the middle of one of its methods,
in the same thread. `inside` tells: such a call is put off (`deferred`) until the interrupted method is done.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice, repeat
from typing import Any

from ... import telling
from ...clock import Clock
from ...errors import DiskError, LeaseLost, PqadaptersError, StoreClosed, StoreError, StoreForked, StorePoisoned
from ...interrupts import SuppressRefusals, check_refusal
from ...resting import Rest
from ...store import Damage
from .._cores import Cores
from .._directory import refused
from .._disk import Disk
from .._gate import unlocked
from .._trouble import afresh
from . import directory as directories
from . import format, space
from .heal import heal
from .log import Log
from .queues import Catalog, Extra, Queue
from .reader import Reader, Unreadable
from .recover import recover
from .syncer import Syncer

logger = telling.logger("pqadapters.stores.segment")

RECENT_RECORDS, RECENT_BYTES = 4096, 1024  #: how many payloads are kept in memory, of what size at most
_CHECKPOINT_BYTES = 8 << 20
_REWRITES_PER_ROUND = 2  #: one keeps up no more, where the front is all live and what is moved fills the files
_TRIES = 3  #: how often what was put off is carried out, while signal handlers raise something
_CALLS = 128  #: until who is at it asks for its turn
_TIDY_AGAIN = 10_000  #: frames until space is looked for again where there was none to move records to


class Core:
    """An open directory. All attributes need `lock`; methods named `_locked` are called with it held."""

    def __init__(self, directory: str, disk: Disk, segment_bytes: int | None, clock: Clock) -> None:
        self.directory = directory
        self.disk = disk
        self.clock = clock
        self.process = os.getpid()
        self._relock()
        self.inside = False  #: a thread is in the middle of a call
        self.coming = self.aside = 0  #: how many threads wait at the lock, and how many stay away: see _turns.py
        self.since = 0.0  #: when the turn began
        self._catching_up = False
        self.deferred: list[Callable[[], object]] = []
        self.owners = weakref.WeakSet[object]()  #: of handles; who is interrupted while it opens the store is none
        self.max_lag = 1.0
        self.syncer: Syncer | None = None
        self.ended = False  #: the interpreter exits
        self._hold = directories.lock(directory, disk)
        try:
            self.catalog = Catalog(self.lock)
            self.log, self.damage = recover(directory, disk, segment_bytes, clock, self.catalog)
        except BaseException:
            self._hold.close()
            raise
        if not disk.is_removed(self._hold.fd):  # some filesystems count no names
            self.log.lock_file = self._hold.fd
        self.reader = Reader(self.log)
        self.recent: dict[int, tuple[bytes, float]] = {}  # payloads of the last puts, for those who get at once
        self._tidy_from = 0
        self._cleaned = -1  #: so much was in files that were ended when it was last cleaned
        if self.damage or self.log.size > _CHECKPOINT_BYTES:
            self._save_first()

    def _save_first(self) -> None:
        """A checkpoint for the next opening. Raises DiskError."""
        try:
            self._save_locked()
        except BaseException as error:
            self.log.close_files()
            self._hold.close()
            cause = error.__cause__ if isinstance(error, StorePoisoned) else None
            if isinstance(cause, OSError):  # nothing is open that could be poisoned
                raise refused(self.directory, cause, "put right") from cause
            raise

    # Entering

    def _relock(self) -> None:
        lock: Any = threading.RLock()
        self.lock: threading.RLock = lock
        self.rest = Rest()
        self.owned: Callable[[], bool] = lock._is_owned  #: whether this thread has it (Condition uses it, too)
        #: Takes it if it is free, and says whether: as the first step of a `for`, behind which, unlike behind a call,
        #: no signal handler comes. A `with` is as safe, and takes as long as the write of a record.
        self.door: Iterator[bool | None] = map(lock.acquire, repeat(False))
        self._open = self.door

    def keep_watch(self) -> None:
        """As long as a thread stays away, the door says None behind so many calls: see _turns.py."""
        self.door = chain(islice(self._open, _CALLS), repeat(None)) if self.aside > 0 else self._open

    def is_busy(self) -> bool:
        return self.inside or self.coming > 0

    def in_line(self) -> int:
        return self.coming

    def check_locked(self) -> None:
        """Raises StorePoisoned, StoreForked or StoreClosed when nothing goes any more."""
        if self.log.trouble is not None:
            raise afresh(self.log.trouble)

    def leave_locked(self) -> None:
        """The end of a call: carry out what was put off meanwhile. What a signal handler raises in that breaks none of
        it off, and is raised behind it: those who have put it off have gone on."""
        self.inside = False
        if self._catching_up:  # the loop below goes on with what this call has put off
            return
        interrupt: BaseException | None = None
        self._catching_up = True
        try:
            while self.deferred:
                interrupt = self._carry_out_late_locked(self.deferred[0]) or interrupt
                self.deferred.pop(0)
        finally:
            self._catching_up = False
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                del interrupt

    def _carry_out_late_locked(self, call: Callable[[], object]) -> BaseException | None:
        """Again where it was broken off, which does it once; what has done that, if it wasn't its own fault."""
        raised: BaseException | None = None
        for _ in range(_TRIES):
            try:
                call()
                return raised
            except LeaseLost:  # which changes nothing
                return raised
            except BaseException as error:
                raised = error
                if isinstance(error, PqadaptersError):
                    break
        if not isinstance(raised, Exception):
            return raised
        self.say_locked("%s: a call that interrupted another one of its thread failed", error=raised)
        return None

    def say_locked(self, text: str, *facts: object, error: Exception | None = None) -> None:
        """Log it (`text` begins with the directory) at the end of the call, with the lock free: see telling.py."""
        say = logger.warning if error is None else logger.error
        self.tell_locked(partial(say, text, self.directory, *facts, exc_info=error))

    def tell_locked(self, call: Callable[[], object]) -> None:
        self.deferred.append(partial(unlocked, self.lock, partial(telling.aloud, call)))

    # Reading

    def read_locked(self, id: int) -> format.Fields:
        """A live record of a queue. Raises Unreadable where it is damaged, DiskError."""
        try:
            return self.reader.record(id)
        except OSError as error:
            raise self.log.refused(error, "read") from error

    def whole_locked(self, id: int) -> format.Fields | None:
        """As `read_locked`; None where the record turned out to be damaged, and was put aside."""
        try:
            return self.read_locked(id)
        except Unreadable as error:
            self.heal_locked(error)
            return None

    def value_locked(self, id: int) -> bytes | None:
        """A live value of a table; None where it turned out to be damaged. Raises DiskError."""
        try:
            return self.reader.value(id)
        except Unreadable as error:
            self.heal_locked(error)
            return None
        except OSError as error:
            raise self.log.refused(error, "read") from error

    def heal_locked(self, error: Unreadable) -> None:
        """A live record is damaged: put its bytes aside and drop it, with the others that the same damage took."""
        try:
            damage, ids = heal(self.log, error.segment, error.offset)
        except OSError as refusal:
            raise self.log.refused(refusal, "put damaged bytes aside in") from refusal
        self.reader.forget()
        self._drop_damaged_locked(set(ids))
        self.damage.append(damage)
        if damage.length:  # else the checkpoint was wrong, and the next opening finds the records without it
            with contextlib.suppress(DiskError):  # it costs redeliveries at most
                self._save_locked()
        self.tell_locked(partial(_report, damage, len(ids)))

    def _drop_damaged_locked(self, ids: set[int]) -> None:
        """All of them in one pass: there may be thousands, in tables and queues of many more."""
        for id in ids:
            self.log.displace(id)
            self.catalog.extra.pop(id, None)
            self.recent.pop(id, None)
        for table in self.catalog.tables.values():
            for name in [name for name, key in table.keys.items() if key.id in ids]:
                self.log.more_bytes -= table.keys.pop(name).size
                self.log.key_bytes -= len(name)
        for queue in list(self.catalog.queues.values()):
            self._drop_from_locked(queue, ids)

    @staticmethod
    def _drop_from_locked(queue: Queue, ids: set[int]) -> None:
        before = queue.total
        held = {id: queue.claimed.pop(id) for id in ids & queue.claimed.keys()}
        queue.delayed[:] = sorted(entry for entry in queue.delayed if entry[1] not in ids)
        entries = (*queue.ready, *queue.back, *(entry[1] for entry in queue.heap or ()))
        for id in [id for id in entries if id in ids and id not in held and id not in queue.gone]:
            queue.take(id)
        if queue.total != before:
            size = sum(len(claim.payload) for claim, _ in held.values())
            queue.bytes = queue.bytes - size if queue.total else 0
            queue.changed()

    # Syncing

    def sync_locked(self, sequence: int) -> None:
        """Wait until the log is on the disk up to `sequence`; the lock is free meanwhile."""
        log = self.log
        log.sync(sequence, self.lock)
        if log.unmarked is not None and not self.inside:
            self.inside = True  # nobody's record must come to where the mark is being written
            try:
                log.mark()
            finally:
                self.inside = False
                if self.deferred:
                    self.leave_locked()

    def settle_locked(self, power: bool) -> None:
        """What was written is on the disk when this returns, or will be in time."""
        if power:
            self.sync_locked(self.log.next - 1)
        elif self.syncer is None:
            self.written_locked()

    def written_locked(self) -> None:
        """Something was written that nobody waits for: see that it is synced in time."""
        if self.syncer is not None:
            return None
        if self.ended:
            return self.log.sync_here()
        try:
            syncer = Syncer(self, self.max_lag)
            syncer.start()
            self.syncer = syncer
        except RuntimeError:  # the interpreter is shutting down, or is one beside the main one, without daemon threads
            self.log.sync_here()
        return None

    def sync_within(self, lag: float) -> None:
        """What is written from now on is synced so many seconds later at most."""
        with self.lock:
            if lag < self.max_lag:
                self.max_lag = lag
                syncer, self.syncer = self.syncer, None
                if syncer is not None:  # it waits longer than that
                    syncer.stop()
                    self.written_locked()

    def sync_written(self) -> bool:
        """Sync what was written; False when there was nothing. For the background thread."""
        with telling.silence(), self.lock:
            if self.inside or self.log.trouble is not None or self.log.synced >= self.log.next - 1:
                return False
            try:
                self.sync_locked(self.log.next - 1)
            except StorePoisoned as error:  # the next caller is told, if there is one
                logger.error("%s", error)
            except Exception:  # of a signal handler
                pass
            return True

    def retire_syncer(self, syncer: Syncer) -> bool:
        with self.lock:
            if self.log.synced < self.log.next - 1 and self.log.trouble is None:
                return False
            if self.syncer is syncer:
                self.syncer = None
            return True

    # Space

    def tidy_locked(self) -> None:
        """Give back space and write a checkpoint where it is time; what fails is tried again later."""
        log = self.log
        if log.next < self._tidy_from and not (log.dead or space.is_pinned(log)):
            return
        try:
            self._clean_locked()
            if space.worth_dropping(log, self.catalog):
                space.drop_dead(log, self.catalog)
            elif log.since_checkpoint >= max(_CHECKPOINT_BYTES, log.size // 4):
                self._save_locked()
        except OSError as error:
            check_refusal(error)
            if log.next >= self._tidy_from:
                self.say_locked("%s: space can't be given back yet: %s", error)
            self._tidy_from = log.next + _TIDY_AGAIN

    def _clean_locked(self) -> None:
        """A round of what makes segments at the front dead. Raises OSError."""
        log = self.log
        self._moving_locked(space.begin_anew)
        if log.dead and (log.is_tight or log.ended == self._cleaned):  # tight: what is moved takes room draining needs
            return
        for _ in range(_REWRITES_PER_ROUND):
            if space.worth_dropping(log, self.catalog) or not space.wasteful(log, self.catalog):
                break
            self._rewrite_locked()
        self._cleaned = log.ended

    def _rewrite_locked(self) -> None:
        self._moving_locked(space.rewrite_front)

    def _moving_locked(self, move: Callable[[Log, Catalog, Reader], None]) -> None:
        try:
            move(self.log, self.catalog, self.reader)
        except Unreadable as error:
            self.heal_locked(error)
        except DiskError:
            raise
        except OSError as error:
            raise self.log.refused(error, "read") from error

    def _save_locked(self, *, sync: bool = True) -> None:
        self.log.sync_here()
        space.save(self.log, self.catalog, self.log.segments, sync=sync)

    def _collapse_locked(self) -> None:
        """A store that is empty, or as good as that, is as small as a new one."""
        log = self.log
        with contextlib.suppress(DiskError):
            if log.start_over():
                space.drop_dead(log, self.catalog)
            for _ in log.segments[1:]:
                if log.dead or not space.as_good_as_empty(log, self.catalog):
                    break
                self._rewrite_locked()
                space.drop_dead(log, self.catalog)

    def checkpoint_locked(self, *, sync: bool = True) -> None:
        """Sync everything, give back all the space there is to give, write a checkpoint. Without `sync` that shortcut,
        and what `trim` does, is on the disk in the system's own time: a power cut may take it, and nothing else."""
        self.log.saved = None  # what isn't in the log may have changed since, as how often a record was claimed
        self._collapse_locked()
        with SuppressRefusals():  # a full disk has no room for that
            self._clean_locked()
        space.drop_dead(self.log, self.catalog)
        if self.log.saved is None or self.log.saved[:2] != (self.log.next, self.log.segments):
            self._save_locked(sync=sync)
        if space.as_good_as_empty(self.log, self.catalog):
            self.log.trim(sync=sync)  # of what is synced: a sync that fails there is passed over

    # Handles

    def join(self, owner: object) -> bool:
        """One more handle; False where the last one has just closed the store."""
        with self.lock:
            if isinstance(self.log.trouble, StoreClosed):
                return False
            self.owners.add(owner)
            return True

    def release(self, owner: object) -> None:
        """A handle is gone: what it had claimed is ready again, and with the last handle the directory is let go of.
        What an interrupt breaks off is done by a second call."""
        if isinstance(self.log.trouble, StoreForked):
            return
        if isinstance(self.log.trouble, StoreClosed):
            if self.process == os.getpid():
                self._leave_place()
            return
        if self.process != os.getpid():  # a forked child drops its parent's handles, maybe before it has abandoned them
            return self.log.leave_files()
        with telling.silence(), self.lock:
            if self.inside:
                self.deferred.append(lambda: self.release(owner))
                return
            try:
                self._return_all_locked(owner)
            except BaseException:  # whoever waits looks
                self._return_all_locked(owner)
                self.wake_everybody_locked()
                raise
            self.owners.discard(owner)
            if not self.owners:
                self._close_locked()

    def _return_all_locked(self, owner: object) -> None:
        for queue in [queue for queue in self.catalog.queues.values() if queue.claimed]:  # nearly none of thousands
            for id in sorted(id for id, (_, holder) in queue.claimed.items() if holder is owner):
                self.return_locked(queue, id)

    def end(self) -> None:
        """The interpreter exits. All is put in order, and stays open: daemon threads and handlers of the program's own
        may use it to the very end. The kernel drops the lock with the process."""
        with telling.silence(), self.lock:
            try:
                if self.log.trouble is None and not (self.inside or self.log.is_removed):
                    self._tidy_up_locked()
            except StorePoisoned as error:
                logger.error("%s", error)
            except StoreError:  # a disk that is full, say: there is no checkpoint then
                pass
            self.ended = True
            syncer, self.syncer = self.syncer, None
        if syncer is not None:
            syncer.end()

    def _tidy_up_locked(self) -> None:
        self.inside = True
        try:
            self.checkpoint_locked(sync=False)
            self.log.trim(sync=False)
        finally:
            self.leave_locked()

    def return_locked(self, queue: Queue, id: int) -> None:
        """A claim has ended without a word."""
        claim, _ = queue.claimed[id]
        self.catalog.extra[id] = self.catalog.extra.get(id, Extra())._replace(attempts=claim.attempt, note=claim.note)
        try:
            del queue.claimed[id]
            queue.give_back(id, claim.rank)
        except BaseException:
            queue.keep(id, claim.rank)
            raise
        queue.wake_taker()
        queue.changed()

    def wake_everybody_locked(self) -> None:
        for queue in [queue for queue in self.catalog.queues.values() if queue.crowd.size]:
            queue.takers.wake_all()
            queue.watchers.wake_all()

    # Closing

    def _close_locked(self) -> None:
        if self.syncer is not None:
            self.syncer.stop()
        try:
            if self.log.trouble is None and not self.log.is_removed:
                self.checkpoint_locked(sync=False)
        except Exception as error:
            logger.warning("%s: closed without a checkpoint (%s); nothing acknowledged is lost", self.directory, error)
        finally:
            self.log.close()
            self._end_locked("was closed; open it again")

    def _end_locked(self, how: str) -> None:
        self.log.trouble = StoreClosed(f"the store in {self.directory} {how}")
        self.syncer = None  # or its thread lasts as long as the store, which the garbage collector takes
        try:
            self.wake_everybody_locked()
        finally:
            self._leave_place()

    def _leave_place(self) -> None:
        """Once more where an interrupt came."""
        with self.lock:
            self._hold.close()
            _cores.forget(self)  # last: whoever opens the directory meanwhile waits for this core's lock

    def discard(self, *, remove: bool = False) -> None:
        """Close it for all its handles without a word to the disk; with `remove`, take its directory away. OSError."""
        with self.lock:
            if self.log.trouble is not None:
                return
            if self.syncer is not None:
                self.syncer.stop()
            self.log.close_files()
            try:
                if remove:
                    self.log.check_place()
                    directories.remove(self.directory, self.disk)
            finally:
                self._end_locked("was removed" if remove else "was closed; open it again")

    def abandon(self) -> None:
        """In a forked child: nothing of it is used here. Files that it had open would keep what the parent removes."""
        self._relock()  # another thread of the parent may have held the old one
        self.catalog.relock(self.lock)
        self.inside = self._catching_up = False
        self.coming = self.aside = 0
        self.deferred = []
        self.log.trouble = StoreForked(
            f"the store in {self.directory} belongs to process {self.process}, and this is a forked child of it: a "
            "store in a directory is for one process. Open another directory here, or make the queue after the fork"
        )
        self.log.leave_files()


def _report(damage: Damage, records: int) -> None:
    logger.error(
        "%s: %d bytes at %d are damaged: %s. %s",
        damage.path,
        damage.length,
        damage.offset,
        damage.reason,
        f"{records} record(s) are lost; the bytes were copied to {damage.quarantine}"
        if damage.length
        else f"{records} record(s) are looked for at the next opening",
    )


# One core for each directory of this process

_cores: Cores[Core] = Cores()


def share(directory: str, disk: Disk, segment_bytes: int | None, trust: bool, clock: Clock, owner: object) -> Core:
    """The core of the directory, opened if this process has none; with one more handle on it."""
    with telling.silence(), _cores.opening():
        directories.prepare(directory, disk, trust)
        found = None if disk.pretends else _cores.joined(_key(directory), owner)
        if found is not None:
            return found
        directories.warn_unsafe_filesystem(directory)
        core = Core(directory, disk, segment_bytes, clock)
        if not disk.pretends:
            return _added(core, owner)
        core.join(owner)
        return core


def _added(core: Core, owner: object) -> Core:
    try:
        return _cores.add(core, _key(core.directory), owner)
    except BaseException:  # whoever keeps the error would keep the directory locked
        core.discard()
        raise


def _key(directory: str) -> tuple[int, int]:
    try:
        info = os.stat(directory)
    except OSError as error:
        raise refused(directory, error, "look at") from error
    return info.st_dev, info.st_ino


def _abandon_all() -> None:
    for core in _cores.renew():
        core.abandon()
    _cores.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
