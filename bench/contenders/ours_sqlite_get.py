"""The same with `ack="get"`: its get removes the item, as huey's and diskcache's do."""

from __future__ import annotations

from functools import partial

from . import ours_sqlite

CONTENDER = ours_sqlite.CONTENDER._replace(
    name="pqadapters-sqlite-get",
    about='the same with ack="get": gone when it is got',
    open=partial(ours_sqlite.open_queue, ack="get"),
)
