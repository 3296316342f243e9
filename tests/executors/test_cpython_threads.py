"""CPython's own tests of thread pools, bound at run time to our class."""

from __future__ import annotations

from typing import Any

import pytest

from . import cpython

pytestmark = [
    pytest.mark.usefixtures("one_home"),
    pytest.mark.filterwarnings("ignore::pqadapters.errors.NotDurableWarning", "ignore::DeprecationWarning"),
]


_CASES: dict[str, Any] = {
    name: case for name, case in cpython.cases(cpython.modules()).items() if name.startswith("ThreadPool")
}
_BOUND = {f"Test{name}": case for name, case in _CASES.items()}  # the name that pickle finds it by
globals().update({name: type(name, (case,), {"__module__": __name__}) for name, case in _BOUND.items()})


def test_there_are_many() -> None:
    """Nothing was lost on the way from CPython to here."""
    tests = {(name, each) for name, case in _CASES.items() for each in dir(case) if each.startswith("test")}
    assert len(tests) >= 40
