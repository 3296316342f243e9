"""What a store looks like in which nothing is, and will be: for who looks in the middle of the taking of a slot.

That is a finalizer or a signal handler, in the same thread. Another one may come in the middle of it in turn, so
nothing is to be imported then, as a store would be: the second one would find half a module.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from ..durability import Durability, Survives
from ..errors import StoreClosed
from ..store import Capabilities, Damage, Depth, Op, Record


class Nothing:
    """A `Store` that is empty, and takes nothing: who waits in it waits to the end of its time."""

    capabilities = Capabilities()
    durability = Durability(Survives.PROCESS)
    damage: Sequence[Damage] = ()
    place = "nowhere yet"

    def commit(self, *ops: Op, **options: Any) -> tuple[int, ...]:
        raise StoreClosed("there is no store yet")

    def claim(self, queue: str, *, timeout: float | None = 0.0, **options: Any) -> list[Any]:
        _wait(timeout)
        return []

    def browse(self, queue: str, **options: Any) -> Iterator[Record]:
        return iter(())

    def depth(self, queue: str, *, age: bool = True) -> Depth:
        return Depth()

    def any_ready(self, queue: str) -> bool:
        return False

    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        if until(Depth()):
            return True
        _wait(timeout)
        return False

    def get(self, table: str, key: bytes) -> bytes | None:
        return None

    def scan(self, table: str, **options: Any) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def keys(self, table: str, **options: Any) -> Iterator[bytes]:
        return iter(())

    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        return {}

    def count(self, table: str) -> int:
        return 0

    def wake(self, queue: str) -> None:
        pass

    def sync(self) -> None:
        pass

    checkpoint = close = sync

    def __enter__(self) -> Nothing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def _wait(timeout: float | None) -> None:
    if timeout != 0:
        threading.Event().wait(timeout)
