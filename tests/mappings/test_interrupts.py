"""An interrupt (Ctrl-C, a signal handler that raises) at every line, and at the beginning of every function.

Whatever it hits: the step has happened or it hasn't, no batch stays open into which later changes would vanish, and no
lock is left behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import pqadapters.stdlib
from pqadapters import PDict

from .conftest import Maker

_HERE = tuple(pqadapters.stdlib.__path__)


class Interrupt(BaseException):
    pass


class Tracer:
    """Raises at the nth line, or call, of the adapters."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if not frame.f_code.co_filename.startswith(_HERE) or frame.f_code.co_name == "__del__":
            return None
        if event in ("line", "call"):
            self.left -= 1
            if not self.left:
                raise Interrupt
        return self


def _set(d: Any) -> None:
    d["a"] = [2]


def _edit(d: Any) -> None:
    with d.edit("a") as value:
        value.append(2)
        d["b"] = 2


def _batch(d: Any) -> None:
    with d.batch():
        d["a"] = [2]
        d["b"] = 2


def _nested(d: Any) -> None:
    with d.batch():
        d["b"] = 2
        with d.edit("a") as value:
            value.append(2)
        with d.batch():
            del d["c"]


STEPS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "set": (_set, {"a": [2], "c": 3}),
    "pop": (lambda d: d.pop("a"), {"c": 3}),
    "popitem": (lambda d: d.popitem(), {"a": [1]}),
    "setdefault": (lambda d: d.setdefault("b", 2), {"a": [1], "b": 2, "c": 3}),
    "update": (lambda d: d.update(a=[2], b=2), {"a": [2], "b": 2, "c": 3}),
    "expire": (lambda d: d.set("a", [2], expire=1000), {"a": [2], "c": 3}),
    "clear": (lambda d: d.clear(), {}),
    "edit": (_edit, {"a": [1, 2], "b": 2, "c": 3}),
    "batch": (_batch, {"a": [2], "b": 2, "c": 3}),
    "nested": (_nested, {"a": [1, 2], "b": 2}),
}
BEFORE = {"a": [1], "c": 3}


@pytest.mark.parametrize("step", list(STEPS))
def test_a_step_is_interrupted_anywhere(make: Maker, step: str) -> None:
    d, other = make(), make()
    call, after = STEPS[step]
    nth, finished = 0, False
    while not finished:
        nth += 1
        d.clear()
        d.update(BEFORE)
        finished = _interrupted(call, d, nth)
        found = other.copy()
        assert found in ((after,) if finished else (BEFORE, after)), f"interrupted at {nth}"
        d["probe"] = nth
        assert other.pop("probe") == nth, f"a batch is still open: interrupted at {nth}"
        with other.edit("a", [], timeout=10):
            pass
        with d.edit("a", timeout=10), d.edit("c", 0, timeout=10):
            pass
    assert nth > 5


def _interrupted(call: Callable[[Any], Any], d: PDict[Any, Any], nth: int) -> bool:
    """Whether it came to its end before the interrupt."""
    before = sys.gettrace()
    sys.settrace(Tracer(nth))
    try:
        call(d)
    except Interrupt:
        return False
    finally:
        sys.settrace(before)
    return True
