"""Contexts and start methods, and the other modules: the standard library's."""

from __future__ import annotations

import multiprocessing as stdlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from pqadapters.stdlib import multiprocessing
from pqadapters.stdlib.multiprocessing import JoinableQueue, Queue, SimpleQueue

from .harness import METHODS

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def start_method() -> Iterator[None]:
    before = stdlib.get_start_method(allow_none=True)
    yield
    stdlib.set_start_method(before, force=True)


@pytest.mark.usefixtures("start_method")
def test_the_start_method_is_the_standard_librarys() -> None:
    for method in METHODS:
        multiprocessing.set_start_method(method, force=True)
        assert multiprocessing.get_start_method() == stdlib.get_start_method() == method
        assert multiprocessing.get_context().get_start_method() == method
        stdlib.set_start_method("spawn", force=True)
        assert multiprocessing.get_context().get_start_method() == "spawn"


@pytest.mark.parametrize("method", METHODS)
def test_a_context_gives_durable_queues(method: str) -> None:
    context = multiprocessing.get_context(method)
    assert context.get_start_method() == method
    assert type(context.Queue()) is Queue
    assert type(context.JoinableQueue(3)) is JoinableQueue
    assert type(context.SimpleQueue()) is SimpleQueue
    assert context.get_context("spawn") is multiprocessing.get_context("spawn")
    assert isinstance(context, type(stdlib.get_context(method)))
    with pytest.raises(ValueError, match="cannot find context"):
        context.get_context("teleport")
    with pytest.raises(ValueError, match="cannot find context"):
        multiprocessing.get_context("teleport")


def test_the_other_modules_are_the_standard_librarys() -> None:
    """They need no import of their own, which would bind the name `multiprocessing` to the standard library's again."""
    program = """
from pqadapters.stdlib import multiprocessing
print(multiprocessing.pool.ThreadPool.__module__, hasattr(multiprocessing, "nothing"), hasattr(multiprocessing, "_no"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "multiprocessing.pool False False\n"


def test_a_start_method_of_a_librarys_own_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """loky has one: joblib failed with a KeyError."""

    class Loky(stdlib.context.SpawnContext):
        _name = "loky"

    loky: Any = Loky()
    monkeypatch.setitem(stdlib.context._concrete_contexts, "loky", loky)  # type: ignore[attr-defined]
    assert multiprocessing.get_context("loky") is loky


def test_the_module_of_contexts_has_what_the_standard_librarys_has() -> None:
    """`multiprocessing.context.BaseContext`, or `TimeoutError` there, was an AttributeError."""
    import multiprocessing.context as stdlib

    from pqadapters.stdlib import multiprocessing as ours

    for name in ("BaseContext", "Process", "TimeoutError", "assert_spawning", "reduction"):
        assert getattr(ours.context, name) is getattr(stdlib, name)
    assert isinstance(ours.get_context("spawn"), ours.context.BaseContext)


@pytest.mark.usefixtures("home")
def test_the_most_that_a_contexts_queue_takes(context: Any) -> None:
    for make in (context.Queue, context.JoinableQueue):
        q = make(1)
        q.put(1)
        assert q.full()
