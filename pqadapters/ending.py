"""The end of a process, as all floors see it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

_seen_off: dict[tuple[int, Callable[[], object]], Any] = {}  # children of multiprocessing: what is called there


def others_run() -> bool:
    """Whether threads of the program run beside the caller. At the end of the interpreter those are daemons, which may
    use what is open to the very end; our own threads don't count."""
    me = threading.current_thread()
    return any(each is not me and not each.name.startswith("pqadapters-") for each in threading.enumerate())


def at_end(function: Callable[[], object]) -> None:
    """Call it at the end of this process: before what was registered so far, once. A child of `multiprocessing` ends
    without the interpreter's own exit, and is seen off as well."""
    atexit.unregister(function)
    atexit.register(function)
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        earlier = _seen_off.pop((os.getpid(), function), None)
        if earlier is not None:
            earlier.cancel()
        _seen_off[os.getpid(), function] = Finalize(None, function, exitpriority=-100)
