"""Where an item of a chunk ends: as its serializer has written it, whatever stands behind it."""

from __future__ import annotations

import importlib
import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.persistqueue.conversion.chunks import info_in
from pqadapters.persistqueue.conversion.framing import FRAMINGS, Broken, Lines, Own, Pickles

from . import theirs

VALUES = [
    None,
    10**30,
    "a.\n" * 100,
    b"." * 300,
    {"a": [1, 2.5, (True,)], ".": {"."}},
    bytearray(b"." * 9),
    ValueError("x."),
    [f"{n}." * 300 for n in range(100)],  # of several frames
    bytes(70_000),  # between two frames
]
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: "<B",
    pickletools.TAKEN_FROM_ARGUMENT4: "<i",
    pickletools.TAKEN_FROM_ARGUMENT4U: "<I",
    pickletools.TAKEN_FROM_ARGUMENT8U: "<Q",
}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", VALUES)
def test_a_pickle_ends_where_the_next_one_begins(value: Any, protocol: int) -> None:
    data, behind = pickle.dumps(value, protocol), pickle.dumps("behind", protocol)
    framing = Pickles()
    assert framing.end(data + behind, 0, len(data + behind)) == len(data)
    assert framing.end(behind + data, len(behind), len(data + behind)) == len(data + behind)
    for limit in range(0, len(data), 1 + len(data) // 500):
        with pytest.raises(Broken):
            framing.end(data, 0, limit)


def _argument(opcode: pickletools.OpcodeInfo) -> bytes:
    """One in which a byte that was skipped wrongly ends the pickle."""
    if opcode.arg is None:
        return b""
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        return b"..\n..\n" if opcode.arg is pickletools.stringnl_noescape_pair else b"..\n"
    if opcode.arg.n in _LENGTHS:
        return struct.pack(_LENGTHS[opcode.arg.n], 5) + b"." * 5
    return b"." * opcode.arg.n


@pytest.mark.parametrize(
    "opcode", [each for each in pickletools.opcodes if each.name not in ("STOP", "FRAME")], ids=lambda each: each.name
)
def test_each_instruction_is_skipped(opcode: pickletools.OpcodeInfo) -> None:
    data = b"\x80\x02" + opcode.code.encode("latin-1") + _argument(opcode) + b"."
    assert Pickles().end(data + data, 0, 2 * len(data)) == len(data)


def test_what_is_no_instruction_is_no_pickle() -> None:
    codes = {ord(each.code) for each in pickletools.opcodes}
    for code in set(range(256)) - codes:
        with pytest.raises(Broken, match="no such instruction"):
            Pickles().end(bytes([0x80, 2, code, 46]), 0, 4)


@pytest.mark.parametrize("behind", [b"", pickle.dumps("behind", 4)])
def test_a_pickle_that_ends_before_its_frame_does_is_damaged(behind: bytes) -> None:
    """It would be an item, and another one than was put."""
    data = pickle.dumps(["a", "b"], 4)
    broken = data.replace(b"\x94", b".", 1) + behind
    with pytest.raises(Broken, match="isn't as long as it says"):
        Pickles().end(broken, 0, len(broken))
    assert Pickles().again(broken, 0, len(broken)) == len(data)


def _written(name: str, value: Any) -> bytes:
    file = io.BytesIO()
    theirs.serializer(name).dump(value, file)
    return file.getvalue()


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor2"])
@pytest.mark.parametrize("value", [None, 1, "", "\n" * 300, {"a": {"b": 2.5, "c": True}}, "x" * 70_000])
def test_a_line_or_a_length_ends_where_the_next_one_begins(name: str, value: Any) -> None:
    data, behind = _written(name, value), _written(name, "behind")
    framing = FRAMINGS[name]()
    assert framing.end(data + behind, 0, len(data + behind)) == len(data)
    assert framing.end(behind + data, len(behind), len(data + behind)) == len(data + behind)
    payload = framing.payload(behind + data, len(behind), len(data + behind))
    assert importlib.import_module(f"pqadapters.serializers.{name}").loads(payload) == value
    for limit in range(0, len(data), 1 + len(data) // 500):
        with pytest.raises(Broken):
            framing.end(data + behind, 0, limit)


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor2"])
def test_behind_a_damaged_one_the_next_whole_one_is_found(name: str) -> None:
    first, second = _written(name, "a" * 40), _written(name, "b" * 40)
    damaged = first[: len(first) // 2] + b"\xff\xc1" + first[len(first) // 2 + 2 :]  # a byte that no format has
    data = damaged + second + second
    framing = FRAMINGS[name]()
    if name != "msgpack":  # whose text isn't looked at
        with pytest.raises(Broken):
            framing.end(data, 0, len(data))
    assert framing.again(data, 0, len(data)) == len(first)
    assert framing.again(second[:-1], 0, len(second) - 1) == len(second) - 1
    if name != "json":
        without = data[3:]  # its length is gone
        assert framing.again(without, 0, len(without)) == len(first) - 3
        assert framing.again(without[: -len(second)], 0, len(without) - len(second)) == len(first) - 3
        with pytest.raises(Broken):
            framing.end(bytes(4) + second, 0, 4 + len(second))


def test_what_a_damaged_pickle_holds_is_no_item_where_its_frame_tells() -> None:
    """A whole pickle in it, and the beginning of another one, look like items in front of a broken one."""
    held, behind = pickle.dumps("held", 4) + b"\x80\x04\x95", pickle.dumps("behind", 4)
    data = bytearray(pickle.dumps([1, held, "x"], 4))
    data[11] = 0xFF  # the first instruction of its frame is none
    whole = bytes(data) + behind
    with pytest.raises(Broken):
        Pickles().end(whole, 0, len(whole))
    assert Pickles().again(whole, 0, len(whole)) == len(data)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_bytes_that_are_no_pickle_cost_none(count: int) -> None:
    data = b"x" * count + pickle.dumps("behind", 4) * 2
    assert Pickles().again(data, 0, len(data)) == count


@pytest.mark.parametrize("start", [b"\x81\x02", b"\x80\x01", b"\x80\x06"])
def test_a_pickle_begins_with_a_protocol_that_there_is(start: bytes) -> None:
    with pytest.raises(Broken, match="no pickle begins"):
        Pickles().end(start + b"N.", 0, 4)


@pytest.mark.parametrize("held", [pickle.dumps("held", 3), b"\x80\x03\x95"], ids=["whole", "begun"])
def test_pickles_in_a_damaged_one_without_frames_are_no_items(held: bytes) -> None:
    data = bytearray(pickle.dumps([1, held, "x"], 3))
    data[2] = 0xFF  # the first instruction is none
    whole = bytes(data) + pickle.dumps("behind", 3)
    assert Pickles().again(whole, 0, len(whole)) == len(data)


def test_between_two_damaged_ones_all_are_found() -> None:
    damaged = pickle.dumps(["a", 1], 3).replace(b"]", b"\xff", 1)
    data = damaged + pickle.dumps("between", 3) + damaged + pickle.dumps("behind", 3)
    assert Pickles().again(data, 0, len(data)) == len(damaged)


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_what_a_pickle_holds_whose_rest_is_cut_off_is_no_item(cut: int) -> None:
    """Its frame says that it goes on: what looks like pickles up to the end of the chunk stands inside of it."""
    held = pickle.dumps("held", 4)
    data = pickle.dumps(held * 9, 4)
    limit = data.index(held) + 5 * len(held) - cut
    with pytest.raises(Broken, match="cut off"):
        Pickles().end(data, 0, limit)
    assert Pickles().again(data, 0, limit) == limit


@pytest.mark.parametrize(
    ("at", "damage"),
    [
        (4, b"\x03"),
        (5, b"\x01"),
        (10, b"\x7f"),
        (3, b"\x7f" * 8 + b"X\xff\xff"),  # with that of its text
        (4, b"\x03" + bytes(6) + b"\xff"),  # with its first instruction
    ],
)
def test_a_frame_that_says_too_much_costs_itself(at: int, damage: bytes) -> None:
    data, behind = pickle.dumps("damaged" * 50, 4), pickle.dumps("behind", 4)
    whole = data[:at] + damage + data[at + len(damage) :] + behind
    with pytest.raises(Broken):
        Pickles().end(whole, 0, len(whole))
    assert Pickles().again(whole, 0, len(whole)) == len(data)


def _walked(framing: Pickles, data: bytes) -> list[bytes]:
    """All that are whole, as a conversion takes them."""
    found, at = list[bytes](), 0
    while at < len(data):
        try:
            end = framing.end(data, at, len(data))
            found.append(data[at:end])
        except Broken:
            end = framing.again(data, at, len(data))
        at = end
    return found


@pytest.mark.parametrize("bit", range(8))
@pytest.mark.parametrize("at", range(5))
def test_a_small_pickle_with_a_flipped_bit_swallows_none_of_those_behind_it(at: int, bit: int) -> None:
    """It has no frame: an instruction with a length in the place of the number's took up to fifty for a part of it."""
    small = [pickle.dumps(number, 4) for number in range(100, 200)]
    damaged = bytearray(small[0])
    damaged[at] ^= 1 << bit
    assert _walked(Pickles(), bytes(damaged) + b"".join(small[1:]))[-99:] == small[1:]


@pytest.mark.parametrize("left", [1, 2, 3, 4])
def test_pickles_in_front_of_one_that_is_cut_off_at_its_beginning_are_found(left: int) -> None:
    data = b"xyz" + pickle.dumps("behind", 4) * 3 + b"\x80\x04\x95\x08"[:left]
    assert Pickles().again(data, 0, len(data)) == 3


def test_json_that_is_nested_too_deep_to_be_read_here_is_an_item() -> None:
    """Whoever gets it is told; but it is whole, and no `info`."""
    deep = b"[" * 100_000 + b"]" * 100_000 + b"\n"
    assert Lines().end(deep + deep, 0, 2 * len(deep)) == len(deep)
    assert info_in(deep, Lines()) is None


@pytest.mark.parametrize("name", ["msgpack", "cbor2"])
def test_that_a_library_is_missing_is_said_before_items_are_taken_for_damaged(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(data: bytes) -> object:
        raise ImportError(name)

    monkeypatch.setattr(f"pqadapters.serializers.{name}.loads", missing)
    with pytest.raises(ImportError):
        FRAMINGS[name]()


def _own(load: Callable[[Any], Any]) -> Own:
    serializer: Any = SimpleNamespace(load=load)
    return Own(serializer)


def test_an_own_serializer_that_reads_nothing_comes_to_an_end() -> None:
    with pytest.raises(Broken, match="reads nothing"):
        _own(lambda file: None).end(b"abc", 1, 3)


def test_an_own_serializer_reads_no_further_than_the_queues_end() -> None:
    """What stands there was put by a process that was killed in the middle of it."""
    with pytest.raises(Broken, match="can't read it"):
        _own(pickle.load).end(pickle.dumps("item"), 0, 9)
