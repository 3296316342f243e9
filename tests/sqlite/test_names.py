"""More names than a database takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.errors import StoreError
from pqadapters.store import Ack, Nack, Put, Set
from pqadapters.stores.sqlite import SqliteStore, schema


def test_a_name_too_many_is_refused_and_nothing_of_its_commit_is_stored(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number would make places of another queue's."""
    monkeypatch.setattr(schema, "MAX_QUEUES", 2)
    with SqliteStore(database) as store:
        store.commit(Put("a", b"1"), Put("b", b"2"), Set("s", b"k", b"1"), Set("t", b"k", b"2"))
        (claim,) = store.claim("a")
        for op in (Put("c", b"3"), Set("u", b"k", b"3"), Nack(claim, dead="reason")):
            with pytest.raises(StoreError, match=r"takes 2 names of queues.*'(c|u|a\.dead)' is one too many"):
                store.commit(Put("b", b"beside it"), op)
        store.commit(Ack(claim), Put("b", b"4"))
    monkeypatch.undo()
    with SqliteStore(database) as store:
        assert [claim.payload for claim in store.claim("b", limit=9)] == [b"2", b"4"]
        store.commit(Put("c", b"3"), Set("u", b"k", b"3"))  # their numbers weren't given
        assert [store.depth(name).unfinished for name in ("a", "c", "a.dead")] == [0, 1, 0]
        assert [store.count(name) for name in ("s", "t", "u")] == [1, 1, 1]
        assert store.damage == ()
