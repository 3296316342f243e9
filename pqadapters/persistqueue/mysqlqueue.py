"""persist-queue's MySQL queue, over the MySQL store: any number of threads, processes and hosts use it at a time.

A put, and with `auto_commit=True` a get, is committed by the server when it returns. An item that was got by a program
that died comes again once its lease has run out.
"""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from typing import Any
from urllib.parse import quote

from ..errors import StoreRefused
from ..opening import open_server
from ..serializers.signed import protected
from ..stdlib._where import check_name
from ..store import Store
from . import serializers
from ._records import Records
from ._serializing import serializer_of
from .exceptions import Empty, Full

__all__ = ["Empty", "Full", "MySQLQueue"]

ADVICE = (
    "It was left as it is: finish it with persist-queue, or move it away and let this program begin in a place of its "
    "own"
)
_THEIRS = (
    "SELECT COUNT(*) FROM information_schema.columns "
    "WHERE table_schema = %s AND table_name = %s AND column_name IN ('_id', 'data', 'timestamp')"
)


class MySQLQueue(Records):
    """A FIFO queue in a database of a server; `name` is "sql" if it isn't given.

    `charset` is accepted: what is stored is bytes. Loading a pickle runs what it says, so those of a server have to be
    signed: set PQADAPTERS_SIGNING_KEY, the same for all programs, or choose another serializer. Beyond persist-queue:
    `maxsize=`, and `join()`.

    Raises StoreError where the database can't be opened: StoreRefused (password, grants, settings, a table with this
    name that persist-queue wrote), StoreUnreachable (a ConnectionError), FormatError; ValueError for pickles without a
    key, ImportError without PyMySQL.
    """

    def __init__(
        self,
        host: str,
        user: str,
        passwd: str,
        db_name: str,
        name: str | None = None,
        port: int = 3306,
        charset: str = "utf8mb4",
        auto_commit: bool = True,
        serializer: Any = serializers.pickle,
        *,
        maxsize: int = 0,
    ) -> None:
        check_name(name or None)
        self.host, self.user, self.db_name, self.port, self.charset = host, user, db_name, port, charset
        codec = serializer_of(serializer)
        account = f"{quote(user, safe='')}:{quote(passwd, safe='')}"
        at = f"[{host}]" if ":" in host else host
        store = open_server(f"mysql://{account}@{at}:{port}/{quote(db_name, safe='')}")
        try:
            codec = protected(codec, None, hosts=store.capabilities.hosts, place=store.place)
            self._refuse_theirs(store, name or "sql", passwd)
        except BaseException:
            store.close()
            raise
        self._begin(store, name or "sql", codec, timeout=10.0, auto_commit=auto_commit, maxsize=maxsize)

    def _refuse_theirs(self, store: Store, name: str, passwd: str) -> None:
        """Where persist-queue has a queue of this name, ours would hide it."""
        driver = import_module("pymysql")
        table = f"{self._TABLE_NAME}_{name}"
        where = {"host": self.host, "port": self.port, "user": self.user, "password": passwd, "database": self.db_name}
        with closing(driver.connect(**where)) as connection, connection.cursor() as cursor:
            cursor.execute(_THEIRS, (self.db_name, table))
            if cursor.fetchone()[0] == 3:
                raise StoreRefused(f"{store.place} has the table {table}, which persist-queue wrote. {ADVICE}")
