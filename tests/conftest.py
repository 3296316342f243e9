"""What every test stands on: no environment variable of the developer's steers it, and nothing is judged by time."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tools.in_memory import PLACE, has_room

_TESTS = 300  #: between two times that what they have left is put aside

settings.register_profile("pqadapters", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pqadapters")


def pytest_configure() -> None:
    """CI never skips CPython's own tests for want of them: Debian keeps them in a package apart."""
    if os.environ.get("CI") == "true" and not _has_cpythons_tests():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise pytest.UsageError(
            f"{sys.executable} lacks CPython's test package; on Debian: apt-get install libpython{version}-testsuite"
        )
    for name in [name for name in os.environ if name.startswith("PQADAPTERS_")]:
        del os.environ[name]


def pytest_collection_finish() -> None:
    """Who collects garbage, as hundreds of tests do, goes through what tests have made, and not each time through all
    that was imported, and collected, for eleven thousand of them."""
    gc.collect()
    gc.freeze()


_ended = itertools.count(1)


def pytest_runtest_logfinish() -> None:
    """The same of what the tests until now have left."""
    if next(_ended) % _TESTS == 0:
        gc.collect()
        gc.freeze()


def _has_cpythons_tests() -> bool:
    try:
        return importlib.util.find_spec("test.test_queue") is not None
    except ImportError:
        return False


@pytest.fixture(autouse=True)
def nobody_knows_the_application() -> Iterator[None]:
    """A process finds out once which application it belongs to, and whether that has a home: here each test anew."""
    yield
    module: Any = sys.modules.get("pqadapters.home.application")
    if module is not None:
        module._known = None


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """For states of a disk that are built by the hundred, and looked at: a directory whose syncs cost nothing, where
    there is room for one."""
    if not has_room(PLACE):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="pqadapters-", dir=PLACE) as directory:
        yield Path(directory)


@pytest.fixture
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A filesystem of its own, of as many bytes as the test's module has for its CAPACITY."""
    mount = tmp_path / "small"
    mount.mkdir()
    options = f"size={request.module.CAPACITY}"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"can't mount a small filesystem here: {made.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)
