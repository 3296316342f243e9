"""The end of a process, as all floors see it."""

from __future__ import annotations

import threading


def others_run() -> bool:
    """Whether threads of the program run beside the caller. At the end of the interpreter those are daemons, which may
    use what is open to the very end; our own threads don't count."""
    me = threading.current_thread()
    return any(each is not me and not each.name.startswith("pqadapters-") for each in threading.enumerate())
