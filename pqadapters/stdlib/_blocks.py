"""The `with` blocks of mappings: a batch, and one that has a key to itself.

They are classes and no generators: what an interrupt (Ctrl-C, a signal handler that raises) leaves half begun or half
ended is put right when the block's object goes: at once, unless somebody keeps the exception. Where it came right at
the beginning of an `__exit__`, its traceback has the block, and the batch stays open until it is let go.
"""

from __future__ import annotations

import os
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from ..errors import StoreError
from ._batch import Batch

if TYPE_CHECKING:
    from ._table import Table


_TRIES = 100


class Block:
    """A batch from its beginning to its end. One inside of another one is a part of that."""

    _open = False

    def __init__(self, table: Table) -> None:
        self._table = table

    def __enter__(self) -> None:
        table, self._process = self._table, os.getpid()
        self._me = me = table.begin()
        outer = table.batches.get(me)
        self._before = None if outer is None else outer.copy()
        self.batch = batch = Batch(table.name) if outer is None else outer
        self._open = True
        table.batches[me] = batch  # the last step, in which no signal handler runs

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del error, trace  # a traceback with this very frame would keep the block, and what it holds
        self._leave(failed=kind is not None)

    def _leave(self, *, failed: bool) -> None:
        batch, before = self.batch, self._before
        if before is None:
            if self._table.batches.get(self._me) is batch:
                del self._table.batches[self._me]
            if self._process == os.getpid():  # else we are a child that was forked in the middle: it is our parent's
                self._table.end(batch, failed=failed)
        elif failed:
            batch.restore(before)
        self._open = False  # last: what an interrupt breaks off is done again

    def __del__(self) -> None:
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


class KeyBlock(Block):
    """A batch that has a key to itself among all that ask for it. Raises TimeoutError."""

    def __init__(self, table: Table, key: bytes, timeout: float | None) -> None:
        super().__init__(table)
        self._key = key
        self._timeout = timeout

    def __enter__(self) -> None:
        super().__enter__()
        try:
            if self._key not in self.batch.held:
                self._table.locks.take(self._key, self._timeout, self.batch.held)
        except BaseException:
            self._leave(failed=True)
            raise
