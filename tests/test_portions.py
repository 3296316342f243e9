"""Many things a portion at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pqadapters.portions import parts_of, portions


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([], []),
        ([0, 0, 0, 0], [[0, 0, 0], [0]]),
        ([1, 1, 1], [[1, 1, 1]]),
        ([9, 1, 1], [[9, 1], [1]]),
        ([99, 99], [[99], [99]]),
        ([5, 5, 5, 5], [[5, 5], [5, 5]]),
    ],
)
def test_so_many_and_so_large(sizes: list[int], found: list[list[int]]) -> None:
    assert list(portions(sizes, int, count=3, most=10)) == found


def test_no_more_is_asked_for_than_was_handed_out() -> None:
    asked: list[int] = []

    def things() -> Iterator[int]:
        for number in range(5):
            asked.append(number)
            yield number

    assert next(portions(things(), lambda number: 0, count=2)) == asked == [0, 1]


def test_ids_by_the_sizes_of_their_records() -> None:
    large = 3 << 20
    assert parts_of({1: large, 2: large, 7: 0, 4: 1}) == [[1, 2], [7, 4]]
    assert parts_of(dict.fromkeys(range(2500), 1)) == [[*range(1000)], [*range(1000, 2000)], [*range(2000, 2500)]]
