"""From a place in the source to a directory of slots: the application's home, what is noted there, who else is there.

    <home>/<application>/<place>-<index>/          home: PQADAPTERS_HOME, or the user's state directory
                                        note       what the processes of the application have learnt
                                        0, 1, ...  slots

Temporary applications (a REPL, a notebook, tests) have a home that goes with the process. Any thread may use it; what
is noted survives a power cut.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import telling
from ..durability import Durability
from ..ending import at_end
from ..errors import DiskError, FormatError, NoHome, NotDurableWarning, StoreError, StoreRefused
from ..late import late
from ..opening import open_slots
from .adoption import Moved
from .application import Application, application, home_directory
from .places import Spot, directory_name, mark_transient

if TYPE_CHECKING:
    from ..stores.segment.slots import Slot, Slots

_log = telling.logger("pqadapters.home")
_lock = threading.RLock()
_temporary: dict[int, str] = {}  # pid -> the home that goes with that process
_told: set[tuple[str, int]] = set()
MANY = 16  #: queues of one place
_FINAL = {"ack": "task_done", "transient": True}  #: what is learnt for good
_UNUSABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG}
)


class Ground:
    """Where the queues of one place and index live."""

    def __init__(self, spot: Spot, application: Application, home: str, durability: Durability, trust: bool) -> None:
        self.spot, self.application, self.home, self.durability = spot, application, home, durability
        self._trust = trust
        self.directory = self._directory(spot.index)
        self.slots = self._slots(self.directory)
        self.note: dict[str, Any] = {}

    def _directory(self, index: int) -> str:
        return os.path.join(self.home, self.application.name, directory_name(self.spot.name, index))

    def _slots(self, directory: str) -> Slots:
        scratch = bool(self.application.temporary)
        return open_slots(directory, durability=self.durability, scratch=scratch, trust_directory=self._trust)

    @property
    def _place(self) -> Slots:
        """Those of the place's first queue: what goes for all of them is noted there."""
        return self._slots(self._directory(0))

    @property
    def transient(self) -> bool:
        """Whether this place makes a queue for each call."""
        return self.spot.transient

    def take(self) -> Slot:
        """A slot for this process. Raises NoHome, StoreError."""
        try:
            self.slots.prepare()
            slot = self.slots.take()
        except StoreError as error:
            problem = unusable(error, self.home)
            if problem is error:
                raise
            raise problem from error
        try:
            self._know(slot)
        except BaseException:  # nobody else could take it as long as somebody keeps the exception
            self.slots.leave(slot, empty=False)
            raise
        return slot

    def _know(self, slot: Slot) -> None:
        self.note = self._noted()
        if self.note.get("transient"):
            mark_transient(self.spot.name)
            self.spot.transient = True
        self._warn_of_namesake(slot)
        self._note_down()

    def _noted(self) -> dict[str, Any]:
        """What is noted of this queue, and of its place."""
        note = self.slots.note()
        if self.spot.index and not note.get("transient"):
            note["transient"] = self._place.note().get("transient", False)
        return note

    def _note_down(self) -> None:
        known = {
            "place": self.spot.name,
            "index": self.spot.index,
            "program": self.application.title,
            "origin": self.application.origin,
            "transient": self.transient,
        }
        if self.spot.what != "queue":
            known["what"] = self.spot.what
        again = {"named": False, "passed": 0}  # what waiting.py notes of places where no queue is made
        self.learn(**known, **{fact: word for fact, word in again.items() if self.note.get(fact)})

    def learn(self, **facts: Any) -> None:
        """Note facts for all processes and later runs; one that can't be noted is learnt again next time."""
        if self.note | facts == self.note:
            return
        self.note |= facts
        try:
            self.slots.add_to_note(facts, final=_FINAL)
            if self.spot.index and facts.get("transient"):
                self._place.add_to_note({"transient": True})
        except StoreError as error:
            what, name = self.spot.what, self.spot.name
            _log.warning("what was learnt of the %s made in %s can't be kept: %s", what, name, error)

    def learnt(self, fact: str) -> Any:
        """What any process has noted of it by now; None for nothing."""
        self.note |= self._noted()
        return self.note.get(fact)

    def leave(self, slot: Slot, *, empty: bool, unless: Callable[[], bool] = bool) -> None:
        """Let go of a slot; one that is empty is taken away (see `Slots.leave`). Where a place has many queues at a
        time, only the first ones keep what was learnt of them."""
        self.slots.leave(slot, empty=empty, unless=unless)
        if empty and self.spot.index >= MANY:
            try:
                self.slots.remove()
            except StoreError as error:
                _log.debug("%s can't be removed: %s", self.directory, error)

    def _warn_of_namesake(self, slot: Slot) -> None:
        """Two programs started by `-m` under one name share a home, and would adopt each other's items."""
        other = self.note.get("origin")
        if not other or self.application.origin in ("", other):  # "": not known
            return
        pids = self.slots.holders(slot)
        if pids:
            _log.warning(
                "%s (%s) shares its home %s with another live program of the same name, %s (process %s): after a crash "
                "one would be given the other's items. Set a PQADAPTERS_HOME of its own for each",
                self.application.title,
                self.application.origin,
                os.path.dirname(self.directory),
                other,
                ", ".join(map(str, pids)),
            )

    # The log

    def tell(self, directory: str, done: str) -> None:
        """At the first use: where it lives, and when an item is `done`. Once for each place and process."""
        key = self.spot.name, self.spot.index
        if key not in _told:
            _told.add(key)
            _log.info(
                "the queue made in %s keeps its items in %s; an item is done %s%s",
                self.spot.name,
                directory,
                done,
                "; what is left in it goes to the dead letters, since this place makes a queue for each call"
                if self.transient
                else "",
            )

    def tell_of(self, moved: Moved) -> None:
        """After the first look: what earlier runs had left."""
        if any(moved):
            _log.info(
                "the %s made in %s goes on with %d %s that earlier runs left; %d more are dead letters; %d stop "
                "markers and unserialisable items ended with their process",
                self.spot.what,
                self.spot.name,
                moved.items,
                self.spot.holds,
                *moved[1:],
            )


def ground_of(spot: Spot, durability: Durability, trust: bool) -> Ground:
    """The ground of a place. Raises NoHome."""
    program = application()
    return Ground(spot, program, home_of(program), durability, trust)


def home_of(program: Application) -> str:
    """The directory that the application's own is in. Raises NoHome."""
    return _temporary_home(program) if program.temporary else home_directory()


def unusable(error: StoreError, home: str) -> Exception:
    """What to say where a store in the home can't be opened: that there is no home, if that is why."""
    if not isinstance(error, (DiskError, StoreRefused)) or isinstance(error, FormatError):
        return error
    if isinstance(error, DiskError) and error.errno not in _UNUSABLE:
        return error
    return NoHome(
        f"queues without a path are to live in {home}, and that can't be used: {error}. "
        "Set PQADAPTERS_HOME to a directory that this user may write, or give the queue a path"
    )


def _temporary_home(program: Application) -> str:
    with _lock:
        home = _temporary.get(os.getpid())
        if home is None:
            home = _temporary[os.getpid()] = _new_temporary(program)
            at_end(_remove, last=True)
            if len(_temporary) == 1:  # a forked child needn't be told again
                telling.warn(
                    f"this is {program.temporary}: queues without a path or URL are temporary here, and gone when it "
                    "ends. To keep them set PQADAPTERS_HOME, or give the queue a path",
                    NotDurableWarning,
                )
        return home


def _new_temporary(program: Application) -> str:
    try:
        return str(late("tempfile").mkdtemp(prefix="pqadapters-"))
    except OSError as error:
        raise NoHome(
            f"this is {program.temporary}: queues without a path or URL are temporary here, and no temporary directory "
            f"can be made: {error}. Set TMPDIR or PQADAPTERS_HOME to a directory that this user may write, or give the "
            "queue a path"
        ) from error


def _remove() -> None:
    """The temporary home of this process; a child's is its own."""
    home = _temporary.pop(os.getpid(), None)
    if home is not None:
        late("shutil").rmtree(home, ignore_errors=True)


def _renew() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
