"""Bytes that aren't a log record, or not one for this version, give one kind of error and do nothing else."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqadapters.errors import FormatError
from pqadapters.logging._records import records
from pqadapters.logging._records.records import Codec
from pqadapters.logging._records.values import _READERS

from . import failures
from .records import raised, record

msgpack = pytest.importorskip("msgpack")

RECORDS = [
    record("user %s did %d", "x", 3),
    record({"event": "e", "n": [1, (2, {3})]}, who=object(), big=1 << 80, data=b"x", text="\ud800"),
    record("failed", exc_info=raised(failures.in_groups)),
    record("failed", exc_info=raised(failures.wrong_syntax)),
    record("failed %s", KeyError("x"), exc_info=raised(failures.mistyped_name)),
]
PAYLOADS = [Codec(binary=binary).dumps(each) for each in RECORDS for binary in (True, False)]


def _is_record_or_error(data: bytes) -> None:
    try:
        loaded = Codec().loads(data)
    except FormatError:
        return
    assert isinstance(loaded, logging.LogRecord)


@given(st.binary(max_size=200), st.sampled_from([b"", b"M\x01", b"J\x01", b"M", b"J\x02"]))
def test_random_bytes(data: bytes, head: bytes) -> None:
    _is_record_or_error(head + data)


@given(st.sampled_from(PAYLOADS), st.data())
def test_damaged_payloads(payload: bytes, data: Any) -> None:
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(2, len(changed)))
        length = data.draw(st.integers(0, 4))
        changed[at : at + length] = data.draw(st.binary(max_size=4))
    _is_record_or_error(bytes(changed))


def _parts(tree: Any) -> Any:
    """All trees in a tree, as the list or dict that they are in, and the place there."""
    places = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for place, part in list(places):
        yield tree, place
        if isinstance(part, (dict, list)):
            yield from _parts(part)


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(list(_READERS)), inner, max_size=1)
    ),
    max_leaves=5,
)


@given(st.sampled_from(PAYLOADS[1::2]), trees, st.data())
def test_well_formed_payloads_of_another_content(payload: bytes, tree: Any, data: Any) -> None:
    """The parts of a payload replaced by others: what is read first is fine, what is in it isn't."""
    whole = json.loads(payload[2:].decode("utf-8", "surrogatepass"))
    holder, place = data.draw(st.sampled_from(list(_parts(whole))))
    holder[place] = tree
    text = json.dumps(whole).encode()
    _is_record_or_error(b"J\x01" + text)


def test_deep_nests() -> None:
    for data in (b"J\x01" + b"[" * 200_000, b"J\x01" + b'{"$tuple":[' * 100_000, b"M\x01" + b"\x91" * 200_000):
        with pytest.raises(FormatError, match="damaged"):
            Codec().loads(data)


@pytest.mark.parametrize(
    "data", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"]
)
def test_lengths_that_are_said_take_no_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="damaged"):
            Codec().loads(b"M\x01" + data * 100)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tree", [{"$bytearray": 1000}, {"$bytes": 1000}, {"$tuple": 1000}, {"$nonsense": 1}])
def test_tags_of_another_content_take_no_memory(tree: Any) -> None:
    with pytest.raises(FormatError, match="damaged"):
        Codec().loads(b"J\x01" + json.dumps([[["x", tree]], None, None, 2]).encode())
    with pytest.raises(FormatError, match="damaged"):
        Codec().loads(b"M\x01" + msgpack.packb([[["x", tree]], None, None, 2]))


def test_newer_versions_and_foreign_bytes_are_told_apart() -> None:
    for data in (b"M\x02\x90", b"J\x07[]"):
        with pytest.raises(FormatError, match=r"by a newer pqadapters.*upgrade"):
            Codec().loads(data)
    for data in (b"", b"M", b"J", b"\x80\x05", b"J\x00[]"):
        with pytest.raises(FormatError, match="isn't a log record of pqadapters"):
            Codec().loads(data)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_stands_behind_a_record_is_damage(payload: bytes) -> None:
    with pytest.raises(FormatError, match="damaged"):
        Codec().loads(payload + b"x")


@pytest.mark.parametrize("payload", PAYLOADS)
def test_each_format_is_read_whatever_is_written(payload: bytes) -> None:
    texts = [Codec(binary=binary).loads(payload).getMessage() for binary in (True, False)]
    assert texts[0] == texts[1]


def test_without_msgpack_json_is_written_and_msgpack_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "msgpack", None)
    codec = Codec()
    data = codec.dumps(RECORDS[0])
    assert json.loads(data[2:])[1] == "user %s did %d"
    assert codec.loads(data).__dict__ == RECORDS[0].__dict__
    with pytest.raises(FormatError, match=r"pip install 'pqadapters\[msgpack\]'"):
        codec.loads(PAYLOADS[0])


_HOSTILE = r"""
import json, sys
from pqadapters.logging._records.records import Codec
before = set(sys.modules)
error = [["antigravity", "Gone", "Gone", "ImportError"], "text", "repr", [], {"name": "this", "name_from": "x"}, None]
tree = {"$exc": [[[*error, [], None, None, False, None]], [], [], None, True]}
fields = [["msg", "m"], ["args", None], ["exc_info", tree]]
record = Codec().loads(b"J\x01" + json.dumps([fields, "antigravity.Gone", None, 2]).encode())
import traceback
print("".join(traceback.format_exception(*record.exc_info)))
assert not {"antigravity", "this"} & set(sys.modules)
"""


def test_no_module_that_a_record_names_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", _HOSTILE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["antigravity.Gone:", "text"]
