"""Payloads as text: each format is seen, nothing is run, and nothing takes for ever."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import pickle
import random
import sys
from typing import Any

import pytest

from pqadapters import live
from pqadapters.commands.payloads import shown
from pqadapters.commands.pickles import summary
from pqadapters.serializers import serializer

_PLAIN = [
    None, True, 1, -1, 10**30, 1.5, "text", "ä\n", b"\0bytes", bytearray(b"x"), [], [1, [2]], (), (1,), (1, 2),
    (1, 2, 3), (1, 2, 3, 4), {}, {"a": [1, {"b": None}], 2: (3,)}, {1}, frozenset({1}), ["same"] * 3,
]  # fmt: skip


@dataclasses.dataclass
class Invoice:
    number: int


_BY_CALLS = (bytes, bytearray, set, frozenset)  #: as old protocols make them


@pytest.mark.parametrize(
    ("value", "protocol"),
    [
        (value, protocol)
        for value in _PLAIN
        for protocol in range(2, 6)
        if protocol == 5 or not isinstance(value, _BY_CALLS)
    ],
    ids=repr,
)
def test_plain_pickles_read_as_python_writes_them(value: object, protocol: int) -> None:
    assert shown(pickle.dumps(value, protocol), 1000) == ("pickle", repr(value), None)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_calls_are_written_and_not_made(protocol: int) -> None:
    def text(value: object) -> str:
        found = shown(pickle.dumps(value, protocol), 1000)
        assert found.format == "pickle"
        return found.text

    assert text(decimal.Decimal("1.5")) == "decimal.Decimal('1.5')"
    assert "OrderedDict" in text(collections.OrderedDict(a=1))
    assert "'a'" in text(collections.OrderedDict(a=1))
    assert "datetime.datetime(" in text(datetime.datetime(2020, 1, 1))
    assert f"{__name__}.Invoice" in text(Invoice(42))
    assert "{'number': 42}" in text(Invoice(42))


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor2"])
def test_other_formats(name: str) -> None:
    value: Any = {"a": [1, "two", None], "b": 1.5}
    found = shown(serializer(name).dumps(value), 1000)
    assert found.format == name
    assert "'two'" in found.text
    assert shown(serializer(name).dumps(value), 1000, format="bytes").format == "bytes"
    assert shown(b"\xff\xff", 1000) == ("bytes", r"b'\xff\xff'", None)


def test_payloads_of_objects_and_escaped_ones() -> None:
    assert shown(live.payload(1), 100).format == "object"
    inner = b"\0pq-live but too long for one"
    assert shown(live.escape(inner), 100) == ("bytes", repr(inner), None)


def test_what_is_signed_is_shown_without_its_signature() -> None:
    signed = b"H" + bytes(range(200, 232)) + b'{"a": 1}'
    assert shown(signed, 100) == ("json", "{'a': 1}", {"a": 1})
    text = b"H" + b"x" * 32 + b'{"a": 1}'  # which signs nothing
    assert shown(text, 100) == ("bytes", repr(text), None)


def test_pickles_that_are_loaded() -> None:
    """Large ones, too; and one that can't be is told as it is."""
    large = pickle.dumps(["x" * (2 << 20), 7])
    assert shown(large, 5 << 20, unpickle=True).text.endswith(", 7]")
    gone = pickle.dumps(Invoice(1)).replace(b"Invoice", b"Nowhere")
    found = shown(gone, 100, unpickle=True)
    assert (found.format, found.text[:16]) == ("pickle", "AttributeError: ")


def test_long_ones_are_cut() -> None:
    text = b"x" * 10_000
    for payload in (pickle.dumps(text), b'["%s"]' % text, b"\xff" + text, pickle.dumps([1] * 9999)):
        found = shown(payload, 100)
        assert 90 < len(found.text) < 500
        assert "..." in found.text
    assert shown(b"[" * 100_000, 100).format == "bytes"
    assert shown(pickle.dumps("x" * (2 << 20)), 100).format == "bytes"


def test_a_pickle_that_would_be_huge_or_endless_isnt() -> None:
    doubled = b"\x80\x04]" + b"(]2ee" * 0 + b"".join(b"\x94h%c\x86" % n for n in range(60)) + b"."
    assert len(summary(doubled, 200) or "") < 1000
    assert len(summary(b"\x80\x04]" + b"Nb" * 100_000 + b".", 200) or "") < 1000  # these were 900,000 characters
    itself: list[Any] = []
    itself.append(itself)
    assert "..." in (summary(pickle.dumps(itself), 200) or "")
    assert summary(b"\x80\x04r\xff\xff\xff\xff.", 200) is None  # a memo of four billion entries
    assert (summary(b"\x80\x04]r\xff\xff\xff\xff.", 200) or "") == "[]"


def test_damaged_payloads_are_shown_somehow() -> None:
    chance = random.Random(1)
    whole = [pickle.dumps(value) for value in [*_PLAIN, decimal.Decimal(1), Invoice(1)]]
    for _ in range(3000):
        payload = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 3))):
            payload[chance.randrange(len(payload))] = chance.randrange(256)
        payload[:2], payload[-1:] = b"\x80\x05", b"."
        assert isinstance(shown(bytes(payload), 200).text, str)
        assert isinstance(shown(chance.randbytes(20), 200).text, str)


class _Exits(Exception):
    def __str__(self) -> str:
        sys.exit(3)


def _fail(error: type[BaseException]) -> None:
    raise error


class _Unloadable:
    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return _fail, (self._error,)


@pytest.mark.parametrize("error", [ValueError, SystemExit, _Exits])
def test_one_that_cannot_be_loaded_is_shown_as_that(error: type[BaseException]) -> None:
    """An exit while it was loaded, or its error's text was asked for, ended the command: the others were not shown."""
    found = shown(pickle.dumps(_Unloadable(error)), 100, unpickle=True)
    assert found.text.startswith(error.__name__)


class _Unspeakable:
    def __repr__(self) -> str:
        sys.exit(4)


def test_one_that_ends_the_program_when_it_is_written_is_shown_as_that() -> None:
    payload = pickle.dumps([_Unspeakable(), 1])
    try:
        text = shown(payload, 100, unpickle=True).text
    except SystemExit:
        text = "the end"  # told here: pytest shows what is in a traceback, and would end with it
    assert text == "[<_Unspeakable: SystemExit>, 1]"


class _Wordy:
    def __repr__(self) -> str:
        return "word " * 1000


def test_what_an_object_says_of_itself_is_cut_to_the_length() -> None:
    assert shown(pickle.dumps([_Wordy(), 1]), 200, unpickle=True).text == f"[{'word ' * 40}"[:200] + "..., ...]"
