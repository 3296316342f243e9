"""A bare loop of claims: SELECT ... SKIP LOCKED of 100 rows, one UPDATE, one DELETE when they are done. That is one
transaction for a hundred items, without owners and leases."""

from __future__ import annotations

import pickle
from collections import deque
from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed, Threads
from ..database import connected

_SOME = 100


def open_queue(directory: str, level: Level) -> Handle:
    connection = connected(directory)
    cursor = connection.cursor()
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS claimed("
        "state TINYINT NOT NULL, id BIGINT AUTO_INCREMENT, payload LONGBLOB, PRIMARY KEY(state, id), KEY(id))"
    )
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    waiting: deque[tuple[int, bytes]] = deque()
    done: list[int] = []

    def put_many(items: Any) -> None:
        rows = [(pickle.dumps(item, 5),) for item in items]
        cursor.executemany("INSERT INTO claimed(state, payload) VALUES (0, %s)", rows)

    def fetch() -> None:
        connection.begin()
        if done:
            cursor.execute(f"DELETE FROM claimed WHERE state = 1 AND id IN ({','.join(map(str, done))})")
            done.clear()
        cursor.execute(
            "SELECT id, payload FROM claimed WHERE state = 0 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED", (_SOME,)
        )
        waiting.extend(cursor.fetchall())
        if waiting:
            ids = ",".join(str(id) for id, _ in waiting)
            cursor.execute(f"UPDATE claimed SET state = 1 WHERE state = 0 AND id IN ({ids})")
        connection.commit()

    def get() -> Any:
        if not waiting:
            fetch()
        if not waiting:
            raise Empty
        return waiting.popleft()

    return Handle(
        lambda item: put_many([item]),
        get,
        get,
        lambda got: done.append(got[0]),
        lambda got: str(pickle.loads(got[1])),
        connection.close,
        put_many,
    )


CONTENDER = Contender(
    name="bare-mysql-claim",
    about="a loop of SELECT ... SKIP LOCKED, UPDATE and DELETE, 100 rows at a time",
    open=open_queue,
    speed={Level.POWER: Speed(600, 15_000)},
    modules=("pymysql",),
    threads=Threads.ONE,
    server=True,
    together=True,
)
