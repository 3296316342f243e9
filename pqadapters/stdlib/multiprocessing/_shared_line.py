"""The line of a queue that processes share, opened in each of them when it is first used there.

A queue without a name is founded (home/families.py) at its first use, when it is given to another process, and when
this one forks, whatever comes first: from then on all of them mean the same one. Any thread may use it.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from multiprocessing import context, reduction
from typing import Any, NamedTuple

from ... import telling
from ...errors import PqadaptersError, StoreError
from ...forking import before_fork
from ...home.families import Family, Reference, found_family
from ...home.places import Spot
from ...home.shared import open_in_home, shared_path
from ...living import living
from ...opening import absolute_url, load_databases, load_for, open_given, url_in_environment
from ...serializers import serializer as choose_serializer
from ...store import Order, Store
from .._lines.exit import dropped, finish_at_exit
from .._lines.line import Line
from .._lines.place import check_attempts
from .._lines.policy import AckPolicy, Markers, Volatile
from .._where import check_name, open_url, with_durability
from . import _serializer as _forking
from ._family_line import FamilyLine

_log = telling.logger("pqadapters.queue")
_all: weakref.WeakSet[SharedLine] = weakref.WeakSet()
_TRIES = 3  #: how often it is said which queue this is, while signal handlers raise something


class Kind(NamedTuple):
    """How items are treated: the part of a queue's options that isn't about where it lives."""

    policy: AckPolicy
    serializer: Any
    max_attempts: int | None
    joinable: bool = True  #: the queue has task_done(), and says of an item which one it means

    def check(self) -> None:
        """Raises TypeError and ValueError."""
        check_attempts(self.max_attempts)
        self.options()

    def options(self) -> dict[str, Any]:
        """Those of a `Line`."""
        return {
            "order": Order.OLDEST,
            "serializer": _forking if self.serializer == "pickle" else choose_serializer(self.serializer),
            "policy": self.policy,
            "max_attempts": self.max_attempts,
            "keep_items": self.joinable,
            "markers": Markers.KEEP,
            "volatile": Volatile.RAISE,
        }


class Address(NamedTuple):
    """Where a queue with a name, or in a store of its own, lives. One of the first three says it."""

    url: str | None
    path: str | None  #: of a database in the home
    store: Store | None  #: an open one
    name: str
    options: dict[str, Any]

    @classmethod
    def of(cls, store: Store | str | None, name: str | None, options: dict[str, Any]) -> Address:
        """From a constructor's arguments, and the environment. Raises TypeError, ValueError, NoHome."""
        check_name(name)
        called = "default" if name is None else name
        url = store if isinstance(store, str) else url_in_environment() if store is None else None
        if url is not None:
            return cls(absolute_url(url), None, None, called, options)
        if store is None:
            return cls(None, shared_path(), None, called, with_durability(options))
        return cls(None, None, open_given(store, options), called, {})

    def load(self) -> None:
        """Import what its store needs, if that isn't open."""
        if self.path is not None:
            load_databases()
        elif self.url is not None:
            load_for(self.url)

    def open(self) -> Store:
        """Raises StoreError, and ValueError for a store that one process has for itself."""
        if self.store is not None:
            found = self.store
        elif self.url is not None:
            found = open_url(self.url, self.options)
        else:
            found = open_in_home(str(self.path), **self.options)
        if found.capabilities.exclusive:
            if self.store is None:
                found.close()
            raise ValueError(
                f"the store in {found.place} is for one process: queues between processes need one that they share, "
                "as in store='sqlite:////abs/file.db', or a name= alone"
            )
        return found


class SharedLine:
    """A queue as this process has it."""

    def __init__(self, kind: Kind, where: Address | Spot | Family, options: dict[str, Any]) -> None:
        self.kind, self._where, self._options = kind, where, options
        self.line: Line | None = None  #: once it is used here
        self._lock: Any = threading.RLock()
        self._put_off: list[tuple[object, ...]] = []  #: by calls that interrupted `open` or `settle`
        if isinstance(where, Address):  # now: a handler that comes in the middle of an import finds half a module
            where.load()
        else:
            load_databases()
        _all.add(self)

    @property
    def label(self) -> str:
        """How messages name it."""
        if self.line is not None:
            return self.line.label
        return f"queue {self._where.name!r}" if isinstance(self._where, Address) else "queue"

    def open(self) -> Line:
        """The line, opened now if it isn't yet. Raises StoreError, NoHome."""
        with telling.silence(), self._lock:
            if self.line is None:
                line = self._opened()
                finish_at_exit(line)
                self._catch_up(line)
                self.line = line
                self._catch_up(line)  # what came in between
            return self.line

    def _opened(self) -> Line:
        self.settle()
        where, options = self._where, self.kind.options()
        if isinstance(where, Family):
            return FamilyLine(where.open(), where.reference, owned=True, **options)
        assert isinstance(where, Address)
        return Line(where.open(), where.name, owned=where.store is None, **options)

    def settle(self) -> None:
        """From now on it is known which queue this is. Raises StoreError, NoHome."""
        with telling.silence(), self._lock:
            if isinstance(self._where, Spot):
                self._where = found_family(self._where, **self._options)
        if self._put_off and not self._lock._is_owned():
            self.open()

    def puts_off(self, *items: object) -> bool:
        """Whether the call comes in the middle of this thread's own opening, from a signal handler or a finalizer: then
        its items are put right behind that, whatever the limit. A queue that it opened itself would be another one."""
        if self.line is not None or not self._lock._is_owned():
            return False
        self._put_off.append(items)
        return True

    def _catch_up(self, line: Line) -> None:
        while self._put_off:
            items = self._put_off.pop(0)
            try:
                line.put_within(lambda: 0, items, None)
            except Exception:
                _log.exception("a put that interrupted the opening of %s failed", line.label)
            except BaseException:
                self._put_off.insert(0, items)
                raise

    # To other processes

    def given(self) -> tuple[Any, ...]:
        """What another process needs, for `taken`."""
        self.settle()
        where = self._where
        if isinstance(where, Address):
            if where.store is not None:
                raise TypeError(
                    f"{self.label} is in a store that was given as an object, which can't be given to another process: "
                    "give its URL"
                )
            return self.kind, where, None
        assert isinstance(where, Family)
        started = context.get_spawning_popen() is not None and hasattr(reduction, "DupFd")
        reference = where.reference
        if isinstance(self.line, FamilyLine):
            with suppress(StoreError):
                reference = reference._replace(left=self.line.left())
        return self.kind, reference, reduction.DupFd(where.member.fd) if started else None

    @classmethod
    def taken(cls, kind: Kind, where: Address | Reference, descriptor: Any) -> SharedLine:
        """The same queue, in the process that was given it."""
        if isinstance(where, Address):
            return cls(kind, where, {})
        return cls(kind, Family.joined(where, None if descriptor is None else descriptor.detach()), {})

    def renew(self) -> None:
        """In a forked child: the thread that held the lock may not exist here."""
        self._lock = threading.RLock()
        self._put_off.clear()

    def finish(self) -> None:
        """This process puts and gets no more. Raises StoreError; what it has in hand comes again then."""
        if self.line is not None and not self.line.flags.closed:
            try:
                self.line.finish()
            finally:
                self.line.leave_to_others()

    def drop(self) -> None:
        """The program has let go of the queue. Never in its way."""
        if self.line is not None:
            dropped(self.line)
        where = self._where
        try:
            if isinstance(where, (Family, Spot)):
                where.leave()
        except Exception as error:
            _log.warning("%s could not be left: %s", self.label, error)


def _settle_all() -> None:
    """Before a fork: a child that uses a queue first must mean the same one. What a signal handler raises meanwhile
    Python ignores, and forks."""
    failure: BaseException | None = None
    for shared in living(_all):
        for _ in range(_TRIES):
            try:
                shared.settle()
            except PqadaptersError as error:
                _log.error("a queue is used before the fork, or the child has another one: %s", error)
            except BaseException as error:
                failure = error.with_traceback(None)  # its frames would keep the lock that they have taken
                continue
            break
    if failure is not None:
        raise failure


def _renew_all() -> None:
    for shared in living(_all):
        shared.renew()


if hasattr(os, "register_at_fork"):
    before_fork(_settle_all)
    os.register_at_fork(after_in_child=_renew_all)
