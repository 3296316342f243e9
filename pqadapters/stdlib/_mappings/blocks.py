"""The `with` blocks of mappings: batches.

They are classes and no generators: what an interrupt (Ctrl-C, a signal handler that raises) leaves half begun or half
ended is put right when the `with` statement is over. That shows in the life of what it got for `__exit__`, which
nothing else holds: no frame, so no traceback of an exception that somebody keeps, has it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import ref

from ...errors import StoreError
from .batch import Batch

if TYPE_CHECKING:
    from .table import Table


_TRIES = 100

_Exit: TypeAlias = Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]


class _WayOut:
    """`__exit__` of a block: for a `with` statement what it calls at its end, a step without a frame that would hold
    it; for who looks at the class (ExitStack) a method."""

    def __get__(self, block: Block | None, kind: type[Any]) -> Any:
        if block is None:
            return _exit
        way_out = partial(_exit, block)
        if not block._open:
            block._with = ref(way_out, block._abandon)
        return way_out


def _exit(
    block: Block, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    del error, trace  # a traceback with this very frame would be a circle
    block._end(failed=kind is not None)


class Block:
    """A batch from its beginning to its end. One inside of another one is a part of that."""

    _open = False
    _with: ref[Any] | None = None  #: the `with` statement that it is in

    def __init__(self, table: Table) -> None:
        self._table = table

    def _begin(self) -> None:
        if self._open:
            raise RuntimeError("this block has begun already; ask the mapping for one more")
        table, self._process = self._table, os.getpid()
        self._me = me = table.begin()
        outer = table.batches.get(me)
        self._before = None if outer is None else outer.copy()
        self.batch = batch = Batch(table.name) if outer is None else outer
        self._open = True
        table.batches[me] = batch

    if TYPE_CHECKING:
        __exit__: _Exit
    else:
        __exit__ = _WayOut()

    def _end(self, *, failed: bool) -> None:
        self._leave(failed=failed)

    def _leave(self, *, failed: bool) -> None:
        batch, before = self.batch, self._before
        if before is None:
            if self._table.batches.get(self._me) is batch:
                del self._table.batches[self._me]
            if self._process == os.getpid():  # else we are a child that was forked in the middle: it is our parent's
                self._table.end(batch, failed=failed)
        elif failed:
            batch.restore(before)
        self._open = False  # here, not before: what an interrupt breaks off is done again
        self._with = None

    def _abandon(self, _: Any = None) -> None:
        """The `with` statement is over, and something may have broken off its beginning or its end."""
        self._with = None
        for _ in range(_TRIES):
            if not self._open:
                return
            with suppress(StoreError):
                try:
                    self._leave(failed=True)
                except Exception:
                    raise
                except BaseException:  # one more interrupt; from here it would reach nobody
                    continue
            return

    __del__ = _abandon  # who has no `with` statement (ExitStack) lets go of the block itself


class BatchBlock(Block):
    """`with d.batch():`."""

    def __enter__(self) -> None:
        self._begin()
