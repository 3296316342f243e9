"""Whatever call the standard library's classes take, those of the same names here take, by position and by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_type_hints

import pytest

_PLACES = {
    "queue": "pqadapters.stdlib.queue",
    "asyncio": "pqadapters.stdlib.asyncio",
    "shelve": "pqadapters.stdlib.shelve",
    "multiprocessing": "pqadapters.stdlib.multiprocessing",
    "multiprocessing.queues": "pqadapters.stdlib.multiprocessing.queues",
    "logging.handlers": "pqadapters.logging.handlers",
    "concurrent.futures": "pqadapters.concurrent.futures",
}
_Parameter = inspect.Parameter
_BY_PLACE = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)
_BY_NAME = (_Parameter.POSITIONAL_OR_KEYWORD, _Parameter.KEYWORD_ONLY)


def _pairs() -> Iterator[Any]:
    for theirs, ours in _PLACES.items():
        here, there = import_module(ours), import_module(theirs)
        for name, mine in sorted(vars(here).items()):
            original = getattr(there, name, mine)
            if not name.startswith("_") and callable(original) and original is not mine:
                yield pytest.param(original, mine, id=f"{theirs}.{name}")


def _calls(original: Any, mine: Any) -> Iterator[tuple[Any, Any]]:
    if not inspect.isclass(original):
        yield original, mine
        return
    for name in dir(original):
        if not name.startswith("_"):
            yield getattr(original, name), getattr(mine, name)
    yield original, mine


def _parameters(call: Any) -> list[_Parameter] | None:
    try:
        return list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):  # no function; one in C that doesn't tell
        return None


def _misses(theirs: list[_Parameter], ours: list[_Parameter]) -> list[str]:
    """What of their parameters can't be given here, and what must be given here that needn't there."""
    places = [each.name for each in ours if each.kind in _BY_PLACE]
    names = {each.name: each for each in ours if each.kind in _BY_NAME}
    kinds = {each.kind for each in ours}
    wrong = []
    for place, each in enumerate(each for each in theirs if each.name != "loop"):  # which Python 3.10 refuses
        optional, here = each.default is not each.empty, names.get(each.name)
        if each.kind in _BY_PLACE and place >= len(places) and _Parameter.VAR_POSITIONAL not in kinds:
            wrong.append(f"{each} by position")
        if each.kind in _BY_NAME and here is None and _Parameter.VAR_KEYWORD not in kinds:
            wrong.append(f"{each} by name")
        if each.kind is _Parameter.POSITIONAL_OR_KEYWORD and here is not None and places.index(here.name) != place:
            wrong.append(f"{each} in its place")
        if optional and here is not None and here.default is here.empty:
            wrong.append(f"{each} left out")
    known = {each.name for each in theirs}
    needed = [each for each in ours[len(theirs) :] if each.default is each.empty and each.name not in known]
    return wrong + [f"{each} is needed" for each in needed if each.kind in (*_BY_PLACE, _Parameter.KEYWORD_ONLY)]


@pytest.mark.parametrize(("original", "mine"), list(_pairs()))
def test_each_call_is_taken(original: Any, mine: Any) -> None:
    """`shelf.pop(key, default=None)` was a TypeError: its default could be given by position alone."""
    wrong = {}
    for theirs, ours in _calls(original, mine):
        their_parameters, our_parameters = _parameters(theirs), _parameters(ours)
        if their_parameters is not None and our_parameters is not None:
            misses = _misses(their_parameters, our_parameters)
            if misses:
                wrong[getattr(theirs, "__qualname__", theirs)] = misses
    assert not wrong


@pytest.mark.parametrize("module", ["pqadapters", "pqadapters.stdlib", "pqadapters.persistqueue", *_PLACES.values()])
def test_annotations_can_be_evaluated(module: str) -> None:
    """`finish_on_sigterm` named classes that its module hadn't imported."""
    here = import_module(module)
    given = [getattr(here, name) for name in here.__all__]
    for each in [each for each in given if getattr(each, "__module__", "").startswith("pqadapters")]:
        get_type_hints(each)
        for _, method in inspect.getmembers(each, inspect.isfunction):
            if not method.__name__.startswith("_") and method.__module__.startswith("pqadapters"):
                get_type_hints(method)
