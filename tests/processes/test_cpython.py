"""CPython's own tests of queues between processes, bound at run time to our classes; only the class is swapped.

They come from the running interpreter, so each of the four brings its own; and they run under every start method.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.stdlib import multiprocessing as durable
from tests.home.world import begin_anew

theirs = pytest.importorskip("test._test_multiprocessing", reason="this interpreter lacks CPython's test package")

#: Our deviations from the standard library, each with its reason. They must fail: a repair must be noticed.
DEVIATIONS = {
    "test_queue_feeder_donot_stop_onexc": "put() itself refuses what can't be serialised: to print a traceback and go "
    "on as if it were stored would be a lie",
}


class _Module(SimpleNamespace):
    """`multiprocessing` with our queues, for the tests' module."""

    def __getattr__(self, name: str) -> Any:
        return getattr(durable, name)


def _case(theirs_case: Any, method: str, name: str) -> Any:
    def set_up(self: Any) -> None:
        home = tempfile.mkdtemp(prefix="pq-")
        self.addCleanup(shutil.rmtree, home, ignore_errors=True)
        patch = pytest.MonkeyPatch()
        self.addCleanup(patch.undo)
        begin_anew(patch, Path(home))
        patch.setattr(theirs, "multiprocessing", _Module())
        before = multiprocessing.get_start_method(allow_none=True)
        multiprocessing.set_start_method(method, force=True)
        self.addCleanup(multiprocessing.set_start_method, before, force=True)

    bases = (theirs_case, unittest.TestCase) if not issubclass(theirs_case, unittest.TestCase) else (theirs_case,)
    body = {
        "TYPE": "processes",
        "setUp": set_up,
        "__module__": __name__,
        "__qualname__": name,
        **{kind: staticmethod(getattr(durable, kind)) for kind in ("Queue", "JoinableQueue", "Event")},
        "Process": durable.Process,
    }
    case = type(name, bases, body)
    for test, reason in DEVIATIONS.items():
        if hasattr(case, test):
            setattr(case, test, pytest.mark.xfail(reason=reason, strict=True)(getattr(case, test)))
    return case


for _method in multiprocessing.get_all_start_methods():
    for _theirs in (theirs._TestQueue, theirs.TestSimpleQueue):
        _name = f"Test{_method.capitalize()}{_theirs.__name__.removeprefix('_Test').removeprefix('Test')}"
        globals()[_name] = _case(_theirs, _method, _name)


def test_the_tests_are_theirs_and_run_on_ours() -> None:
    for name in ("TestForkQueue", "TestSpawnQueue", "TestForkserverSimpleQueue"):
        case = globals()[name]
        assert case.Queue is durable.Queue
        assert len(unittest.defaultTestLoader.getTestCaseNames(case)) >= 3
