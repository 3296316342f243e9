"""The end of a process: what was handed out under ack="next" is done, and queues without a name let go of their slots.

An exit by an uncaught exception is no normal one: there, what was handed out is redelivered. Nothing is closed: the
program's own handlers and its daemon threads may use their queues to the very end.
"""

from __future__ import annotations

import os
import weakref
from functools import partial
from typing import TYPE_CHECKING

from ... import telling
from ...apart import is_killed_later
from ...ending import at_end, call_each, fails, others_run
from ...errors import StoreClosed
from ...home.idling import leave_all
from ...living import living

if TYPE_CHECKING:
    from .line import Line

_log = telling.logger("pqadapters.queue")
_lines: weakref.WeakSet[Line] = weakref.WeakSet()


def finish_at_exit(line: Line) -> None:
    """Remember the line, without keeping it."""
    _lines.add(line)
    at_end(_finish_all)


def _begin_again() -> None:
    """In a forked child: it goes on with stores that several processes share; what the parent holds is the parent's."""
    for line in living(_lines):
        if line.store.capabilities.processes:
            line.begin_again()
            # A child of multiprocessing has an end of its own, and is known as one only when it is used.
            line.held.first = partial(finish_at_exit, line)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)


def _finish_all() -> None:
    alone = not others_run()
    call_each([*(partial(_finish, line, alone) for line in living(_lines)), leave_all])


def _finish(line: Line, alone: bool) -> None:
    try:
        if line.flags.closed or line.flags.forked:
            return
        line.settle_owed()
        if not fails():
            line.finish()
        if line.private is not None and alone:
            line.private.put_down()
    except Exception as error:
        _log.warning("%s could not finish: what was handed out last comes again: %s", line.label, error)


def dropped(line: Line) -> None:
    """The program has let go of a queue that nobody else can reach: as close(), and never in its way."""
    try:
        line.close(normal=not fails(), dropped=True)
    except StoreClosed:
        pass  # who has closed the store has ended this as well
    except Exception as error:
        _log.warning("%s could not be closed: %s", line.label, error)
    except BaseException as interrupt:
        if not is_killed_later(interrupt):
            raise
