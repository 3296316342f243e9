"""A thread that looks for jobs which become ready without anybody's submit here: delayed ones of an earlier run, and
in a store that processes share those of others. It ends with its backlog, and keeps it only while a job is ready.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from .... import telling
from ....ending import enduring, start_thread
from ....errors import FOR_GOOD, StoreError
from ....store import Depth, Store
from .returning import begin_ready

if TYPE_CHECKING:
    from .backlog import Backlog

_log = telling.logger("pqadapters.executor")
_AGAIN = 60.0  #: seconds between two looks at whether the backlog is still there
_BUSY = 0.05  #: seconds between two looks while nobody could take a job
_REFUSED = 5.0  #: seconds between two looks while the store refuses


def watch(backlog: Backlog, store: Store) -> None:
    """Begin to look."""
    look = _Look(backlog, store)
    start_thread(threading.Thread(target=enduring(look.run), name="pqadapters-executor-watch", daemon=True))


class _Look:
    def __init__(self, backlog: Backlog, store: Store) -> None:
        self._backlog, self._store, self._queue = weakref.ref(backlog), store, backlog.names.jobs

    def _wanted(self, depth: Depth) -> bool:
        """Under the store's lock: whether there is something to do."""
        backlog = self._backlog()
        return backlog is None or backlog.stopped or (depth.ready > 0 and self._is_taken(backlog))

    def _is_taken(self, backlog: Backlog) -> bool:
        """Whether a job that is ready may be one for us: ours, too, where another process has put it back."""
        return backlog.foreign or (backlog.shared and bool(backlog.live))

    def run(self) -> None:
        pause = threading.Event()
        while True:
            problem = None
            try:
                found = self._store.wait(self._queue, self._wanted, _AGAIN)
            except StoreError as error:
                found, problem = False, error
            backlog = self._backlog()
            if backlog is None or backlog.stopped:
                return
            if problem is not None:
                _log.warning("jobs of others in %s can't be looked for: %s", self._queue, problem)
                if isinstance(problem, FOR_GOOD):
                    return
            if found:
                backlog.recovering = backlog.recovering or backlog.foreign
                begin_ready(backlog)
            del backlog
            if found or problem is not None:  # whoever was told takes it meanwhile, or all are busy
                pause.wait(_BUSY if found else _REFUSED)
