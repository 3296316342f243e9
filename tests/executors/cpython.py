"""Finding CPython's own tests of `concurrent.futures`, and binding them to our classes, at run time.

They come from the running interpreter, or where that lacks them from an installed one, an older one if there is. Their
directory stands at the end of `sys.path`, so that the children of process pools find them as well.
"""

from __future__ import annotations

import concurrent.futures
import glob
import importlib
import os
import re
import signal
import subprocess
import sys
import unittest
from contextlib import suppress
from types import ModuleType
from typing import Any

import pytest

import pqadapters.concurrent.futures as durable

NAME = "test_concurrent_futures"
PARTS = ["test_as_completed", "test_deadlock", "test_init", "test_process_pool"]
PARTS += ["test_shutdown", "test_thread_pool", "test_wait"]


def directory() -> str:
    """The `test` directory of an interpreter that has them; "" where there is none."""
    roots = [os.path.dirname(os.__file__), "/usr/lib/python3*", os.path.join(sys.base_prefix, "../*/lib/python3*")]
    found = {os.path.realpath(each) for root in roots for each in glob.glob(os.path.join(root, "test", f"{NAME}*"))}
    usable = [each for each in found if os.path.basename(each) in (NAME, f"{NAME}.py") and _version(each) >= (3, 10)]
    return os.path.dirname(min(usable, key=_distance, default=""))


def _version(path: str) -> tuple[int, int]:
    match = re.search(r"python(\d+)\.(\d+)/test/", path)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _distance(path: str) -> tuple[bool, int]:
    steps = _version(path)[1] - sys.version_info.minor
    return steps > 0, abs(steps)


class Swapped:
    """`concurrent.futures` with our executors in it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(durable if name.endswith("PoolExecutor") else concurrent.futures, name)


def modules() -> list[ModuleType]:
    """CPython's test modules, over our classes. Skips where no interpreter has them."""
    place = directory()
    if not place:
        pytest.skip("no interpreter here has CPython's tests of concurrent.futures", allow_module_level=True)
    if place not in sys.path:
        sys.path.append(place)
    if _version(f"{place}/") > sys.version_info[:2]:
        _lend_what_newer_ones_have()
    whole = importlib.import_module(NAME)
    parts = [importlib.import_module(f"{NAME}.{part}") for part in PARTS] if hasattr(whole, "__path__") else [whole]
    shared = [importlib.import_module(f"{NAME}.{each}") for each in ("util", "executor")] if len(parts) > 1 else []
    for module in (*parts, *shared):
        _bind(module, place)
    return parts


def _bind(module: Any, place: str) -> None:
    module.futures = Swapped()
    for value in list(vars(module).values()):
        kind = getattr(value, "__dict__", {}).get("executor_type") if isinstance(value, type) else None
        if kind is not None:
            value.executor_type = getattr(durable, kind.__name__)
    if hasattr(module, "assert_python_ok"):
        run = script_helper().assert_python_ok  # the module's own may be ours already: several tests bind it
        module.assert_python_ok = lambda flag, script: run(flag, _rewritten(script, place), **_environment())


def script_helper() -> Any:
    return importlib.import_module("test.support.script_helper")


def _rewritten(script: str, place: str) -> str:
    """A program that imports CPython's classes and tests, with ours, and with the tests where they are."""
    script = script.replace("from concurrent.futures import", "from pqadapters.concurrent.futures import")
    script = script.replace(f"from test.{NAME}", f"from {NAME}")
    return f"import sys; sys.path += [{os.getcwd()!r}, {place!r}]\n" + script


def _environment() -> dict[str, Any]:
    """A home of its own: with xdist we are a program of "python -c", too, and it would tell of what tests have left."""
    home = os.path.join(os.environ["PQADAPTERS_HOME"], "of-programs")
    os.makedirs(home, mode=0o700, exist_ok=True)
    return {"PQADAPTERS_HOME": home, "__isolated": False}


def _lend_what_newer_ones_have() -> None:
    """What tests of another version look for in `test.support` and `os`, and these lack, or have otherwise."""
    from test import support

    lent: dict[str, Any] = {
        "requires_gil_enabled": lambda reason: lambda test: test,
        "Py_GIL_DISABLED": False,
        "skip_if_sanitizer": lambda *reason, **which: lambda test: test,
        "check_sanitizer": lambda **which: False,
        "requires_fork": lambda: unittest.skipUnless(hasattr(os, "fork"), "requires fork"),
    }
    for name, value in lent.items():
        setattr(support, name, value)
    if not hasattr(os, "process_cpu_count"):
        setattr(os, "process_cpu_count", os.cpu_count)  # noqa: B010  # mypy knows it from 3.13 on


def cases(parts: list[ModuleType]) -> dict[str, Any]:
    """Their test cases by name, but for those of `Future`, which isn't ours."""
    found: dict[str, Any] = {}
    for module in parts:
        for name, value in vars(module).items():
            if name.startswith(("ThreadPool", "ProcessPool")) and issubclass(value, unittest.TestCase):
                found[name] = value
    return found


#: They hang now and then with the standard library's own classes, before its gh-125451 was repaired; so did ours. What
#: our pool does in place of a call that can't be pickled may be done before the next one: then it needs fewer workers.
HANGING = ("test_shutdown_deadlock_pickle", "test_processes_terminate")
_TRIES = (12.0, 12.0, 12.0, 12.0, 20.0, 20.0, 25.0)  #: seconds; all of them within the 120 that a test has
_ALONE = "PYTEST_OF_ONE_CPYTHON_TEST"


def alone(case: Any, file: str) -> None:
    """Run each of these tests of a case in a process of its own, and again if it hangs or fails there."""
    for test in HANGING:
        if hasattr(case, test) and _ALONE not in os.environ:
            setattr(case, test, _in_a_process(f"{file}::{case.__name__}::{test}"))


def _in_a_process(name: str) -> Any:
    def run(self: Any) -> None:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", name]
        said = b"it hung each time"
        for seconds in _TRIES:
            child = subprocess.Popen(
                command,
                env={**os.environ, _ALONE: "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                said, _ = child.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                continue
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if child.returncode == 0:
                return
        raise AssertionError(said.decode())

    return run
