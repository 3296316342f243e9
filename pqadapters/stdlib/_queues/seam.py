"""The seam of `queue.Queue`: subclasses that override `_put`, `_get`, `_qsize`, as the standard library invites to.

Their hooks are called as there: with `mutex` held, and with items. So are those that a program gives to one queue.
Our own `_put` and `_get`, which they may call, or the live view `self.queue`, do the durable work; so here, and only
here, `mutex` is held across calls of the store. A hook that raises leaves the queue as it was. A subclass with a
container of its own is served from memory, exactly as by the standard library: the store isn't used, nothing survives,
and a NotDurableWarning says so. So is one whose constructor never calls ours. A queue that a program has given other
locks goes the way of those with hooks, which holds them as the standard library's does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, Full
from types import MethodType
from typing import TYPE_CHECKING, Any

from ...clock import SYSTEM
from ...store import Depth
from ...telling import silence
from .._lines.view import NothingReady

if TYPE_CHECKING:
    from .._lines.line import Line
    from .beyond import Beyond


class Seam:
    """Which hooks a subclass overrides, and what follows from it."""

    def __init__(self, overridden: set[str]) -> None:
        self._by_class = frozenset(overridden)
        self.own: dict[str, Callable[..., Any]] = {}  #: hooks that were replaced in this queue alone
        self.overridden = overridden
        self.based = False  #: our own _init ran: the subclass builds on our container
        self.settled = False  #: construction is over
        self.hooked = bool(overridden - {"_init"})
        self.plain = False  #: no hooks, and records in order of arrival: the short way
        self.volatile = False  #: a container of its own: the store isn't used
        self.unfinished = 0  #: the unfinished tasks of a volatile one
        self.relocked = False  #: the program has put locks of its own in the place of ours
        self.stopped: Any = False  #: what a program has set `is_shutdown` to, before that meant something
        self._in_order = False
        self.read = threading.local()  #: how many a thread has read last, with `mutex` held

    def settle(self, *, in_order: bool) -> None:
        """Construction is over. `in_order`: records are taken in order of arrival."""
        self.settled, self._in_order = True, in_order
        self.plain = in_order and not self.hooked

    def replace(self, hook: str, function: Callable[..., Any] | None) -> None:
        """Replace a hook in this queue alone; None: no more. From the next call on."""
        if function is None:
            del self.own[hook]
        else:
            self.own[hook] = function
        self.overridden = {*self._by_class, *self.own}
        self._choose()

    def relock(self) -> None:
        """The program has replaced a lock or a condition: only with them held it is as the program wants it."""
        self.relocked = True
        self._choose()

    def _choose(self) -> None:
        self.hooked = self.volatile or self.relocked or bool(self.overridden - {"_init"})
        self.plain = self._in_order and not self.hooked

    def replaced(self) -> bool:
        """Whether nothing of ours is left."""
        return self.overridden == set(HOOKS) and not self.based


HOOKS = ("_init", "_qsize", "_put", "_get")
LOCKS = frozenset({"mutex", "not_empty", "not_full", "all_tasks_done"})
_making = threading.RLock()


class Unmade:
    """In the place of the line and the seam until our constructor runs. A subclass that has written out the standard
    library's never calls it: its queue is made when somebody asks for more than what is here."""

    settled = False
    volatile = True  #: so what it sets is kept as the standard library's keeps it
    unfinished = 0
    own: dict[str, Callable[..., Any]] = {}  # noqa: RUF012  # nobody changes it

    def __init__(self, q: Beyond[Any], name: str) -> None:
        self._q = q
        self._name = name

    def relock(self) -> None:
        """The locks are just being made."""

    def __getattr__(self, name: str) -> Any:
        q = self._q
        with _making:
            if isinstance(q._seam, Unmade):
                q._make_late()
        return getattr(getattr(q, self._name), name)


class Hook:
    """One of our own hooks. Programs replace it in one queue, too: `q._put = mine`, maybe before the constructor has
    run, and later `q._put = before` or `del q._put`."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = function.__name__

    def __get__(self, q: Any, kind: type | None = None) -> Any:
        if q is None:
            return self._function
        own = q._seam.own.get(self._name) if q._seam.own else None
        return MethodType(self._function, q) if own is None else own

    def __set__(self, q: Any, function: Callable[..., Any]) -> None:
        if isinstance(q._seam, Unmade):
            q._early_hooks = {**q._early_hooks, self._name: function}
        elif getattr(function, "__func__", None) is not self._function:
            self._replace(q, function)
        elif self._name in q._seam.own:
            self.__delete__(q)

    def __delete__(self, q: Any) -> None:
        if self._name not in q._seam.own:
            raise AttributeError(self._name)
        self._replace(q, None)

    def _replace(self, q: Any, function: Callable[..., Any] | None) -> None:
        q._seam.replace(self._name, function)
        q._line.flags.hooked = q._seam.hooked
        q._line.store.wake(q._line.name)  # who waits looks again, by way of the hooks


class Noticed(threading.Condition):
    """A condition that knows how many threads wait on it, so that a change nobody waits for costs one comparison."""

    def __init__(self, lock: threading.Lock, line: Line) -> None:
        super().__init__(lock)
        self.waiting = 0  #: changed with the lock held
        self._line = line

    def notify(self, n: int = 1) -> None:
        """As programs call it: whoever waits in the store looks again, too (at another `maxsize`, say)."""
        self.tell(n)
        self._line.store.wake(self._line.name)

    def tell(self, n: int) -> None:
        """Wake those who wait here."""
        super().notify(n)

    def forget(self) -> None:
        """In a forked child: nobody waits."""
        self.waiting = 0
        vars(self)["_waiters"].clear()

    def wait(self, timeout: float | None = None) -> bool:
        self.waiting += 1
        try:
            return super().wait(timeout)
        finally:
            self.waiting -= 1


def tell(condition: threading.Condition, n: int = 1) -> None:
    """Wake those who wait there, with its lock held; it may be the program's own."""
    if isinstance(condition, Noticed):
        condition.tell(n)
    else:
        condition.notify(n)


def is_held(lock: Any) -> bool:
    """Whether a lock, maybe the program's own, is held: an RLock, which can't say it before 3.14, by this thread."""
    ask: Callable[[], object] = getattr(lock, "locked", None) or lock._is_owned
    return bool(ask())


def put_through(q: Beyond[Any], item: Any, block: bool, timeout: float | None) -> None:
    """`put` by way of the subclass's hooks."""
    with silence(), q.not_full:
        _await_room(q, block, timeout)
        _count(q, 1)  # whatever the hook makes of the item: it counts as one task, as ever
        try:
            q._put(item)
        except BaseException:
            _count(q, -1)
            _wake_joiners(q)
            raise
        tell(q.not_empty)


def _count(q: Beyond[Any], tasks: int) -> None:
    if q._seam.volatile:
        q._seam.unfinished += tasks
    else:
        q._line.counts.add(adjustment=tasks)


def _wake_joiners(q: Beyond[Any]) -> None:
    if not q._seam.volatile:
        q._line.wake_joiners()


def _await_room(q: Beyond[Any], block: bool, timeout: float | None) -> None:
    line = q._line
    if line.stopped():
        raise line.ending()
    if q.maxsize > 0:
        deadline = _deadline(block, timeout)
        while line.is_full(q.maxsize, q._qsize()):
            if not _wait(q, q.not_full, lambda depth: not 0 < line.bound(q.maxsize) <= depth.ready, deadline):
                raise Full
            if line.stopped():
                raise line.ending()


def get_through(q: Beyond[Any], block: bool, timeout: float | None) -> Any:
    """`get` by way of the subclass's hooks."""
    with silence(), q.not_empty:
        if q._line.stopped() and not q._qsize():
            raise q._line.ending()
        deadline = _deadline(block, timeout)
        while True:
            _await_item(q, deadline)
            try:
                item = _get_or_give_back(q)
            except NothingReady:
                if "_qsize" in q._seam.overridden:
                    raise
                continue  # another handle was faster
            tell(q.not_full)
            return item


def _await_item(q: Beyond[Any], deadline: float | None) -> None:
    while not q._qsize():
        if not _wait(q, q.not_empty, lambda depth: depth.ready > 0, deadline):
            raise Empty
        if q._line.stopped() and not q._qsize():
            raise q._line.ending()


def _get_or_give_back(q: Beyond[Any]) -> Any:
    line = q._line
    before = set(line.held.own())
    try:
        return q._get()
    except BaseException:
        mine = line.held.own()
        line.release([mine.pop(id)[0] for id in list(mine) if id not in before])
        raise


def _deadline(block: bool, timeout: float | None) -> float | None:
    if not block:
        return 0.0
    if timeout is None:
        return None
    if timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return SYSTEM.monotonic() + timeout


def _wait(q: Beyond[Any], condition: Noticed, until: Callable[[Depth], bool], deadline: float | None) -> bool:
    """Wait for a change with the condition's lock let go; False after the deadline (monotonic seconds)."""
    line, left, hooks = q._line, None if deadline is None else deadline - SYSTEM.monotonic(), q._seam.overridden
    if left is not None and left <= 0:
        return False
    if q._seam.volatile or "_qsize" in q._seam.overridden:  # only the hook knows how much is in: wait to be notified
        condition.wait(left)
        return True
    lock: Any = condition  # what it does itself in wait() is in no stub; the program's lock may be held more than once
    held = lock._release_save()
    try:
        line.store.wait(line.name, lambda d: line.stopped() or q._seam.overridden is not hooks or until(d), left)
    finally:
        lock._acquire_restore(held)
    return True
