"""diskcache's Deque on SQLite, as it is ("process") and with its synchronous setting at FULL ("power")."""

from __future__ import annotations

from queue import Empty

from ..contender import Contender, Handle, Level, Speed, itself, nothing

_FULL, _NORMAL = 2, 1


def open_queue(directory: str, level: Level) -> Handle:
    from diskcache import Cache, Deque

    synchronous = _FULL if level is Level.POWER else _NORMAL
    cache = Cache(directory, eviction_policy="none", sqlite_synchronous=synchronous)
    queue = Deque.fromcache(cache)

    def get() -> str:
        try:
            return str(queue.popleft())
        except IndexError:
            raise Empty from None

    return Handle(queue.append, get, get, nothing, itself, cache.close)


CONTENDER = Contender(
    name="diskcache",
    about="diskcache.Deque",
    open=open_queue,
    speed={Level.PROCESS: Speed(10_000, 8_000), Level.POWER: Speed(3_000, 3_000)},
    package="diskcache",
    modules=("diskcache",),
    processes=True,
)
