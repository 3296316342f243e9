"""The same with `ack="get"`: its get removes the item, as rocksq's does."""

from __future__ import annotations

from functools import partial

from . import ours

CONTENDER = ours.CONTENDER._replace(
    name="pqadapters-get",
    about='the same with ack="get": gone when it is got',
    open=partial(ours.open_queue, ack="get"),
)
