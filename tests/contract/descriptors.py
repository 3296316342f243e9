"""What this process has open, and may open."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def open_below(place: Path) -> list[str]:
    """Of the files whose paths begin so: others come and go with what other tests have left."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [file for file in map(os.path.realpath, links) if file.startswith(str(place))]


@contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """So many descriptors may be opened within, one behind the other or at once."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    fds = [os.open(os.devnull, os.O_RDONLY) for _ in range(max(1, count))]
    for fd in fds:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fds) + 1 if count else fds[0], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
