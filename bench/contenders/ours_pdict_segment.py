"""pqadapters' `PDict` in a segment store: a log on the disk, its keys in memory, one process at a time."""

from __future__ import annotations

import os

from ..contender import Contender, Level, MappingHandle, Speed


def open_mapping(directory: str, level: Level) -> MappingHandle:
    from pqadapters.stdlib.pdict import PDict

    url = f"file://{os.path.abspath(directory)}?durability={level.value}"
    mapping: PDict[str, str] = PDict(store=url, name="bench")
    return MappingHandle(mapping.__setitem__, mapping.__getitem__, mapping.__len__, mapping.close, mapping.batch)


CONTENDER = Contender(
    name="pqadapters-pdict-segment",
    about="stdlib.pdict.PDict(store='file:...')",
    open_mapping=open_mapping,
    speed={Level.PROCESS: Speed(80_000, 100_000), Level.POWER: Speed(5_000, 100_000)},
    package="pqadapters",
    modules=("pqadapters",),
    batches=True,
)
