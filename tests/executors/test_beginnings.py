"""Whether workers begin at all, of which nobody tells who makes pools of them."""

from __future__ import annotations

from typing import Any

import pytest

from pqadapters.concurrent.futures._workers.beginnings import Beginnings


class Pools:
    def __init__(self) -> None:
        self.beginnings = Beginnings({"initializer": None, "initargs": ()})
        self._marks: list[tuple[Any, bytes]] = []

    def make(self, count: int = 1) -> None:
        for _ in range(count):
            room, token, *_ = self.beginnings.given(len(self._marks))["initargs"]
            self._marks.append((room, token))

    def begin(self, number: int) -> None:
        """As a worker does."""
        room, token = self._marks[number]
        room.create_memoryview()[: len(token)] = token

    def are_given_up(self, broken: int) -> bool:
        return self.beginnings.cannot_begin(broken)


@pytest.fixture
def pools() -> Pools:
    return Pools()


def test_the_third_in_a_row_is_the_last(pools: Pools) -> None:
    for number in range(3):
        pools.make()
        assert pools.are_given_up(number) is (number == 2)


def test_those_that_were_made_side_by_side_are_one_try(pools: Pools) -> None:
    pools.make(4)
    assert not any(map(pools.are_given_up, range(4)))
    pools.make(3)
    assert not any(map(pools.are_given_up, range(4, 7)))
    pools.make()
    assert pools.are_given_up(7)


def test_each_job_of_a_broken_pool_asks_and_some_ask_late(pools: Pools) -> None:
    pools.make()
    assert not pools.are_given_up(0)
    pools.make()
    assert not pools.are_given_up(1)
    assert not pools.are_given_up(0)
    pools.make()
    assert pools.are_given_up(2)


def test_one_that_begins_beside_them_shows_that_workers_do(pools: Pools) -> None:
    pools.make()
    assert not pools.are_given_up(0)
    pools.make(2)
    assert not pools.are_given_up(1)
    pools.begin(2)
    pools.make()
    assert not pools.are_given_up(3)
    pools.make()
    assert not pools.are_given_up(4)
    pools.make()
    assert pools.are_given_up(5)  # none has since
