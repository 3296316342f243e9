"""Which consumer holds which claims of one queue handle.

A consumer is the asyncio task, the greenlet or the thread that calls, as an *object*: idents are reused at once, and an
ended thread's items must not pass to the next one that gets its ident. Any thread may call anything here; no lock is
taken, since every step is one atomic operation of a dict. Nothing here survives the handle: claims end with it.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..apart import this_thread
from ..store import Claim


class Own(OrderedDict[int, tuple[Claim, Any]]):
    """What one consumer holds, oldest first: record id -> (claim, item). Whoever pops an id may acknowledge it."""

    asked = 0  #: under ack="auto": the last one that it held when it last asked for more

    def first(self) -> tuple[Claim, Any] | None:
        """The oldest, which stays there."""
        while True:
            try:
                for entry in self.values():
                    return entry
                return None
            except RuntimeError:  # another thread has changed it just now
                continue

    def pop_all(self, who: object) -> list[tuple[object, Claim, Any]]:
        """All that it holds, with its name: to be acknowledged by the caller."""
        taken: list[tuple[object, Claim, Any]] = []
        try:
            for id in list(self):
                entry = self.get(id)
                if entry is not None:
                    taken.append((who, *entry))
                    if self.pop(id, None) is None:  # another thread covered or finished it just now
                        taken.pop()
        except BaseException:  # of a signal handler: each of them is in one place or in both
            for _, claim, item in reversed(taken):
                self[claim.id] = claim, item
                self.move_to_end(claim.id, last=False)
            raise
        return taken


_NOTHING = Own()
Entry = tuple[object, Own, Claim, Any]  #: who holds it, among what, and the item


# Set once the program has imported the frameworks, which it may never do: we don't, and a get() shouldn't search.
_running_loop: Callable[[], object] | None = None
_current_task: Callable[[Any], object]
_current_greenlet: Callable[[], Any] | None = None


class _Mine(threading.local):
    """What is the thread's own."""

    thread: threading.Thread  #: itself, to be found without a search; not set before it was looked for


_mine = _Mine()


def consumer() -> object:
    """Whoever is calling: the asyncio task, the greenlet, or the thread object."""
    modules = sys.modules
    if "asyncio" in modules:
        loop = _running_loop or _find_asyncio()
        if loop and (running := loop()) is not None and (task := _current_task(running)) is not None:
            return task
    if "greenlet" in modules:
        current = _current_greenlet or _find_greenlet()
        if current and (greenlet := current()).parent is not None:  # else it is the thread's own
            return greenlet
    try:
        return _mine.thread
    except AttributeError:
        _mine.thread = thread = this_thread()
        return thread


def _find_asyncio() -> Callable[[], object] | None:
    global _running_loop, _current_task
    asyncio = sys.modules["asyncio"]
    if callable(found := getattr(asyncio, "current_task", None)):  # else it is half imported
        _current_task = found
        _running_loop = getattr(asyncio, "_get_running_loop", None)
    return _running_loop


def _find_greenlet() -> Callable[[], Any] | None:
    global _current_greenlet
    _current_greenlet = getattr(sys.modules["greenlet"], "getcurrent", None)
    return _current_greenlet


def is_gone(holder: object) -> bool:
    """Whether a consumer has ended. The main thread counts as alive until the interpreter exits."""
    if isinstance(holder, threading.Thread):
        return not holder.is_alive()
    dead = getattr(holder, "dead", None)  # a greenlet has this attribute, an asyncio task the method `done`
    return bool(holder.done() if dead is None else dead)  # type: ignore[attr-defined]


class Held:
    """The outstanding claims by consumer."""

    def __init__(self) -> None:
        self.by: dict[object, Own] = {}
        self._sweep_at = 64
        self.asker: object = None  #: who asks, where another one does it for him; for the time of one call
        self.first: Callable[[], object] | None = None  #: called once, when somebody is about to hold something

    def own(self) -> Own:
        """What the caller holds, to be read and changed in place."""
        who = consumer()
        own = self.by.get(who)
        return self.admit(who) if own is None else own

    def admit(self, who: object) -> Own:
        if self.first is not None:
            first, self.first = self.first, None
            first()
        if len(self.by) >= self._sweep_at:
            self._sweep()
        return self.by.setdefault(who, Own())

    def _sweep(self) -> None:
        """Forget ended threads that hold nothing, so that a thread for each request doesn't grow the table."""
        for who, own in list(self.by.items()):
            if not own and is_gone(who):
                self.by.pop(who, None)
        self._sweep_at = 2 * len(self.by) + 64

    def __len__(self) -> int:
        return sum(len(own) for own in list(self.by.values()))

    def oldest(self) -> Iterator[Entry]:
        """The caller's oldest, until it is popped; then the next one."""
        own = self.by.get(me := consumer())
        while own and (entry := own.first()) is not None:
            yield me, own, *entry

    def matching(self, item: object) -> Iterator[Entry]:
        """What is exactly this item: the very object before an equal one, the caller's before others'."""
        me = consumer()
        mine = [(me, self.by[me])] if me in self.by else []
        others = [each for each in list(self.by.items()) if each[0] is not me]
        for holders in (mine, others):
            for same in (_identical, _equal):
                for entry in _entries(holders):
                    if same(entry[3], item):
                        yield entry

    def snapshot(self, *, but: frozenset[object] = frozenset()) -> list[tuple[object, int]]:
        """Consumer and record id of all that is outstanding now, except what these consumers hold."""
        return [(who, id) for who, own in list(self.by.items()) if who not in but for id in list(own)]

    def passed(self, consumers: Iterable[object] | None = None) -> list[tuple[object, int]]:
        """What these consumers (None: all) held already when they last asked for more, under ack="auto"."""
        found: list[tuple[object, int]] = []
        for who in list(self.by) if consumers is None else consumers:
            own = self.by.get(who, _NOTHING)
            ids = list(own)
            if own.asked in ids:  # else it was done or given back since: nothing is certain, and they come again
                found += [(who, id) for id in ids[: ids.index(own.asked) + 1]]
        return found

    def pop(self, outstanding: list[tuple[object, int]]) -> list[tuple[object, Claim, Any]]:
        """Take those of a snapshot out that nobody else took since."""
        taken: list[tuple[object, Claim, Any]] = []
        try:
            for who, id in outstanding:
                own = self.by.get(who, _NOTHING)
                entry = own.get(id)
                if entry is not None:
                    taken.append((who, *entry))
                    if own.pop(id, None) is None:
                        taken.pop()
        except BaseException:  # of a signal handler, as in Own.pop_all
            self.restore_all(taken)
            raise
        return taken

    def restore(self, who: object, claim: Claim, item: object) -> None:
        """Put a claim back that could not be acknowledged, at its old place: first."""
        own = self.admit(who)
        own[claim.id] = claim, item
        own.move_to_end(claim.id, last=False)

    def restore_all(self, entries: list[tuple[object, Claim, Any]]) -> None:
        """`restore` all of them, in their order."""
        for who, claim, item in reversed(entries):
            self.restore(who, claim, item)

    def still_working(self) -> frozenset[object]:
        """The consumers that live, but for the caller and the main thread: that one lives as long as the program."""
        spared = (consumer(), threading.main_thread())
        return frozenset(who for who in list(self.by) if who not in spared and not is_gone(who))


def _entries(holders: list[tuple[object, Own]]) -> Iterator[Entry]:
    for who, own in holders:
        for claim, value in list(own.values()):
            yield who, own, claim, value


def _identical(a: object, b: object) -> bool:
    return a is b


def _equal(a: object, b: object) -> bool:
    try:
        return bool(a == b)
    except Exception:  # an array's == has no truth value
        return False
