"""Any sequence of what a mapping can do, side by side with a dict: same results, same order, same errors."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pqadapters import PDict

from .places import PLACES

_keys = st.sampled_from(["a", "b", 1, "1", True, 1.0, 2.5, None, (1, "a"), (True, "a"), b"a", "", frozenset({1})])
_values = st.integers(0, 5) | st.lists(st.integers(0, 3), max_size=2) | st.sampled_from(["x", None, "y" * 3000])


class Drop(Exception):
    pass


class Machine(RuleBasedStateMachine):
    place: str

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="pqadapters-machine-"))
        self.d: PDict[Any, Any] = PDict(name="d", **PLACES[self.place](self.directory))
        self.model: dict[Any, Any] = {}
        self.blocks: list[tuple[ExitStack, dict[Any, Any]]] = []

    def teardown(self) -> None:
        while self.blocks:
            self.leave(False)
        self.check()
        self.d.close()
        shutil.rmtree(self.directory)

    def both(self, call: Callable[[Any], Any]) -> None:
        outcomes = []
        for each in (self.d, self.model):
            try:
                outcomes.append(call(each))
            except (KeyError, TypeError) as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]

    @rule(key=_keys, value=_values)
    def set(self, key: Any, value: Any) -> None:
        self.both(lambda d: d.__setitem__(key, value))

    @rule(key=_keys)
    def delete(self, key: Any) -> None:
        self.both(lambda d: d.__delitem__(key))

    @rule(key=_keys, default=st.booleans())
    def pop(self, key: Any, default: bool) -> None:
        self.both(lambda d: d.pop(key, 7) if default else d.pop(key))

    @rule(key=_keys, value=_values)
    def setdefault(self, key: Any, value: Any) -> None:
        self.both(lambda d: d.setdefault(key, value))

    @rule()
    def popitem(self) -> None:
        self.both(lambda d: d.popitem())

    @rule(pairs=st.lists(st.tuples(_keys, _values), max_size=5))
    def update(self, pairs: list[tuple[Any, Any]]) -> None:
        self.both(lambda d: d.update(pairs))

    @rule(pairs=st.lists(st.tuples(_keys, _values), max_size=3))
    def combine(self, pairs: list[tuple[Any, Any]]) -> None:
        self.both(lambda d: [*(d | dict(pairs)).items()] == [*(dict(pairs) | d).items()])

    @precondition(lambda self: len(self.model) > 5)
    @rule()
    def clear(self) -> None:
        self.both(lambda d: d.clear())

    @rule(keys=st.lists(_keys, max_size=4))
    def look(self, keys: list[Any]) -> None:
        self.both(lambda d: [(key in d, d.get(key), d.get(key, 9)) for key in keys])
        assert self.d.get_many(keys) == {key: self.model[key] for key in keys if key in self.model}

    @rule(key=_keys, value=_values)
    def edit(self, key: Any, value: Any) -> None:
        if not isinstance(self.model.get(key, []), list):
            return
        with self.d.edit(key, []) as found:
            found.append(value)
        self.model[key] = [*self.model.get(key, []), value]

    @precondition(lambda self: len(self.blocks) < 2)
    @rule()
    def enter(self) -> None:
        stack = ExitStack()
        stack.enter_context(self.d.batch())
        self.blocks.append((stack, dict(self.model)))

    @precondition(lambda self: self.blocks)
    @rule(drop=st.booleans())
    def leave(self, drop: bool) -> None:
        stack, before = self.blocks.pop()
        if drop:
            with pytest.raises(Drop), stack:
                raise Drop
            self.model = before
        else:
            stack.close()

    @precondition(lambda self: not self.blocks and self.place != "memory")
    @rule()
    def reopen(self) -> None:
        self.d.close()
        self.d = PDict(name="d", **PLACES[self.place](self.directory))

    @invariant()
    def check(self) -> None:
        assert list(self.d.items()) == list(self.model.items())
        assert list(reversed(self.d)) == list(reversed(self.model))
        assert len(self.d) == len(self.model)


_SETTINGS = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize("place", list(PLACES))
def test_a_mapping_does_what_a_dict_does(place: str) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    kind = type(f"{place.title()}Machine", (Machine,), {"place": place})
    run_state_machine_as_test(kind, settings=_SETTINGS)
