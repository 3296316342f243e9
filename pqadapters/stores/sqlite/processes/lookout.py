"""Hearing of other processes: while somebody waits here, a thread looks every few milliseconds whether they committed.

SQLite counts commits (PRAGMA data_version), so that a look costs some microseconds. Now and then it also looks whether
a process has died that had records claimed. The thread ends when nobody waits any more, and keeps no store alive.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING

from ....clock import SYSTEM
from ....errors import StoreError
from ....interrupts import Flag
from ..._lookout import LookoutBase
from .. import schema
from ..reader import Reader

if TYPE_CHECKING:
    from ..core import Core

EAGER, CALM = 0.002, 0.014  #: seconds between two looks, when others have just committed and when they haven't
_EAGER_LOOKS = 25
_PER_BURIAL = 0.2  #: seconds between two looks for the dead
_LINGER = 2.0  #: seconds that it stays when nobody waits


class Lookout(LookoutBase["Core"]):
    """The thread, if there is one."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, _look, _LINGER)
        self.reader = Reader(core.path)

    def version(self, known: int) -> int:
        """A number that is another one when anybody has committed."""
        try:
            return int(self.reader.rows(schema.DATA_VERSION)[0][0])
        except StoreError:  # it is locked for a moment
            return known


def _look(ref: weakref.ref[Lookout], ended: Flag) -> None:
    version, quiet = -1, 0
    buried = SYSTEM.monotonic()
    while not ended.wait(EAGER if quiet < _EAGER_LOOKS else CALM):
        lookout = ref()
        core = lookout.core_to_serve() if lookout is not None else None
        if lookout is None or core is None:
            break
        now = SYSTEM.monotonic()
        if core.bells.waiting:
            lookout.wanted = now
            before, version = version, lookout.version(version)
            quiet = quiet + 1 if version == before else 0
            if version != before:
                core.bells.ring_all()
            if now - buried > _PER_BURIAL:
                buried = now
                with suppress(StoreError, OSError):  # those who call are told
                    core.bury_dead()
        del lookout, core  # between looks the store may go
    lookout = ref()
    if lookout is not None:
        lookout.reader.close()
