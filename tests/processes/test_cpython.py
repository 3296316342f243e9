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
    "test_mixed_startmethod": "a queue that was made for fork has no lock that a spawned process can't have: it is "
    "taken there, where the standard library raises RuntimeError",
}

#: Those of other classes that use queues between processes.
BESIDE = {
    "_TestProcess": (
        "test_args_argument",
        "test_process",
        "test_process_mainthread_native_id",
        "test_close",
        "test_lose_target_ref",
    ),
    "_TestBarrier": ("test_wait_return",),
    "TestStdinBadfiledescriptor": ("test_queue_in_process",),
    "TestStartMethod": ("test_mixed_startmethod", "test_nested_startmethod"),
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
        super(case, self).setUp()

    mixed = (theirs_case, theirs.ProcessesMixin, unittest.TestCase)
    bases = mixed if not issubclass(theirs_case, unittest.TestCase) else (theirs_case,)
    body = {
        "setUp": set_up,
        "__module__": __name__,
        "__qualname__": name,
        **{kind: staticmethod(getattr(durable, kind)) for kind in ("Queue", "JoinableQueue")},
        "Process": durable.Process,
    }
    case: Any = type(name, bases, body)
    for test, reason in DEVIATIONS.items():
        if hasattr(case, test):
            setattr(case, test, pytest.mark.xfail(reason=reason, strict=True)(getattr(case, test)))
    return case


def _only(case: Any, tests: tuple[str, ...]) -> Any:
    """The case without its tests that have nothing to do with queues."""
    for test in unittest.defaultTestLoader.getTestCaseNames(case):
        if test not in tests:
            setattr(case, test, None)
    return case


for _method in multiprocessing.get_all_start_methods():
    for _theirs in (theirs._TestQueue, theirs.TestSimpleQueue):
        _name = f"Test{_method.capitalize()}{_theirs.__name__.removeprefix('_Test').removeprefix('Test')}"
        globals()[_name] = _case(_theirs, _method, _name)
    for _beside, _tests in BESIDE.items():
        if _beside == "TestStartMethod" and _method != "spawn":  # where it skips itself
            continue
        _name = f"Test{_method.capitalize()}{_beside.removeprefix('_Test').removeprefix('Test')}"
        globals()[_name] = _only(_case(getattr(theirs, _beside), _method, _name), _tests)


def test_the_tests_are_theirs_and_run_on_ours() -> None:
    for name in ("TestForkQueue", "TestSpawnQueue", "TestForkserverSimpleQueue"):
        case = globals()[name]
        assert case.Queue is durable.Queue
        assert len(unittest.defaultTestLoader.getTestCaseNames(case)) >= 3
