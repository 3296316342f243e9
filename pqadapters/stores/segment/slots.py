"""Slots: a directory of stores, of which each process holds one of its own.

    LOCK          held for a moment by whoever takes, moves or removes a slot
    note          JSON: what all processes are to know
    0, 1, ...     the slots, each the directory of a store
    0/adopted-3-91c0aa41    what was slot 3: the holder of slot 0 found it without one, and moves its records over

A slot belongs to the process that holds its store's lock; the kernel drops that with the process, so a pid that was
used again deceives nobody. Slots change hands by a rename: whoever holds a slot owns the adopted ones inside
(`estates.py`), and so does whoever takes it later.

Any thread and process may use it. What a slot keeps survives as in any store.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ... import telling
from ...clock import spread
from ...errors import StoreError, StoreLocked
from ...store import LOCK_TIMEOUT, Op, Set, Store
from .._directory import Hold, Patience, holder, prepare_parent, refused, try_lock
from .._disk import ScratchDisk, disk_of, open_file
from . import directory as directories
from . import estates
from .estates import Estate, Reading, Spans
from .store import SegmentStore

logger = telling.logger("pqadapters.home")

NOTE = "note"
SLOT = re.compile(r"0|[1-9][0-9]{0,9}")
_OURS = re.compile(rf"{SLOT.pattern}|{NOTE}(\.tmp)?|{directories.LOCK}|\..*|lost\+found")
_PAUSE, _LONGEST_PAUSE = 0.005, 0.1  #: seconds; of hundreds that wait each takes from whoever is at it
_QUEUE = 11  # so many times the patience with one process is had with many
_NESTED = 500
_LONGEST = 1 << 20  # of a note, in characters: ours have some hundreds


class Slot:
    """A slot that this process holds."""

    def __init__(self, directory: str, store: SegmentStore, begun: int) -> None:
        self.directory = directory
        self.store = store
        self.begun = begun  #: what has a lower id was there when it was taken, or was moved here since


class Found(NamedTuple):
    """A slot as it is found."""

    directory: str
    pid: int | None  #: the process that holds it; None for nobody, 0 for one that can't be told
    store: SegmentStore | None  #: open for reading where nobody holds it and it can be read


class Slots:
    """The slots in one directory, of an application's place. `options` are those of `SegmentStore`; `scratch`: nothing
    need survive a power cut; `ours_above`: the directory above is ours, too, and not the program's."""

    def __init__(
        self,
        directory: str,
        *,
        scratch: bool = False,
        trust_directory: bool = False,
        ours_above: bool = True,
        **options: Any,
    ) -> None:
        self.directory = directory
        self._prepared = (os.path.dirname(directory), directory) if ours_above else (directory,)
        self._disk = ScratchDisk() if scratch else disk_of(directory, trust=trust_directory)
        self._trust = trust_directory
        self._options = options
        self._told: set[str] = set()

    # Taking and leaving

    def take(self) -> Slot:
        """A slot of our own: the fullest that nobody holds, or a new one. Raises StoreError."""
        with self._locked():
            for number in self._by_size():
                slot = self._try(number)
                if slot is not None:
                    return slot
            number = next(number for number in range(1 << 30) if not os.path.lexists(self._path(number)))
            return self._new(self._path(number))

    def take_left(self, wanted: Callable[[Store], bool]) -> Slot | None:
        """A slot that nobody holds and in which something is `wanted`; None where there is none. The others of those
        go. Raises StoreError."""
        with self._locked():
            for number in self._by_size():
                slot = self._try(number)
                if slot is not None and wanted(slot.store):
                    return slot
                if slot is not None:
                    self.leave(slot, empty=True)
        return None

    def _try(self, number: int) -> Slot | None:
        directory = self._path(number)
        hold = self._lock_slot(directory)
        if hold is None:
            return None
        hold.close()  # under the lock of the whole directory nobody else takes it before the next line
        try:
            return self._open(directory)
        except StoreError as error:
            if self._is_news(str(error)):
                logger.error("a slot is passed over, and what is in it stays there: %s", error)
            return None

    def _is_news(self, text: str) -> bool:
        """Once: who looks for what others left looks again and again."""
        told = len(self._told)
        self._told.add(text)
        return len(self._told) > told

    def _new(self, directory: str) -> Slot:
        try:
            return self._open(directory)
        except StoreError:
            with contextlib.suppress(OSError):  # who tries again on a full disk would leave one each time
                directories.remove(directory, self._disk)
            raise

    def _open(self, directory: str) -> Slot:
        store = SegmentStore(directory, disk=self._disk, trust_directory=self._trust, **self._options)
        return Slot(directory, store, store.next_id)

    def leave(self, slot: Slot, *, empty: bool, unless: Callable[[], bool] = bool) -> None:
        """Close a slot; if it is `empty`, take it away, `unless()` another thread has put something into it since.
        Bytes that were put aside as damaged stay."""
        try:
            if not empty or _holds_more(slot.directory):
                return slot.store.close()
            if not slot.store.discard(remove=True, unless=unless, door=self._locked):
                slot.store.close()
        except (StoreError, OSError) as error:
            slot.store.close()
            logger.warning("%s can't be removed: %s", slot.directory, error)

    def take_away(self, directory: str, is_empty: Callable[[SegmentStore], bool]) -> None:
        """Remove a slot that nobody holds, if it is empty and can be read. Raises StoreError."""
        with self._locked():
            hold = self._lock_slot(directory) if os.path.isdir(directory) else None
            if hold is None:
                return
            with contextlib.closing(Reading(directory)) as reading:
                empty = reading.store is not None and not reading.store.damage and is_empty(reading.store)
            if empty and not _holds_more(directory):
                with contextlib.suppress(OSError):
                    directories.remove(directory, self._disk)
            hold.close()

    def remove(self) -> None:
        """Take the directory itself away, with the note, if there is no slot in it any more."""
        if self._numbers() or not os.path.isdir(self.directory):
            return
        with self._locked(), contextlib.suppress(OSError):
            if set(os.listdir(self.directory)) <= {NOTE, NOTE + ".tmp", directories.LOCK}:
                directories.remove(self.directory, self._disk)

    def holders(self, slot: Slot) -> list[int]:
        """The other processes that hold a slot here."""
        found = self.look(read=False)
        return [each.pid for each in found if each.pid and each.pid != os.getpid()]

    # Adopting

    def adopt(self, slot: Slot) -> list[Estate]:
        """Make the slots that nobody holds our own, and list all that haven't been taken away. Raises StoreError."""
        with self._locked():
            mine = int(os.path.basename(slot.directory))
            adopted = [number for number in self._numbers() if number != mine and self._rename(number, slot.directory)]
            if adopted:
                try:
                    estates.sync_move(self.directory, slot.directory, self._disk)
                except OSError as error:
                    raise refused(self.directory, error, "sync") from error
        try:
            estates.lift(slot.directory, slot.store, self._disk)
            found = estates.estates(slot.directory, slot.store)
        except OSError as error:  # somebody has removed it under our feet
            raise error if isinstance(error, StoreError) else refused(slot.directory, error, "list") from error
        if not found:
            self.bury(slot, [])  # who died behind the last removal has left notes of what is gone
        return found

    def _rename(self, number: int, target: str) -> bool:
        directory = self._path(number)
        hold = self._lock_slot(directory)
        if hold is None:
            return False
        try:
            # a name that never was: what is noted of another adopted slot must not be taken for this one's
            self._disk.rename(directory, os.path.join(target, f"adopted-{number}-{os.urandom(4).hex()}"))
            return True
        except OSError as error:
            logger.warning("%s can't be adopted yet: %s", directory, error)
            return False
        finally:
            hold.close()

    def _lock_slot(self, directory: str) -> Hold | None:
        """The slot's lock; None where somebody holds it, or it isn't ours to take."""
        try:
            info = os.lstat(directory)
            if stat.S_ISLNK(info.st_mode):
                raise PermissionError("it is a symbolic link, and isn't followed")
            if not self._trust and info.st_uid != _me():
                raise PermissionError("it belongs to another user")
            return try_lock(os.path.join(directory, directories.LOCK), self._disk, name=False)
        except OSError as error:
            if self._is_news(f"{directory}: {error}"):
                logger.error("%s is passed over: %s", directory, error)
            return None

    @staticmethod
    def moved(estate: Estate) -> Set:
        """The operation that keeps in the slot's store how far an estate has been moved over."""
        return estates.moved(estate)

    @staticmethod
    def ended(found: list[Estate]) -> list[Op]:
        """The operations that keep in the slot's store that these have been moved over, all of them."""
        return estates.ended(found)

    @staticmethod
    def standing_aside(slot: Slot) -> Spans:
        """The ids of records in the slot that adoptions, that were broken off, hadn't put behind the others yet."""
        return estates.standing_aside(slot.store)

    @staticmethod
    def stand_aside(spans: Spans) -> Set:
        """The operation that keeps these in the slot's store."""
        return estates.stand_aside(spans)

    def bury(self, slot: Slot, found: list[Estate]) -> None:
        """Take away estates that have ended, once that is synced in the slot's store. Raises StoreError."""
        try:
            estates.bury(slot.directory, slot.store, found, self._disk)
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise refused(slot.directory, error, "tidy") from error

    # The note

    def note(self) -> dict[str, Any]:
        """What was noted; {} where nothing was, or it can't be read."""
        try:
            file = os.path.join(self.directory, NOTE)
            with open(file, encoding="utf-8", errors="surrogatepass", opener=open_file) as opened:
                text = opened.read(_LONGEST)
            if text.count("[") + text.count("{") > _NESTED:  # ours are flat; what is deep would exhaust the stack
                return {}
            found = json.loads(text)
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError, RecursionError):
            return {}

    def add_to_note(self, facts: Mapping[str, Any], *, final: Mapping[str, Any] = MappingProxyType({})) -> bool:
        """Note facts beside those that are there; one that is noted already as in `final` stays.

        Returns whether that changed anything. Raises StoreError (a DiskError is an OSError, too).
        """
        with self._locked():
            before = self.note()
            after = before | {k: v for k, v in facts.items() if k not in final or before.get(k) != final[k]}
            if after != before:
                self._write_note(after)
            return after != before

    def _write_note(self, facts: dict[str, Any]) -> None:
        path = os.path.join(self.directory, NOTE)
        try:
            data = json.dumps(facts, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
            self._disk.write_file(path + ".tmp", data)
            self._disk.rename(path + ".tmp", path)
            self._disk.sync_directory(self.directory)
        except OSError as error:
            raise refused(self.directory, error, "note something in") from error

    # Looking

    def look(self, *, read: bool = True) -> Iterator[Found]:
        """All slots. What nobody holds is read, and nothing is changed; the store is closed before the next one.

        A directory in which no slot was ever taken is somebody else's, whatever is in it: there are none, and no lock.
        """
        if not (os.path.exists(os.path.join(self.directory, directories.LOCK)) or self.note()):
            return
        for number in self._numbers():
            yield from self._look(self._path(number), read)

    def _look(self, directory: str, read: bool) -> Iterator[Found]:
        with self._locked():
            if not os.path.isdir(directory):
                return
            hold = self._lock_slot(directory)
            if hold is None:
                yield Found(directory, holder(os.path.join(directory, directories.LOCK)) or 0, None)
                return
            try:
                nested = estates.adopted(directory)
                with contextlib.closing(Reading(directory)) if read else contextlib.nullcontext() as reading:
                    yield Found(directory, None, reading.store if reading is not None else None)
            finally:
                hold.close()
        yield from (found for each in nested for found in self._look(os.path.join(directory, each), read))

    # The directory

    def prepare(self) -> None:
        """Make the directory and the one above it, private to their owner. One above that isn't ours stays as it is,
        and so does a directory of the program's that has something else in it.

        Raises StoreRefused (it is somebody else's, or a file), DiskError.
        """
        for path in self._prepared:
            prepare_parent(path, self._disk, self._trust, self._is_ours)

    def _is_ours(self) -> bool:
        if len(self._prepared) > 1:
            return True
        try:
            return all(map(_OURS.fullmatch, os.listdir(self.directory)))
        except OSError as error:
            raise refused(self.directory, error, "look into") from error

    def _path(self, number: int) -> str:
        return os.path.join(self.directory, str(number))

    def _numbers(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self.directory) if SLOT.fullmatch(name))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise refused(self.directory, error, "look into") from error

    def _by_size(self) -> list[int]:
        """The numbers of the slots, the fullest first: what is in it needn't be moved over."""
        return sorted(self._numbers(), key=lambda number: (-_bytes(self._path(number)), number))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock of the whole directory. Raises StoreLocked once a process had it for five seconds, DiskError.

        In the middle of it a finalizer of the same thread may come here again.
        """
        door = _doors.setdefault(self.directory, _Door())
        with door.lock:
            if door.hold() is not None:
                yield
                return
            try:
                hold = self._wait_for_lock()
            except OSError as error:
                raise self._as_ours(error, "lock") from error
            try:
                door.hold = weakref.ref(hold)
                yield
            except OSError as error:
                raise self._as_ours(error, "use") from error
            finally:
                door.hold = _nobody
                try:
                    hold.close()
                except BaseException:  # an interrupt may come before it has begun
                    hold.close()
                    raise

    def _as_ours(self, error: OSError, what: str) -> OSError:
        return error if isinstance(error, StoreError) else refused(self.directory, error, what)

    def _wait_for_lock(self) -> Hold:
        file = os.path.join(self.directory, directories.LOCK)
        patience, whole, taken = Patience(LOCK_TIMEOUT), Patience((1 + _QUEUE) * LOCK_TIMEOUT), _taken(file)
        pause = _PAUSE
        while True:
            hold: Hold | None = None
            try:
                hold = try_lock(file, self._disk)
                if hold is not None and (self._disk.pretends or hold.is_of(file)):
                    return hold
            except FileNotFoundError:  # the directory was empty, and somebody has taken it away
                self.prepare()
            except BaseException:  # whose traceback has this frame, for as long as somebody keeps it
                if hold is not None:
                    hold.close()
                raise
            is_over = whole.is_over()
            if patience.is_over():
                before, taken = taken, _taken(file)
                if taken == before or is_over:
                    pid = holder(file)
                    who = f"process {pid}" if pid else "another process"
                    raise StoreLocked(f"{self.directory} is in use by {who}; see whether it hangs", pid)
                patience = Patience(LOCK_TIMEOUT)  # a hundred processes that start at once have it one after the other
            time.sleep(spread(0.5 * pause, 1.5 * pause))  # a file's lock can't be waited for with a limit
            pause = min(1.2 * pause, _LONGEST_PAUSE)


def _taken(lock: str) -> int | None:
    """When a lock was taken last: its holder writes its pid there."""
    try:
        return os.stat(lock).st_mtime_ns
    except OSError:
        return None


class _Door:
    """A directory of slots, as the threads of this process share it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.hold: Callable[[], Hold | None] = _nobody  #: whose lock it is, while it lives


def _nobody() -> None:
    return None


_doors: dict[str, _Door] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_doors.clear)


def _holds_more(directory: str) -> bool:
    """Whether there is more in a slot than its own store: adopted slots, bytes that were put aside as damaged."""
    return any(name.startswith(("damaged-", "adopted-")) for name in os.listdir(directory))


def _bytes(directory: str) -> int:
    try:
        with os.scandir(directory) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.name.endswith(".seg"))
    except OSError:
        return 0


def _me() -> int | None:
    return os.geteuid() if hasattr(os, "geteuid") else None
