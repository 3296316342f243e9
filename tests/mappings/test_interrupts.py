"""An interrupt (Ctrl-C, a signal handler that raises) at every line, and at the beginning of every function.

Whatever it hits: the step has happened or it hasn't, no batch stays open into which later changes would vanish, and no
lock is left behind.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import pqadapters.stdlib
from pqadapters import PDict
from pqadapters.stdlib import shelve

from .conftest import Maker

_HERE, _ALL = tuple(pqadapters.stdlib.__path__), tuple(pqadapters.__path__)


class Interrupt(BaseException):
    pass


class Tracer:
    """Raises at the nth line, or call, of the adapters; or at the nth call of anything of ours, where the handler of a
    signal may really run. What is raised in a finalizer, or a generator that is dropped, goes to nobody."""

    def __init__(self, nth: int, *, calls: bool = False) -> None:
        self.left = nth
        self.calls = calls

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        name, files = frame.f_code.co_name, _ALL if self.calls else _HERE
        to_nobody = name in ("__del__", "_abandon") or frame.f_code.co_flags & inspect.CO_GENERATOR
        if to_nobody or not frame.f_code.co_filename.startswith(files):
            return None
        if event == "call" or (event == "line" and not self.calls):
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


@pytest.mark.parametrize(
    ("step", "keeps"), [*((step, False) for step in STEPS), *((step, True) for step in ("edit", "batch", "nested"))]
)
def test_a_step_is_interrupted_anywhere_down_to_the_disk(place: dict[str, Any], step: str, keeps: bool) -> None:
    """And what is there then is there again when the store is opened the next time. Who keeps the exception keeps its
    traceback, and whatever the frames in it hold."""
    kept: list[BaseException] = []
    call, after = STEPS[step]
    persistent = isinstance(place["store"], str)
    d: PDict[Any, Any] = PDict(name="d", **place)
    nth, finished = 0, False
    while not finished:
        nth += 1
        d.clear()
        d.update(BEFORE)
        kept.clear()
        finished = _interrupted(call, d, nth, calls=True, keep=kept.append if keeps else None)
        assert bool(kept) is (keeps and not finished)
        found = d.copy()
        assert found in ((after,) if finished else (BEFORE, after)), f"interrupted at {nth}"
        d["probe"] = nth
        if persistent:
            d.close()
            d = PDict(name="d", **place)
        assert d.copy() == {**found, "probe": nth}, f"interrupted at {nth}"
        with d.edit("a", [], timeout=10):
            pass
        assert d.store.depth("edit/dict/d").claimed == 0
    assert nth > 5
    d.close()


@pytest.mark.parametrize("step", ["update", "clear", "edit"])
def test_what_writeback_holds_goes_with_an_interrupted_step(tmp_path: Path, step: str) -> None:
    """What was set stood beside an older value of the cache, which the next sync() stored: half of an update."""
    call, after = STEPS[step]
    nth, finished = 0, False
    with shelve.open(str(tmp_path / "s"), writeback=True, durability="process") as shelf:
        while not finished:
            nth += 1
            shelf.clear()
            shelf.update(deepcopy(BEFORE))
            finished = _interrupted(call, shelf, nth)
            shelf.sync()
            found = dict(shelf)
            assert found in ((after,) if finished else (BEFORE, after)), f"interrupted at {nth}"
            shelf.cache.clear()
            assert dict(shelf) == found, f"interrupted at {nth}"
    assert nth > 5


class _Alarm(Exception):
    """What many a handler of SIGALRM raises: no BaseException."""


class _Alarming:
    """A signal comes the nth time that it is pickled."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def __reduce__(self) -> Any:
        self.left -= 1
        if not self.left:
            raise _Alarm
        return _Alarming, (0,)


def test_what_a_signal_handler_raises_is_no_fault_of_what_is_just_serialised(make: Maker) -> None:
    """It was a NotSerializable, which the handler's caller didn't wait for."""
    d = make()
    with pytest.raises(_Alarm):
        d["a"] = _Alarming(1)
    with pytest.raises(_Alarm):
        d[_Alarming(2)] = 1  # first it is looked at
    assert not d.copy()


def _interrupted(
    call: Callable[[Any], Any],
    d: Any,
    nth: int,
    *,
    calls: bool = False,
    keep: Callable[[BaseException], None] | None = None,
) -> bool:
    """Whether it came to its end before the interrupt."""
    before = sys.gettrace()
    sys.settrace(Tracer(nth, calls=calls))
    try:
        call(d)
    except Interrupt as error:
        if keep is not None:
            keep(error)
        return False
    finally:
        sys.settrace(before)
    return True
