"""CPython's own tests, with only the classes swapped: see bound.py. They come from the running interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .sinks import PATIENCE

pytest.importorskip("test.test_logging", reason="this interpreter lacks CPython's test package")

CASES = [("QueueHandlerTest", 5), ("QueueListenerTest", 3), ("QueueListenerTest ours", 3), ("ConfigDictTest", 30)]


@pytest.mark.parametrize(("case", "least"), CASES)
def test_theirs(case: str, least: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.logging.bound", *case.split()],
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        env={**os.environ, "PQADAPTERS_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-2]) >= least
