"""Running one measurement: its steps one after the other, each in a process of its own, in a fresh directory.

The processes end by themselves or are ended by their id when they take too long. Nothing is left on the disk.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from .contender import Contender
from .scenario import Job, Scenario

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """A measurement came to no number; the text says why."""


class Entry(NamedTuple):
    """A contender's part in a scenario."""

    scenario: Scenario
    contender: Contender
    level: str
    operations: int


def environment() -> dict[str, str]:
    """What the children see: this checkout's bench, and no variable that steers a queue."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PQADAPTERS_")}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def measure(entry: Entry, directory: Path, patience: float) -> dict[str, float]:
    """The numbers of an entry, by metric. Raises Failed; `patience` in seconds is for each of its processes."""
    values: dict[str, float] = {}
    with TemporaryDirectory(prefix="pqadapters-bench-", dir=directory) as scratch:
        place = os.path.join(scratch, "queue")
        os.mkdir(place, 0o700)
        for step in range(len(entry.scenario.steps_of(entry.contender))):
            job = Job(entry.scenario.name, entry.contender.name, entry.level, place, entry.operations, step)
            values |= _printed(run("bench.worker", json.dumps(job._asdict()), cwd=scratch, patience=patience))
    return values


def run(module: str, *arguments: str, cwd: str, patience: float) -> str:
    """What a child process prints. Raises Failed; an end by SIGKILL is for the child to choose."""
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {patience:.0f} seconds") from None
    if done.returncode not in (0, -signal.SIGKILL) or (done.returncode and not done.stdout):
        lines = done.stderr.strip().splitlines()
        raise Failed(lines[-1] if lines else f"ended with status {done.returncode}")
    return done.stdout


def _printed(text: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("{"):
            values |= json.loads(line)
    return values
