"""Asyncio queues on stores that one process holds, and that several share; in asyncio's own loop, and in uvloop's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from .running import Loop


@pytest.fixture(params=["segment", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of its own, at durability "process"."""
    if request.param == "segment":
        return f"file://{tmp_path}/q?durability=process"
    return f"sqlite:///{tmp_path}/q.db?durability=process"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    found: Loop = request.param
    return found
