"""persist-queue's MySQL queue, over the MySQL store: any number of threads, processes and hosts use it at a time.

A put, and with `auto_commit=True` a get, is committed by the server when it returns. An item that was got by a program
that died comes again once its lease has run out.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..errors import StoreRefused
from ..opening import open_server, visit_server
from ..serializers import Serializer
from ..serializers.signed import CHOOSE, Signed, protected
from ..stdlib._where import check_name
from ..store import Store
from . import serializers
from ._records import Records
from ._serializing import serializer_of
from .exceptions import Empty, Full

__all__ = ["Empty", "Full", "MySQLQueue"]


class MySQLQueue(Records):
    """A FIFO queue in a database of a server; `name` is "sql" if it isn't given.

    `charset` is accepted: what is stored is bytes. Loading a pickle runs what it says, so those of a server have to be
    signed: set PQADAPTERS_SIGNING_KEY, the same for all programs, or choose another serializer. Beyond persist-queue:
    `maxsize=`, and `join()`.

    What persist-queue has in the table of that name is converted, and kept as `kept_queue_NAME`; but where items have
    to be signed, that is for `pqadapters migrate`.

    Raises StoreError where the database can't be opened: StoreRefused (password, grants, settings, unsigned items that
    persist-queue wrote), StoreUnreachable (a ConnectionError), FormatError, StoreLocked (another process converts it);
    ValueError for pickles without a key, ImportError without PyMySQL.
    """

    def __init__(
        self,
        host: str,
        user: str,
        passwd: str | None,
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
        account = f"{quote(user, safe='')}:{quote(passwd or '', safe='')}"  # None, as of os.environ.get: without one
        at = f"[{host}]" if ":" in host else host
        url = f"mysql://{account}@{at}:{port}/{quote(db_name, safe='')}"
        self._table_name = f"`queue_{name or 'sql'}`"  # where persist-queue has it, for who cleans up behind both
        self._url = url
        store = open_server(url)
        try:
            codec = protected(codec, None, hosts=store.capabilities.hosts, place=store.place, ways=[CHOOSE])
            self._take_over(url, store, name or "sql", codec)
        except BaseException:
            store.close()
            raise
        self._begin(store, name or "sql", codec, timeout=10.0, auto_commit=auto_commit, maxsize=maxsize)

    def get_pooled_conn(self) -> Any:
        """A connection of PyMySQL's to the queue's database, which the program closes. Raises StoreError."""
        return visit_server(self._url).let_go()

    def _take_over(self, url: str, store: Store, name: str, codec: Serializer) -> None:
        """persist-queue signs nothing: whoever can write to the server may have put there what it has."""
        from .conversion.servers import convert_queue, is_to_be_converted  # with all that it imports

        if not is_to_be_converted(url, store, name):
            return
        if isinstance(codec, Signed):
            raise StoreRefused(
                f"{store.place} has the table queue_{name}, which persist-queue wrote: nothing in it is signed, and "
                "this program takes signed items alone. If it is yours, take it over once: pqadapters migrate "
                f"{store.place} --queue {name}"
            )
        convert_queue(url, store, name)
