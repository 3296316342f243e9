"""The place that makes a queue: the same on every interpreter, and whoever makes it is left as it is."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest

from pqadapters.home.places import made_in

HERE = __name__
KNOWS_NESTED = sys.version_info >= (3, 11)
T = TypeVar("T")


class Queue(Generic[T]):
    """Stands for one of ours: its own constructor is no frame outside us."""

    def __init__(self, *arguments: object) -> None:
        self.place = made_in(self)


at_module_level = Queue[int]()
(in_a_comprehension,) = [Queue[int]() for _ in range(1)]
in_a_lambda: Callable[[], Queue[int]] = lambda: Queue()  # noqa: E731


class Body:
    queue = Queue[int]()
    queues = [Queue[int]() for _ in range(1)]  # noqa: RUF012

    class Inner:
        queue = Queue[int]()


def test_code_of_the_module() -> None:
    assert at_module_level.place == in_a_comprehension.place == HERE


def test_a_function_and_its_comprehensions() -> None:
    name = f"{HERE}.test_a_function_and_its_comprehensions"
    assert Queue[int]().place == name
    assert [made.place for made in [Queue[int]() for _ in range(2)]] == [name, name]
    assert {made.place for made in {Queue[int]() for _ in range(2)}} == {name}
    assert {key: made.place for key, made in {1: Queue[int]()}.items()} == {1: name}
    (nested,) = [[Queue[int]() for _ in range(1)] for _ in range(1)]
    assert nested[0].place == name


def test_a_class_body() -> None:
    assert Body.queue.place == Body.queues[0].place == f"{HERE}.Body"
    assert Body.Inner.queue.place == f"{HERE}.Body.Inner"

    class Local:
        queue = Queue[int]()

    assert Local.queue.place == f"{HERE}.test_a_class_body.<locals>.Local"


def test_lambdas_and_generators_are_places() -> None:
    assert in_a_lambda().place == f"{HERE}.<lambda>"
    (made,) = (Queue[int]() for _ in range(1))
    nested = "test_lambdas_and_generators_are_places.<locals>." if KNOWS_NESTED else ""
    assert made.place == f"{HERE}.{nested}<genexpr>"
    anonymous: Callable[[], Queue[int]] = lambda: Queue()  # noqa: E731
    assert anonymous().place == f"{HERE}.{nested}<lambda>"


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


class Meta(type):
    def made_by_the_class(cls) -> Queue[int]:
        return Queue()


class Methods(metaclass=Meta):
    def method(self) -> Queue[int]:
        return Queue()

    @classmethod
    def class_method(cls) -> Queue[int]:
        return Queue()

    @staticmethod
    def static_method() -> Queue[int]:
        return Queue()

    @property
    def value(self) -> Queue[int]:
        return Queue()

    @functools.cached_property
    def cached(self) -> Queue[int]:
        return Queue()

    @functools.lru_cache  # noqa: B019
    def remembered(self) -> Queue[int]:
        return Queue()

    @wrapped
    def decorated(self) -> Queue[int]:
        return Queue()

    def __private(self) -> Queue[int]:
        return Queue()

    def not_its_first_argument_but_a_cell(self) -> Queue[int]:
        made: Queue[int] = Queue()
        assert (lambda: self)() is self
        return made

    def private(self) -> Queue[int]:
        return self.__private()

    class Inner:
        def method(self) -> Queue[int]:
            return Queue()


class Sub(Methods):
    pass


def test_methods_have_the_name_of_the_class_that_defines_them() -> None:
    one = Sub()
    assert one.method().place == f"{HERE}.Methods.method"
    assert Sub.class_method().place == f"{HERE}.Methods.class_method"
    assert one.value.place == f"{HERE}.Methods.value"
    assert one.cached.place == f"{HERE}.Methods.cached"
    assert one.remembered().place == f"{HERE}.Methods.remembered"
    assert one.decorated().place == f"{HERE}.Methods.decorated"
    assert one.private().place == f"{HERE}.Methods.__private"
    assert one.not_its_first_argument_but_a_cell().place == f"{HERE}.Methods.not_its_first_argument_but_a_cell"
    assert Sub.made_by_the_class().place == f"{HERE}.Meta.made_by_the_class"
    assert Sub.Inner().method().place == f"{HERE}.Methods.Inner.method"


def test_what_is_known_of_a_static_method() -> None:
    assert Methods.static_method().place == f"{HERE}.{'Methods.' if KNOWS_NESTED else ''}static_method"


@dataclasses.dataclass
class Job:
    queue: Queue[int] = dataclasses.field(default_factory=Queue)


def test_a_dataclass() -> None:
    @dataclasses.dataclass(frozen=True)
    class Local:
        queue: Queue[int] = dataclasses.field(default_factory=Queue)

    assert Job().queue.place == f"{HERE}.Job.__init__"
    assert Local().queue.place == f"{HERE}.test_a_dataclass.<locals>.Local.__init__"


def test_code_with_bare_globals_is_told_by_its_class_or_by_who_ran_it() -> None:
    name = f"{HERE}.test_code_with_bare_globals_is_told_by_its_class_or_by_who_ran_it"
    bare: dict[str, Any] = {"Queue": Queue}
    exec("made = Queue()\ndef __init__(self):\n    self.queue = Queue()\n", bare)
    assert bare["made"].place == name

    class Generated:  # as attrs makes its constructors
        queue: Queue[int]

    bare["__init__"].__qualname__ = "Generated.__init__"
    bare["__init__"].__module__ = "models"
    Generated.__init__ = bare["__init__"]  # type: ignore[method-assign]
    assert Generated().queue.place == "models.Generated.__init__"


# What is passed over


class Plain(Queue[T]):
    pass


class Deep(Plain[T]):
    def __init__(self, *arguments: object, key: int = 0) -> None:
        self.begin()

    def begin(self) -> None:
        super().__init__()


class Wrapped(Queue[T]):
    @wrapped
    def __init__(self) -> None:
        super().__init__()


class Variadic(Queue[T]):
    def __init__(*arguments: Any, key: int = 0) -> None:
        Queue.__init__(*arguments)


class ByNew(Queue[T]):
    def __new__(cls) -> Any:
        made = object.__new__(cls)
        Queue.__init__(made)
        return made

    def __init__(self) -> None:
        pass


class CountingMeta(type):
    def __call__(cls, *arguments: Any) -> Any:
        return super().__call__(*arguments)


class Counted(Queue[T], metaclass=CountingMeta):
    pass


@pytest.mark.parametrize("kind", [Plain, Deep, Wrapped, Variadic, ByNew, Counted])
def test_constructors_of_subclasses_are_passed_over(kind: Callable[[], Queue[int]]) -> None:
    assert kind().place == f"{HERE}.test_constructors_of_subclasses_are_passed_over"


class Family(Queue[T]):
    def another(self) -> Queue[T]:
        return Family()

    @classmethod
    def create(cls) -> Queue[T]:
        return cls()


def test_a_queue_that_another_queue_makes() -> None:
    assert Family[int]().another().place == f"{HERE}.Family.another"
    assert Family[int].create().place == f"{HERE}.Family.create"


def run_as(module: str, file: str, source: str) -> dict[str, Any]:
    namespace = {"__name__": module, "Queue": Queue}
    exec(compile(source, file, "exec"), namespace)
    return namespace


def test_pqadapters_and_the_standard_library_are_passed_over() -> None:
    name = f"{HERE}.run_as"  # what runs that code
    for module in ("pqadapters", "pqadapters.stdlib.queue", "threading", "concurrent.futures.thread"):
        assert run_as(module, "<frozen code>", "made = Queue()")["made"].place == name
    file = os.path.join(os.path.dirname(os.__file__), "code.py")
    assert run_as("code", file, "made = Queue()")["made"].place == name


class CalledByTheStandardLibrary:
    queue: Any = functools.cached_property(Queue)


def test_whoever_makes_the_standard_library_call_is_the_place() -> None:
    name = f"{HERE}.test_whoever_makes_the_standard_library_call_is_the_place"
    assert CalledByTheStandardLibrary().queue.place == name


def test_a_users_module_with_a_name_of_the_standard_librarys(tmp_path: Path) -> None:
    file = str(tmp_path / "code.py")
    assert run_as("code", file, "made = Queue()")["made"].place == "code"
    assert run_as("pqadapters_plugin", file, "made = Queue()")["made"].place == "pqadapters_plugin"


def test_the_main_module_of_a_child_is_that_of_its_parent() -> None:
    assert run_as("__mp_main__", "main.py", "made = Queue()")["made"].place == "__main__"
    main = run_as("__main__", "main.py", "def main():\n    return Queue()\n")["main"]
    assert main().place == "__main__.main"


def test_nobodys_code() -> None:
    places_seen: list[str] = []

    class Recording(Queue[int]):
        def __init__(self) -> None:
            super().__init__()
            places_seen.append(self.place)

    thread = threading.Thread(target=Recording)
    thread.start()
    thread.join()
    assert places_seen == ["?"]


# What it leaves alone


def test_nothing_in_the_callers_frame_is_kept() -> None:
    def caller(times: int) -> None:
        made = Queue[int]()
        for _ in range(times):
            earlier = weakref.ref(made)
            made = Queue[int]()
            assert earlier() is None  # the assignment was its end, with no help of the collector's

    caller(3)


def test_the_callers_variables_stay() -> None:
    def caller(one: int, two: int) -> tuple[int, int, dict[str, Any]]:
        before = locals()
        Queue[int]()
        assert before["one"] == 1
        return one, two, locals()

    one, two, variables = caller(1, 2)
    assert (one, two, variables["one"], variables["two"]) == (1, 2, 1, 2)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="exec has no memory of its own in functions from 3.13 on")
def test_what_exec_has_set_in_a_function_stays() -> None:
    def caller(one: int) -> Any:
        exec("secret = 42")
        Queue[int]()
        return eval("secret")

    assert caller(1) == 42


def test_no_frame_is_kept() -> None:
    def caller(argument: int) -> weakref.ref[Methods]:
        variable = Methods()
        Queue[int]()
        return weakref.ref(variable)

    gc.disable()
    try:
        assert caller(1)() is None
    finally:
        gc.enable()


def test_a_function_goes_by_its_own_name() -> None:
    make = run_as("m", "m.py", "def make():\n    return Queue()\nmake.__qualname__ = 'factory'\n")["make"]
    assert make().place == "m.factory"


class Proxy:
    """As web frameworks have them: whatever is asked of it outside a request raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_arguments_are_not_asked_anything() -> None:
    def handle(request: Any) -> Queue[int]:
        return Queue()

    assert handle(Proxy()).place.endswith("handle")


class Oddities:
    proxy = Proxy()

    def endless(self) -> Queue[int]:
        return Queue()

    def hidden(self) -> Queue[int]:
        return Queue()


endless = Oddities.endless
endless.__wrapped__ = endless  # type: ignore[attr-defined]
found_by_its_code = Oddities.hidden
del Oddities.hidden


def test_odd_attributes_do_no_harm() -> None:
    assert found_by_its_code(Oddities()).place == f"{HERE}.Oddities.hidden"
    assert Oddities().endless().place == f"{HERE}.Oddities.endless"
