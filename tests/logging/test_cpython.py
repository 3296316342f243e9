"""CPython's own tests, with only the classes swapped: see bound.py. They come from the running interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .sinks import PATIENCE

pytest.importorskip("test.test_logging", reason="this interpreter lacks CPython's test package")


@pytest.mark.parametrize(("case", "least"), [("QueueHandlerTest", 5), ("QueueListenerTest", 3), ("ConfigDictTest", 30)])
def test_theirs(case: str, least: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.logging.bound", case], capture_output=True, text=True, timeout=4 * PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-2]) >= least
