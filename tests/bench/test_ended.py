"""What takes too long is ended with all its children, and so nothing is left to write to the disk."""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path
from time import monotonic

import pytest

from bench.measurement import Failed, ended
from bench.observed import _kill_when_it_holds

CHILD = """
import fcntl, os, sys, time
file = open("lock", "w")
fcntl.flock(file, fcntl.LOCK_EX)
if not os.fork():  # it holds the lock, too
    time.sleep(60)
print("held by both", flush=True)
time.sleep(60)
"""
PATIENCE = (2, 10, 60)  #: seconds: on a busy machine the child hasn't begun by the first


def is_free(lock: Path) -> bool:
    """Once all who held it have ended."""
    begun = monotonic()
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    return monotonic() - begun < 20


def test_a_measurement(tmp_path: Path) -> None:
    for patience in PATIENCE:
        with pytest.raises(Failed, match=f"took longer than {patience} seconds"):
            ended([sys.executable, "-c", CHILD], cwd=str(tmp_path), patience=patience)
        if (tmp_path / "lock").exists():
            break
    assert is_free(tmp_path / "lock")


def test_a_queue_that_never_says_that_it_holds_an_item(tmp_path: Path) -> None:
    for patience in PATIENCE:
        if said := _kill_when_it_holds([sys.executable, "-c", CHILD], str(tmp_path), patience):
            break
    assert said == ["held by both\n"]
    assert is_free(tmp_path / "lock")
