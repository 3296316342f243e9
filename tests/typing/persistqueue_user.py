"""A program written against persist-queue, with the import changed."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

import pqadapters.persistqueue as persistqueue


def ids(path: str) -> list[int]:
    numbers = persistqueue.SQLiteQueue(path, auto_commit=True)
    urgent = persistqueue.PriorityQueue(path)
    assert_type(persistqueue.SQLiteAckQueue(path).put("a"), "int | None")
    return [numbers.put("a"), numbers.put_nowait(item="b"), urgent.put("c", 1), urgent.put_nowait("d", priority=2)]


def only(path: str) -> int:
    number: int = persistqueue.UniqueQ(path).put("a")
    return number


async def awaited(path: str) -> int:
    async with persistqueue.AsyncSQLiteQueue(path) as items:
        item = await items.get(timeout=1.0)
        return await items.put(item)


class Files(persistqueue.Queue):
    def task_done(self) -> None:
        super().task_done()


class Rows(persistqueue.SQLiteQueue):
    def put(self, item: Any, block: bool = True) -> int:
        return super().put(item, block)


class Once(persistqueue.UniqueQ):
    def put(self, item: Any) -> Any:
        return super().put(item)


class Urgent(persistqueue.PriorityQueue):
    def put(self, item: Any, priority: int = 0, block: bool = True) -> int:
        return super().put(item, priority, block)


class Acknowledged(persistqueue.SQLiteAckQueue):
    def put(self, item: Any) -> int | None:
        return super().put(item)

    def update(self, item: Any, id: int | None = None) -> int | None:
        return super().update(item, id)


class Awaited(persistqueue.AsyncSQLiteQueue):
    async def put(self, item: Any, block: bool = True) -> int:
        return await super().put(item, block)
