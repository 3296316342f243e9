"""The rows of a table out of the raw pages of a damaged database, by the table's own tree, in the order of their keys.

A page that isn't what the one above it says is reported with its place in the file, and what stands behind it is read.
Leaves that only a damaged page leads to are no tree's; `Raw.astray` finds them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Union

from ....errors import DiskError
from ....store import Damage
from .pages import Cell, Pages, Row

_INNER, _LEAF = 0x05, 0x0D

Found = Union[Row, Damage]


class Tree:
    """Of the table whose first page is `root`."""

    def __init__(self, pages: Pages, root: int) -> None:
        self._pages, self._root = pages, root
        self.seen: set[int] = set()  #: its pages, as far as it was walked
        self.torn = False  #: whether leaves may be missing that are whole

    def rows(self) -> Iterator[Found]:
        """Rows, and what is damaged between them."""
        for number in self._leaves(self._root):
            if isinstance(number, Damage):
                yield number
            else:
                yield from rows_of(self._pages, number)

    def walked(self) -> set[int]:
        """All of its pages that can be reached, but for those that long rows go on in."""
        for _ in self._leaves(self._root):
            pass
        return self.seen

    def _leaves(self, number: int) -> Iterator[int | Damage]:
        page = self._pages.page(number) if number not in self.seen else b""
        self.seen.add(number)
        kind = page[100 * (number == 1)] if len(page) == self._pages.size else 0
        if kind == _LEAF:
            yield number
        elif kind == _INNER:
            for child in self._pages.children(number):
                yield from self._leaves(child)
        else:
            self.torn = True
            yield self._pages.damage(number, "a page of the table is damaged")


def rows_of(pages: Pages, number: int) -> Iterator[Found]:
    """What stands on a leaf."""
    for cell in pages.cells_on(number):
        row = pages.row(cell)
        yield row if row is not None else _damage(pages, cell)


def _damage(pages: Pages, cell: Cell) -> Damage:
    whole = pages.damage(cell.page, "a row of the table is damaged")
    return whole._replace(offset=whole.offset + cell.offset, length=0)


class Raw:
    """The raw pages of a database that nobody changes meanwhile, to be closed; any thread, one at a time.

    To close it drops the locks that SQLite has on the file in this process: last of all.
    """

    def __init__(self, path: str) -> None:
        """Raises DiskError."""
        try:
            self._pages = Pages(path)
        except OSError as error:
            raise DiskError(error.errno, f"can't be read: {os.strerror(error.errno or 0)}", path) from error

    def tree(self, root: int) -> Tree:
        """Of the table with that root."""
        return Tree(self._pages, root)

    def astray(self, seen: set[int]) -> Iterator[list[Row]]:
        """What stands on each of the leaves that aren't among the pages seen."""
        for number in self._pages.used():
            page = self._pages.page(number)
            if number not in seen and number > 1 and len(page) == self._pages.size and page[0] == _LEAF:
                rows = [row for row in rows_of(self._pages, number) if not isinstance(row, Damage)]
                if rows:
                    yield rows

    def close(self) -> None:
        self._pages.close()
