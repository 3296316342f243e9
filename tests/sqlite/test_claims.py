"""What a claim costs."""

from __future__ import annotations

from pathlib import Path

from pqadapters.store import Ack, Order, Put
from pqadapters.stores.sqlite import SqliteStore
from tests.segment.programs import run

_PUTS = """
import sys
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    store.commit(Put("q", b"of another process"))
"""


def test_who_has_taken_the_last_record_begins_no_transaction_to_find_none(tmp_path: Path) -> None:
    """A loop that serves each item as it comes did for each of them."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(Put("q", b"a"), Put("q", b"b"))
        for payload in (b"a", b"b"):
            (claim,) = store.claim("q")
            assert claim.payload == payload
            store.commit(Ack(claim))
        connection = store._core.writer.connection
        statements: list[str] = []
        assert connection is not None
        connection.set_trace_callback(statements.append)
        assert store.claim("q") == []
        assert statements == []
        connection.set_trace_callback(None)
        run(_PUTS, tmp_path / "q.db")
        (claim,) = store.claim("q")
        assert claim.payload == b"of another process"


def test_the_last_one_of_a_ranked_queue_and_of_one_with_delayed_records(tmp_path: Path) -> None:
    """How many are ready, delayed, and whether there are ranks, is one number."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        for rank in (b"2", b"1"):
            store.commit(Put("ranked", rank, rank))
        assert [store.claim("ranked", order=Order.RANK)[0].payload for _ in range(2)] == [b"1", b"2"]
        assert store.claim("ranked", order=Order.RANK) == []
        store.commit(Put("q", b"later", not_before=4e9), Put("q", b"now"), Put("q", b"past", not_before=1.0))
        assert [store.claim("q")[0].payload for _ in range(2)] == [b"now", b"past"]
        assert store.claim("q") == []
        assert store.depth("q").delayed == 1
