"""One conversion at a time in this process. A forked child has a lock of its own: nobody in it converts yet."""

from __future__ import annotations

import os
import threading

_lock = threading.Lock()


def turn() -> threading.Lock:
    """The lock, to be held."""
    return _lock


def _renew() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
