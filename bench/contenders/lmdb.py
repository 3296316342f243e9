"""A plain queue on LMDB, written for this comparison: a put appends a number and a pickle, done deletes the number.

A transaction for each operation, synced for "power"; claims are in memory. One writer at a time, by LMDB's own lock.
"""

from __future__ import annotations

import itertools
import pickle
import threading
from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed

_MAP_BYTES = 4 << 30


class LmdbQueue:
    """Items by growing number. Any thread may call anything."""

    def __init__(self, directory: str, sync: bool) -> None:
        import lmdb

        self._env: Any = lmdb.open(directory, map_size=_MAP_BYTES, sync=sync, metasync=sync)
        with self._env.begin() as transaction, transaction.cursor() as cursor:
            last = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
        self._numbers = itertools.count(last + 1)
        self._putting, self._getting = threading.Lock(), threading.Lock()
        self._taken = b""

    def put(self, item: str) -> None:
        data = pickle.dumps(item, 5)
        with self._putting, self._env.begin(write=True) as transaction:
            transaction.put(next(self._numbers).to_bytes(8, "big"), data, append=True)

    def get(self) -> tuple[str, bytes]:
        with self._getting, self._env.begin() as transaction, transaction.cursor() as cursor:
            if not cursor.set_range(self._taken + b"\0"):
                raise Empty
            key, data = cursor.item()
            self._taken = key
        return pickle.loads(data), key

    def done(self, got: tuple[str, bytes]) -> None:
        with self._putting, self._env.begin(write=True) as transaction:
            transaction.delete(got[1])

    def close(self) -> None:
        self._env.close()


def open_queue(directory: str, level: Level) -> Handle:
    queue = LmdbQueue(directory, sync=level is Level.POWER)
    return Handle(queue.put, queue.get, queue.get, queue.done, lambda got: str(got[0]), queue.close)


CONTENDER = Contender(
    name="lmdb",
    about="append and delete by number on lmdb",
    open=open_queue,
    speed={Level.PROCESS: Speed(150_000, 80_000), Level.POWER: Speed(4_000, 4_000)},
    package="lmdb",
    modules=("lmdb",),
)
