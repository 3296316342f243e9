"""Runs a command with its temporary files in memory, where there is room for them: what it syncs then costs nothing.

`python3 -m tools.in_memory COMMAND...` ends with the command's status. The files are gone behind it: memory is
given back whatever became of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PLACE = Path("/dev/shm")
ROOM = 4 << 30  #: bytes; a whole run of the tests leaves less than one


def has_room(place: Path) -> bool:
    """Whether directories can be made there, and it has memory for what the tests leave."""
    try:
        there = os.statvfs(place)
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return False
    memory = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)
    return os.access(place, os.W_OK) and min(there.f_bavail * there.f_frsize, memory) >= ROOM


def main(*command: str, place: Path = PLACE) -> int:
    """Run it; its status."""
    if not has_room(place):
        return subprocess.run(command).returncode
    with tempfile.TemporaryDirectory(prefix="pqadapters-", dir=place, ignore_cleanup_errors=True) as directory:
        return subprocess.run(command, env={**os.environ, "TMPDIR": directory}).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit("usage: python3 -m tools.in_memory COMMAND...")
    raise SystemExit(main(*sys.argv[1:]))
