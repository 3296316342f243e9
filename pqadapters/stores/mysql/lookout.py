"""Hearing of other processes: while somebody waits here, a thread looks whether they have committed, and whether any
has died that had records claimed.

A look is one short question: how far each process has come with its transactions. It comes every few milliseconds when
that has just been of use to somebody here, and the later the longer it hasn't: a fortieth of that time, up to a quarter
of a second. What others do on other queues is of no use. The thread ends when nobody waits any more, and keeps no store
alive.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from ...clock import SYSTEM
from ...interrupts import Flag
from .._lookout import LookoutBase

if TYPE_CHECKING:
    from .core import Core

EAGER, CALM = 0.005, 0.25  #: seconds between two looks, at least and at most
_PART = 40  #: of the time since a look was of use
_PER_BURIAL = 1.0  #: seconds between two looks for the dead
_LINGER = 3.0  #: seconds that it stays when nobody waits: long enough to find out that a process has died


class Lookout(LookoutBase["Core"]):
    """The thread, if there is one."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, _look, _LINGER)
        self.looks = 0  #: questions that were asked
        self.told = 0  #: how often everybody here was woken for it
        self.heard = 0.0  #: when that was last of use, in monotonic seconds

    def was_of_use(self, told: int) -> None:
        """Somebody has found what he waits for: by a look, if it has told since."""
        if told != self.told:
            self.heard = SYSTEM.monotonic()


def pause_after(quiet: float) -> float:
    """Seconds until the next look, `quiet` seconds after one was of use."""
    return min(CALM, max(EAGER, quiet / _PART))


def _look(ref: weakref.ref[Lookout], ended: Flag) -> None:
    known: dict[int, int] | None = None
    heard = begun = SYSTEM.monotonic()
    buried = 0.0
    while not ended.wait(pause_after(SYSTEM.monotonic() - heard)):
        lookout = ref()
        core = lookout.core_to_serve() if lookout is not None else None
        if lookout is None or core is None:
            return
        now = SYSTEM.monotonic()
        lookout.looks += 1
        with suppress(Exception):  # those who call are told; a signal handler's, too, as in keeper.py
            if now - buried > _PER_BURIAL:
                buried = now
                found = core.look_for_dead()
            else:
                found = core.seqs()
            if found != known:  # and at the first look, since they may have committed right before that
                lookout.told += 1
                core.bells.ring_one_each()
            known = found
        heard = max(begun, lookout.heard)
        del lookout, core  # between looks the store may go
