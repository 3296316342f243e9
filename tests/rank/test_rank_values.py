"""Everything but numbers: text, bytes, times, and what holds them; and where a rank stops."""

from __future__ import annotations

import enum
import functools
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqadapters.rank import rank

offsets = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)
texts = st.one_of(st.text(), st.text(alphabet="\x00\x01a\ud7ff\ud800\udfff\ue000\uffff\U0010ffff"))
blobs = st.one_of(st.binary(), st.lists(st.sampled_from([0, 1, 254, 255])).map(bytes))
FAMILIES: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "bytes": st.one_of(blobs, blobs.map(bytearray)),
    "dates": st.dates(),
    "naive datetimes": st.datetimes(),
    "aware datetimes": st.datetimes(timezones=offsets),
    "close aware datetimes": st.datetimes(datetime(1, 1, 1), datetime(1, 1, 3), timezones=offsets),
    "times": st.times(),
    "timedeltas": st.timedeltas(),
    "ints": st.integers(),
}
#: Pairs of comparable values: tuples and lists of one shape in their elements, of any length.
families = st.sampled_from(list(FAMILIES.values()))
pairs = families.flatmap(lambda values: st.tuples(values, values))
nested = st.recursive(
    st.one_of(st.integers(-2, 2), st.floats(-2, 2)),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=8,
)


def one(value: object) -> bytes:
    found, whole = rank(value)
    assert whole, value
    return found


def assert_same_order(a: Any, b: Any) -> None:
    assert (one(a) < one(b)) == (a < b)
    assert (one(a) == one(b)) == (a == b)


@given(pairs)
def test_two_of_a_family(pair: tuple[Any, Any]) -> None:
    assert_same_order(*pair)


@given(families.flatmap(lambda values: st.tuples(st.lists(values), st.lists(values))))
def test_two_lists_of_a_family(pair: tuple[list[Any], list[Any]]) -> None:
    assert_same_order(*pair)
    assert_same_order(tuple(pair[0]), tuple(pair[1]))


@given(st.lists(st.tuples(st.lists(texts).map(tuple), blobs, st.integers(), st.none())))
def test_records_sort_as_python_sorts_them(values: list[Any]) -> None:
    assert sorted(values, key=one) == sorted(values)


@given(nested, nested)
def test_nested_tuples(a: Any, b: Any) -> None:
    try:
        less = a < b
    except TypeError:
        return  # a number against a tuple: no order to keep
    assert (one(a) < one(b)) == less
    assert (one(a) == one(b)) == (a == b)


@pytest.mark.parametrize(
    "row",
    [
        [
            "",
            "\x00",
            "\x00\x00",
            "\x00\x01",
            "\x01",
            "a",
            "a\x00",
            "a\x00b",
            "aa",
            "é",
            "\ud7ff",
            "\ud800",
            "\ue000",
            "\U0001f600",
        ],
        [b"", b"\x00", b"\x00\x00", b"\x00\xff", b"\x01", b"\xff", b"\xff\x00", b"\xff\xff"],
        [(), ("",), ("", ""), ("\x00",), ("a",), ("a", "b"), ("ab",)],
        [((),), ((), ()), ((0,),), ((0,), ()), ((0, 0),), ((1,),)],
        [[], [[]], [[], []], [[1]], [[1, 2]], [[2]]],
        [date.min, date(1969, 12, 31), date(2024, 2, 29), date.max],
        [
            datetime.min,
            datetime(2024, 1, 1),
            datetime(2024, 1, 1, 0, 0, 0, 1),
            datetime(2024, 1, 1, 0, 0, 1),
            datetime.max,
        ],
        [timedelta.min, timedelta(-1), timedelta(microseconds=-1), timedelta(0), timedelta.resolution, timedelta.max],
        [time.min, time(0, 0, 0, 1), time(0, 0, 1), time(0, 1), time(1), time.max],
    ],
)
def test_rows_from_least_to_greatest(row: list[Any]) -> None:
    ranks = [one(value) for value in row]
    assert ranks == sorted(set(ranks))
    assert row == sorted(row)


def test_aware_datetimes_at_the_ends_of_the_calendar() -> None:
    west, east = timezone(timedelta(hours=-5)), timezone(timedelta(hours=5))
    row = [datetime.min.replace(tzinfo=zone) for zone in (east, timezone.utc, west)]
    row += [datetime.max.replace(tzinfo=zone) for zone in (east, timezone.utc, west)]
    ranks = [one(value) for value in row]
    assert ranks == sorted(set(ranks))


def test_the_fold_counts_by_its_instant() -> None:
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("no time zone data here")
    first = datetime(2024, 10, 27, 2, 30, tzinfo=berlin)
    again = first.replace(fold=1)
    assert one(first) == one(datetime(2024, 10, 27, 0, 30, tzinfo=timezone.utc))
    assert one(again) == one(datetime(2024, 10, 27, 1, 30, tzinfo=timezone.utc))


def test_what_python_does_not_compare_has_a_fixed_order() -> None:
    row: list[object] = [
        None, -1, 1, "a", b"a", date.min, datetime.min, datetime.min.replace(tzinfo=timezone.utc), time.min,
        timedelta(0), (), [],
    ]  # fmt: skip
    assert [one(value) for value in row] == sorted(one(value) for value in row)


@dataclass(order=True)
class Job:
    priority: float
    name: str = "job"
    payload: Any = field(default=None, compare=False)


class UrgentJob(Job):
    pass


@dataclass
class Unordered:
    priority: int


@given(st.builds(Job, st.integers() | st.floats(allow_nan=False), texts), st.builds(Job, st.integers(), texts))
def test_ordered_dataclasses(a: Job, b: Job) -> None:
    assert_same_order(a, b)
    assert_same_order((a, 1), (b, 2))


def test_a_dataclass_is_ranked_by_its_compared_fields() -> None:
    assert one(Job(1, payload=object())) == one(Job(1))
    assert one(UrgentJob(1)) < one(UrgentJob(2))
    assert rank(Unordered(1)) == (b"", False)


class Own:
    """Comparable, in a way that only it knows."""

    def __lt__(self, other: object) -> bool:
        return True


class OnlyGreater:
    def __gt__(self, other: object) -> bool:
        return True


class Moody:
    def __lt__(self, other: object) -> bool:
        raise ZeroDivisionError


@functools.total_ordering
class Version:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self.number == other.number

    def __lt__(self, other: Version) -> bool:
        return self.number < other.number


class CaseBlind(str):
    def __lt__(self, other: str) -> bool:
        return self.lower() < other.lower()


@dataclass
class ByNameLength:
    name: str

    def __lt__(self, other: ByNameLength) -> bool:
        return len(self.name) < len(other.name)


class Same(str):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__


class Reversed(tuple):  # type: ignore[type-arg]
    def __lt__(self, other: Any) -> bool:
        return tuple(self) > tuple(other)


ORDERED_SOMEHOW = [
    Own(), OnlyGreater(), Moody(), Version(1), ByNameLength("a"), CaseBlind("a"), Same("a"), Reversed((1,)), {1},
    frozenset(), time(1, tzinfo=timezone.utc),
]  # fmt: skip


@pytest.mark.parametrize("value", ORDERED_SOMEHOW, ids=lambda value: type(value).__name__)
def test_orders_that_bytes_do_not_express(value: object) -> None:
    """Never a prefix: the store would take what comes after it for a tie."""
    assert rank(value) == (b"", False)
    assert rank((1, value)) == (b"", False)
    assert rank(Job(1, [(), value])) == (b"", False)  # type: ignore[arg-type]


class Colour(enum.Enum):
    RED = 1


WITHOUT_ORDER = [{}, {"a": 1}, OrderedDict(), object(), 1j, Colour.RED, Unordered(1), len, Colour, range(3), [].append]


@pytest.mark.parametrize("value", WITHOUT_ORDER, ids=lambda value: type(value).__name__)
def test_the_rank_stops_at_what_has_no_order(value: object) -> None:
    assert rank(value) == (b"", False)
    found, whole = rank((1, "a", value, 2))
    assert not whole
    assert found == rank((1, "a", value, 3))[0] == rank((1, "a", (value, 9)))[0][:-2] + b"\x01"
    assert one((1, "a")) < found < one((1, "b"))
    assert one((0, "a", 2)) < found


def test_the_rank_stops_inside_what_holds_it() -> None:
    found, whole = rank(((1, {}), 5))
    assert not whole
    assert one(((1,), 9)) < found < one(((2,), 0))
    assert rank(Job(3, {})) == (one(Job(3, "x"))[: -len("\x20x\x00\x00")] + b"\x01", False)  # type: ignore[arg-type]


def test_none_is_equal_to_itself() -> None:
    assert one((1, None, 2)) < one((1, None, 3))
    assert one(None) == one(None)


Point = namedtuple("Point", "x y")


class Name(str, enum.Enum):
    ADA = "ada"


class Later(datetime):
    pass


def test_subclasses_that_compare_as_their_base() -> None:
    assert one(Point(1, 2)) == one((1, 2))
    assert one(Name.ADA) == one("ada")
    assert one(Later(2024, 1, 1)) == one(datetime(2024, 1, 1)) != one(date(2024, 1, 1))
    assert one(OrderedTuple((1, 2))) == one((1, 2))


class OrderedTuple(tuple):  # type: ignore[type-arg]
    """Python's comparison doesn't go through `__iter__`."""

    def __iter__(self) -> Any:
        raise AssertionError


def test_a_value_that_holds_itself() -> None:
    loop: list[object] = [1]
    loop.append(loop)
    assert rank((1, loop)) == (b"", False)


def test_ranks_are_stored_like_this() -> None:
    """The bytes are on disks: this test may grow and not change."""
    assert one(None).hex() == "02"
    assert one("a\x00é").hex() == "206100ffc3a900"
    assert one(b"\x00\xff").hex() == "2100ffff00"
    assert one(date(1, 1, 2)).hex() == "3000000002"
    assert one(datetime(1, 1, 1, 0, 1, 0, 5)).hex() == "31800000010000003c00000005"
    utc = timezone(timedelta(seconds=1))
    assert one(datetime(1, 1, 1, tzinfo=utc)).hex() == "32800000000001517f00000000"
    assert one(time(0, 0, 1)).hex() == "33800000000000000100000000"
    assert one(timedelta(-1)).hex() == "347fffffff0000000000000000"
    assert one(([], ())).hex() == "404100400000"
    assert one(Job(0, "")).hex() == "4211000000000000000000200000"
    assert rank(((), {}))[0].hex() == "40400001"


class _Encoding(str):
    """Python compares it as any str."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"z"


def test_a_str_is_ranked_as_python_compares_it_however_it_encodes_itself() -> None:
    assert rank(_Encoding("a")) == rank("a")
