"""Every crash state of a mapping in a database: it is what it was before the step that broke off, or after it."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.states import Snapshot, State, cut_writes, distinct
from tests.sqlite.traced import Trace, put, trace

from .steps import STEPS, open_mapping, states

STATES = states()
PROGRAM = "import sys; from tests.mappings.steps import main; main(*sys.argv[1:])"


@pytest.fixture(scope="module", params=["pdict", "shelf"])
def traced(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Trace]:
    directory = tmp_path_factory.mktemp("traced") / "store"
    directory.mkdir()
    found = trace(PROGRAM, directory, request.param, "power")
    assert len(found.marks) == 2 * len(STEPS)
    return request.param, found


def _moments(found: Trace) -> Iterator[tuple[int, list[int]]]:
    """How many actions there were by a moment, and after which steps the mapping may be."""
    for count in range(len(found.actions) + 1):
        words = [text.split() for at, text in found.marks if at <= count]
        done = sum(word == "end" for word, _ in words)
        begun = sum(word == "begin" for word, _ in words)
        yield count, [done] if begun == done else [done, done + 1]


def _check(directory: Path, kind: str, state: State, may_be: list[int]) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    put(directory, state)
    if "d.db" not in state:
        assert 0 in may_be
        return
    with open_mapping(kind, str(directory / "d.db")) as d:
        found = list(d.items())
        assert found in [STATES[number] for number in may_be]
        assert len(d) == len(found)
        assert [d[key] for key, _ in found] == [value for _, value in found]
        with d.edit("probe", []) as value:  # it goes on, and no lock was left behind
            value.append(1)
        assert d["probe"] == [1]
        assert list(d)[-1] == "probe"


def test_sigkill(traced: tuple[str, Trace], in_memory: Path) -> None:
    kind, found = traced
    rng, disk = random.Random(1), found  # type: Any, Any
    for count, may_be in _moments(found):
        for state in (Snapshot(disk, count).killed(), *cut_writes(disk, count, rng)):
            _check(in_memory / "store", kind, state, may_be)


def test_power_cut(traced: tuple[str, Trace], in_memory: Path) -> None:
    kind, found = traced
    rng, disk = random.Random(2), found  # type: Any, Any
    seen = defaultdict[Any, set[int]](set)
    for count, may_be in _moments(found):
        for state in distinct(Snapshot(disk, count).power_cut(rng, samples=3), seen[tuple(may_be)]):
            _check(in_memory / "store", kind, state, may_be)
