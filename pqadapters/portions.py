"""Many things a portion at a time, of which each fits into memory and one commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")
COUNT, BYTES = 1000, 4 << 20  #: of one portion


def portions(
    things: Iterable[T], size: Callable[[T], int], *, count: int | None = None, most: int | None = None
) -> Iterator[list[T]]:
    """Lists of these as they follow each other, up to `count` in each (COUNT), and `most` bytes (BYTES) by what `size`
    says: the last one of a list may go beyond. No more is asked for than what was handed out."""
    count, most = count or COUNT, most or BYTES
    portion: list[T] = []
    left = most
    for thing in things:
        portion.append(thing)
        left -= size(thing)
        if len(portion) >= count or left <= 0:
            yield portion
            portion, left = [], most
    if portion:
        yield portion


def parts_of(sizes: Mapping[int, int]) -> list[list[int]]:
    """The ids of records, by their sizes in bytes: each list of them is to be claimed at once."""
    return [[id for id, _ in part] for part in portions(sizes.items(), itemgetter(1))]
