"""The cores of one kind of store that this process has open: one for each place, for all handles on it.

A core is what those handles share. It is known for as long as somebody uses it. Any thread may call anything.
"""

from __future__ import annotations

import threading
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from ..apart import Renewed
from ..ending import at_end, call_each
from ..living import living, take_out


class Core(Protocol):
    """An open store."""

    def join(self, handle: Any) -> bool:
        """One more handle; False where the last one has just closed the store."""

    def end(self) -> object:
        """The interpreter exits."""


C = TypeVar("C", bound=Core)


class Cores(Generic[C]):
    """Cores by what tells their places apart."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[Any, C] = WeakValueDictionary()
        self._opening = Renewed(lambda: threading.RLock())
        at_end(self._end_all, last=True)

    def opening(self) -> threading.RLock:
        """The lock that is held while one is looked for, and opened where there is none."""
        return self._opening()

    def joined(self, place: object, handle: object) -> C | None:
        """The one that is open there, with one more handle; None where there is none, or it is just being closed."""
        core = self._known.get(place)
        return core if core is not None and core.join(handle) else None

    def add(self, core: C, place: object, handle: object) -> C:
        """This one was opened there, for this handle."""
        self._known[place] = core
        core.join(handle)
        return core

    def forget(self, core: C) -> None:
        """A closed core serves no new handles."""
        take_out(self._known, core)

    def living(self) -> list[C]:
        return living(self._known)

    def renew(self) -> list[C]:
        """In a forked child, where nobody is opening anything: what the parent had open."""
        self._opening.renew()
        return self.living()

    def clear(self) -> None:
        """All of them are closed."""
        self._known.clear()

    def _end_all(self) -> None:
        call_each(core.end for core in self.living())
