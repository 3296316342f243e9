"""The four serializers, and values that each of them gives back as they were."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import strategies as st

from pqadapters.serializers import NAMES, Serializer, serializer

each = pytest.mark.parametrize("name", NAMES)
with_library = pytest.mark.parametrize("name", ["msgpack", "cbor2"])

scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20)
)
#: What all four know; lists and tuples aside, which only pickle tells apart.
shared_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


def chosen(name: str) -> Serializer:
    """The serializer; the test is skipped where its library isn't installed."""
    if name in ("msgpack", "cbor2"):
        pytest.importorskip(name)
    return serializer(name)


def errors(name: str) -> tuple[type[Exception], ...]:
    """What the format's library raises for values and bytes that it can't take."""
    found: list[Any] = []
    if name == "pickle":
        found = [pickle.PicklingError, pickle.UnpicklingError]
    elif name == "cbor2":
        found = [pytest.importorskip("cbor2").CBORError]
    return (TypeError, ValueError, EOFError, AttributeError, RecursionError, *found)


def with_lists(value: Any) -> Any:
    """The value as a format brings it back that has one kind of sequence."""
    if isinstance(value, dict):
        return {key: with_lists(part) for key, part in value.items()}
    return [with_lists(part) for part in value] if isinstance(value, (list, tuple)) else value
