"""Who called us: warnings point at the program's own line."""

from __future__ import annotations

import sys
from types import FrameType

_OURS = ("pqadapters", "queue")


def stacklevel() -> int:
    """For `warnings.warn` in the calling function: the first frame outside this package, and `queue`'s put_nowait()."""
    level = 1
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _OURS:
        frame, level = frame.f_back, level + 1
    return level
