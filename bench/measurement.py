"""Running one measurement: its steps one after the other, each in a process of its own, in a fresh directory.

The processes end by themselves, or are ended when they take too long: each has a process group of its own, which goes
with it. Nothing is left on the disk.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from . import interruption
from .contender import Contender
from .scenario import Job, Scenario
from .worker import MARK

ROOT = Path(__file__).resolve().parent.parent
_running: set[subprocess.Popen[str]] = set()


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
    printed: list[dict[str, float]] = []
    with scratch_in(directory) as scratch:
        place = os.path.join(scratch, "queue")
        os.mkdir(place, 0o700)
        for step in range(len(entry.scenario.steps_of(entry.contender))):
            job = Job(entry.scenario.name, entry.contender.name, entry.level, place, entry.operations, step)
            printed += _printed(run("bench.worker", json.dumps(job._asdict()), cwd=scratch, patience=patience))
    if not printed:
        raise Failed("it ended before there was a number")
    return {name: value for values in printed for name, value in values.items()}


def scratch_in(directory: Path) -> TemporaryDirectory[str]:
    """For one measurement. What can't be removed at once, as an ended process still writes, goes with `directory`."""
    return TemporaryDirectory(prefix="pqadapters-bench-", dir=directory, ignore_cleanup_errors=True)


def run(module: str, *arguments: str, cwd: str, patience: float) -> str:
    """What a child process prints. Raises Failed; an end by SIGKILL is for the child to choose."""
    done = ended([sys.executable, "-m", module, *arguments], cwd=cwd, patience=patience)
    if done.returncode not in (0, -signal.SIGKILL) or (done.returncode and not done.stdout):
        raise Failed(last_words(done))
    return done.stdout


def ended(command: Sequence[str], *, cwd: str, patience: float) -> subprocess.CompletedProcess[str]:
    """The command, which has ended. Raises Failed when it has to be ended; its children are then, too."""
    with started(command, cwd=cwd, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            raise Failed(f"took longer than {patience:g} seconds") from None
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextmanager
def started(command: Sequence[str], *, cwd: str, stdin: int, stderr: int) -> Iterator[subprocess.Popen[str]]:
    """A process with a group of its own, which ends with this at the latest."""
    process = None
    try:
        with interruption.held():
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment(),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                errors="replace",  # whatever a contender prints
                start_new_session=True,
            )
            _running.add(process)
        yield process
    finally:
        if process is not None:
            end_with_children(process)
            with process:  # which waits for it
                _running.discard(process)


def end_all() -> None:
    """What any thread has started, and waits for."""
    for process in list(_running):
        end_with_children(process)


def end_with_children(process: subprocess.Popen[str]) -> None:
    """SIGKILL for all in the process group that it leads, unless it has ended by itself."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Why it failed."""
    return (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]


def _printed(text: str) -> list[dict[str, float]]:
    return [json.loads(line[len(MARK) :]) for line in text.splitlines() if line.startswith(MARK)]
