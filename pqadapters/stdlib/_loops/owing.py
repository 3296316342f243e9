"""What the tasks of an event loop owe the store: ends of claims, for which the loop comes again after a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ... import telling
from ...clock import SYSTEM
from ...errors import FOR_GOOD, StoreError
from .._lines.owed import AWAY

_log = telling.logger("pqadapters.queue")
ASIDE, LONG_ASIDE = 0.002, 0.25  #: seconds until it is tried again, at first and later
_SHARE = 20  #: times as long as a try has taken, at least


class Reminder:
    """Of one queue. `settle` is called in the loop until it raises nothing. What is still owed when the loop is closed
    is settled by the next one that owes something, or with the end of the queue."""

    def __init__(self, settle: Callable[[], object]) -> None:
        self._settle = settle
        self._coming: asyncio.AbstractEventLoop | None = None

    def later(self) -> bool:
        """Something is owed. False where no loop runs that could come again."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._coming is not loop:
            self._come_again(loop, ASIDE, None)
        return True

    def _come_again(self, loop: asyncio.AbstractEventLoop, pause: float, told: str | None) -> None:
        loop.call_later(pause, self._come, loop, pause, told)
        self._coming = loop

    def _come(self, loop: asyncio.AbstractEventLoop, pause: float, told: str | None) -> None:
        self._coming, begun = None, SYSTEM.monotonic()
        try:
            self._settle()
        except FOR_GOOD:  # they come again, as they aren't done
            return
        except StoreError as error:
            if not isinstance(error, AWAY) and told != str(error):
                told = str(error)
                _log.warning("what was done can't be acknowledged yet: %s", told)
            waited = SYSTEM.monotonic() - begun  # as for a server that is silent: the loop has stood still for that
            self._come_again(loop, max(min(2 * pause, LONG_ASIDE), _SHARE * waited), told)
        except BaseException:  # of a signal handler
            self._come_again(loop, pause, told)
            raise
