"""pqadapters' `shelve` in a file, with its defaults but for the durability."""

from __future__ import annotations

import os
from typing import Any

from ..contender import Contender, Level, MappingHandle, Speed


def open_mapping(directory: str, level: Level) -> MappingHandle:
    from pqadapters.stdlib.shelve import DbfilenameShelf

    shelf = DbfilenameShelf[Any](os.path.join(directory, "shelf"), durability=level.value)
    return MappingHandle(shelf.__setitem__, shelf.__getitem__, shelf.__len__, shelf.close, shelf.batch)


CONTENDER = Contender(
    name="pqadapters-shelf",
    about="stdlib.shelve.DbfilenameShelf, which shelve.open(path) gives",
    open_mapping=open_mapping,
    speed={Level.PROCESS: Speed(40_000, 100_000), Level.POWER: Speed(4_000, 100_000)},
    package="pqadapters",
    modules=("pqadapters",),
    processes=True,
    batches=True,
)
