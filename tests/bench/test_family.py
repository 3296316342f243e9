"""A process and its child: where one of them fails, both end, with the reason."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bench.contender import Handle, Level, itself, nothing
from bench.contenders import OUR_FAMILY, contenders
from bench.scenario import Job
from bench.scenarios import scenarios
from bench.scenarios.family import put_and_get


def fails(*arguments: object) -> Any:
    raise OSError("it is broken")


@pytest.mark.parametrize(
    ("put", "get", "reason"),
    [
        (fails, Event().wait, "it is broken"),
        (nothing, fails, "the child has failed: OSError: it is broken"),
    ],
)
def test_one_that_fails_ends_both(
    put: Callable[[Any], object], get: Callable[[], Any], reason: str, tmp_path: Path
) -> None:
    handle = Handle(put, get, get, nothing, itself, lambda: None)
    contender = contenders()[OUR_FAMILY]._replace(open=lambda directory, level: handle)
    job = Job("family-1-1", OUR_FAMILY, Level.PROCESS.value, str(tmp_path), 10)
    with pytest.raises((OSError, RuntimeError), match=reason):
        put_and_get(scenarios()["family-1-1"], contender, job, nothing)
    for child in multiprocessing.active_children():
        child.join(60)
    assert multiprocessing.active_children() == []
