"""Many threads that wait for records of a server: who is woken, and by what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pqadapters.store import Order
from pqadapters.stores.mysql import MysqlStore, lookout
from pqadapters.stores.mysql import store as stores

from ..contract.crowd import (
    PATIENCE,
    Crowd,
    check_what_another_process_has_put_is_found_by_one_that_calls_the_next,
    check_what_others_take_wakes_nobody,
    check_who_is_woken_and_fails_calls_another_one,
    check_who_waits_for_certain_records_keeps_none_from_the_others,
)


@pytest.fixture
def crowd(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    monkeypatch.setattr(stores, "_WITHOUT_LOOKOUT", PATIENCE)
    monkeypatch.setattr(lookout, "_look", lambda ref, ended: None)
    made = Crowd(MysqlStore(url, prefetch=1), MysqlStore(url, prefetch=1), monkeypatch)
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
