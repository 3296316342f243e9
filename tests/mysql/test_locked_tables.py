"""Others hold tables of the store (LOCK TABLES, ALTER TABLE, a backup): calls end in their time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
import pytest

from pqadapters.errors import StoreUnreachable
from pqadapters.store import Set
from pqadapters.stores.mysql import MysqlStore
from pqadapters.stores.mysql.schema import digest
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE

from .server import Server


@contextmanager
def _locked(server: Server, url: str, *tables: str) -> Iterator[None]:
    with pymysql.connect(unix_socket=server.socket, user="root", database=url.rpartition("/")[2]) as other:
        other.cursor().execute(f"LOCK TABLES {', '.join(f'pqa_{table} WRITE' for table in tables)}")
        yield


def test_a_look_waits_once_for_what_is_locked(server: Server, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DBUtils took that for a lost connection and asked three times, each of which waited as long for the lock."""
    with MysqlStore(url) as store:
        store.commit(Set("t", b"k", b"v"))
        reader, asked = store._core.reader, list[str]()
        query = pymysql.cursors.Cursor._query

        def noting(cursor: Any, text: str) -> Any:
            asked.append(text)
            return query(cursor, text)

        monkeypatch.setattr(pymysql.cursors.Cursor, "_query", noting)
        with _locked(server, url, "entries"), pytest.raises(StoreUnreachable, match="others have locked"):
            Task(lambda: reader.within(0.0, reader.sql.VALUE, 1, digest(b"k")), patience=PATIENCE).result()
        assert sum("pqa_entries" in text for text in asked) == 2  # the lock's own statement is one
        assert store.get("t", b"k") == b"v"
