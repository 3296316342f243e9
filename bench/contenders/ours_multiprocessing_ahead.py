"""The same, with items put and fetched by the hundred."""

from __future__ import annotations

from functools import partial

from ..contender import Level, Speed
from . import OUR_FAMILY, ours_multiprocessing

CONTENDER = ours_multiprocessing.CONTENDER._replace(
    name=f"{OUR_FAMILY}-256",
    about="the same with prefetch=256 and put_many",
    open=partial(ours_multiprocessing.open_queue, prefetch=256),
    speed={Level.PROCESS: Speed(50_000, 50_000), Level.POWER: Speed(30_000, 30_000)},
)
