"""What every serializer promises, and what each does on top."""

from __future__ import annotations

import io
from collections import OrderedDict, namedtuple
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqadapters.serializers import NAMES, _framing

from .formats import chosen, each, errors, shared_values, with_library, with_lists


@each
@given(value=shared_values)
def test_values_come_back(name: str, value: Any) -> None:
    found = chosen(name).loads(chosen(name).dumps(value))
    assert with_lists(found) == value
    assert repr(with_lists(found)) == repr(value)  # 1, 1.0 and True are told apart


@each
@given(values=st.lists(shared_values, max_size=5))
def test_values_one_after_another_in_a_file(name: str, values: list[Any]) -> None:
    fp = io.BytesIO()
    for value in values:
        chosen(name).dump(value, fp)
    fp.seek(0)
    assert [with_lists(chosen(name).load(fp)) for _ in values] == values
    with pytest.raises(EOFError):
        chosen(name).load(fp)


@each
def test_a_file_may_hold_something_else_first(name: str) -> None:
    fp = io.BytesIO(b"header")
    fp.seek(0, io.SEEK_END)
    chosen(name).dump({"a": "\n"}, fp)
    fp.seek(len(b"header"))
    assert chosen(name).load(fp) == {"a": "\n"}


@each
@given(value=st.dictionaries(st.text(), st.dictionaries(st.text(), st.integers(0, 9)), min_size=2), data=st.data())
def test_sort_keys_makes_equal_dicts_equal_bytes(name: str, value: dict[str, Any], data: st.DataObject) -> None:
    shuffled = {key: dict(reversed(value[key].items())) for key in data.draw(st.permutations(list(value)))}
    dumps = chosen(name).dumps
    assert dumps([shuffled], sort_keys=True) == dumps([value], sort_keys=True)
    assert chosen(name).loads(dumps(shuffled, True)) == value


@each
def test_without_sort_keys_a_dict_keeps_its_order(name: str) -> None:
    found: Any = chosen(name).loads(chosen(name).dumps({"b": 1, "a": 2}))
    assert list(found) == ["b", "a"]


@each
def test_dump_sorts_keys_too(name: str) -> None:
    written = []
    for value in ({"b": 1, "a": 2}, {"a": 2, "b": 1}):
        fp = io.BytesIO()
        chosen(name).dump(value, fp, sort_keys=True)
        written.append(fp.getvalue())
    assert written[0] == written[1]


@each
def test_keys_that_cannot_be_sorted(name: str) -> None:
    with pytest.raises(TypeError):
        chosen(name).dumps({1: 1, "a": 2}, sort_keys=True)


@pytest.mark.parametrize("name", ["pickle", "msgpack", "cbor2"])
def test_keys_further_in_that_cannot_be_sorted_have_an_order_all_the_same(name: str) -> None:
    dumps = chosen(name).dumps
    one, other = {"a": ({1: 1, None: 3, "b": 2},)}, {"a": ({"b": 2, 1: 1, None: 3},)}
    assert dumps(one, sort_keys=True) == dumps(other, sort_keys=True)


@pytest.mark.parametrize("name", ["msgpack", "cbor2"])
def test_keys_of_what_becomes_a_plain_dict_are_sorted(name: str) -> None:
    dumps = chosen(name).dumps
    one, other = OrderedDict(b=OrderedDict(d=1, c=2), a=3), {"a": 3, "b": {"c": 2, "d": 1}}
    assert dumps(one, sort_keys=True) == dumps(other, sort_keys=True)


@each
def test_what_cannot_be_serialized_is_an_error(name: str) -> None:
    with pytest.raises(errors(name)):
        chosen(name).dumps({"a": lambda: None})


@each
def test_nothing_is_written_of_what_cannot_be_serialized(name: str) -> None:
    fp = io.BytesIO()
    with pytest.raises(errors(name)):
        chosen(name).dump(["a" * 1000, lambda: None], fp)
    assert fp.getvalue() == b""


@each
@pytest.mark.parametrize("damaged", [b"", b"\xff\xff\xff", b"\xd9\x05a"])
def test_damaged_bytes_are_an_error(name: str, damaged: bytes) -> None:
    with pytest.raises(errors(name)):
        chosen(name).loads(damaged)


@each
@pytest.mark.parametrize("writer", NAMES)
def test_what_another_one_has_written_is_an_error(name: str, writer: str) -> None:
    """A program that was given another serializer: of any pickle the CBOR library makes an empty list, so all that
    waited in a queue came out as one, and was done."""
    if writer == name:
        return
    for value in ("abc", ["abc"], {"a": 1}, 1000, 1.5):
        with pytest.raises(errors(name)):
            chosen(name).loads(chosen(writer).dumps(value))


@each
def test_a_value_that_holds_itself(name: str) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    if name == "pickle":
        found: Any = chosen(name).loads(chosen(name).dumps(loop))
        assert found[1] is found
    else:
        with pytest.raises(errors(name)):
            chosen(name).dumps(loop)


# pickle


class Thing:
    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


def test_pickle_takes_what_pickle_takes() -> None:
    value = {1: ("a", [b"b"]), (2, "x"): {Decimal("1.5")}, None: Thing(Thing(3))}
    assert chosen("pickle").loads(chosen("pickle").dumps(value)) == value
    assert chosen("pickle").loads(chosen("pickle").dumps(value[None], sort_keys=True)) == value[None]


def test_pickles_are_of_the_protocol_that_every_supported_python_reads() -> None:
    assert chosen("pickle").dumps(1)[:2] == b"\x80\x05" == chosen("pickle").dumps(1, sort_keys=True)[:2]


def test_sorted_pickles_of_equal_tuples_are_equal() -> None:
    """A plain pickle says that both halves are one object; to tell duplicates that mustn't matter."""
    one, other = "".join(["du", "plicate"]), "".join(["dupli", "cate"])
    dumps = chosen("pickle").dumps
    assert dumps((one, one)) != dumps((one, other))
    assert dumps((one, one), sort_keys=True) == dumps((one, other), sort_keys=True)


def test_sorting_leaves_subclasses_alone() -> None:
    value = [Point(2, {"b": 1, "a": 2})]
    found: Any = chosen("pickle").loads(chosen("pickle").dumps(value, sort_keys=True))
    assert found == value
    assert type(found[0]) is Point


def test_sorting_keeps_the_order_of_an_ordered_dict() -> None:
    found: Any = chosen("pickle").loads(chosen("pickle").dumps(OrderedDict(b=1, a=2), sort_keys=True))
    assert type(found) is OrderedDict
    assert list(found) == ["b", "a"]


Point = namedtuple("Point", "x y")


# json


def test_json_is_compact_utf8() -> None:
    assert chosen("json").dumps({"é": [1, 2.5, None]}) == '{"é":[1,2.5,null]}'.encode()


def test_json_writes_a_value_on_a_line_of_its_own() -> None:
    fp = io.BytesIO()
    chosen("json").dump("a\nb", fp)
    chosen("json").dump({}, fp)
    assert fp.getvalue() == b'"a\\nb"\n{}\n'


def test_json_reads_what_the_standard_library_wrote() -> None:
    fp = io.BytesIO(b'{"a": "\\u00e9"}\r\n[1, 2]')
    assert chosen("json").load(fp) == {"a": "é"}
    assert chosen("json").load(fp) == [1, 2]


@pytest.mark.parametrize("key", [1, 1.5, True, None])
def test_json_refuses_keys_that_it_would_turn_into_text(key: object) -> None:
    for value in ({key: 1}, [{"a": ({key: 1},)}]):
        with pytest.raises(TypeError, match=f"no key {key!r}"):
            chosen("json").dumps(value)


def test_json_keeps_lone_surrogates() -> None:
    value = {"b": "\ud800é", "a": 1}
    assert chosen("json").loads(chosen("json").dumps(value)) == value
    assert chosen("json").dumps(value, sort_keys=True) == b'{"a":1,"b":"\\ud800\\u00e9"}'


def test_json_keeps_infinities() -> None:
    assert chosen("json").loads(chosen("json").dumps(float("inf"))) == float("inf")


def test_json_refuses_text_that_is_not_utf8() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        chosen("json").loads(b'"\xe9"')


# msgpack and cbor2


@with_library
def test_bytes_and_text_are_told_apart(name: str) -> None:
    assert chosen(name).loads(chosen(name).dumps({"a": b"a", "b": "b"})) == {"a": b"a", "b": "b"}


@with_library
def test_keys_other_than_text(name: str) -> None:
    assert chosen(name).loads(chosen(name).dumps({1: "a", b"x": 2})) == {1: "a", b"x": 2}


@with_library
def test_a_file_cut_short(name: str) -> None:
    fp = io.BytesIO()
    chosen(name).dump("abc", fp)
    whole = fp.getvalue()
    assert whole[:4] == len(whole[4:]).to_bytes(4, "little")
    for length in range(len(whole)):
        with pytest.raises(EOFError, match="bytes before"):
            chosen(name).load(io.BytesIO(whole[:length]))


def test_a_value_too_long_for_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_framing, "_LONGEST", 3)
    fp = io.BytesIO()
    _framing.write_frame(fp, b"abc")
    with pytest.raises(ValueError, match="4 bytes don't fit"):
        _framing.write_frame(fp, b"abcd")
    assert fp.getvalue() == b"\x03\x00\x00\x00abc"


@with_library
def test_a_naive_datetime_is_refused(name: str) -> None:
    with pytest.raises(errors(name)):
        chosen(name).dumps(datetime(2024, 1, 1))


def test_msgpack_gives_tuples() -> None:
    assert chosen("msgpack").loads(chosen("msgpack").dumps([1, (2, [])])) == (1, (2, ()))


def test_msgpack_refuses_ints_over_64_bits() -> None:
    with pytest.raises(OverflowError):
        chosen("msgpack").dumps(2**64)


def test_cbor2_knows_more_types() -> None:
    value = {"a": Decimal("1.10"), "b": 2**100, "c": {1, 2}}
    assert chosen("cbor2").loads(chosen("cbor2").dumps(value)) == value


@each
@pytest.mark.parametrize("kind", [list, tuple, frozenset, lambda inner: {"a": next(iter(inner))}])
def test_what_is_written_is_read(name: str, kind: Any) -> None:
    """What is nested deeply is refused, or comes back. cbor2 reads 400 lists inside each other and wrote any number."""
    serializer, value = chosen(name), kind([0])
    for _ in range(600):
        value = kind([value])
        try:
            written = serializer.dumps(value)
        except errors(name):
            continue
        serializer.loads(written)
