"""Looking at the records of a queue in a database: whoever wants the next one alone doesn't pay for those around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore


def test_the_next_record_is_looked_at_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that others had in hand was read for each peek(), and hundreds of those behind it."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(*[Put("q", b"%d" % number) for number in range(700)])
        store.claim("q", limit=300)
        ask, fetched = store._looks._ask, list[int]()

        def counted(*question: Any) -> Any:
            rows = ask(*question)
            fetched.append(len(rows))
            return rows

        monkeypatch.setattr(store._looks, "_ask", counted)
        assert next(iter(store.browse("q"))).payload == b"300"
        assert sum(fetched) < 20
        assert [record.payload for record in store.browse("q")] == [b"%d" % number for number in range(300, 700)]
