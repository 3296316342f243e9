"""Numbers of all types lie on one scale, exactly."""

from __future__ import annotations

import enum
import itertools
import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqadapters.errors import RankError
from pqadapters.rank import rank

Number = int | float | Decimal | Fraction

near_edges = st.builds(
    lambda sign, power, step: sign * (2**power + step),
    st.sampled_from([1, -1]),
    st.sampled_from([0, 1, 52, 53, 54, 63, 64, 100, 1023, 1024, 1025, 2000]),
    st.integers(-3, 3),
)
numbers: st.SearchStrategy[Number] = st.one_of(
    st.integers(),
    near_edges,
    st.booleans(),
    st.floats(allow_nan=False),
    near_edges.filter(lambda n: abs(n) < 2**1024 - 2**970).map(float),
    st.decimals(allow_nan=False),
    st.decimals(-10, 10, places=3),
    st.floats(-10, 10).map(Decimal),
    st.fractions(),
    st.fractions(-2, 2, max_denominator=50),
    st.builds(lambda f, q: Fraction(f) + q, st.floats(-4, 4), st.fractions(-1, 1, max_denominator=10**20)),
)

#: From the least to the greatest; numbers of one row are equal.
SCALE: list[list[Number]] = [
    [-math.inf, Decimal("-Infinity")],
    [-(10**5000)],
    [-(10**400), Decimal("-1E+400")],
    [-(2**1024)],
    [-(2**1024) + 1],
    [-(2**1000), -(2.0**1000), Decimal(-(2**1000))],
    [-(2**53) - 1, Decimal(-(2**53) - 1)],
    [-(2**53), -(2.0**53)],
    [-1 - Fraction(1, 10**30)],
    [-1, -1.0, Decimal(-1), Fraction(-1), Decimal("-1.000")],
    [-1 + Fraction(1, 10**30), Decimal("-0." + 30 * "9")],
    [-5e-324, Decimal.from_float(-5e-324)],
    [Decimal("-1E-400"), Fraction(-1, 10**400)],
    [0, 0.0, -0.0, False, Decimal(0), Decimal("-0"), Decimal("0E+999999999"), Fraction(0)],
    [Decimal("1E-4096"), Fraction(1, 10**4096)],
    [Decimal("1E-400")],
    [Fraction(1, 2**1074) / 2],
    [5e-324, Decimal.from_float(5e-324), Fraction(5e-324)],
    [2.2250738585072014e-308],
    [Decimal("0.1"), Fraction(1, 10)],
    [0.1, Decimal.from_float(0.1), Fraction(0.1)],
    [1 / 3, Fraction(1 / 3)],
    [Decimal("0." + 40 * "3")],
    [Fraction(1, 3)],
    [Decimal("0." + 40 * "3" + "4")],
    [Fraction(3, 8), 0.375, Decimal("0.375")],
    [1 - Fraction(1, 2**60)],
    [1, 1.0, True, Decimal(1), Decimal("1.0"), Fraction(2, 2)],
    [math.nextafter(1.0, 2.0)],
    [2**53, 2.0**53, float(2**53 + 1)],
    [2**53 + 1, Decimal(2**53 + 1)],
    [2**53 + 2, 2.0**53 + 2],
    [2**63 - 1],
    [2**63, 2.0**63],
    [2**63 + 1],
    [1.7976931348623157e308, int(1.7976931348623157e308)],
    [int(1.7976931348623157e308) + Fraction(1, 7)],
    [2**1024 - 1],
    [2**1024],
    [10**400, Decimal("1E+400")],
    [10**400 + 1],
    [2**2032 - 1],
    [2**2032],
    [10**4096, Decimal("1E+4096")],
    [10**5000],
    [2**100_000],
    [math.inf, Decimal("Infinity")],
]


def one(value: object) -> bytes:
    found, whole = rank(value)
    assert whole, value
    return found


def expressible(number: Number) -> bool:
    return rank(number)[1]


@given(numbers.filter(expressible), numbers.filter(expressible))
def test_two_numbers(a: Number, b: Number) -> None:
    assert (one(a) < one(b)) == (a < b)
    assert (one(a) == one(b)) == (a == b)


@given(st.lists(numbers.filter(expressible)))
def test_a_mixed_list_sorts_as_python_sorts_it(values: list[Number]) -> None:
    assert sorted(values, key=one) == sorted(values)


@given(numbers.filter(expressible), st.integers(-(2**70), 2**70), st.integers(1, 2**70))
def test_numbers_close_together(a: Number, n: int, d: int) -> None:
    if a in (math.inf, -math.inf):
        return
    exact = Fraction(a)
    b = exact + Fraction(n, d * 2**600)
    assert (one(b) < one(exact)) == (n < 0)
    assert (one(b) == one(a)) == (n == 0)


def test_the_scale() -> None:
    rows = [[one(number) for number in row] for row in SCALE]
    assert [set(row) for row in rows] == [{row[0]} for row in rows]
    ranks = [row[0] for row in rows]
    assert ranks == sorted(set(ranks))


def test_the_scale_behind_other_elements() -> None:
    """The end of a number must not weigh more or less than what follows it."""
    tails: list[object] = [None, (), "", "\xff\U0010ffff", math.inf, -math.inf]
    rows = [[one((number, tail)) for number in row for tail in tails] for row in SCALE]
    assert all(max(a) < min(b) for a, b in itertools.pairwise(rows))


def test_numbers_are_stored_like_this() -> None:
    """The bytes are on disks: this test may grow and not change."""
    assert one(1).hex() == "113ff000000000000000"
    assert one(-1).hex() == "10c00fffffffffffffff"
    assert one(2**53 + 1).hex() == "11434000000000000001010100"
    assert one(Fraction(1, 3)).hex() == "113fd55555555555550100f83fffffffffffffff"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Loud(int):
    """Arithmetic of its own doesn't matter, comparison would."""

    def __add__(self, other: object) -> int:
        raise AssertionError

    __neg__ = __float__ = __add__  # type: ignore[assignment]


class Backwards(int):
    def __lt__(self, other: int) -> bool:
        return int(self) > other


def test_subclasses_that_compare_as_their_base() -> None:
    assert one(Level.LOW) == one(1)
    assert one((Level.HIGH,)) == one((2,))
    assert one(Loud(-5)) == one(-5)
    assert one(Loud(5)) == one(5)


@pytest.mark.parametrize("value", [Backwards(1), (1, Backwards(1)), [[Backwards(1)]]])
def test_subclasses_with_an_order_of_their_own(value: object) -> None:
    assert rank(value) == (b"", False)


@pytest.mark.parametrize("text", ["1E+4097", "1E-4097", "1E+999999999999"])
def test_numbers_too_long_to_spell_out(text: str) -> None:
    assert rank(Decimal(text)) == (b"", False)
    assert rank((1, Decimal("-" + text))) == (b"", False)


def test_a_fraction_with_too_long_a_denominator() -> None:
    assert rank(Fraction(1, 10**4096)) != (b"", False)
    assert rank(Fraction(1, 10**4096 + 1)) == (b"", False)


@pytest.mark.parametrize("nan", [math.nan, -math.nan, Decimal("NaN"), Decimal("-NaN"), Decimal("sNaN")])
def test_nan_is_refused(nan: object) -> None:
    for value in (nan, (nan,), (1, [nan])):
        with pytest.raises(RankError, match="NaN"):
            rank(value)
