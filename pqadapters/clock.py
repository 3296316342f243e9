"""The clocks that all of this package reads, in one place so that tests can move them."""

from __future__ import annotations

import os
import time


class Clock:
    """`wall()`: seconds since the epoch, for delays and ages. `monotonic()`: seconds, for waiting.

    Tests of a program that stop the clock (freezegun) replace `time.monotonic`, and names of modules that stand for it;
    the standard library's queues are left alone, and these, too: a `get(timeout=)` would never come to its end.
    """

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


SYSTEM = Clock()


def spread(least: float, most: float) -> float:
    """The length of a pause, by chance: who failed together isn't to come again together.

    `random`'s own generator is the program's, which counts on each of its numbers where it has seeded it.
    """
    return least + (most - least) * int.from_bytes(os.urandom(4), "big") / 2**32
