"""The clocks that all of this package reads, in one place so that tests can move them."""

from __future__ import annotations

import time


class Clock:
    """`wall()`: seconds since the epoch, for delays and ages. `monotonic()`: seconds, for waiting.

    Tests of a program that stop the clock (freezegun) replace `time.monotonic`, and names of modules that stand for it;
    the standard library's queues are left alone, and these, too: a `get(timeout=)` would never come to its end.
    """

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


SYSTEM = Clock()
