"""The same with prefetch."""

from __future__ import annotations

from functools import partial

from ..contender import Level, Speed
from .ours_mysql import CONTENDER as BY_ITSELF
from .ours_mysql import open_queue

CONTENDER = BY_ITSELF._replace(
    name="pqadapters-mysql-100",
    about="the same with prefetch=100",
    open=partial(open_queue, prefetch=100),
    speed={Level.POWER: Speed(600, 6_000)},
)
