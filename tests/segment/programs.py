"""Programs in other processes: they run a piece of code, say a word when they get there, and wait to go on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0


def run(code: str, *arguments: object) -> str:
    """What the code prints."""
    done = subprocess.run(_command(code, arguments), capture_output=True, text=True, timeout=PATIENCE, env=_env())
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def running(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The code in a process of its own, killed at the end of the block if it still runs."""
    child = subprocess.Popen(
        _command(code, arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_env()
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def said(child: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def go_on(child: subprocess.Popen[str]) -> None:
    """What it waits for."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def forked(child: Callable[[], object]) -> int:
    """The exit status of a forked child that makes the call: 0 if it returns something true."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if child() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _command(code: str, arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
