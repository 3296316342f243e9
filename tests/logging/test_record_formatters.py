"""What formatters print of a record that comes back is what they would have printed of the original, byte for byte."""

from __future__ import annotations

import copy
import enum
import json
import logging
import pickle
import re
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
from pythonjsonlogger.json import JsonFormatter
from structlog.dev import ConsoleRenderer, RichTracebackFormatter, plain_traceback
from structlog.processors import (
    CallsiteParameter,
    CallsiteParameterAdder,
    ExceptionRenderer,
    JSONRenderer,
    KeyValueRenderer,
    LogfmtRenderer,
    format_exc_info,
)
from structlog.stdlib import ExtraAdder, PositionalArgumentsFormatter, ProcessorFormatter, add_log_level
from structlog.tracebacks import ExceptionDictTransformer

from pqadapters.logging._records.records import Codec

from . import failures
from .failures import each_failure
from .records import raised, record, through

Fail = Callable[[], object]


class Colour(enum.Enum):
    RED = 1


class Named:
    def __str__(self) -> str:
        return "its name"

    def __repr__(self) -> str:
        return "<Named>"


@pytest.fixture(params=["msgpack", "json"])
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec(binary=request.param == "msgpack")


def _processed(*processors: Any) -> ProcessorFormatter:
    return ProcessorFormatter(
        processors=[ProcessorFormatter.remove_processors_meta, *processors],
        foreign_pre_chain=[add_log_level, ExtraAdder()],
        pass_foreign_args=True,
    )


DICTS = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
RICH = RichTracebackFormatter(show_locals=False, width=100, max_frames=6)
FORMATTERS: dict[str, logging.Formatter] = {
    "percent": logging.Formatter("%(asctime)s %(name)s %(levelname)s %(process)d %(message)s"),
    "brace": logging.Formatter("{asctime} {name:>20} {lineno} {relativeCreated:.3f} {message}", style="{"),
    "dollar": logging.Formatter("$asctime ${threadName} $message", style="$"),
    "json": JsonFormatter("%(asctime)s %(levelname)s %(message)s %(exc_info)s", rename_fields={"levelname": "level"}),
    "structlog-json": _processed(format_exc_info, JSONRenderer()),
    "structlog-dicts": _processed(DICTS, JSONRenderer()),
    "structlog-console": _processed(ConsoleRenderer(colors=False, exception_formatter=plain_traceback)),
    "structlog-rich": _processed(ConsoleRenderer(colors=False, exception_formatter=RICH)),
    "structlog-pairs": _processed(format_exc_info, KeyValueRenderer(sort_keys=True)),
}
each_formatter = pytest.mark.parametrize("name", FORMATTERS)


def _check(codec: Codec, name: str, original: logging.LogRecord) -> str:
    """A formatter prints the same of both. It may change what it is given."""
    loaded = through(codec, original)
    printed = FORMATTERS[name].format(logging.makeLogRecord(original.__dict__))
    assert _unstyled(FORMATTERS[name].format(loaded)) == _unstyled(printed)
    return printed


def _unstyled(printed: str) -> str:
    """Without bold and underlined text. Rich has it where a frame is by now, rather than where the exception passed."""
    return re.sub("\x1b\\[[0-9;]*m", "", printed)


@each_formatter
@each_failure
def test_exceptions(codec: Codec, name: str, fail: Fail) -> None:
    if name == "structlog-rich" and fail is failures.in_circles:
        pytest.skip("rich goes round for ever")
    printed = _check(codec, name, record("failed with %s", fail.__name__, exc_info=raised(fail)))
    assert f"failed with {fail.__name__}" in printed
    assert codec.unencodable == 0


@each_formatter
def test_extras_and_arguments(codec: Codec, name: str) -> None:
    extra = {
        "number": 1 << 70,
        "when": datetime(2026, 1, 2, tzinfo=timezone.utc),
        "path": Path("a"),
        "nested": {"a": [1, (2, "é")], "b": None},
        "amount": Decimal("1.20"),
        "data": b"\x00\xff",
        "error": KeyError("x"),
        "odd": float("nan"),
    }
    original = record("%s is %r, %5.2f%%", "é", Decimal("1.20"), 99.5, **extra)
    original.stack_info = "Stack (most recent call last):\n  here"
    printed = _check(codec, name, original)
    assert "is Decimal('1.20'), 99.50%" in printed
    assert codec.unencodable == 0


def test_members_of_an_enum_in_a_width(codec: Codec) -> None:
    formatter = logging.Formatter("{colour:<14}|{colour:>14}|{colour}|{message}", style="{")
    original = record("text", colour=Colour.RED)
    assert formatter.format(through(codec, original)) == formatter.format(original)


@each_formatter
def test_arguments_that_cant_be_stored(codec: Codec, name: str) -> None:
    if name not in ("structlog-json", "structlog-dicts"):
        assert "its name and <Named>" in _check(codec, name, record("%s and %r", Named(), Named()))
    _check(codec, name, record("%(who)s", {"who": Named()}))


def test_dicts_that_are_messages(codec: Codec) -> None:
    printed = _check(codec, "json", record({"a": 1, "who": "x", "message": "said"}, other=2))
    assert json.loads(printed)["who"] == "x"
    _check(codec, "percent", record({"a": (1,), 2: Named()}))


# What structlog itself logs


class Keeping(logging.Handler):
    """Keeps what the codec makes of each record, in the place where a handler would write it."""

    def __init__(self, codec: Codec, formatter: logging.Formatter) -> None:
        super().__init__()
        self.codec, self.expected, self.got = codec, "", ""
        self.formatter = formatter

    def emit(self, one: logging.LogRecord) -> None:
        data = self.codec.dumps(one)
        self.expected = self.format(logging.makeLogRecord(one.__dict__))
        self.data = data

    def later(self) -> str:
        """Formatted where no exception is being handled any more."""
        return self.format(self.codec.loads(self.data))


def _structlog(handler: logging.Handler, *processors: Any) -> Any:
    logger = logging.getLogger("structlog.test")
    logger.handlers[:] = [handler]
    logger.propagate, logger.level = False, logging.DEBUG
    return structlog.wrap_logger(
        logger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            add_log_level,
            PositionalArgumentsFormatter(),
            *processors,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )


STRUCTLOG = [name for name in FORMATTERS if name.startswith("structlog")]


@pytest.mark.parametrize("name", STRUCTLOG)
@pytest.mark.parametrize("how", [True, 1, "error", "whole", "rendered"])
def test_structlog_with_exceptions(codec: Codec, name: str, how: Any) -> None:
    """`exc_info=True` means the current one, which the thread that formats doesn't have."""
    handler = Keeping(codec, FORMATTERS[name])
    log = _structlog(handler, *([format_exc_info] if how == "rendered" else []))
    try:
        failures.chained()
    except failures.Custom as error:
        info = {"error": error, "whole": sys.exc_info(), "rendered": True}.get(how, how)
        log.info("failed %s", "x", exc_info=info, number=1)
    assert "Custom" in handler.expected
    assert _unstyled(handler.later()) == _unstyled(handler.expected)
    assert codec.unencodable == 0


@pytest.mark.parametrize("how", [True, 1])
@pytest.mark.parametrize("name", ["percent", "brace", "json", "as it was said", *STRUCTLOG])
def test_the_exception_of_the_moment_is_what_it_said_to_all_but_structlog(codec: Codec, name: str, how: Any) -> None:
    """A plain formatter printed the exception's three, with the address of a traceback."""
    formatter = FORMATTERS.get(name) or _processed(KeyValueRenderer(sort_keys=True))
    handler = Keeping(codec, formatter)
    log = _structlog(handler)
    try:
        failures.chained()
    except failures.Custom:
        log.info("failed", exc_info=how)
    assert _unstyled(handler.later()) == _unstyled(handler.expected)
    twice = codec.loads(codec.dumps(codec.loads(handler.data)))  # a sink may be a queue, too
    assert _unstyled(handler.format(twice)) == _unstyled(handler.expected)
    assert codec.unencodable == 0


def test_the_exception_of_the_moment_is_gone_where_a_filter_takes_it_out(codec: Codec) -> None:
    handler = Keeping(codec, FORMATTERS["structlog-json"])
    try:
        failures.chained()
    except failures.Custom:
        _structlog(handler).info("failed", exc_info=True)
    late = codec.loads(handler.data)
    late.msg["exc_info"] = False  # type: ignore[index]
    assert "Custom" not in handler.format(late)
    assert "Custom" not in handler.format(codec.loads(codec.dumps(late)))
    del late.msg["exc_info"]  # type: ignore[union-attr]
    assert "exc_info" not in handler.format(late)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_the_exception_of_the_moment_is_in_a_copy(codec: Codec, copied: Callable[[Any], Any]) -> None:
    """As of a filter that takes secrets out of what it is given: the traceback in it could be neither copied nor
    pickled."""
    handler = Keeping(codec, FORMATTERS["structlog-json"])
    try:
        failures.chained()
    except failures.Custom:
        _structlog(handler).info("failed", exc_info=True, order={"secret": 1})
    late = codec.loads(handler.data)
    event: Any = late.msg
    plain = {**event}
    late.msg = copied(event)
    assert handler.format(late) == handler.expected
    assert (late.msg["order"] is event["order"]) == (copied is copy.copy)
    assert late.msg == event == pickle.loads(pickle.dumps(event)) == plain
    event.pop("exc_info")
    assert "exc_info" not in copied(event)


@pytest.mark.parametrize("name", [*STRUCTLOG, "percent", "json"])
def test_structlog_with_values_of_any_kind(codec: Codec, name: str) -> None:
    handler = Keeping(codec, FORMATTERS[name])
    log = _structlog(handler, CallsiteParameterAdder({CallsiteParameter.LINENO})).bind(bound=1)
    who = object() if name == "json" else Named()  # python-json-logger would print its str: it has the repr
    log.warning("said", who=who, when=datetime(2026, 1, 2), error=ValueError("x"), text="two words", none=None)
    assert handler.later() == handler.expected
    assert codec.unencodable == 1


def test_structlog_with_a_logger_of_its_own_kind(codec: Codec) -> None:
    """It isn't lost: a formatter's processors get the logger of that name."""
    one = record({"event": "e"}, _logger=structlog.PrintLogger(sys.stderr), _name="info")
    loaded = through(codec, one)
    assert loaded.__dict__["_logger"] is logging.getLogger("app.sub")
    assert codec.unencodable == 0
    assert FORMATTERS["structlog-json"].format(loaded) == '{"event": "e"}'


def test_logfmt(codec: Codec) -> None:
    handler = Keeping(codec, _processed(LogfmtRenderer()))
    _structlog(handler).info("e", who=Named(), flag=True)
    assert handler.later() == handler.expected
