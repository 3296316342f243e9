"""diskcache's Index on SQLite, as it is ("process") and with its synchronous setting at FULL ("power").

Text is stored as it is, not as a pickle: its own way.
"""

from __future__ import annotations

from ..contender import Contender, Level, MappingHandle, Speed

_FULL, _NORMAL = 2, 1


def open_mapping(directory: str, level: Level) -> MappingHandle:
    from diskcache import Cache, Index

    synchronous = _FULL if level is Level.POWER else _NORMAL
    cache = Cache(directory, eviction_policy="none", sqlite_synchronous=synchronous)
    index = Index.fromcache(cache)
    return MappingHandle(index.__setitem__, index.__getitem__, index.__len__, cache.close, index.transact)


CONTENDER = Contender(
    name="diskcache-index",
    about="diskcache.Index",
    open_mapping=open_mapping,
    speed={Level.PROCESS: Speed(20_000, 100_000), Level.POWER: Speed(3_000, 100_000)},
    package="diskcache",
    modules=("diskcache",),
    processes=True,
    batches=True,
)
