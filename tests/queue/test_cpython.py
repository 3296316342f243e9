"""CPython's own tests of `queue`, bound at run time to our classes; only the class is swapped.

They come from the running interpreter, so each of the four brings its own. Where its `test` package is missing, CI
fails (tests/conftest.py), and elsewhere these tests are skipped.
"""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.stdlib import queue as durable
from pqadapters.stores.memory import MemoryStore
from tests.home.world import begin_anew

theirs = pytest.importorskip("test.test_queue", reason="this interpreter lacks CPython's test package")

#: Our deviations from the standard library, each with its reason. They must fail: a repair must be noticed.
DEVIATIONS = {
    "test_references": "items are copies: an instance of a class inside a function can't be serialised at all",
}
#: The reference model looks at every record in each call: these tests' thousands of records would take it an hour.
TOO_MANY_FOR_THE_MODEL = {  # it counts all for each who joins, and sorts all for another order
    ("QueueTest", "test_shutdown_immediate_all_methods_in_many_threads"),
    *product(
        ("LifoQueueTest", "PriorityQueueTest"),
        ("test_shutdown_all_methods_in_many_threads", "test_shutdown_immediate_all_methods_in_many_threads"),
    ),
}


def _on_disk(case: Any) -> dict[str, Any]:
    directory = tempfile.mkdtemp(prefix="pq-")
    case.addCleanup(shutil.rmtree, directory)
    return {"path": directory, "durability": "process"}


def _in_a_database(case: Any) -> dict[str, Any]:
    directory = _on_disk(case)["path"]
    return {"store": f"sqlite:///{directory}/queue.db?durability=process"}


def _in_memory(case: Any) -> dict[str, Any]:
    return {"store": MemoryStore()}


@pytest.fixture(scope="module", autouse=True)
def one_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What one test leaves may be found by the next."""
    with pytest.MonkeyPatch.context() as patch:
        begin_anew(patch, tmp_path_factory.mktemp("home"))
        patch.setenv("PQADAPTERS_DURABILITY", "process")
        yield


PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Home": lambda case: {},
    "Segment": _on_disk,
    "Sqlite": _in_a_database,
    "Memory": _in_memory,
}


def _bound(kind: Any, case: Any, place: Callable[[Any], dict[str, Any]]) -> Any:
    """The class under its own name, with a fresh place for each queue."""

    def construct(self: Any, *args: Any) -> None:
        kind.__init__(self, *args, **place(case))
        case.addCleanup(self.close)

    return type(kind.__name__, (kind,), {"__init__": construct, "__module__": kind.__module__})


def _namespace(case: Any, place: Callable[[Any], dict[str, Any]]) -> SimpleNamespace:
    kinds = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")
    bound = {name: _bound(getattr(durable, name), case, place) for name in kinds}
    return SimpleNamespace(Empty=durable.Empty, Full=durable.Full, ShutDown=durable.ShutDown, **bound)


def _simple_setup(self: Any) -> None:
    self.type2test = self.queue.SimpleQueue
    theirs.BaseSimpleQueueTest.setUp(self)
    _collect_before_closing(self)


def _collect_before_closing(case: Any) -> None:
    """Objects whose finalizers put into the queue go before that queue is closed."""
    case.addCleanup(gc.collect)


def _case(name: str, mixin: Any, place: str) -> Any:
    body: dict[str, Any] = {"queue": property(lambda self: self.__dict__.setdefault("_ours", _ours(self)))}

    def _ours(self: Any) -> SimpleNamespace:
        return _namespace(self, PLACES[place])

    if mixin is theirs.BaseSimpleQueueTest:
        body["setUp"] = _simple_setup
        body["test_reentrancy"] = _unless_others_collect(theirs.CSimpleQueueTest.test_reentrancy)
    case = type(f"{place}{name}", (mixin, unittest.TestCase), body)
    for test in [each for each in dir(case) if each.startswith("test")]:
        if place == "Memory" and (name, test) in TOO_MANY_FOR_THE_MODEL:
            setattr(case, test, _marked(getattr(case, test), pytest.mark.skip("too many items for the model")))
        elif test in DEVIATIONS:
            setattr(case, test, _marked(getattr(case, test), pytest.mark.xfail(reason=DEVIATIONS[test], strict=True)))
    return case


def _unless_others_collect(test: Any) -> Any:
    """Its finalizers put in the middle of a put, of the same thread. Where a store's own thread happens to run one,
    that is a put beside another one, whose order nobody knows: then the test begins anew."""

    def run(self: Any) -> None:
        others: list[str] = []

        def note(phase: str, info: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                others.append(threading.current_thread().name)

        gc.callbacks.append(note)
        self.addCleanup(gc.callbacks.remove, note)
        for _ in range(20):
            others.clear()
            try:
                test(self)
                return
            except AssertionError:
                if not others:
                    raise
                gc.collect()
                self.q = self.type2test()
                _collect_before_closing(self)
        self.fail(f"other threads collect all the time: {others}")

    return run


def _marked(test: Any, mark: Any) -> Any:
    """The test with a mark of its own: CPython's function isn't to be changed for others."""

    def run(self: Any) -> None:
        test(self)

    return mark(run)


MIXINS = {
    "QueueTest": theirs.QueueTest,
    "LifoQueueTest": theirs.LifoQueueTest,
    "PriorityQueueTest": theirs.PriorityQueueTest,
    "FailingQueueTest": theirs.FailingQueueTest,
    "SimpleQueueTest": theirs.BaseSimpleQueueTest,
}
for _place in PLACES:
    for _name, _mixin in MIXINS.items():
        globals()[f"Test{_place}{_name}"] = _case(_name, _mixin, _place)


def test_nothing_of_cpythons_is_left_out() -> None:
    """Each test method of the interpreter's own queue tests runs here, over our classes."""
    ours = {name for case in _cases() for name in dir(case) if name.startswith("test")}
    cpythons = {
        name
        for case in vars(theirs).values()
        if isinstance(case, type) and issubclass(case, unittest.TestCase)
        for name in dir(case)
        if name.startswith("test")
    }
    assert cpythons - ours == {"test_is_default"}  # whether `SimpleQueue` is the C one


def _cases() -> list[Any]:
    return [each for name, each in globals().items() if name.startswith("Test") and isinstance(each, type)]


def test_the_exceptions_are_the_standard_librarys() -> None:
    import queue

    assert durable.Empty is queue.Empty
    assert durable.Full is queue.Full
    if sys.version_info >= (3, 13):
        assert durable.ShutDown is queue.ShutDown


@pytest.mark.filterwarnings("ignore::pqadapters.errors.NotDurableWarning")
@pytest.mark.parametrize("where", ["Home", "Segment"])
def test_a_simple_queue_loses_its_references_to_objects_that_it_keeps_in_memory(where: str) -> None:
    """As `run` makes them. They are nobody's to be given again, and no task_done() will say that they are done."""
    case: Any = unittest.TestCase()
    with durable.SimpleQueue[Any](volatile="warn", **PLACES[where](case)) as case.q:
        theirs.BaseSimpleQueueTest.test_references(case)
        assert (case.q.stats()["unfinished"], case.q.stats()["held"]) == (0, 0)
    case.doCleanups()
