"""Which consumer holds which claims of one queue handle.

A consumer is the asyncio task, the greenlet or the thread that calls, as an *object*: idents are reused at once, and an
ended thread's items must not pass to the next one that gets its ident. What stands for it here keeps it no longer than
it lives: a thread or the frames of a task may have the queue in turn, which would live for ever. Any thread may call
anything here; no lock is taken, since every step is one atomic operation of a dict. Nothing here survives the handle:
claims end with it.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from typing import Any

from ...apart import this_thread
from ...store import Claim
from .policy import weight

# Set once the program has imported the frameworks, which it may never do: we don't, and a get() shouldn't search.
_running_loop: Callable[[], object] | None = None
_current_task: Callable[[Any], object]
_current_greenlet: Callable[[], Any] | None = None


class Consumer:
    """Whoever takes items, and is no longer known than it lives."""

    __slots__ = ("__weakref__", "_cut", "_who")

    def __init__(self, who: Any, ended: Callable[[Any], object] | None = None) -> None:
        self._who = weakref.ref(who, ended)
        self._cut = False
        if _is_task(who):
            who.add_done_callback(self._note_end)

    def _note_end(self, task: Any) -> None:
        self._cut = _is_cut(task)  # which nobody can ask any more when it is gone

    @property
    def who(self) -> Any:
        """The task, greenlet or thread object; None where there is none any more."""
        return self._who()

    @property
    def was_cut(self) -> bool:
        """Whether it is a task that was cancelled or interrupted, in the middle of what it had in hand."""
        who = self.who
        return self._cut or (_is_task(who) and _is_cut(who))

    @property
    def is_gone(self) -> bool:
        """Whether it has ended. The main thread counts as alive until the interpreter exits."""
        who = self.who
        if who is None:
            return True
        if _is_thread(who):
            return not who.is_alive()
        dead = getattr(who, "dead", None)  # a greenlet has this attribute, an asyncio task the method `done`
        return bool(who.done() if dead is None else dead)


def _is_task(who: Any) -> bool:
    """Whether it is an asyncio task. Threads and greenlets of a program's own may have methods that are named so."""
    return hasattr(who, "add_done_callback") and not (_is_thread(who) or hasattr(who, "dead"))


def _is_thread(who: Any) -> bool:
    """By what it has: gevent puts another class in the place of `threading.Thread`, which the main one isn't of."""
    return hasattr(who, "is_alive")


def _is_cut(task: Any) -> bool:
    error = getattr(task, "_exception", None)  # exception() would take it for seen, and nobody be told of it
    return task.cancelled() or isinstance(error, (KeyboardInterrupt, SystemExit))


class _Mine(threading.local):
    """What is the thread's own."""

    consumer: Consumer  #: itself, to be found without a search; not set before it was looked for


_mine = _Mine()
_others: dict[int, Consumer] = {}  #: tasks and greenlets, by their `id`, while they live


def consumer() -> Consumer:
    """Whoever is calling: the asyncio task, the greenlet, or the thread object."""
    modules = sys.modules
    if "asyncio" in modules:
        loop = _running_loop or _find_asyncio()
        if loop and (running := loop()) is not None and (task := _current_task(running)) is not None:
            return known(task)
    if "greenlet" in modules:
        current = _current_greenlet or _find_greenlet()
        if current and (greenlet := current()).parent is not None:  # else it is the thread's own
            return known(greenlet)
    try:
        return _mine.consumer
    except AttributeError:
        _mine.consumer = found = Consumer(this_thread())
        return found


def known(who: object) -> Consumer:
    """The consumer that a task or a greenlet is."""
    found = _others.get(id(who))
    return found if found is not None and found.who is who else _met(who, _others)


def _met(who: object, others: dict[int, Consumer]) -> Consumer:
    key = id(who)

    def forget(ended: object) -> None:
        if (last := others.get(key)) is not None and last.who is None:
            others.pop(key, None)

    found = others[key] = Consumer(who, forget)
    return found


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


_FEW = 64  #: items in hand: so many are looked at before the one that is meant is looked up


class Own(OrderedDict[int, tuple[Claim, Any]]):
    """What one consumer holds, oldest first: record id -> (claim, item). Whoever pops an id may acknowledge it."""

    __slots__ = ("asked", "seen")  # without a `__dict__` in use its methods are found faster
    asked: int  #: under ack="auto": the last one that it held when it last asked for more
    seen: tuple[dict[int, int], set[int]]  #: by the `id` of an item the record's, and those of all that were looked at

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.seen = {}, set()

    def first(self) -> tuple[Claim, Any] | None:
        """The oldest, which stays there."""
        while True:
            try:
                for entry in self.values():
                    return entry
                return None
            except RuntimeError:  # another thread has changed it just now
                continue

    def newest(self) -> int:
        """The id of the one that it got last; 0 where it holds none."""
        while True:
            try:
                return next(reversed(self), 0)
            except RuntimeError:  # a signal handler has changed it, or a finalizer, or another thread
                continue

    def _oldest_few(self) -> list[tuple[Claim, Any]]:
        while True:
            try:
                return list(islice(self.values(), _FEW))
            except RuntimeError:  # as above
                continue

    def some(self, item: object) -> Iterator[tuple[Claim, Any]]:
        """The oldest few, and then, without a look at all of them, that very object, should it be here."""
        yield from self._oldest_few()
        if len(self) > _FEW and (found := self._seen(item)) is not None:
            yield found

    def _seen(self, item: object) -> tuple[Claim, Any] | None:
        numbers, seen = self.seen
        if len(seen) > 2 * len(self) + _FEW:  # most of them are done
            numbers, seen = self.seen = {}, set()
        try:
            new = list(takewhile(lambda number: number not in seen, reversed(self)))
        except RuntimeError:  # another thread has changed it just now: all of them will be looked at
            return None
        for number in new:
            if (entry := self.get(number)) is not None:
                numbers[id(entry[1])] = number
        seen.update(new)
        found = self.get(numbers.get(id(item), 0))
        return found if found is not None and found[1] is item else None

    def pop_all(self, who: Consumer) -> list[tuple[Consumer, Claim, Any]]:
        """All that it holds, with its name: to be acknowledged by the caller."""
        taken: list[tuple[Consumer, Claim, Any]] = []
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
Entry = tuple[Consumer, Own, Claim, Any]  #: who holds it, among what, and the item


class Held:
    """The outstanding claims by consumer."""

    def __init__(self) -> None:
        self.by: dict[Consumer, Own] = {}
        self._sweep_at = 64
        self.crowded = False  #: consumers have ended that hold something
        self.asker: Consumer | None = None  #: who asks, where another one does it for him; for the time of one call
        self.first: Callable[[], object] | None = None  #: called once, when somebody is about to hold something

    def own(self) -> Own:
        """What the caller holds, to be read and changed in place."""
        who = consumer()
        own = self.by.get(who)
        return self.admit(who) if own is None else own

    def askers(self) -> Own:
        """What the one holds for whom the caller asks; else as `own`."""
        who = self.asker or consumer()
        own = self.by.get(who)
        return self.admit(who) if own is None else own

    def admit(self, who: Consumer) -> Own:
        if self.first is not None:
            first, self.first = self.first, None
            first()
        if len(self.by) >= self._sweep_at:
            self.sweep()
        return self.by.setdefault(who, Own())

    def sweep(self) -> None:
        """Forget ended consumers that hold nothing, so that a thread for each request doesn't grow the table."""
        for who, own in list(self.by.items()):
            if not own and who.is_gone:
                self.by.pop(who, None)
            elif own and who.is_gone and not who.was_cut:
                self.crowded = True
        self._sweep_at = 2 * len(self.by) + 64

    def left_behind(self) -> list[tuple[Consumer, int]]:
        """What ended consumers hold, who will never ask for more; not what they were cut off from."""
        self.crowded = False
        ended = [(who, own) for who, own in list(self.by.items()) if who.is_gone and not who.was_cut]
        return [(who, id) for who, own in ended for id in list(own)]

    def __len__(self) -> int:
        return sum(len(own) for own in list(self.by.values()))

    def weight(self) -> int:
        """How many fetches all of it counts for."""
        return sum(weight(claim) for own in list(self.by.values()) for claim, _ in list(own.values()))

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
                for entry in _entries(holders, item):
                    if same(entry[3], item):
                        yield entry

    def snapshot(self, *, but: frozenset[Consumer] = frozenset()) -> list[tuple[Consumer, int]]:
        """Consumer and record id of all that is outstanding now, except what these consumers hold."""
        return [(who, id) for who, own in list(self.by.items()) if who not in but for id in list(own)]

    def passed(self, consumers: Iterable[Consumer] | None = None) -> list[tuple[Consumer, int]]:
        """What these consumers (None: all) held already when they last asked for more, under ack="auto"."""
        found: list[tuple[Consumer, int]] = []
        for who in list(self.by) if consumers is None else consumers:
            own = self.by.get(who, _NOTHING)
            ids = list(own)
            if own.asked in ids:  # else it was done or given back since: nothing is certain, and they come again
                found += [(who, id) for id in ids[: ids.index(own.asked) + 1]]
        return found

    def pop(self, outstanding: list[tuple[Consumer, int]]) -> list[tuple[Consumer, Claim, Any]]:
        """Take those of a snapshot out that nobody else took since."""
        taken: list[tuple[Consumer, Claim, Any]] = []
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

    def restore(self, who: Consumer, claim: Claim, item: object) -> None:
        """Put a claim back that could not be acknowledged, at its old place: first."""
        own = self.admit(who)
        own[claim.id] = claim, item
        own.move_to_end(claim.id, last=False)

    def restore_all(self, entries: list[tuple[Consumer, Claim, Any]]) -> None:
        """`restore` all of them, in their order."""
        for who, claim, item in reversed(entries):
            self.restore(who, claim, item)

    def cut_off(self) -> frozenset[Consumer]:
        """The tasks that were cancelled or interrupted: they haven't done what they had in hand."""
        return frozenset(who for who in list(self.by) if who.was_cut)

    def still_working(self) -> frozenset[Consumer]:
        """The consumers that live, but for the caller and the main thread: that one lives as long as the program."""
        me, main = consumer(), threading.main_thread()
        return frozenset(who for who in list(self.by) if who is not me and who.who is not main and not who.is_gone)


def _entries(holders: list[tuple[Consumer, Own]], item: object) -> Iterator[Entry]:
    """All of them, some twice: the more likely ones before a look at thousands."""
    for who, own in holders:
        for claim, value in own.some(item):
            yield who, own, claim, value
    for who, own in holders:
        for claim, value in list(own.values()) if len(own) > _FEW else ():
            yield who, own, claim, value


def _identical(a: object, b: object) -> bool:
    return a is b


def _equal(a: object, b: object) -> bool:
    try:
        return bool(a == b)
    except Exception:  # an array's == has no truth value
        return False
