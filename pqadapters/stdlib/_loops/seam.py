"""The seam of `asyncio.Queue`: subclasses that override `_put` and `_get`, and what programs look at.

Their hooks are called as there, with items; our own `_put` and `_get`, which they may call, or the live view
`self._queue`, do the durable work. A subclass with a container of its own is served from memory, exactly as by asyncio:
the store isn't used, nothing survives, and a NotDurableWarning says so.
"""

from __future__ import annotations

import asyncio as stdlib
from typing import TYPE_CHECKING, Any, TypeVar

from ... import telling
from ...errors import NotDurableWarning, StoreError
from .._lines.view import View
from .beyond import ABSENT, LoopBeyond

T = TypeVar("T")


class LoopSeam(LoopBeyond, stdlib.Queue[T]):
    """What is underneath the methods that everybody calls."""

    _container: Any = ABSENT  #: of a subclass that keeps its items itself
    _in_memory = False  #: there is one; said apart, as each call asks
    _ready_made = False

    if TYPE_CHECKING:

        def _take(self) -> T: ...

        def _overrides(self, hook: str) -> bool: ...

    def _keep_in_memory(self) -> None:
        self._line.close()
        self._finished = stdlib.Event()
        self._finished.set()
        telling.warn(
            f"{type(self).__qualname__} keeps its items in a container of its own, so they are in memory alone and not "
            f"in {self._line.label}. Let _put and _get call super()",
            NotDurableWarning,
        )

    @property
    def _queue(self) -> Any:
        return View(self._line, self).shown() if self._container is ABSENT else self._container

    @_queue.setter
    def _queue(self, container: Any) -> None:
        later = self._ready_made and not self._in_memory
        if later and not (self._overrides("_put") or self._overrides("_get")):
            return View(self._line, self).replace(container)
        self._container, self._in_memory = container, True
        if later:
            self._keep_in_memory()

    def _init(self, maxsize: int) -> None:
        if self._ready_made and not self._in_memory:
            View(self._line, self).clear()  # as programs do that call it once more

    def _put(self, item: T) -> None:
        if self._in_memory:
            super()._put(item)
        else:
            View(self._line, self).append(item)  # it's put_nowait() that counts a task, or who calls this

    def _get(self) -> T:
        return super()._get() if self._in_memory else self._take()

    @property
    def _unfinished_tasks(self) -> int:
        return self._unfinished_in_memory if self._in_memory else self._line.unfinished()

    @_unfinished_tasks.setter
    def _unfinished_tasks(self, value: int) -> None:
        if not self._ready_made or self._in_memory:
            self._unfinished_in_memory = value
        else:
            self._line.counts.add(adjustment=value - self._line.unfinished())
            self._tell_joiners()

    def _format(self) -> str:
        try:
            return super()._format()
        except StoreError:  # it was closed, as a rule, and whoever prints it wants to know which one it was
            return f"maxsize={self._maxsize!r} {self._line.label}"

    @property
    def _is_shutdown(self) -> bool:
        return self._line.flags.shut

    @_is_shutdown.setter
    def _is_shutdown(self, value: bool) -> None:
        self._line.flags.shut = value
