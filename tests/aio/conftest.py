"""Asyncio queues on stores that one process holds, and that several share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["segment", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of its own, at durability "process"."""
    if request.param == "segment":
        return f"file://{tmp_path}/q?durability=process"
    return f"sqlite:///{tmp_path}/q.db?durability=process"
