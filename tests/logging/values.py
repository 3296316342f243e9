"""Values to store in log records."""

from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from datetime import timedelta, timezone
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

Point = namedtuple("Point", "x y")


class Color(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Opaque:
    def __repr__(self) -> str:
        return "<an Opaque>"

    def __str__(self) -> str:
        return "opaque"


class Hostile:
    def __repr__(self) -> str:
        raise ValueError("no")


ZONES = [None, timezone.utc, timezone(timedelta(hours=2)), timezone(timedelta(seconds=-90), "odd"), ZoneInfo("UTC")]
hashable = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(st.characters()),
    st.text("$\ud800\udc00ab", max_size=3),
    st.binary(),
    st.complex_numbers(),
    st.dates(),
    st.datetimes(timezones=st.sampled_from(ZONES)),
    st.times(timezones=st.sampled_from(ZONES[:4])),
    st.timedeltas(),
    st.decimals().filter(lambda value: not value.is_snan()),  # those can't be hashed
    st.uuids(),
    st.sampled_from([Path("a/b"), PurePosixPath("/x"), PureWindowsPath("c:\\x"), timezone.utc, "$tuple", "$dict"]),
)


def _nested(*more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        hashable | st.binary().map(bytearray),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(hashable, inner, max_size=4),
            st.dictionaries(st.sampled_from(["$tuple", "$dict", "$", "a", ""]), inner, max_size=2),
            st.dictionaries(hashable, inner, max_size=3).map(OrderedDict),
            *more,
        ),
        max_leaves=12,
    )


values = _nested(st.sets(hashable, max_size=3), st.frozensets(hashable, max_size=3))
#: Those that print the same wherever they are made; a set's order may be any.
ordered_values = _nested()
