"""Hearing of other processes: while somebody waits here, a thread looks every few milliseconds whether they committed.

Who commits tells of it in the mark, which is memory: a look costs next to nothing. Now and then it also looks whether a
process has died that had records claimed, and whether SQLite has counted a commit (PRAGMA data_version): who has made
it may have been killed before it told, or be another program. The thread ends when nobody waits any more, and keeps no
store alive.
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
    from .mark import Mark

EAGER, CALM = 0.002, 0.014  #: seconds between two looks, when others have just committed and when they haven't
_EAGER_LOOKS = 25
_PER_QUESTION = 0.2  #: seconds between two looks for the dead, and into the database
_LINGER = 2.0  #: seconds that it stays when nobody waits


class Lookout(LookoutBase["Core"]):
    """The thread, if there is one."""

    def __init__(self, core: Core) -> None:
        super().__init__(core, _look, _LINGER)
        self.reader = Reader(core.path)

    def version(self, known: int) -> int:
        """A number that is another one when anybody has committed, told or not."""
        try:
            return int(self.reader.rows(schema.DATA_VERSION)[0][0])
        except StoreError:  # it is locked for a moment
            return known


def _look(ref: weakref.ref[Lookout], ended: Flag) -> None:
    mark: Mark | None = None
    told, version, quiet, asked = b"", -1, 0, 0.0
    while not ended.wait(EAGER if quiet < _EAGER_LOOKS else CALM):
        now = SYSTEM.monotonic()
        is_time = now - asked > _PER_QUESTION
        if mark is not None and mark.told == told and not is_time:
            quiet += 1
            continue
        lookout = ref()
        core = lookout.core_to_serve() if lookout is not None else None
        if lookout is None or core is None:
            break
        mark = core.mark
        if core.bells.waiting:
            lookout.wanted = now
            before, told = (told, version), mark.told
            if is_time:
                asked, version = now, lookout.version(version)
                with suppress(StoreError, OSError):  # those who call are told
                    core.bury_dead()
            quiet = quiet + 1 if (told, version) == before else 0
            if not quiet:
                core.bells.ring_one_each()
        del lookout, core  # between looks the store may go
    lookout = ref()
    if lookout is not None:
        lookout.reader.close()
