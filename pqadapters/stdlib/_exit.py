"""A normal exit of the interpreter: what was handed out under ack="next" is done.

An exit by an uncaught exception is no normal one: there, what was handed out is redelivered, and nothing is done here.
"""

from __future__ import annotations

import atexit
import logging
import sys
import weakref

from ._line import Line

_log = logging.getLogger("pqadapters.queue")
_lines: weakref.WeakSet[Line] = weakref.WeakSet()


def finish_at_exit(line: Line) -> None:
    """Remember the line, without keeping it. Call it once the store is open: handlers run in reverse order, so that
    this one comes before the store's own."""
    _lines.add(line)
    atexit.unregister(_finish_all)
    atexit.register(_finish_all)


def _finish_all() -> None:
    if getattr(sys, "last_value", None) is not None:
        return
    for line in list(_lines):
        try:
            if not line.flags.closed:
                line.finish()
        except Exception as error:
            _log.warning("%s could not finish: what was handed out last comes again: %s", line.label, error)
