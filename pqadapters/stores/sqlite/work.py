"""One caller's part of a transaction of SQLite's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from .._work import OVER, Outcome
from .._work import Work as _Work

__all__ = ["OVER", "Outcome", "Work"]


class Work(_Work):
    """`run` changes the database and nothing else: it may be called again."""

    full = 0  #: how often it was tried again for want of space
    reconnected = False  #: it was tried again on another connection

    def __init__(
        self,
        run: Callable[[sqlite3.Connection], Any],
        *,
        synced: bool,
        timeout: float | None = None,
        alone: bool = False,
        shrinks: bool = True,
    ) -> None:
        super().__init__(run, timeout)
        self.synced = synced  #: whether its caller is promised that it survives a power cut
        self.alone = alone  #: it is one statement, which is a transaction without our saying so
        self.shrinks = shrinks  #: it needs no space that it doesn't give back

    def refuse(self, error: Exception) -> None:
        self.result = None  # of a transaction that was undone: what it had claimed is for others
        super().refuse(error)

    def put_off(self) -> None:
        self.alone = False
