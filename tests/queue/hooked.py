"""Queues with hooks of a program's own around ours."""

from __future__ import annotations

from typing import Any

from pqadapters.stdlib.queue import Queue


class Uppercase(Queue[str]):
    """Hooks around ours."""

    def _put(self, item: str) -> None:
        assert self.mutex.locked()
        super()._put(item.upper())

    def _get(self) -> str:
        assert self.mutex.locked()
        return super()._get() + "!"


class Unique(Queue[Any]):
    """The well-known recipe: what is in the queue already is dropped, and isn't counted."""

    def _put(self, item: Any) -> None:
        if item in self.queue:
            self.unfinished_tasks -= 1
        else:
            self.queue.append(item)


class Weighed(Queue[str]):
    """maxsize counts characters."""

    def _qsize(self) -> int:
        return sum(len(item) for item in self.queue)
