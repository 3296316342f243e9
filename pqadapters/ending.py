"""The end of a process, as all floors see it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_first: dict[Callable[[], object], None] = {}
_last: dict[Callable[[], object], None] = {}
_seen_off: set[int] = set()  # children of multiprocessing that end with our handler, too
_ended: set[int] = set()  # processes that have called it


def others_run() -> bool:
    """Whether threads of the program run beside the caller. At the end of the interpreter those are daemons, which may
    use what is open to the very end; our own threads don't count."""
    me = threading.current_thread()
    return any(each is not me and not each.name.startswith("pqadapters-") for each in threading.enumerate())


def at_end(function: Callable[[], object], *, last: bool = False) -> None:
    """Call it once at the end of this process, behind the handlers that the program registers with `atexit` (but for
    those from before it imported us). A child of `multiprocessing` ends without the interpreter's own exit, and is
    seen off as well. Exceptions are passed over. `last`: behind those that aren't, in the order of these calls."""
    (_last if last else _first)[function] = None
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None and os.getpid() not in _seen_off:
        from multiprocessing.util import Finalize

        _seen_off.add(os.getpid())
        Finalize(None, _end, exitpriority=-100)


def _end() -> None:
    """Once: a child of multiprocessing may come here a second time, and knows no more how it ended."""
    if os.getpid() in _ended:
        return
    _ended.add(os.getpid())
    for function in (*_first, *_last):
        with suppress(Exception):
            function()


atexit.register(_end)
