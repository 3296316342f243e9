"""What the numbers were measured on: the processor, the system, the filesystem, the interpreter."""

from __future__ import annotations

import os
import platform
import sqlite3
from pathlib import Path
from typing import NamedTuple


class Mount(NamedTuple):
    """Where a directory's files are."""

    device: str
    point: str
    kind: str
    options: str


def facts(directory: Path) -> dict[str, str]:
    """Words for people, by what they are about."""
    mount = mount_of(directory, _read("/proc/mounts"))
    load = " ".join(f"{each:.2f}" for each in os.getloadavg())
    return {
        "processor": f"{_processor()}, {os.cpu_count()} of them",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "filesystem": f"{mount.kind} on {mount.device} ({mount.options})" if mount else "unknown",
        "load before": load,
    }


def warning(directory: Path) -> str:
    """Why numbers at "power" mean nothing there; "" where they do."""
    mount = mount_of(directory, _read("/proc/mounts"))
    if mount and mount.kind in ("tmpfs", "ramfs"):
        return f'{directory} is in memory ({mount.kind}): numbers at "power" mean nothing. Choose --directory on a disk'
    return ""


def mount_of(directory: Path, mounts: str) -> Mount | None:
    """The line of /proc/mounts that the directory is under."""
    found = [Mount(*line.split()[:4]) for line in mounts.splitlines() if len(line.split()) >= 4]
    real = directory.resolve()
    above = [each for each in found if real.is_relative_to(each.point)]
    return max(above, key=lambda each: len(each.point), default=None)


def _processor() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
