"""Claims whose callers an interrupt has taken away: they are given back, once.

A record that was given back may be claimed again with the same number, so that to give it back twice would take it from
who has it by then. Any thread may call anything.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ....errors import StoreError
from ..work import OVER, Work

if TYPE_CHECKING:
    from ....store import Claim
    from ..core import Core


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
            try:
                orphan = self.popleft()
            except IndexError:  # another thread has it
                return
            with suppress(StoreError):
                self._give_back(orphan, core)

    def _give_back(self, orphan: Orphan, core: Core) -> None:
        claiming, giving = orphan.claiming, orphan.giving
        is_given = giving is not None and giving.done and giving.error is None
        if core.writer.inside and not (claiming if giving is None else giving).done:
            self.append(orphan)  # somebody may be about it just now
        elif claiming.done and claiming.result and claiming.result[0] and not is_given:
            claims = claiming.result[0]
            orphan.giving = core.giving_back(claims, orphan.handle)
            try:
                core.writer.do(orphan.giving)
            except BaseException as error:
                if isinstance(error, StoreError):  # of a lock, a full disk: nothing was given back
                    orphan.giving = None
                self.append(orphan)
                raise
            core.ring(claims)
