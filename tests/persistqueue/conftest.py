"""Places for the queues of a test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A directory that isn't there yet, as persist-queue's classes take it."""
    return str(tmp_path / "mypath")
