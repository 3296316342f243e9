"""Claims whose callers an interrupt has taken away: they are given back, once.

A record that was given back may be claimed again with the same number, so that to give it back twice would take it from
who has it by then. Any thread may call anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ....errors import StoreError
from ....interrupts import keep
from ..work import OVER, Work

if TYPE_CHECKING:
    from ....store import Claim
    from ..core import Core

_popleft: Callable[[deque[Orphan]], Orphan] = deque.popleft


def claimed(claims: list[Claim]) -> Work:
    """What has claimed them, for an Orphan."""
    work = Work(lambda _: None, synced=False)
    work.result, work.outcome = (claims, False), OVER
    return work


class Orphan:
    """What was claimed for a caller that isn't there any more."""

    def __init__(self, claiming: Work, handle: int) -> None:
        self.claiming, self.handle = claiming, handle
        self.giving: Work | None = None  #: gives it back; whose caller was interrupted as well


class Orphans(deque[Orphan]):
    """Those of one open database."""

    def give_back(self, core: Core) -> None:
        """Make ready what there is. Who is interrupted at it leaves it to who comes next."""
        for _ in range(len(self)):
            taken: list[Orphan] = []
            try:
                with suppress(IndexError):  # another thread has it
                    keep(taken, _popleft, self)
                with suppress(StoreError):  # of a lock, a full disk: it is tried again
                    if taken and self._is_back(taken[0], core):
                        taken.clear()
            finally:
                self.extend(taken)

    def _is_back(self, orphan: Orphan, core: Core) -> bool:
        """Whether there is nothing to be given back any more."""
        claiming, giving = orphan.claiming, orphan.giving
        if not (claiming if giving is None else giving).done and core.writer.is_led():
            return False  # somebody may be about it just now
        if claiming.done and claiming.result and claiming.result[0]:
            claims = claiming.result[0]
            if giving is None or not (giving.done and giving.result):
                orphan.giving = core.giving_back(claims, orphan.handle)
                core.writer.do(orphan.giving)
            core.ring(claims)
        return True
