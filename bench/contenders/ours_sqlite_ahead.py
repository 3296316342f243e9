"""The same, with 32 records claimed at a time."""

from __future__ import annotations

from functools import partial

from . import ours_sqlite

CONTENDER = ours_sqlite.CONTENDER._replace(
    name="pqadapters-sqlite-32",
    about="the same with prefetch=32",
    open=partial(ours_sqlite.open_queue, prefetch=32),
)
