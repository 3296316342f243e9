"""What a look at a queue tells is of one moment, whatever others commit between two questions of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pqadapters.store import Put, Update
from pqadapters.stores.sqlite import SqliteStore, schema
from pqadapters.stores.sqlite.schema import LONG

from ..contract.maker import ManualClock


@contextmanager
def _at_question(store: SqliteStore, number: int, do: Callable[[], object]) -> Iterator[None]:
    """Before the store asks its database for the so many-th time."""
    asked = 0

    def count(statement: str) -> None:
        nonlocal asked
        asked += 1
        if asked == number:
            do()

    connection = store._looks._reader.connection
    assert connection is not None
    connection.set_trace_callback(count)
    yield
    connection.set_trace_callback(None)


def _depth_is_right(store: SqliteStore) -> None:
    depth = store.depth("q")
    assert sorted(depth[:3]) == [0, 0, 1]
    assert (depth.oldest_age is not None) == (depth.ready == 1)


def _readiness_is_right(store: SqliteStore) -> None:
    assert store._looks.any_ready("q") in {(True, False), (False, True)}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("look", [_depth_is_right, _readiness_is_right])
def test_a_record_that_comes_due_meanwhile_is_there_once(
    tmp_path: Path, look: Callable[[SqliteStore], None], number: int
) -> None:
    clock = ManualClock()
    with SqliteStore(tmp_path / "q.db", durability="process", clock=clock) as store:
        store.commit(Put("q", b"retried", not_before=clock.now + 10))
        store.depth("q")
        clock.advance(20)
        with _at_question(store, number, lambda: store.claim("q")):
            look(store)


@pytest.mark.parametrize("payload", [b"short", b"M" * 2 * LONG])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_record_whose_long_payload_changes_meanwhile_is_shown(tmp_path: Path, payload: bytes, number: int) -> None:
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        store.commit(Put("q", b"L" * 2 * LONG))
        (claim,) = store.claim("q")
        for look in (lambda: list(store.browse("q", state=None)), lambda: [store.record("q", claim.id)]):
            store.commit(Update(claim, b"L" * 2 * LONG))
            with _at_question(store, number, lambda: store.commit(Update(claim, payload))):
                (record,) = look()
            assert record is not None
            assert record.payload in {b"L" * 2 * LONG, payload}


def test_every_statement_has_plain_placeholders() -> None:
    """Python 3.12.0 to 3.12.3 take ?1 for a name, and warn of it: under -W error nothing could be read."""
    statements = [text for text in vars(schema).values() if isinstance(text, str)]
    assert not [text for text in statements if re.search(r"\?\d", text)]
