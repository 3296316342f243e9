"""The clocks that stores read, in one place so that tests can move them."""

from __future__ import annotations

import time


class Clock:
    """`wall()`: seconds since the epoch, for delays and ages. `monotonic()`: seconds, for waiting."""

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


SYSTEM = Clock()
