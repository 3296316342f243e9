"""Exceptions in log records: they print the same wherever, and whenever, they are delivered."""

from __future__ import annotations

import gc
import importlib.util
import json
import linecache
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pqadapters.errors import FormatError
from pqadapters.logging._records import tracebacks
from pqadapters.logging._records.records import Codec

from . import failures
from .failures import each_failure
from .records import Raised, raised, record, same, through

Fail = Callable[[], object]


@pytest.fixture(params=["msgpack", "json"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec(binary=request.param == "msgpack")


def _text(info: Any) -> str:
    return "".join(traceback.format_exception(*info))


def _delivered(codec: Codec, info: Any) -> Raised:
    loaded: Any = through(codec, record("m", exc_info=info)).exc_info
    assert codec.unencodable == 0
    return loaded  # type: ignore[no-any-return]


@each_failure
def test_exceptions_print_the_same(codec: Codec, fail: Fail) -> None:
    info = raised(fail)
    kind, error, trace = _delivered(codec, info)
    assert _text((kind, error, trace)) == _text(info)
    assert type(error) is kind
    assert error.__traceback__ is trace
    assert kind is not info[0] or kind.__module__ == "builtins"
    assert (kind.__name__, kind.__qualname__, kind.__module__) == (
        info[0].__name__,
        info[0].__qualname__,
        info[0].__module__,
    )
    assert _said(error) == _said(info[1])


def _said(error: BaseException) -> str:
    try:
        return f"{error} {error!r}"
    except ValueError as problem:
        return str(problem)
    except RuntimeError:
        return "no text"


@each_failure
def test_they_print_the_same_when_stored_again(codec: Codec, fail: Fail) -> None:
    info = raised(fail)
    again = _delivered(codec, _delivered(codec, info))
    assert _text(again) == _text(info)
    assert again[0].__qualname__ == info[0].__qualname__


def test_types_are_the_builtin_ones_or_derived_from_them(codec: Codec) -> None:
    assert _delivered(codec, raised(failures.plain))[0] is ValueError
    error: Any = _delivered(codec, raised(failures.in_context))[1]
    assert type(error) is FileNotFoundError
    assert (error.errno, error.filename) == (2, "/nowhere/at all")
    assert type(error.__context__) is KeyError
    error = _delivered(codec, raised(failures.refused))[1]
    assert isinstance(error, ConnectionRefusedError)
    assert error.errno == 111
    assert issubclass(_delivered(codec, raised(failures.suppressed))[0], LookupError)
    error = _delivered(codec, raised(failures.wrong_syntax))[1]
    assert isinstance(error, SyntaxError)
    assert error.lineno
    error = _delivered(codec, raised(failures.left))[1]
    assert isinstance(error, SystemExit)
    assert error.code == 3
    error = _delivered(codec, raised(failures.mistyped_name))[1]
    assert isinstance(error, NameError)
    assert error.name == "known_variabel"


def test_a_type_that_is_called_as_a_builtin_one_isnt_derived_from_that(codec: Codec) -> None:
    own = type("TimeoutError", (LookupError,), {"__module__": __name__})

    def fail() -> None:
        raise own("late")

    kind = _delivered(codec, raised(fail))[0]
    assert issubclass(kind, LookupError)
    assert not issubclass(kind, OSError)
    assert (kind.__module__, kind.__name__) == (__name__, "TimeoutError")


def test_what_led_to_an_exception_comes_with_it(codec: Codec) -> None:
    error = _delivered(codec, raised(failures.chained))[1]
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__ is error.__context__
    assert error.__suppress_context__
    circle = _delivered(codec, raised(failures.in_circles))[1]
    assert circle.__context__ is not None
    assert circle.__context__.__context__ is circle


@pytest.mark.skipif(not failures.ExceptionGroup, reason="has no exception groups")
def test_members_of_groups_are_what_they_were(codec: Codec) -> None:
    group: Any = _delivered(codec, raised(failures.in_groups))[1]
    assert group.exceptions[0] is group.exceptions[3]
    assert [type(each).__name__ for each in group.exceptions[0].exceptions] == ["Custom", "Refused"]


@pytest.mark.skipif(not failures.ExceptionGroup, reason="has no exception groups")
def test_a_group_as_a_value_is_its_text_and_has_no_members(codec: Codec) -> None:
    group = raised(failures.in_groups)[1]
    loaded: Any = through(codec, record("m", error=group))
    assert str(loaded.error) == str(group)
    assert type(loaded.error).__name__ == type(group).__name__
    assert not hasattr(loaded.error, "exceptions")


@pytest.mark.skipif(not failures.ExceptionGroup, reason="has no exception groups")
def test_groups_that_hold_each_other_are_damage() -> None:
    """There are none: who makes them waits for members that wait for it."""
    codec = Codec(binary=False)
    payload = json.loads(codec.dumps(record("m", exc_info=raised(failures.in_groups)))[2:])
    entries = next(each["$exc"][0] for each in payload if isinstance(each, dict))
    for number, entry in enumerate(entries):
        if entry[10] is not None:
            entry[10] = [number]
    with pytest.raises(FormatError, match="hold each other"):
        codec.loads(b"J\x01" + json.dumps(payload).encode())


class _Own(OSError):
    """A kind that only the program has."""


class _Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(("error", "says"), [(_Own(2, "gone"), "[Errno 2] gone"), (_Mute("this"), "_Mute('this')")])
def test_a_pickle_of_one_is_a_builtin_one_that_says_the_same(codec: Codec, error: Exception, says: str) -> None:
    """For receivers without pqadapters. One that has no text says its repr."""
    back: Any = through(codec, record("m", error=error))
    loaded = back.error
    loaded.__notes__ = ["seen twice"]
    found = pickle.loads(pickle.dumps(loaded))
    assert (type(found).__module__, str(found), found.__notes__) == ("builtins", says, ["seen twice"])


@pytest.fixture
def module(tmp_path: Path) -> ModuleType:
    """One whose file is going to change."""
    path = tmp_path / "changing.py"
    path.write_text("# first\n\ndef fail():\n    return {}['original']\n")
    spec = importlib.util.spec_from_file_location("changing", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("change", ["rewritten", "gone"])
@pytest.mark.parametrize("cached", [True, False])
def test_the_source_is_that_of_then(codec: Codec, module: ModuleType, change: str, cached: bool) -> None:
    """Delivered later, perhaps elsewhere. Others go on to see what is in the file now."""
    info = raised(module.fail)
    printed = _text(info)
    assert "original" in printed
    data = codec.dumps(record("m", exc_info=info))
    path = Path(str(module.__file__))
    if change == "gone":
        path.unlink()
    else:
        path.write_text("# second\n\ndef fail():\n    return {}['changed now']\n")
    if not cached:
        linecache.clearcache()
    loaded: Any = codec.loads(data).exc_info
    assert _text(loaded) == printed
    assert ("changed now" in _text(info)) == (change == "rewritten")
    assert _text(loaded) == printed
    linecache.checkcache()
    assert _text(loaded) == printed


def test_the_source_is_not_that_of_an_earlier_look(codec: Codec, module: ModuleType) -> None:
    info = raised(module.fail)
    assert "original" in _text(info)
    Path(str(module.__file__)).write_text("# edited\n\ndef fail():\n    return {}['edited since']\n")
    loaded = _delivered(codec, info)
    assert "edited since" in _text(loaded)
    assert _text(loaded) == _text(info)


def test_lines_go_when_their_exceptions_do(codec: Codec) -> None:
    def stored() -> set[int]:
        for cache in (tracebacks._frame, tracebacks._name):
            cache.cache_clear()
        gc.collect()
        return {hash(name) for name in linecache.cache if type(name) is not str}

    before = stored()  # what earlier tests have left may go meanwhile
    infos = [_delivered(codec, raised(fail)) for fail in failures.FAILURES]
    assert len(stored() - before) > 2
    infos.clear()
    assert not stored() - before


def test_frames_keep_nothing_alive(codec: Codec) -> None:
    trace = _delivered(codec, raised(failures.chained))[2]
    assert trace is not None
    while trace is not None:
        assert trace.tb_frame.f_back is None
        assert trace.tb_frame.f_locals == {}
        assert not {"raised", "failures", "__file__"} & set(trace.tb_frame.f_globals)
        trace = trace.tb_next


def test_tools_that_read_files_see_all_of_one_that_is_unchanged(codec: Codec, module: ModuleType) -> None:
    """Rich shows the lines around; where the file has changed, those that were stored."""
    loaded = _delivered(codec, raised(module.fail))
    assert loaded[2] is not None
    last = loaded[2].tb_next
    assert last is not None
    name = last.tb_frame.f_code.co_filename
    assert name == module.__file__
    assert list(linecache.getlines(name)) == ["# first\n", "\n", "def fail():\n", "    return {}['original']\n"]
    assert linecache.getlines(name)[2:] == ["def fail():\n", "    return {}['original']\n"]
    Path(name).write_text("other\n")
    linecache.checkcache()
    assert list(linecache.getlines(name)) == ["\n", "\n", "\n", "    return {}['original']\n"]


_ELSEWHERE = """
import sys, traceback
sys.argv[1:] and __import__(sys.argv[1])
from pqadapters.logging._records.records import Codec
record = Codec().loads(bytes.fromhex(sys.stdin.read()))
sys.stdout.buffer.write("".join(traceback.format_exception(*record.exc_info)).encode("utf-8", "surrogatepass"))
assert not [name for name in sys.modules if name.startswith("tests")]
"""

_PATCHES = [name for name in ("exceptiongroup",) if name in sys.modules]  #: of the traceback module, before Python 3.11


@each_failure
def test_another_process_prints_the_same(fail: Fail) -> None:
    info = raised(fail)
    data = Codec().dumps(record("m", exc_info=info))
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, *_PATCHES], input=data.hex().encode(), capture_output=True, check=True
    )
    assert done.stdout.decode("utf-8", "surrogatepass") == _text(info)


def test_exc_info_that_is_something_else(codec: Codec) -> None:
    for value in ((None, None, None), True, 0):
        assert same(_delivered(codec, value), value)
    error = raised(failures.plain)[1]
    kind, loaded, trace = _delivered(codec, (ValueError, error, None))
    assert _text((kind, loaded, trace)) == _text((ValueError, error, None))
    strange = record("m", exc_info=(ValueError, None, error.__traceback__))
    printed = logging.Formatter().format(logging.makeLogRecord(strange.__dict__))
    told = through(codec, strange)
    assert told.exc_info is None
    assert logging.Formatter().format(told) == printed
    assert codec.unencodable > 0


def test_exceptions_as_values_are_their_text(codec: Codec) -> None:
    error = raised(failures.chained)[1]
    loaded = through(codec, record("failed: %s %r", error, error, cause=error, all=[error, KeyError("x")]))
    assert loaded.getMessage() == f"failed: {error} {error!r}"
    assert f"{loaded.__dict__['cause']} {loaded.__dict__['all']}" == f"{error} {[error, KeyError('x')]}"
    assert loaded.__dict__["cause"].__traceback__ is None
    own = ValueError()
    own.args = (own,)
    assert "ValueError" in repr(through(codec, record("m", own=own)).__dict__["own"])


def test_exceptions_that_lie_lose_no_record(codec: Codec) -> None:
    class Lying(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]
            raise OSError("no cause")

    def fail() -> None:
        raise Lying("lie")

    one = record("m", exc_info=raised(fail))
    loaded = through(codec, one)
    assert loaded.getMessage() == "m"
    assert codec.unencodable > 0


def test_tables_are_small() -> None:
    """A recursion of a thousand frames is a byte for each."""
    assert len(Codec(binary=True).dumps(record("m", exc_info=raised(failures.recursive)))) < 3000


def test_frames_outlive_what_they_were_made_of(codec: Codec) -> None:
    """A frame of a generator that had begun made CPython 3.13 crash here."""
    traces = []
    for number in range(300):
        tracebacks._frame.cache_clear()
        trace = _delivered(codec, raised(failures.FAILURES[number % 3]))[2]
        traces.append(trace)
        if number % 20 == 0:
            gc.collect()
            traceback.clear_frames(traces[number // 2])
    assert all("Traceback" in _text((ValueError, ValueError(), trace)) for trace in traces)
