"""The floor of MySQL: one INSERT of a pickle for each transaction, on one connection, and nothing else. No get."""

from __future__ import annotations

import pickle

from ..contender import Contender, Handle, Level, Speed, itself, nothing, refuse_get
from ..database import connected


def open_queue(directory: str, level: Level) -> Handle:
    connection = connected(directory)
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE item(id BIGINT AUTO_INCREMENT PRIMARY KEY, payload LONGBLOB)")

    def put(item: str) -> None:
        cursor.execute("INSERT INTO item(payload) VALUES (%s)", (pickle.dumps(item, 5),))

    return Handle(put, refuse_get, refuse_get, nothing, itself, connection.close)


CONTENDER = Contender(
    name="bare-mysql-insert",
    about="a loop of pickle and one INSERT for each transaction of PyMySQL",
    open=open_queue,
    speed={Level.POWER: Speed(600, 0)},
    modules=("pymysql",),
    gets=False,
    floor=True,
    server=True,
)
