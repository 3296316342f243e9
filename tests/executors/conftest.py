"""Executors on each kind of store, and gates that are shut again for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import ThreadPoolExecutor
from pqadapters.concurrent.futures._backlog import suspects

from . import work

Make = Callable[..., ThreadPoolExecutor]


@pytest.fixture(autouse=True)
def shut_gates() -> Iterator[None]:
    for each in (work.GATES, work.ENTERED, work.DONE):
        each.clear()
    suspects.begin_again()  # in others' tests one may be running still
    yield
    for gate in work.GATES.values():
        gate.set()


@pytest.fixture(scope="module")
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one test leaves (jobs that end their worker, for instance) is found by the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PQADAPTERS_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("PQADAPTERS_DURABILITY", "process")
        yield


@pytest.fixture(params=["segment", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Arguments for an executor; the same ones find the same jobs."""
    if request.param == "segment":
        return {"path": tmp_path / "jobs", "durability": "process"}
    return {"store": f"sqlite:///{tmp_path}/jobs.db?durability=process"}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a database that processes share."""
    return f"sqlite:///{tmp_path}/jobs.db?durability=process"


@pytest.fixture
def make(place: dict[str, Any]) -> Iterator[Make]:
    """Makes executors at the place; what is still open at the end is shut down."""
    made: list[ThreadPoolExecutor] = []

    def new(workers: int = 1, **more: Any) -> ThreadPoolExecutor:
        made.append(ThreadPoolExecutor(workers, **place, **more))
        return made[-1]

    yield new
    for gate in work.GATES.values():
        gate.set()
    for executor in made:
        executor.shutdown(drain=False)
