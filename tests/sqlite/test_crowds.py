"""Many threads that wait for records of a database: who is woken, and by what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pqadapters.store import Order
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite import store as stores
from pqadapters.stores.sqlite.processes import lookout

from ..contract.crowd import (
    PATIENCE,
    Crowd,
    check_what_another_process_has_put_is_found_by_one_that_calls_the_next,
    check_what_others_take_wakes_nobody,
    check_who_is_woken_and_fails_calls_another_one,
    check_who_waits_for_certain_records_keeps_none_from_the_others,
)


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    monkeypatch.setattr(stores, "_WITHOUT_LOOKOUT", PATIENCE)
    monkeypatch.setattr(lookout, "_look", lambda ref, ended: None)
    store, other = (SqliteStore(tmp_path / "q.db", durability="process") for _ in "ab")
    made = Crowd(store, other, monkeypatch)
    yield made
    made.close()


def test_what_others_claim_and_acknowledge_wakes_nobody(crowd: Crowd) -> None:
    check_what_others_take_wakes_nobody(crowd)


def test_i7_what_another_process_has_put_is_found_by_one_that_calls_the_next(crowd: Crowd) -> None:
    check_what_another_process_has_put_is_found_by_one_that_calls_the_next(crowd)


def test_i7_who_is_woken_and_fails_calls_another_one(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    check_who_is_woken_and_fails_calls_another_one(crowd, monkeypatch)


@pytest.mark.parametrize("order", Order)
def test_i7_who_waits_for_certain_records_keeps_none_from_the_others(order: Order, crowd: Crowd) -> None:
    check_who_waits_for_certain_records_keeps_none_from_the_others(order, crowd)
