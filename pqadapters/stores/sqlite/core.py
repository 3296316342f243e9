"""What the handles of one process on one database share: the connections, who waits, the process's own number."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from ... import telling
from ...clock import SYSTEM, Clock
from ...errors import DiskError, StoreClosed, StoreError, StoreForked, StorePoisoned
from ...interrupts import check_refusal, is_refusal, keep
from ...store import Ack, Claim, Damage
from .._ahead import Ahead
from .._bells import Bells
from .._directory import refused
from .._disk import Disk
from .._handle import Token
from . import entries, pairing, schema
from .changes import Changes, Who
from .claims import give_back
from .damage import index
from .damage.wal import put_aside
from .damage.wal_index import knows_of_more
from .database import make_database, make_private, open_database, patiently, prepare
from .errors import ERRORS, NO_SPACE, malformed, translated
from .keeper import Keeper, shorten
from .names import Names
from .pairing import file_at, file_of
from .processes.forks import Standstill, connected, cores, inherited
from .processes.lookout import Lookout
from .processes.mark import Mark
from .processes.orphans import Orphans
from .processes.owners import Owners
from .reader import Reader
from .space.room import Room
from .takeover.probe import refuse_others
from .work import Work
from .writer import LATE, Writer

logger = telling.logger("pqadapters.stores.sqlite")
_OPENING = "opening"  #: the name of its lock
_UNSURE = 'by damage to its WAL, with a copy in its place, or in a power cut at durability "process"'
#: The blocks of what wasn't synced come to the disk in any order, also where all that was promised had come before.
_GAP = "by damage to its WAL, or by a power cut that has left a gap in what wasn't synced yet"
Release = Callable[[sqlite3.Connection], int]  #: makes records ready, in a transaction; how many
_BURY_EVERY = 0.1  #: seconds between two looks for dead processes by those who claim: one costs some microseconds each


class Core:
    """An open database. Any thread may call any method."""

    def __init__(self, path: str, disk: Disk, trust: bool, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.disk = disk
        self.process = os.getpid()
        self.owners = Owners(path, disk, trust)
        self.damage: list[Damage] = []
        self.handles = weakref.WeakSet[Token]()
        self.numbers = count(1)  #: of handles, in this process
        self.aside = threading.RLock()  # of connections beside those of writer, reader and lookout
        self.standstill = Standstill()
        self._guard = threading.RLock()  # of the number of handles, for a moment: nothing is called with it held
        self._entering = threading.RLock()  # of `owner`, which nothing calls in the middle of a transaction
        self._closing = self._entered = False
        self.orphans = Orphans()  #: claims whose callers were interrupted
        self.unreleased: deque[int] = deque()  #: handles that are gone, whose claims couldn't be given back yet
        self._buried = 0.0
        self.room = Room(self)
        self.writer = Writer(path, self.room.made)
        self.reader = Reader(path)
        self.names = Names(self.reader)
        self.bells = Bells()
        self.lookout, self.keeper = Lookout(self), Keeper(self)
        self._open(path, trust)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self.path

    def _open(self, path: str, trust: bool) -> None:
        try:
            connection = self._open_files(path)
            if not trust:
                make_private(path)
            self._check_index(connection)
            self.bury_dead(orphans=True)
            self.room.make_reserve()
        except BaseException:
            for each in (self.writer.connection, self.writer.mark):
                if each is not None:
                    each.close()
            self.reader.end()
            raise

    def _open_files(self, path: str) -> sqlite3.Connection:
        """One process at a time: to make a database in WAL mode takes it for oneself, and SQLite wouldn't wait."""
        hold = self.owners.hold_patiently(_OPENING)
        try:
            cut = self._was_cut(path)
            make_database(path, self.disk)
            self.mark = self.writer.mark = self.reader.mark = self._open_mark()
            pairing.check(path, self.mark)
            lost = knows_of_more(path)
            self.writer.connection = connection = self._connect(path)
            pairing.note(path, self.mark)
            self.writer.file, self.writer.wal = file_of(path), file_at(f"{path}-wal")
            self._compare_with_mark(connection, cut, lost)
            if self.mark.doubted:
                self._renew_wal()
            return connection
        except OSError as error:
            raise error if isinstance(error, StoreError) else refused(self.owners.directory, error, "use") from error
        finally:
            hold.close()

    def _was_cut(self, path: str) -> bool:
        """To nothing: before an empty one takes its place."""
        if not pairing.is_empty(path) or not os.path.exists(self.owners.file("mark")):
            return False
        mark = self._open_mark()
        try:
            return pairing.was_open_last(path, mark)
        finally:
            mark.close()

    def _connect(self, path: str) -> sqlite3.Connection:
        """On a full disk by what the reserve gives up: what is there can be drained."""
        try:
            return open_database(path)
        except DiskError as error:
            if error.errno not in NO_SPACE or not self.room.reserve.give_up():
                raise
            self.mark.crowded = True
            return open_database(path)

    def _renew_wal(self) -> None:
        """All that is in the WAL is copied, and synced where it is then. Raises DiskError, StoreLocked."""
        with self.aside:
            patiently(lambda: shorten(self.path, whole=True), self.path)
        self.mark.doubted = False

    def _open_mark(self) -> Mark:
        try:
            return Mark(self.owners.file("mark"), self.disk)
        except OSError as error:
            raise refused(self.owners.directory, error, "open the mark in") from error

    def _compare_with_mark(self, connection: sqlite3.Connection, cut: bool, lost: bool) -> None:
        """Ids that were given are never given again, and that the database doesn't know of some is said; where none
        were given, that it was cut to nothing, or has lost commits."""
        noted = self.mark.read()  # first: whoever commits notes it behind that
        row = patiently(lambda: connection.execute(schema.LAST).fetchone(), self.path)
        last = row[0] if row is not None else None
        if not isinstance(last, int) or last >= schema.IDS:  # the next one's place would be another queue's
            raise translated(malformed(), self.path)
        if noted > last:
            copy, why = self._put_wal_aside(last + 1, noted) or ("", _UNSURE)
            self.writer.do(Work(lambda each: each.execute(schema.SKIP_TO, (noted,)), synced=False))
            what = f"ids up to {noted} were given, and it knows of {last}: its last commits are gone, {why}"
            self._report(Damage(self.path, 0, 0, what, copy))
        elif cut:
            self._report(Damage(self.path, 0, 0, "it was cut to nothing: what was in it is gone"))
        elif lost and (aside := self._put_wal_aside(last + 1, last)):
            copy, why = aside
            self._report(Damage(self.path, 0, 0, f"its last commits are gone, {why}", copy))

    def _put_wal_aside(self, first: int, last: int) -> tuple[str, str] | None:
        """Before the next commit is written over what stands in it behind damage; the copy, and what is said, or None
        where nothing stands there. With the lock of openings, so that nobody has written since SQLite looked at it."""
        try:
            copy = put_aside(self.path, first, last, self.disk)
        except OSError as error:
            return "", (
                f"{_GAP}. What stands there behind that is written over, and couldn't be copied "
                f"before: {error}"
            )
        if not copy:
            return None
        return copy, (
            f"{_GAP}. What stands there behind that was copied to {copy}, and is brought out, with all "
            "that is here, by pqadapters.stores.sqlite.salvage(path, to=...)"
        )

    def _check_index(self, connection: sqlite3.Connection) -> None:
        try:
            index.check(self, connection)
        except ERRORS as error:
            raise translated(error, self.path) from error

    def index_was_damaged(self, aside: list[Any]) -> None:
        """`aside`: the keys of those that weren't whole."""
        self._report(Damage(self.path, 0, 0, "its index didn't lead to all keys of its tables: it was made anew"))
        for key in aside:
            what = f"key {key!r}: its checksum doesn't hold, it was put aside"
            self._report(Damage(self.path, 0, 0, what, "table 'damaged' of the database"))

    def keys_are_astray(self) -> None:
        what = "keys of its tables aren't where they are looked for"
        then = "what is whole is brought out by pqadapters.stores.sqlite.salvage(path, to=...)"
        self._report(Damage(self.path, 0, 0, f"{what}: {then}"))

    def index_led_astray(self, what: str, *, mended: bool) -> None:
        then = "it was made anew"
        if not mended:
            then = (
                "a name was given again since. What is under the first one is brought out, with all that is here, by "
                "pqadapters.stores.sqlite.salvage(path, to=...)"
            )
        self._report(Damage(self.path, 0, 0, f"an index didn't lead to all of its {what}: {then}"))

    def counts_were_damaged(self) -> None:
        self._report(Damage(self.path, 0, 0, "it didn't know how many records its queues have: they were counted"))

    # Owners

    def owner(self, patience: float | None = None) -> int | None:
        """This process's number, which claims need; None in the middle of another call of this thread."""
        if not self._entered:
            with self._entering:
                if not self._entered and self.writer.do(Work(self._enter, synced=False, timeout=patience)) is not LATE:
                    self._entered = True
        return self.owners.number if self._entered else None

    def _enter(self, connection: sqlite3.Connection) -> None:
        if self._entered:  # by a signal handler, on the way here
            return
        try:
            self.owners.enter(connection)
        except OSError as error:
            raise refused(self.owners.directory, error, "lock") from error

    def bury_dead(self, *, often: bool = True, patience: float | None = None, orphans: bool = False) -> bool:
        """Make ready what processes had claimed that have died; whether that was anything. Not `often`: unless they
        were looked for just now. `orphans`: also where nobody has died, what is claimed by a number that is nobody's,
        in a damaged row."""
        now = SYSTEM.monotonic()
        if not often and now - self._buried < _BURY_EVERY:
            return False
        self._buried = now
        if not self._any_dead() and not (orphans and self.reader.rows(schema.ORPHANS)):
            return False
        released = self._make_ready(self.owners.bury, self.owners.bury_few, patience)
        if released is LATE:
            return False
        self.bells.ring_all()
        return bool(released)

    def _make_ready(self, whole: Release, few: Release, patience: float | None = None) -> Any:
        """Give back what is nobody's any more, in one transaction; how many records, or LATE. Where a full disk has no
        room for that, a few at a time: else nothing of it could be served, and nothing would free any room."""
        try:
            if not self.writer.crowded:
                return self.writer.do(Work(whole, synced=False, timeout=patience))
        except DiskError as error:
            if error.errno not in NO_SPACE:
                raise
        released = self._few_by_few(few, patience)
        rest = self.writer.do(Work(whole, synced=False, timeout=patience))
        return rest if rest is LATE else released + rest

    def _few_by_few(self, few: Release, patience: float | None) -> int:
        released = 0
        while (more := self.writer.do(Work(few, synced=False, timeout=patience))) and more is not LATE:
            released += more
            self.room.keep_reserve()
        return released

    def mature(self, queue: str, patience: float | None, some: str = schema.MATURE_FEW) -> int:
        """Make ready what is due, where a claim hasn't had the room for all of it, or it is too much for one
        transaction, `some` at a time; how many records."""
        number, now = self.names.queue(queue), self.clock.wall()
        return self._few_by_few(lambda each: each.execute(some, (number, now)).rowcount, patience)

    def _any_dead(self) -> bool:
        numbers = [number for (number,) in self.reader.rows(schema.OWNERS)]
        return any(number != self.owners.number and self.owners.is_dead(number) for number in numbers)

    # Damage

    def damaged(self, row: Any, reason: str) -> None:
        """A record isn't whole, and was put aside."""
        what = f"record {row[0] & (schema.IDS - 1)}: {reason}, it was put aside"
        size = len(row[8]) if isinstance(row[8], (bytes, str)) else 0  # a long one, or a number by now
        self._report(Damage(self.path, 0, size, what, "table 'damaged' of the database"))

    def damaged_value(self, table: str, number: int, place: int, key: Any) -> None:
        """A key isn't what was set: it is put aside, so that it is missing for everybody, in every way."""
        what = f"key {key!r} of table {table!r}: its checksum doesn't hold, it was put aside"
        self._report(Damage(self.path, 0, 0, what, "table 'damaged' of the database"))
        with suppress(StoreError):  # one that can't be deleted, either, is passed over
            self.writer.do(Work(lambda each: entries.put_aside(each, number, place), synced=False))

    def _report(self, found: Damage) -> None:
        if found not in self.damage:
            self.damage.append(found)
            if self.writer.in_the_middle():
                self.writer.tell_later(partial(self._tell, found))
            else:
                self._tell(found)

    def _tell(self, found: Damage) -> None:
        with telling.silence():
            logger.error("%s: %s", self.path, found.reason)

    # Syncs

    def sync_wal(self) -> None:
        """What was committed is on the disk when this returns. Raises StorePoisoned, or DiskError: it wasn't tried."""
        self.writer.look_for_file()
        self._look_for_wal()
        self.writer.check()
        try:
            fd = self.disk.open(f"{self.path}-wal", write=False)
        except FileNotFoundError as error:  # right before a fork, or behind one
            check_refusal(error)
            return
        except OSError as error:
            raise refused(os.path.dirname(self.path), error, "sync the WAL in") from error
        try:
            self.writer.sync_or_doubt(is_refusal, self.disk.sync, fd)
        finally:
            self.disk.close(fd)
        self.writer.look_for_doubt()
        self.writer.check()

    def _look_for_wal(self) -> None:
        """Where nobody is in the middle of a transaction: else the next sync does."""
        lock, taken = self.writer.lock, list[bool]()
        try:
            keep(taken, lock.acquire, False)
            if True in taken:
                self.writer.look_for_wal_locked(closely=True)
        finally:
            if True in taken:
                lock.release()

    # Handles

    def join(self, token: Token) -> bool:
        """One more handle; False where the last one has just closed the store."""
        with self._guard:
            if not self._closing:
                token.number = next(self.numbers)
                self.handles.add(token)
            return not self._closing

    def release(self, token: Token, ahead: Ahead) -> None:
        """A handle is gone: what it had claimed is ready again, and with the last one the database is closed. What an
        interrupt breaks off is done by a second call."""
        if self.process != os.getpid() or isinstance(self.writer.trouble, StoreClosed):
            return
        handle = token.number
        with telling.silence():
            try:
                self._settle(ahead.take_waiting(self.process), handle)
                self.give_back_claims(ahead.pop_all(self.process), handle)
                if token.claims:  # all that is claimed, by whomever, is looked through for it
                    self._give_up(handle)
            except BaseException as error:  # of a disk, a lock, a signal handler: the keeper tries again
                self.unreleased.append(handle)  # or, behind our end, whoever finds our lock free
                self.keeper.call()
                if not isinstance(error, StoreError):
                    raise
            with self._guard:
                self.handles.discard(token)
                self._closing = last = not self.handles
            if last:
                self._close()

    def release_rest(self) -> None:
        """Give back what handles that are gone had claimed, and couldn't. Raises StoreError. For the keeper alone."""
        while self.unreleased:
            self._give_up(self.unreleased[0])
            self.unreleased.popleft()

    def _settle(self, acks: list[Ack], handle: int) -> None:
        """Carry out what a handle has put off that is gone."""

        def run(connection: sqlite3.Connection) -> None:
            who = Who(self.owners.number, handle)
            Changes(connection, self.names, who, 0.0, {}).ack_what_is_held(acks)

        if acks:
            self.writer.do(Work(run, synced=False))

    def give_back_claims(self, claims: list[Claim], handle: int) -> None:
        """Make records ready that a handle of this process has claimed and not handed out."""
        if claims:
            self.writer.do(self.giving_back(claims, handle))
            self.ring(claims)

    def giving_back(self, claims: list[Claim], handle: int) -> Work:
        """Its result says whether that was done."""
        number = self.owners.number

        def run(connection: sqlite3.Connection) -> bool:
            give_back(connection, self.names, claims, number, handle)
            return True

        return Work(run, synced=False)

    def ring(self, claims: list[Claim]) -> None:
        for queue in {claim.queue for claim in claims}:
            self.bells.ring(queue)

    def _give_up(self, handle: int) -> None:
        if self._entered:
            ours = (self.owners.number, handle)

            def release(statement: str) -> Release:
                return lambda connection: connection.execute(statement, ours).rowcount

            if self._make_ready(release(schema.RELEASE_HANDLE), release(schema.RELEASE_FEW_OF_HANDLE)):
                self.bells.ring_all()

    def _close(self) -> None:
        writer = self.writer
        in_the_middle = writer.in_the_middle()  # of a transaction, which our threads may wait for
        self.keeper.stop(wait=not in_the_middle)
        self.lookout.stop(wait=not in_the_middle)
        if self.keeper.unsynced:
            self.keeper.sync_aside(self)
        if not in_the_middle:
            self.room.leave()
        if isinstance(writer.trouble, StorePoisoned):
            self.reader.end()  # who closes last puts the WAL into the database: the writer has the right one
        with writer.lock:
            if writer.inside:
                writer.put_off(Work(lambda _: self._close_locked(), synced=False, alone=True))
            else:
                self._close_locked()
        self.reader.end()
        self.room.trim_reserve()
        connected.discard(self)
        self.bells.ring_all()

    def _close_locked(self) -> None:
        writer = self.writer
        if not self.unreleased and writer.trouble is None and self.owners.number and writer.connection is not None:
            with suppress(sqlite3.Error):
                writer.connection.execute(schema.DROP_OWNER, (self.owners.number,))
        writer.trouble = StoreClosed(f"the store in {self.path} was closed; open it again")
        cores.forget(self)
        try:
            writer.disconnect_locked()
        except sqlite3.Error as error:
            logger.warning("%s: %s", self.path, translated(error, self.path))
        finally:
            self.owners.leave()
            self.mark.close()

    def end(self) -> None:
        """The interpreter exits. All stays open: daemon threads and handlers of the program may use it still."""
        self.keeper.settle(at_once=True)  # they are of items that are done, however the process ends
        if self.keeper.unsynced:
            self.keeper.sync_aside(self)

    # Forks

    def begin_again(self) -> None:
        """In a forked child: connections of its own, when it needs them."""
        self.process = os.getpid()
        self._guard, self._entering, self.aside = threading.RLock(), threading.RLock(), threading.RLock()
        self._entered, self._buried = False, 0.0
        self.orphans.clear()
        self.unreleased.clear()
        self.owners.begin_again()
        inherited.append(self.mark.begin_again())
        found = (self.writer.begin_again(), self.reader.begin_again(), self.lookout.reader.begin_again())
        if not self.standstill.reached:
            inherited.extend(each for each in found if each is not None)
            self.writer.trouble = StoreForked(
                f"the store in {self.path} was in the middle of something when this process was forked: open it anew"
            )
            cores.forget(self)
        self.standstill = Standstill()
        self.bells.begin_again()
        self.lookout, self.keeper = Lookout(self), self.keeper.begin_again(self)


def share(path: str, disk: Disk, trust: bool, clock: Clock, token: Token) -> Core:
    """The core of the database, opened if this process has none; with one more handle on it."""
    with telling.silence(), cores.opening():
        prepare(path, disk, trust)
        file = file_at(path)
        found = cores.joined(file, token) if file != pairing.NONE else None
        if found is not None:
            return found
        refuse_others(path)
        core = Core(path, disk, trust, clock)
        connected.add(core)
        return cores.add(core, core.writer.file, token)
