"""One conversion at a time in this process. A forked child has a lock of its own: nobody in it converts yet."""

from __future__ import annotations

import os
import threading

from ...apart import Renewed

_lock = Renewed(lambda: threading.Lock())


def turn() -> threading.Lock:
    """The lock, to be held."""
    return _lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_lock.renew)
