"""What the pickle serializer makes by itself is what a pickler makes."""

from __future__ import annotations

import pickle
import pickletools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqadapters.serializers.pickle import PROTOCOL, SIMPLE, dumps, loads


class _Name(str):
    pass


@pytest.mark.parametrize("size", [*range(300), 65535, 65536])
def test_a_text_of_any_length(size: int) -> None:
    text = "x" * size
    assert dumps(text) == pickle.dumps(text, PROTOCOL)
    assert loads(dumps(text)) == text


@given(text=st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_text(text: str) -> None:
    assert dumps(text) == pickle.dumps(text, PROTOCOL)


@pytest.mark.parametrize("value", [_Name("x"), b"x", 1, None, ["x"]])
def test_what_is_no_text(value: Any) -> None:
    assert dumps(value) == pickle.dumps(value, PROTOCOL)
    assert type(loads(dumps(value))) is type(value)


@pytest.mark.parametrize("protocol", [-1, *range(pickle.HIGHEST_PROTOCOL + 1)])
def test_another_protocol(protocol: int) -> None:
    for text in ("", "x", "x" * 255, "x" * 256):
        assert dumps(text, protocol=protocol) == pickle.dumps(text, protocol)


@pytest.mark.parametrize("value", ["", "\0\ud800", b"", b"\0", 0, -(1 << 70), 1 << 3000, float("-inf"), False, True])
def test_what_is_simple_loads_anywhere_and_begins_with_no_zero(value: Any) -> None:
    assert type(value) in SIMPLE
    payload = dumps(value)
    assert payload >= b"\1"
    assert not {"GLOBAL", "STACK_GLOBAL", "REDUCE"} & {opcode.name for opcode, _, _ in pickletools.genops(payload)}
    assert loads(payload) == value


def test_sorted_keys_leave_out_what_tells_parts_apart() -> None:
    assert dumps("x", sort_keys=True) != dumps("x")
    assert loads(dumps("x", sort_keys=True)) == "x"
