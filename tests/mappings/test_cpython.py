"""CPython's own tests of `shelve` and of mappings, bound at run time to our classes; only the class is swapped.

They come from the running interpreter, so each of the four brings its own.
"""

from __future__ import annotations

import dbm
import itertools
import os
import shutil
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.stdlib import shelve as durable

from .places import PLACES

theirs = pytest.importorskip("test.test_shelve", reason="this interpreter lacks CPython's test package")
mapping_tests = pytest.importorskip("test.mapping_tests", reason="this interpreter lacks CPython's test package")

#: Our deviations from a dict, each with its reason. They must fail: a repair must be noticed.
DEVIATIONS = {
    "test_getitem": "its keys are instances of classes inside a function, which can't be serialised",
    "test_pop": "its keys are instances of classes inside a function, which can't be serialised",
    "test_setdefault": "values are copies: what is appended to a default that was set isn't stored; see edit()",
    "test_eq": "its keys are instances of classes inside a function, which can't be serialised",
    "test_repr": "its values are instances of classes inside a function, which can't be serialised; a mapping that "
    "holds itself can't, either",
    "test_copy": "copy() is a dict in memory, not another mapping on disk",
    "test_repr_deep": "values that are nested so deeply can't be pickled",
}


def _at(case: Any, place: str) -> dict[str, Any]:
    directory = tempfile.mkdtemp(prefix="pq-")
    case.addCleanup(shutil.rmtree, directory, ignore_errors=True)
    return PLACES[place](Path(directory))


# shelve


def _opener(case: Any, place: str) -> Callable[..., Any]:
    """`shelve.open` with a place for each name; a plain file for "file"."""
    known: dict[str, dict[str, Any]] = {}

    def open_one(filename: Any, *args: Any, **options: Any) -> Any:
        if place != "file":
            options |= known.setdefault(os.fsdecode(filename), _at(case, place))
        return durable.open(filename, *args, **options)

    return open_one


class _Case(unittest.TestCase):
    place: str

    @pytest.fixture(autouse=True)
    def _swap(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        names = {name: getattr(durable, name) for name in durable.__all__}
        monkeypatch.setattr(theirs, "shelve", SimpleNamespace(**{**names, "open": _opener(self, self.place)}))


for _place in ("file", *PLACES):
    globals()[f"TestShelve{_place.title()}"] = type(
        f"TestShelve{_place.title()}", (_Case, theirs.TestCase), {"place": _place}
    )


def _shelf(case: Any, place: str, flags: dict[str, Any]) -> Any:
    options = dict(flags)
    directory = tempfile.mkdtemp(prefix="pq-")
    case.addCleanup(shutil.rmtree, directory, ignore_errors=True)
    where = {} if place == "file" else PLACES[place](Path(directory))
    shelf = durable.open(os.path.join(directory, "shelf"), **where, **options)
    case.addCleanup(shelf.close)
    return shelf


class _Protocol:
    """`mapping_tests.BasicTestMappingProtocol` as CPython binds it for shelves."""

    place: str
    flags: dict[str, Any]
    type2test = None

    def _reference(self) -> dict[str, Any]:
        return {"key1": "value1", "key2": 2, "key3": (1, 2, 3)}

    def _empty_mapping(self) -> Any:
        return _shelf(self, self.place, self.flags)


_FLAGS = [{"protocol": protocol, "writeback": back} for protocol in (0, 1, 2) for back in (False, True)]
for _place, _flags in itertools.product(("file", *PLACES), _FLAGS):
    _name = f"TestMapping{_place.title()}Protocol{_flags['protocol']}{'Writeback' * bool(_flags['writeback'])}"
    globals()[_name] = type(
        _name, (_Protocol, mapping_tests.BasicTestMappingProtocol), {"place": _place, "flags": _flags}
    )


# PDict


def _pdict(case: Any, place: str) -> Any:
    """The class with a fresh place for each mapping, and dict's arguments."""

    class Bound(PDict[Any, Any]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(name="d", **_at(case, place))
            case.addCleanup(self.close)
            self.update(*args, **more)

    return Bound


def _marked(test: Any, mark: Any) -> Any:
    def run(self: Any) -> None:
        test(self)

    return mark(run)


def _case(place: str, protocol: str) -> Any:
    body: dict[str, Any] = {"type2test": property(lambda self: _pdict(self, place))}
    case = type(f"TestPDict{place.title()}{protocol}", (getattr(mapping_tests, f"Test{protocol}"),), body)
    deviations = DEVIATIONS if protocol == "HashMappingProtocol" else {"test_copy", "test_setdefault"}
    for test in deviations:
        if hasattr(case, test):
            setattr(case, test, _marked(getattr(case, test), pytest.mark.xfail(reason=DEVIATIONS[test], strict=True)))
    return case


for _place, _protocol in itertools.product(PLACES, ("MappingProtocol", "HashMappingProtocol")):
    globals()[f"TestPDict{_place.title()}{_protocol}"] = _case(_place, _protocol)


def test_nothing_of_cpythons_is_left_out() -> None:
    ours = {name for each in list(globals().values()) if isinstance(each, type) for name in dir(each)}
    cpythons = {name for name in dir(theirs.TestCase) if name.startswith("test")}
    assert cpythons <= ours
    assert {name for name in dir(mapping_tests.TestHashMappingProtocol) if name.startswith("test")} <= ours


def test_a_shelf_is_the_standard_librarys() -> None:
    import shelve

    assert issubclass(durable.DbfilenameShelf, shelve.DbfilenameShelf)
    assert issubclass(durable.BsdDbShelf, shelve.BsdDbShelf)
    assert issubclass(durable.ShelfError, dbm.error[0])
