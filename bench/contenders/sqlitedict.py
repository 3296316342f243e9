"""sqlitedict's SqliteDict with autocommit: a thread commits each set, which waits for it. It turns SQLite's syncs off.

It has no batches then: each row is a transaction, those of its `update` too.
"""

from __future__ import annotations

import os

from ..contender import Contender, Level, MappingHandle, Speed


def open_mapping(directory: str, level: Level) -> MappingHandle:
    from sqlitedict import SqliteDict

    mapping = SqliteDict(os.path.join(directory, "mapping.db"), autocommit=True)
    return MappingHandle(mapping.__setitem__, mapping.__getitem__, mapping.__len__, mapping.close)


CONTENDER = Contender(
    name="sqlitedict",
    about="sqlitedict.SqliteDict(autocommit=True)",
    open_mapping=open_mapping,
    speed={Level.PROCESS: Speed(5_000, 8_000)},
    package="sqlitedict",
    modules=("sqlitedict",),
    processes=True,
)
