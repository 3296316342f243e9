"""What this process has open."""

from __future__ import annotations

import os
from pathlib import Path


def open_below(place: Path) -> list[str]:
    """Of the files whose paths begin so: others come and go with what other tests have left."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return [file for file in map(os.path.realpath, links) if file.startswith(str(place))]
