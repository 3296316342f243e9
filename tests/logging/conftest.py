"""Who stops a listener has waited for what it delivers, however slow the machine is."""

from __future__ import annotations

import pytest

from pqadapters.logging._delivery import listener

from .sinks import PATIENCE


@pytest.fixture(autouse=True)
def time_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here: programs of their own have the five seconds that all have."""
    monkeypatch.setattr(listener, "_STOP", PATIENCE)
