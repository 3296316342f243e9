"""The one fixture of the store contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .maker import Maker
from .stores import KINDS


@pytest.fixture(params=list(KINDS))
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    """Opens handles on a fresh store; every contract test runs on every kind of store through it."""
    with Maker(KINDS[request.param](tmp_path / "store")) as maker:
        yield maker
