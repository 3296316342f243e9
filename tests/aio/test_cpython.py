"""CPython's own tests of asyncio's queues, bound at run time to our classes; only the class is swapped.

They come from the running interpreter, so each of the four brings its own.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import unittest
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.stdlib import asyncio as durable

theirs = pytest.importorskip("test.test_asyncio.test_queues", reason="this interpreter lacks CPython's test package")

#: Our deviations from the standard library, each with its reason. They must fail: a repair must be noticed.
DEVIATIONS: dict[str, str] = {}


def _segment(case: Any) -> dict[str, Any]:
    directory = tempfile.mkdtemp(prefix="pq-")
    case.addCleanup(shutil.rmtree, directory, ignore_errors=True)
    return {"path": directory}


def _sqlite(case: Any) -> dict[str, Any]:
    return {"store": f"sqlite:///{_segment(case)['path']}/queue.db?durability=process"}


PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {"Segment": _segment, "Sqlite": _sqlite}
KINDS = ("Queue", "LifoQueue", "PriorityQueue")


def _bound(kind: Any, case: Any, place: Callable[[Any], dict[str, Any]]) -> Any:
    """The class under its own name, with a fresh place for each queue."""

    def construct(self: Any, *args: Any, **options: Any) -> None:
        kind.__init__(self, *args, **options, **place(case))
        case.addCleanup(self.close)

    return type(kind.__name__, (kind,), {"__init__": construct, "__module__": kind.__module__})


class _Asyncio:
    """`asyncio` with our queues, for the tests' module."""

    def __init__(self, case: Any, place: Callable[[Any], dict[str, Any]]) -> None:
        self._real: Any = theirs.asyncio
        self._ours = {name: _bound(getattr(durable, name), case, place) for name in KINDS}
        self._ours["QueueShutDown"] = durable.QueueShutDown

    def __getattr__(self, name: str) -> Any:
        return self._ours.get(name) or getattr(self._real, name)


def _case(theirs_case: Any, place: str) -> Any:
    def set_up(self: Any) -> None:
        real = theirs.asyncio
        theirs.asyncio = _Asyncio(self, PLACES[place])
        self.addCleanup(setattr, theirs, "asyncio", real)
        kind = getattr(theirs_case, "q_class", None)
        if kind is not None:
            self.q_class = getattr(theirs.asyncio, kind.__name__)
        self.addCleanup(gc.collect)
        theirs_case.setUp(self)

    case = type(f"Test{place}{theirs_case.__name__}", (theirs_case,), {"setUp": set_up})
    for test, reason in DEVIATIONS.items():
        if hasattr(case, test):
            setattr(case, test, pytest.mark.xfail(reason=reason, strict=True)(getattr(case, test)))
    return case


THEIRS = [
    each
    for each in vars(theirs).values()
    if isinstance(each, type)
    and issubclass(each, unittest.TestCase)
    and any(name.startswith("test") for name in dir(each))
]
for _place in PLACES:
    for _theirs in THEIRS:
        globals()[f"Test{_place}{_theirs.__name__}"] = _case(_theirs, _place)


def test_all_of_them_are_here() -> None:
    assert len(THEIRS) >= 8
    assert SimpleNamespace(**vars(durable)).QueueEmpty is theirs.asyncio.QueueEmpty
