"""What a queue takes: memory of this process, and files in its directory."""

from __future__ import annotations

import gc
import os
import pickle
import resource
import sys
from pathlib import Path
from typing import NamedTuple

_KIB = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


class Files(NamedTuple):
    """The files below a directory."""

    number: int
    allocated: int  #: bytes of disk behind them, preallocated ones included


def resident() -> float:
    """Megabytes of memory that this process has now; where the system doesn't tell, the most that it had."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB / 1e6
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def files(directory: str) -> Files:
    found = [os.stat(os.path.join(root, name)) for root, _, names in os.walk(directory) for name in names]
    return Files(len(found), sum(each.st_blocks * 512 for each in found))


def payload(item: str) -> int:
    """Bytes of the item, serialised as most of them do it."""
    return len(pickle.dumps(item, 5))
