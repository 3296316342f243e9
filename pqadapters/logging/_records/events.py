"""structlog's events that were logged with `exc_info=True`, which means the exception of that moment.

The thread that formats them later has none. structlog's own formatter works on a copy of the event, and finds the
exception in there; to all others, who may copy it as well, the event says what it said. Any thread may use all this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from copy import deepcopy
from typing import Any


class Current(tuple[Any, ...]):
    """The three of `sys.exc_info()`, which print as what stood for them."""

    said: Any

    @classmethod
    def of(cls, info: Iterable[Any], said: Any) -> Current:
        made = cls(info)
        made.said = said
        return made

    def __repr__(self) -> str:
        return repr(self.said)


class Event(dict[Any, Any]):
    """An event with such an `exc_info`."""

    def __init__(self, event: dict[Any, Any]) -> None:
        super().__init__(event)
        self.current: Current = event["exc_info"]
        self["exc_info"] = self.current.said

    def exception(self) -> Any:
        """What the `exc_info` is, unless somebody has changed it since."""
        said = self.get("exc_info")
        return self.current if said is self.current.said else said

    def copy(self) -> dict[Any, Any]:
        found = dict(self)
        if "exc_info" in found and str(sys._getframe(1).f_globals.get("__name__")).partition(".")[0] == "structlog":
            found["exc_info"] = self.exception()
        return found

    def __copy__(self) -> Event:
        return self._with(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Event:
        """Of what it says: a traceback can't be copied."""
        return self._with(deepcopy(dict(self), memo))

    def _with(self, items: dict[Any, Any]) -> Event:
        made = Event({"exc_info": self.current})
        del made["exc_info"]
        made.update(items)
        return made

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def as_logged(msg: Any) -> Any:
    """The message of a record that was read."""
    if type(msg) is dict and type(msg.get("exc_info")) is Current:
        return Event(msg)
    return msg
