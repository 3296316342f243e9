"""Log records as bytes: the message says the same, whatever its arguments are."""

from __future__ import annotations

import copy
import logging
import pickle
from collections import ChainMap, Counter, OrderedDict, defaultdict
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqadapters.logging._records.records import Codec

from .records import record, same, through
from .values import Color, Hostile, Level, Opaque, Point, ordered_values, values


class Named(dict[str, Any]):
    def __str__(self) -> str:
        return "named"


@pytest.fixture(params=["msgpack", "json"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec(binary=request.param == "msgpack")


@given(st.one_of(st.text(st.characters()), ordered_values), st.lists(values, max_size=3))
def test_messages_and_arguments_say_the_same(msg: Any, args: list[Any]) -> None:
    """Those that come back are the same values, or, sets among them, print the same."""
    for codec in [Codec(binary=True), Codec(binary=False)]:
        original = record("%s|%r" if len(args) == 2 else msg, *args)
        loaded = through(codec, original)
        assert _said(loaded) == _said(original)
        if not codec.unencodable:
            assert same(loaded.msg, original.msg)
            assert same(loaded.args, original.args)


def _said(one: logging.LogRecord) -> str:
    try:
        return one.getMessage()
    except (TypeError, ValueError, KeyError) as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("msg", "args"),
    [
        ("%s and %r", (Opaque(), Opaque())),
        ("%d %s", (Level.HIGH, Level.HIGH)),
        ("%s %r", (Color.RED, Color.RED)),
        ("%r", (Point(1, 2),)),
        ("%s", ({"one", "two", "three"},)),
        ("%r", (logging.getLogger("app"),)),
        ("%(a)s %(b)r", ({"a": Opaque(), "b": Color.RED},)),
        ("100%% %.3s", (Opaque(),)),
        (Opaque(), ()),
        (Color.RED, ()),
        ("%s", (ValueError("text", 1),)),
        (KeyError("text"), ()),
    ],
)
def test_messages_say_the_same_whatever_the_arguments_are(codec: Codec, msg: Any, args: tuple[Any, ...]) -> None:
    original = record(msg, *args)
    loaded = through(codec, original)
    assert loaded.getMessage() == original.getMessage()
    if isinstance(msg, str) and not isinstance(msg, Color) and "%d" not in msg and msg != "%r":
        assert loaded.msg == msg  # whoever groups by the raw message can go on


@pytest.mark.parametrize(
    ("msg", "args"),
    [
        ({"share": "%d%%"}, (Level.HIGH,)),
        ({"event": "done", "in": "%.1f"}, (Fraction(1, 2),)),
        (OrderedDict(event="%s", n=2), (Level.HIGH,)),
        (Counter({"%x": 2}), (Level.HIGH,)),
        ({"event": "%(a)s"}, (ChainMap({"a": 1}),)),
        ({"event": "%(a)s"}, (ChainMap({"a": Opaque()}),)),
        ({"event": "no place for it"}, (MappingProxyType({"a": 1}),)),
    ],
)
def test_a_dict_says_the_same_with_arguments_and_stays_one(codec: Codec, msg: dict[str, Any], args: Any) -> None:
    original = record(msg, *args)
    loaded = through(codec, through(codec, original))
    assert loaded.getMessage() == original.getMessage()
    assert loaded.msg == msg
    assert codec.unencodable


def test_a_dict_that_holds_itself_says_the_same_with_arguments(codec: Codec) -> None:
    event: Any = OrderedDict(text="%(a)s")
    event["self"] = event
    original = record(event, ChainMap({"a": 1}))
    assert through(codec, original).getMessage() == original.getMessage()


_cyclic: dict[str, Any] = {"a": 1}
_cyclic["self"] = _cyclic


@pytest.mark.parametrize(
    "msg",
    [Counter("aab"), defaultdict(int, a=1), defaultdict(list, {1: [Opaque]}), Counter(), _cyclic, Named(a=1)],
    ids=["Counter", "defaultdict", "unencodable", "empty", "cyclic", "with a str of its own"],
)
def test_another_kind_of_dict_as_a_message_says_the_same_and_stays_a_dict(codec: Codec, msg: dict[Any, Any]) -> None:
    """It came back as a plain one, and said so. Formatters that look into it find what was there."""
    original = record(msg)
    loaded = through(codec, through(codec, original))  # logged once more where it is delivered
    for form in ("%(message)s|%(msg)r", "%(msg)s"):
        formatter = logging.Formatter(form)
        assert formatter.format(copy.copy(loaded)) == formatter.format(copy.copy(original))
    assert isinstance(loaded.msg, dict)
    assert list(loaded.msg) == list(msg)
    assert type(loaded.msg.copy()) is type(pickle.loads(pickle.dumps(loaded.msg))) is dict
    assert f"{loaded.msg:}" == str(msg)


class Column:
    """Compares as those of SQLAlchemy do, which are keys of dicts."""

    def __eq__(self, other: object) -> Any:
        return self

    def __hash__(self) -> int:
        return 1

    def __bool__(self) -> bool:
        raise TypeError("Boolean value of this clause is not defined")


class Strange(dict[str, Any]):
    """Neither pairs nor anything else is what its own methods give."""

    def items(self) -> Any:
        return [1, 2]

    def get(self, key: str, default: Any = None) -> Any:
        raise LookupError(key)


@pytest.mark.parametrize(
    "msg", [{Column(): 1, "a": 2}, Strange(a=1), Strange(exc_info=False), Counter({10**5000: 1, "a": 1})], ids=type
)
def test_no_dict_is_a_message_that_is_lost(codec: Codec, msg: dict[Any, Any]) -> None:
    """All of these were stored as None."""
    loaded = through(codec, record(msg, extra_one=[1]))
    assert isinstance(loaded.msg, dict)
    assert len(loaded.msg) == len(msg)
    assert loaded.__dict__["extra_one"] == [1]
    if 10**5000 not in msg:
        assert loaded.getMessage() == str(msg)


def test_a_plain_dict_that_can_be_stored_is_one(codec: Codec) -> None:
    assert type(through(codec, record({"a": 1, 2: [Color.RED]})).msg) is dict


def test_a_message_is_asked_for_its_text_once(codec: Codec) -> None:
    """It may take long to make, and there is one which counts."""

    class Counting:
        asked = 0

        def __str__(self) -> str:
            self.asked += 1
            return f"asked {self.asked} times"

    assert through(codec, record(Counting())).getMessage() == "asked 1 times"


def test_sets_print_as_they_did_though_other_processes_order_them_otherwise(codec: Codec) -> None:
    (stand_in,) = through(codec, record("%s", {"one", "two"})).args  # type: ignore[misc]
    assert isinstance(stand_in, str)
    assert codec.unencodable == 1


def test_a_message_that_cant_be_formatted_is_kept(codec: Codec) -> None:
    loaded = through(codec, record("%d %s", "x"))
    assert (loaded.msg, loaded.args) == ("%d %s", ("x",))
    loaded = through(codec, record("%d", Opaque()))
    assert (loaded.msg, loaded.args) == ("%d", ("<an Opaque>",))
    with pytest.raises(TypeError):
        loaded.getMessage()
    assert "its repr raises ValueError" in repr(through(codec, record("%r", Hostile())).args)


def test_later_changes_dont_show(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    value = [1]
    data = codec.dumps(record("%s", value))
    value.append(2)
    assert codec.loads(data).getMessage() == "[1]"
    logger = logging.getLogger("app.changing")
    monkeypatch.setattr(logger, "level", logging.INFO)
    data = codec.dumps(record("%r", logger))
    monkeypatch.setattr(logger, "level", logging.ERROR)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    assert codec.loads(data).getMessage() == "<Logger app.changing (INFO)>"


def test_nests_and_what_holds_itself_is_its_repr(codec: Codec) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    event: dict[str, Any] = {"event": "e", "loop": loop, "deep": deep, "fine": (1,)}
    event["self"] = event
    for each in (record("%s", loop), record(event), record("m", loop=loop, deep=deep)):
        loaded = through(codec, each)
        for value in loaded.__dict__.values():
            assert value is not loop
    assert through(codec, record("%s", loop)).getMessage() == "[1, [...]]"
    loaded = through(codec, record(event))
    assert loaded.msg["loop"] == "[1, [...]]"  # type: ignore[index]
    assert loaded.msg["fine"] == (1,)  # type: ignore[index]
    assert "RecursionError" in loaded.msg["deep"] or loaded.msg["deep"].startswith("[[[")  # type: ignore[index]
    while deep:
        deep = deep.pop()
