"""Log records as bytes: all their fields come back as they were, or were counted."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import struct
import sys
import threading
from collections import OrderedDict
from datetime import datetime, time
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given

from pqadapters.logging._records import records
from pqadapters.logging._records.fields import write_record
from pqadapters.logging._records.records import Codec

from .records import record, same, through
from .values import Color, Hostile, Level, Opaque, Point, values

CODECS = [Codec(binary=True), Codec(binary=False)]


@pytest.fixture(params=["msgpack", "json"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec(binary=request.param == "msgpack")


@given(values, values)
def test_what_is_stored_comes_back_with_its_types(value: Any, other: Any) -> None:
    for codec in CODECS:
        loaded = through(codec, record("m", extra_one=value, two=other))
        assert same(loaded.__dict__["extra_one"], value)
        assert same(loaded.__dict__["two"], other)
        assert codec.unencodable == 0


def test_all_fields_come_back_in_their_order(codec: Codec) -> None:
    one = record("user %s did %d", "x", 3)
    assert list(through(codec, one).__dict__.items()) == list(one.__dict__.items())
    assert through(codec, one).getMessage() == "user x did 3"
    one = record("m", a=1, b=[None])
    one.exc_text, one.stack_info = "text", "stack"
    assert list(through(codec, one).__dict__.items()) == list(one.__dict__.items())


def test_attributes_may_be_missing_strange_or_in_another_order(codec: Codec) -> None:
    one = record("m %s", "x")
    del one.lineno
    one.__dict__[3] = "three"  # type: ignore[index]
    assert list(through(codec, one).__dict__.items()) == list(one.__dict__.items())
    one.__dict__[object()] = 1  # type: ignore[index]
    assert through(codec, one).getMessage() == "m x"
    one = record("m %s", "x")
    one.__dict__ = dict(sorted(one.__dict__.items()))
    assert list(through(codec, one).__dict__.items()) == list(one.__dict__.items())
    one = record("m")
    one.args = ["a list"]  # type: ignore[assignment]
    assert same(through(codec, one).args, ["a list"])
    one.name = {"$tuple": [1]}  # type: ignore[assignment]
    one.threadName = bytearray(b"x")  # type: ignore[assignment]
    assert same(through(codec, one).__dict__, one.__dict__)


@pytest.mark.parametrize("has", [True, False])
def test_records_of_pythons_with_and_without_tasks(codec: Codec, has: bool) -> None:
    one = record("m %s", "x", other=1)
    fields = {name: value for name, value in one.__dict__.items() if name not in ("taskName", "other")}
    one.__dict__ = {**fields, **({"taskName": "t"} if has else {}), "other": 1}
    assert list(through(codec, one).__dict__.items()) == list(one.__dict__.items())


def test_single_mappings_are_arguments_by_name(codec: Codec) -> None:
    loaded = through(codec, record("%(a)s %(b)d", {"a": "x", "b": 3}))
    assert loaded.args == {"a": "x", "b": 3}
    assert loaded.getMessage() == "x 3"


@pytest.mark.parametrize(
    "value", [1 << 64, (1 << 64) - 1, -(1 << 63), -(1 << 63) - 1, 10**5000, float("inf"), -0.0], ids=hash
)
def test_numbers_are_exact(codec: Codec, value: Any) -> None:
    assert same(through(codec, record("m", value, x=value)).__dict__["x"], value)
    assert same(through(codec, record("m", value)).args, (value,))


@pytest.mark.parametrize("value", [datetime(2026, 10, 25, 2, fold=1, tzinfo=ZoneInfo("UTC")), time(2, 30, fold=1)])
def test_the_second_of_two_equal_hours(codec: Codec, value: Any) -> None:
    assert through(codec, record("m", x=value)).__dict__["x"].fold == 1
    assert same(through(codec, record("m", x=value)).__dict__["x"], value)


@pytest.mark.parametrize("key", ["/etc/localtime", "../zone", "", Path("zone")])
def test_a_zone_that_a_file_was_read_from(codec: Codec, key: Any) -> None:
    """Its key may be anything, as the path of the file: the record was damaged, and couldn't be delivered."""
    header = struct.pack(">4sc15x6l", b"TZif", b"\0", 0, 0, 0, 0, 1, 4)
    zone = ZoneInfo.from_file(io.BytesIO(header + struct.pack(">lBB4s", 9 * 3600, 0, 0, b"JST\0")), key=key)
    value = datetime(2026, 10, 25, 2, tzinfo=zone)
    loaded = through(codec, record("%s", value, x=value))
    assert loaded.getMessage() == "2026-10-25 02:00:00+09:00"
    assert str(loaded.__dict__["x"]) == "2026-10-25 02:00:00+09:00"


def test_what_cant_be_stored_is_its_repr_and_counted(codec: Codec) -> None:
    loaded = through(codec, record("m", x=Opaque(), y=[1, Opaque()], z=Hostile()))
    assert loaded.__dict__["x"] == "<an Opaque>"
    assert loaded.__dict__["y"] == [1, "<an Opaque>"]
    assert loaded.__dict__["z"] == "<Hostile object; its repr raises ValueError: no>"
    assert codec.unencodable == 3
    assert f"{loaded.__dict__['x']} %s %r" % (loaded.__dict__["x"], loaded.__dict__["x"]) == (
        "opaque opaque <an Opaque>"
    )
    again = through(codec, loaded)
    assert f"{again.__dict__['x']}" == "opaque"
    assert codec.unencodable == 3


class Odd:
    """Its texts are what it was made with."""

    def __init__(self, printed: Any, shown: Any) -> None:
        self._printed, self._shown = printed, shown

    def __str__(self) -> str:
        return _said(self._printed)

    def __repr__(self) -> str:
        return _said(self._shown)


def _said(what: Any) -> str:
    if isinstance(what, Exception):
        raise what
    text: str = what
    return text


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("value", "printed", "shown"),
    [
        (Odd("", "<odd>"), "", "<odd>"),
        (Odd("odd", ""), "odd", ""),
        (Odd(Color.RED, Color.RED), "red", "red"),
        (Odd("odd", Mute()), "odd", "<Odd object; its repr raises Mute: (no text)>"),
    ],
    ids=["no text", "no repr", "another kind of str", "an error that is mute"],
)
def test_stand_ins_print_as_their_values_did(codec: Codec, value: object, printed: str, shown: str) -> None:
    loaded = through(codec, through(codec, record("%s|%r", value, value, x=value)))
    assert loaded.getMessage() == f"{printed}|{shown}"
    stand_in = loaded.__dict__["x"]
    assert (str(stand_in), repr(stand_in), f"{stand_in:>6}", stand_in) == (printed, shown, printed.rjust(6), shown)
    assert pickle.loads(pickle.dumps(stand_in)) == shown


class Proxy:
    """Stands for something that isn't there, as those of web frameworks do outside of a request."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("working outside of a request")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of a request")


def test_proxies_are_not_asked_what_they_stand_for(codec: Codec) -> None:
    loaded = through(
        codec, record("%s %d", Proxy(), 1, x=Proxy(), y=[Proxy()], exc_info=Proxy(), _logger=Proxy(), _name="x")
    )
    assert "Proxy object" in loaded.getMessage()
    assert loaded.__dict__["x"].startswith("<")
    assert through(codec, record(Proxy())).getMessage().startswith("<")


def test_stand_ins_are_plain_text_to_others(codec: Codec) -> None:
    """SocketHandler pickles extras for receivers that don't have pqadapters."""
    stand_in = through(codec, record("m", x=Opaque())).__dict__["x"]
    assert type(pickle.loads(pickle.dumps(stand_in))) is str
    assert str(copy.deepcopy([stand_in, copy.copy(stand_in)])[0]) == "opaque"


def test_subclasses_are_what_json_would_write_or_their_repr(codec: Codec) -> None:
    loaded = through(codec, record("m", color=Color.RED, point=Point(1, [2]), level=Level.HIGH))
    assert loaded.__dict__["color"] == "red"
    assert f"{loaded.__dict__['color']!s} {loaded.__dict__['color']!r}" == f"{Color.RED!s} {Color.RED!r}"
    assert same(loaded.__dict__["point"], (1, [2]))
    assert str(loaded.__dict__["level"]) == str(Level.HIGH)
    assert codec.unencodable == 3


class Frozen(dict[str, Any]):
    """A dict with a hash, as several packages have it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return len(self)


class Way(list[Any]):
    def __hash__(self) -> int:  # type: ignore[override]
        return len(self)


class Keyed(NamedTuple):
    names: Any

    def __hash__(self) -> int:
        return len(self.names)


@pytest.mark.parametrize(
    "key", [Frozen(a=1), Way(["a", 1]), (1, Frozen()), Keyed([1]), Keyed(bytearray(b"x")), frozenset([Way()])]
)
def test_keys_can_be_keys_again(codec: Codec, key: Any) -> None:
    """A list or dict of a kind that has a hash came back as one that has none: the record couldn't be delivered, and
    one whose message or arguments had such a key had lost them."""
    for value in ({key: 1}, {key}, frozenset([key]), OrderedDict({key: 1}), [{(key,): 1}]):
        loaded = through(codec, record("%s", value, x=value))
        assert loaded.getMessage() == str(value)
        assert len(loaded.__dict__["x"]) == 1
    assert through(codec, record({key: 1})).getMessage() == str({key: 1})
    assert through(codec, record("%(a)s", {"a": 1, key: 1})).getMessage() == "1"
    one = record("m")
    one.__dict__[key] = 1
    assert through(codec, one).getMessage() == "m"
    error = through(codec, record("m", x={ValueError([1]): 1})).__dict__["x"]
    assert [each.args for each in error] == [([1],)]


class Celsius(float):
    def __str__(self) -> str:
        return f"{float(self)} C"


class Guarded(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("not now")


class Ordered(OrderedDict[str, int]):
    pass


def test_subclasses_are_what_they_hold_whatever_they_say_of_it(codec: Codec) -> None:
    ordered = Ordered(a=1, b=2)
    ordered.move_to_end("a")
    fields = through(codec, record("m", degrees=Celsius(3), guarded=Guarded([1]), ordered=ordered)).__dict__
    assert str(fields["degrees"]) == "3.0 C"
    assert same(fields["guarded"], [1])
    assert list(fields["ordered"]) == ["b", "a"]


@pytest.mark.parametrize("value", [{"$set": "x"}, {"$tuple": [1]}, {"$": None}])
def test_a_dict_that_looks_like_a_tag_is_one_of_its_own(codec: Codec, value: dict[str, Any]) -> None:
    """Of a record that is as plain as most."""
    assert same(through(codec, record(value)).msg, value)
    assert through(codec, record("m", **value)).__dict__.items() >= value.items()


def test_a_dict_that_changes_meanwhile_is_what_it_was(codec: Codec) -> None:
    """As by another thread, or here by what is asked for its repr."""
    changing: dict[Any, Any] = {}

    class Changes:
        def __repr__(self) -> str:
            changing[len(changing)] = 1
            return "changes"

    for inside in (changing, {"in": changing}, OrderedDict(inside=changing)):
        changing.clear()
        changing["first"] = Changes()
        loaded = codec.loads(codec.dumps(record("m", x=inside))).__dict__["x"]
        found = loaded if inside is changing else next(iter(loaded.values()))
        assert found == {"first": "changes"}


def test_what_is_in_a_container_that_is_lost_counts_no_more(codec: Codec) -> None:
    loop: list[Any] = [Opaque()]
    loop.append(loop)
    through(codec, record("m", x=loop, error=ValueError(Opaque())))
    assert codec.unencodable == 1


def test_paths_of_another_system_are_pure_ones() -> None:
    for kind in ("posixpath", "windowspath"):
        path = Codec().loads(b'J\x01[[["msg",{"$%s":"x"}]],null,null,2]' % kind.encode()).msg
        assert isinstance(path, PurePath)
        assert str(path) == "x"


@pytest.mark.skipif("Europe/Berlin" not in available_timezones(), reason="has no zones")
def test_a_time_whose_zone_has_several_offsets(codec: Codec) -> None:
    value = time(2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert same(through(codec, record("m", x=value)).__dict__["x"], value)


class Braces(logging.LogRecord):
    def getMessage(self) -> str:
        return str(self.msg).format(*(self.args or ()))


def test_records_of_another_kind_stay_of_it_where_it_is_known(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Braces("app", 20, "/srv/app.py", 4, "{} is {!r}", ("x", "y"), None)
    data = codec.dumps(one)
    loaded = codec.loads(data)
    assert type(loaded) is Braces
    assert loaded.__dict__ == one.__dict__
    monkeypatch.setattr("pqadapters.logging._records.fields._kinds", {})  # another process
    loaded = codec.loads(data)
    assert type(loaded) is logging.LogRecord
    assert loaded.getMessage() == "x is 'y'"
    logging.setLogRecordFactory(Braces)
    try:
        assert type(codec.loads(data)) is Braces
    finally:
        logging.setLogRecordFactory(logging.LogRecord)


class Plain(logging.LogRecord):
    """Says what any record says."""


def test_records_of_another_kind_keep_their_arguments_where_they_say_nothing_else(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = codec.dumps(Plain("app", 20, "/srv/app.py", 4, "%s did", ("x",), None))
    monkeypatch.setattr("pqadapters.logging._records.fields._kinds", {})
    loaded = codec.loads(data)
    assert (type(loaded), loaded.msg, loaded.args) == (logging.LogRecord, "%s did", ("x",))


class Reader:
    """Of some user, who can't be stored, and prints otherwise by its own format."""

    name = "ann"

    def __format__(self, spec: str) -> str:
        return "{ann}"


class Named(logging.LogRecord):
    def getMessage(self) -> str:
        return f"{self.__dict__['user'].name}: {self.msg}"


@pytest.mark.parametrize("kind", [Braces, Named])
def test_records_of_another_kind_say_what_they_said_whatever_of_them_cant_be_stored(
    codec: Codec, kind: type[logging.LogRecord]
) -> None:
    """Its own `getMessage` may make something else of what stands for that, or fail."""
    one = kind("app", 20, "/srv/app.py", 4, "{}" if kind is Braces else "in", (Reader(),), None)
    one.user = Reader()
    assert through(codec, one).getMessage() == one.getMessage()


class Counting(logging.LogRecord):
    def getMessage(self) -> str:
        return f"{len(str(self.msg))} characters"


def test_a_dict_in_a_record_of_another_kind_stays_one(codec: Codec) -> None:
    """Formatters look into it, whatever the record says."""
    one = Counting("app", 20, "/srv/app.py", 4, {"event": "e", "who": Hostile()}, (), None)
    loaded: Any = through(codec, one).msg
    assert loaded["event"] == "e"
    assert "Hostile" in loaded["who"]


def test_a_finalizer_that_logs_may_come_in_between(codec: Codec) -> None:
    """A packer is one record's at a time, also where a record is written in the middle of another."""
    inner: list[str] = []

    class Logs:
        def __str__(self) -> str:
            inner.append(codec.loads(codec.dumps(record("inner %s", Opaque()))).getMessage())
            return "outer"

    assert through(codec, record("%s %s", Logs(), Opaque())).getMessage() == "outer opaque"
    assert set(inner) == {"inner opaque"}


def test_another_thread_formats_it_meanwhile(codec: Codec) -> None:
    """As one that another handler has given it to: it was damaged, with an attribute that had no name."""

    class Growing(dict[str, Any]):
        def values(self) -> Any:
            self["message"] = "m x"
            return super().values()

    one = record("m %s", "x")
    one.__dict__ = Growing(one.__dict__)
    loaded = codec.loads(codec.dumps(one))
    assert loaded.__dict__ == one.__dict__
    assert loaded.getMessage() == "m x"


def test_threads_write_at_once(codec: Codec) -> None:
    barrier = threading.Barrier(4)
    wrong: list[object] = []

    def write(number: int) -> None:
        barrier.wait()
        for count in range(300):
            one = record("%s %s", number, "x" * count, n=number)
            if codec.loads(codec.dumps(one)).__dict__ != one.__dict__:
                wrong.append(one)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_loggers_come_back_by_name(codec: Codec) -> None:
    known = logging.getLogger("app.known")
    other = logging.Logger("app.known")
    loaded = through(codec, record("m", known=known, root=logging.getLogger(), other=other))
    assert loaded.__dict__["known"] is known
    assert loaded.__dict__["root"] is logging.getLogger()
    assert isinstance(loaded.__dict__["other"], str)
    assert isinstance(through(codec, record("m", _logger=other)).__dict__["_logger"], str)
    assert codec.unencodable == 2


def test_a_logger_whose_name_is_a_str_of_another_kind(codec: Codec) -> None:
    """As of an enumeration's: in MessagePack the record had lost its arguments."""
    logger = logging.getLogger(Color.RED)
    assert type(logger.name) is Color
    loaded = through(codec, record("m %s", "x", logger=logger, other=[logger]))
    assert loaded.getMessage() == "m x"
    assert loaded.__dict__["logger"] is loaded.__dict__["other"][0] is logger
    assert codec.unencodable == 0
    loaded = through(codec, record("m %s", "x", _logger=logger, _name="info"))
    assert (loaded.getMessage(), loaded.__dict__["_logger"]) == ("m x", logger)


def test_what_nobody_has_thought_of_loses_no_record(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqadapters.logging._records.records.write_record", lambda record: 1 / 0)
    loaded = codec.loads(codec.dumps(record("m %s", [1], x=[1], y="y", z=1 << 70)))
    assert (loaded.msg, loaded.args, loaded.__dict__["x"], loaded.__dict__["y"]) == ("m %s", None, None, "y")
    assert codec.unencodable >= 2


def test_a_signal_handler_that_raises_something_meanwhile_spoils_no_record(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program's alarm: the record was stored without its arguments, and said `%s`."""

    def interrupted(record: logging.LogRecord) -> Any:
        monkeypatch.undo()
        write_record(record)
        raise TimeoutError

    monkeypatch.setattr(records, "write_record", interrupted)
    loaded = codec.loads(codec.dumps(record("%s", "it", extra=[Opaque()])))
    assert loaded.getMessage() == "it"
    assert codec.unencodable == 1


@pytest.mark.parametrize("error", [MemoryError, TimeoutError])
def test_what_comes_up_while_one_is_read_is_no_damage(
    codec: Codec, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be buried."""
    data = codec.dumps(record("m", x=[1]))

    def interrupted(values: Any) -> Any:
        if error is not MemoryError:
            monkeypatch.undo()
        raise error

    monkeypatch.setattr(records, "read_record", interrupted)
    with pytest.raises(error):
        codec.loads(data)


def test_a_packer_has_one_record_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of one the garbage collector may call a finalizer that logs."""
    codec = Codec(binary=True)
    real: Any = records._packer

    class Packer:
        def __init__(self, **options: Any) -> None:
            self.packer, self.busy = real(**options), False

        def pack(self, values: Any) -> Any:
            assert not self.busy
            self.busy = True
            if values[1] == "outer":
                assert codec.loads(codec.dumps(record("inner"))).msg == "inner"
            self.busy = False
            return self.packer.pack(values)

    monkeypatch.setattr(records, "_packer", Packer)
    for _ in range(3):
        assert codec.loads(codec.dumps(record("outer"))).msg == "outer"
