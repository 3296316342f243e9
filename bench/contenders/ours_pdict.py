"""pqadapters' `PDict` in a file, with its defaults but for the durability."""

from __future__ import annotations

import os

from ..contender import Contender, Level, MappingHandle, Speed
from . import OUR_MAPPING


def open_mapping(directory: str, level: Level) -> MappingHandle:
    from pqadapters.stdlib.pdict import PDict

    path = os.path.join(directory, "mapping.db")
    mapping: PDict[str, str] = PDict(path, "bench", durability=level.value)
    return MappingHandle(mapping.__setitem__, mapping.__getitem__, mapping.__len__, mapping.close, mapping.batch)


CONTENDER = Contender(
    name=OUR_MAPPING,
    about="stdlib.pdict.PDict(path, name)",
    open_mapping=open_mapping,
    speed={Level.PROCESS: Speed(40_000, 100_000), Level.POWER: Speed(4_000, 100_000)},
    package="pqadapters",
    modules=("pqadapters",),
    processes=True,
    batches=True,
)
