"""Who called us: warnings point at the program's own line."""

from __future__ import annotations

import sys
from types import FrameType

_BETWEEN = ("pqadapters", "queue", "asyncio")  #: the standard library's put_nowait(), run_in_executor(), to_thread()


def stacklevel() -> int:
    """For `warnings.warn` in the calling function: the first frame of neither this package nor what hands on calls."""
    level = 1
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    return level  # a thread or greenlet may begin with our method: then that frame's
