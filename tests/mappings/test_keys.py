"""Keys as bytes: equal keys have equal bytes, and each comes back equal to what it was."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import math
import pathlib
import subprocess
import sys
import uuid
from collections import namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqadapters.errors import NotSerializable, StoreError
from pqadapters.serializers import serializer
from pqadapters.serializers.signed import WrongSignature, protected
from pqadapters.stdlib._mappings.keys import Keys

KEYS = Keys(serializer("pickle"))
Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    BOTH = 3
    RUN = 4


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: float
    tags: frozenset[str] = frozenset()

    @functools.cached_property
    def twice(self) -> float:
        return self.number * 2


class Text(str):
    __slots__ = ()


class Shouting(str):
    """Its own equality makes it another key than the text."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shouting) and self.upper() == other.upper()

    def __hash__(self) -> int:
        return hash(self.upper()) ^ 1


_atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters()),
    st.binary(),
    st.complex_numbers(allow_nan=False),
)
_keys = st.recursive(
    _atoms, lambda part: st.lists(part, max_size=3).map(tuple) | st.frozensets(part, max_size=3), max_leaves=6
)


@given(_keys)
def test_a_key_comes_back_equal(key: Any) -> None:
    back = KEYS.decode(KEYS.encode(key))
    assert back == key
    assert hash(back) == hash(key)


@given(st.lists(_keys, max_size=12))
def test_keys_are_one_exactly_where_a_dict_takes_them_for_one(keys: list[Any]) -> None:
    small = [*keys, 0, False, 0.0, "0", b"0", (0,), ("0",), (False,), 1, True, 1.0, 1 + 0j, frozenset({1}), "", b"", ()]
    assert len({KEYS.encode(key) for key in small}) == len(dict.fromkeys(small))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (Decimal("9.50"), Decimal),
        (Decimal("1E+2"), Decimal),
        (Decimal("-0.0"), Decimal),
        (Decimal("Infinity"), Decimal),
        (Fraction(1, 3), Fraction),
        (datetime.date(2026, 2, 3), datetime.date),
        (datetime.datetime(2026, 2, 3, tzinfo=datetime.timezone.utc), datetime.datetime),
        (uuid.UUID(int=7), uuid.UUID),
        (Point(1, 2), Point),
        (Colour.RED, Colour),
        (Rights.BOTH, Rights),
        (Rights.READ | Rights.RUN, Rights),
        (Rights(0), Rights),
        (datetime.datetime.max.replace(tzinfo=datetime.timezone(-datetime.timedelta(hours=1))), datetime.datetime),
        (datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1))), datetime.datetime),
        (range(3), range),
        (range(10**30), range),
        (int, type),
        (math.inf, float),
        ("\ud800 ä \x00", str),
        ("s", str),
    ],
)
def test_keys_of_other_types_come_back_as_they_were(key: Any, kind: type) -> None:
    back = KEYS.decode(KEYS.encode(key))
    assert back == key
    assert type(back) is kind


def test_a_number_of_any_length_is_a_key() -> None:
    for number in (10**5000, -(10**5000)):
        assert KEYS.decode(KEYS.encode(number)) == number


TAGS = frozenset(f"tag {n}" for n in range(20))


def test_equal_objects_are_one_key() -> None:
    used = Frozen(1, TAGS)
    assert used.twice == 2
    east = datetime.timezone(datetime.timedelta(hours=2))
    moment = datetime.datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=datetime.timezone.utc)
    for one, other in (
        (used, Frozen(1.0, TAGS)),
        (Point(1, TAGS), Point(True, frozenset(sorted(TAGS)))),
        (moment, moment.astimezone(east)),
        (moment.replace(tzinfo=None), moment.replace(tzinfo=None, fold=1)),
        (range(0), range(1, 1)),
        (range(0, 10, 3), range(0, 12, 3)),
        (pathlib.PurePosixPath("a/b"), pathlib.PurePosixPath("a//b")),
        (Fraction(2, 6), Fraction(1, 3)),
    ):
        assert one == other
        assert KEYS.encode(one) == KEYS.encode(other)
        assert KEYS.decode(KEYS.encode(other)) == one


def test_keys_are_the_same_in_every_run() -> None:
    code = "from tests.mappings.test_keys import *; print([KEYS.encode(k) for k in (Frozen(2, TAGS), Point(1, TAGS))])"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in "123"
    }
    assert len(found) == 1


def test_a_set_that_is_pickled_is_refused() -> None:
    with pytest.raises(NotSerializable, match="set inside"):
        KEYS.encode(Holder(TAGS))


class Holder:
    """Equal by value, and nothing that is known."""

    def __init__(self, tags: frozenset[str]) -> None:
        self.tags = tags

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Holder) and self.tags == other.tags

    def __hash__(self) -> int:
        return hash(self.tags)


def test_equal_decimals_are_one_key() -> None:
    assert KEYS.encode(Decimal("9.50")) == KEYS.encode(Decimal("9.5"))
    assert KEYS.encode(Decimal("100")) == KEYS.encode(Decimal("1E+2"))
    assert KEYS.encode(Decimal("0.00")) == KEYS.encode(Decimal("-0"))


def test_instances_of_subclasses_are_the_value_that_they_equal() -> None:
    assert KEYS.encode(Text("a")) == KEYS.encode("a")
    assert type(KEYS.decode(KEYS.encode(Text("a")))) is str
    assert KEYS.encode(Shouting("a")) != KEYS.encode("a")
    assert KEYS.decode(KEYS.encode(Shouting("a"))) == Shouting("A")


def test_a_number_of_another_library_is_that_number() -> None:
    import numbers

    class Int64:
        def __init__(self, value: int) -> None:
            self.value = value

        def __int__(self) -> int:
            return self.value

        def __eq__(self, other: object) -> bool:
            return self.value == other

        def __hash__(self) -> int:
            return hash(self.value)

    numbers.Integral.register(Int64)
    assert KEYS.encode(Int64(5)) == KEYS.encode(5)


def test_nan_is_equal_to_itself() -> None:
    assert KEYS.encode(math.nan) == KEYS.encode(float("-nan")) == KEYS.encode(float("nan"))
    assert math.isnan(KEYS.decode(KEYS.encode(math.nan)))


@pytest.mark.parametrize("key", [[], {}, set(), (1, []), bytearray(b"x")])
def test_unhashable_keys_raise_what_a_dict_raises(key: Any) -> None:
    with pytest.raises(TypeError) as theirs:
        hash(key)
    with pytest.raises(TypeError) as ours:
        KEYS.encode(key)
    assert str(ours.value) == str(theirs.value)


def _of_a_function() -> list[Any]:
    @dataclasses.dataclass(frozen=True)
    class Data:
        x: int

    class Kind(enum.Enum):
        ONE = 1

    Pair = namedtuple("Pair", "x y")
    return [Data(1), Kind.ONE, Pair(1, 2)]


@pytest.mark.parametrize("key", _of_a_function(), ids=lambda key: type(key).__name__)
def test_keys_of_types_that_nobody_finds_by_name_are_refused(key: Any) -> None:
    """They were stored, and a mapping with one could not be listed any more; or a bare AttributeError was raised."""
    with pytest.raises(NotSerializable, match=r"pickle|local object"):
        KEYS.encode(key)


@dataclasses.dataclass(frozen=True)
class Scaled:
    """Made of something else than of its fields."""

    factor: dataclasses.InitVar[int]
    number: int = 0

    def __post_init__(self, factor: int) -> None:
        object.__setattr__(self, "number", self.number * factor)


def test_a_dataclass_that_is_not_made_of_its_fields_is_pickled() -> None:
    key = Scaled(2, 3)
    back = KEYS.decode(KEYS.encode(key))
    assert back == key
    assert KEYS.encode(back) == KEYS.encode(key)


class Anything:
    """Compared by identity."""


class Alike(Anything):
    """The same hash for all of them."""

    def __hash__(self) -> int:
        return 7


class Unlike(str):
    """No text, and with the hash of one."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return type(other) is Unlike and str.__eq__(self, other)


def test_a_text_that_equals_none_is_another_key() -> None:
    assert KEYS.encode(Unlike("a")) != KEYS.encode("a")
    assert KEYS.decode(KEYS.encode(Unlike("a"))) == Unlike("a")


def test_an_object_without_a_signature_is_refused_where_keys_are_signed() -> None:
    """Whoever can write to the store could name any type, and have it called."""
    signed = Keys(protected(serializer("pickle"), "k" * 32, hosts=False, place="here"))
    for key in (Colour.RED, Rights.READ | Rights.RUN, Point(1, 2), Frozen(1)):
        assert signed.decode(signed.encode(key)) == key
        with pytest.raises(WrongSignature, match="isn't signed"):
            signed.decode(KEYS.encode(key))
        with pytest.raises(WrongSignature, match="is signed"):
            KEYS.decode(signed.encode(key))


@pytest.mark.parametrize("key", [Anything(), Alike(), object(), lambda: 0, (1, Anything())])
def test_keys_that_nobody_would_find_again_are_refused(key: Any) -> None:
    with pytest.raises(NotSerializable, match="key"):
        KEYS.encode(key)


def test_keys_by_another_serializer() -> None:
    keys = Keys(serializer("json"))
    assert keys.decode(keys.encode(("a", 1, None, b"x"))) == ("a", 1, None, b"x")
    assert keys.decode(keys.encode((uuid.UUID(int=7), Decimal("1.0")))) == (uuid.UUID(int=7), Decimal(1))
    for key in (Colour.RED, Frozen(1)):
        with pytest.raises(NotSerializable, match=type(key).__name__):
            keys.encode(key)
    with pytest.raises(NotSerializable, match="only a mapping with pickle"):
        keys.decode(KEYS.encode(Point(1, 2)))
    with pytest.raises(NotSerializable, match="Point"):  # it would come back as a list
        keys.encode(Point(1, 2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"?",
        b"s\xff",
        b"ix",
        b"f\x00",
        b"c\x00",
        b"o",
        b"t\x00",
        b"t\x00\x00\x00\x02n",
        b"o\x00\x00\x00\x08sdecimal\x00\x00\x00\x02sx",
    ],
)
def test_what_something_else_has_written_is_no_key(data: bytes) -> None:
    with pytest.raises(StoreError, match="isn't one that a mapping has stored"):
        KEYS.decode(data)
