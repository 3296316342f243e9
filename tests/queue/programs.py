"""Programs that use queues without a name or path, each run in a process of its own with a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from .background import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
_HEAD = """
import os, signal, sys, threading
from pqadapters.stdlib.queue import *

def crash():
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Done(NamedTuple):
    """What a program wrote."""

    out: str
    err: str


def run(program: str, home: Path, *, status: int = 0, **variables: str) -> Done:
    """Run the program; queues that two programs make at their top are made in the same place."""
    return _run("-c", _HEAD + textwrap.dedent(program), home, status, variables)


def run_script(script: Path, home: Path, *, status: int = 0, **variables: str) -> Done:
    """Run a program that is a file, as multiprocessing needs it."""
    return _run(str(script), "", home, status, variables)


def _run(what: str, argument: str, home: Path, status: int, variables: dict[str, str]) -> Done:
    done = subprocess.run(
        # 3.12 warns of every fork beside threads, which is what is tested here.
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", what, argument],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PQADAPTERS_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return Done(done.stdout.strip(), done.stderr)
