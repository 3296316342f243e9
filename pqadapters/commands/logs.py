"""`logs`: log records that wait in a spool (`pqadapters.logging`)."""

from __future__ import annotations

import errno
import io
import json
import logging
import logging.config
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO
from urllib.parse import quote, urlsplit

import click

from ..clock import SYSTEM
from ..logging._spools.names import Names
from ..logging._spools.place import has_slots, is_url, place_of
from ..logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue
from ..opening import path_of
from ..wording import escaped, shown
from .failures import Failure, told
from .options import named
from .places import check_own, find, is_there, seen

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_OURS = ("pqadapters", "pqadapters.home", "pqadapters.logging")  #: loggers
_USUAL = logging.Formatter(_TEXT)
_FIELD = re.compile(r"%\((\w+)\)")
_STEP = 0.1  #: seconds between two looks whether anybody reads on


def _seconds(context: click.Context, parameter: click.Parameter, given: float) -> float:
    """NaN is in every range of click's, and nothing is ever later than that."""
    if given != given:
        raise click.BadParameter("it is no number", context, parameter)
    return given


@click.group()
def logs() -> None:
    """Log records that wait for their sinks."""


@logs.command()
@click.argument("place", required=False, callback=named)
@click.option(
    "--config",
    metavar="FILE|MODULE:NAME",
    help="The program's dictConfig, as a JSON file or a dictionary in a module: its sinks get the records.",
)
@click.option("--format", "text", default=_TEXT, show_default=True, help="Of a line on stdout, without --config.")
@click.option("--json", "as_json", is_flag=True, help="The fields of a record, without --config.")
@click.option("--sink", metavar="NAME", help="Without --config: what waits for this sink, too.")
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    callback=_seconds,
    help="Seconds for all of it.",
)
@told
def drain(place: str | None, config: str | None, text: str, as_json: bool, sink: str | None, timeout: float) -> None:
    """Deliver the log records in PLACE that dead processes have left: to the sinks of --config, or to stdout.

    PLACE is the path or URL that the handlers were given; with --config it chooses one of them. A record is gone from
    there when its sink has confirmed it; where stdout is a pipe that is closed, the rest stays. Slots of processes that
    run are left to them.
    """
    with _told_on_stderr() as said:
        listeners = list(_listeners(place, config, text, as_json, sink))
        said.listen()  # a configuration may have taken it off
        waiting = sum(_drained(listener, timeout, said) for listener in listeners)
    if waiting:
        raise Failure("1 log record still waits" if waiting == 1 else f"{waiting} log records still wait")
    if said.errors:
        raise Failure("not everything was delivered")


def _listeners(
    place: str | None, config: str | None, text: str, as_json: bool, sink: str | None
) -> Iterator[QueueListener]:
    if config is not None:
        yield from _configured(config, place)
    elif place is None:
        raise click.UsageError("say which PLACE, or --config")
    elif sys.stdout is None:
        raise Failure("stdout is closed: there is nowhere to show the records")
    else:
        shown = Sink(_Shown(sys.stdout, None if as_json else text), name=sink or "stdout")
        yield QueueListener(SpoolQueue(_there(place)), shown)


class _Said(logging.Handler):
    """What is said meanwhile of slots that are passed over, and of records that are damaged or refused."""

    def __init__(self) -> None:
        super().__init__()
        self.errors = 0

    def listen(self) -> None:
        """Loggers that a configuration doesn't mention are disabled by it."""
        for name in _OURS:
            logging.getLogger(name).disabled = False
        logging.getLogger(_OURS[0]).addHandler(self)

    def listen_no_more(self) -> None:
        logging.getLogger(_OURS[0]).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.errors += record.levelno >= logging.ERROR
        if record.levelno >= logging.ERROR or record.name != "pqadapters.logging":  # why some wait is said at the end
            click.echo(escaped(record.getMessage()), err=True)


@contextmanager
def _told_on_stderr() -> Iterator[_Said]:
    said = _Said()
    said.listen()
    try:
        yield said
    finally:
        said.listen_no_more()


def _there(place: str) -> str:
    """Nothing is made where there is none."""
    scheme, colon, _ = place.partition("://")
    bare = shown(place).partition("?")[0] if colon else shown(place)
    path = place if not colon else None
    if scheme.lower() == "file" and colon:
        path = path_of(urlsplit(place))
    if path is not None:
        if not is_there(path):
            raise Failure(f"{bare} isn't there")
        if not os.path.isdir(path):
            raise Failure(f"{bare} is no directory; a database is named by its URL, as in sqlite:///{quote(os.fsencode(path))}")
        check_own(path)
    if scheme.lower() == "sqlite":
        check_own(str(where := find(place)))
        spool = Names().inbox in seen(where, lambda sight: list(sight.queues()))
    else:
        spool = path is None or has_slots(path)
    if not spool:
        raise Failure(f"{bare} has no log records: it isn't what a handler was given as its path")
    return place


def _configured(config: str, place: str | None) -> Iterator[QueueListener]:
    """The listeners of a configuration, which is carried out. Raises Failure."""
    made = logging.config.dictConfigClass(_loaded(config))
    made.configure()
    click.get_current_context().meta[__name__] = made  # which keeps the handlers that no logger has
    found = [handler for handler in _handlers() if isinstance(handler.queue, SpoolQueue) and handler.listener]
    wanted = [handler for handler in found if place is None or _same(handler.queue.spool.where, place)]
    if not wanted:
        places = ", ".join(handler.queue.spool.place for handler in found) or "no spool with sinks"
        raise Failure(f"{config} has {places}" + (f", and not {shown(place)}" if place else ""))
    return (handler.listener for handler in wanted)


def _handlers() -> list[Any]:
    references = list(logging._handlerList)  # type: ignore[attr-defined]  # all that there are; also what Django reads
    return [handler for each in references if isinstance(handler := each(), QueueHandler)]


def _same(where: str, given: str) -> bool:
    """Whether that is the spool's place, as its handler may have been given it. Raises ValueError."""
    place = place_of(given)
    return where == place or (not is_url(place) and os.path.realpath(where) == os.path.realpath(place))


def _loaded(config: str) -> Any:
    module, colon, name = config.partition(":")
    if colon and not os.path.exists(config):
        sys.path.insert(0, os.getcwd())
        found = getattr(import_module(module), name, None)
    else:
        with open(config, encoding="utf-8") as file:
            try:
                found = json.load(file)
            except ValueError as error:
                raise Failure(f"{config} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Failure(f"{config} is no dictionary for logging.config.dictConfig")
    return found


def _drained(listener: QueueListener, timeout: float, said: _Said) -> int:
    """How many records still wait. Raises BrokenPipeError when nobody reads what is shown, and Failure where the rest
    is for other sinks."""
    shown = [sink.handler for sink in listener.handlers if isinstance(sink, Sink) and isinstance(sink.handler, _Shown)]
    deadline = SYSTEM.monotonic() + timeout
    listener.start()
    try:
        while not (
            listener.drain(min(_STEP, max(0.0, deadline - SYSTEM.monotonic())))
            or listener.flush(0.0)  # where another process delivers, which has had nothing to do
        ):
            if any(handler.unread for handler in shown):
                raise BrokenPipeError(errno.EPIPE, "nobody reads what is shown")
            if SYSTEM.monotonic() >= deadline:
                _say_why(listener)
                listener.stop(drain_timeout=0.0)  # first: what sinks have in hand gets there meanwhile
                return max(1, int(listener.stats()["depth"]))
        if rest := listener.unknown():
            raise Failure("; ".join(_for_others(name, count) for name, count in sorted(rest.items())))
        said.errors += sum(sink["dead"] for sink in listener.stats()["sinks"].values())  # whatever a logger's level is
        return 0
    finally:
        listener.stop(drain_timeout=0.0)


def _for_others(name: str, count: int) -> str:
    return f"{count} log records wait for the sink {name!r}, which isn't here: --sink {name} shows them"


def _say_why(listener: QueueListener) -> None:
    """On stderr, for what records wait."""
    stats = listener.stats()
    for name, sink in stats["sinks"].items():
        if sink["last_error"]:
            click.echo(escaped(f"{stats['place']}: {name}: {sink['last_error']}"), err=True)


class _Shown(logging.Handler):
    """Writes a line for each record; it is confirmed when the system has it."""

    def __init__(self, stream: TextIO, text: str | None) -> None:
        super().__init__()
        self.unread = False  #: whether the pipe's reader has gone
        self._stream = stream
        self._left = b""  #: of the last try, where the stream has no buffer for that
        others = dict.fromkeys(_FIELD.findall(text or ""), "")  # an extra that not all records have
        self._formatter = None if text is None else logging.Formatter(text, defaults=others)
        self._needed = () if {"message", "msg"} & others.keys() else tuple(others)  #: else a line says nothing
        self._fits = True  #: whether all records were such as it is made for

    def emit_batch(self, records: list[logging.LogRecord]) -> None:
        """Raises OSError."""
        lines = "".join(self._line(record) + "\n" for record in records)
        try:
            self._write(self._writable(lines))
        except BrokenPipeError:
            self.unread = True
            raise

    def _write(self, text: str) -> None:
        """All of it, behind what the last try left, to which another one would add a copy."""
        raw = getattr(self._stream, "buffer", None)
        if isinstance(raw, io.RawIOBase):
            self._finish(raw)
            self._left = text.replace("\n", os.linesep).encode(self._stream.encoding, self._stream.errors or "strict")
            self._finish(raw)
        else:
            self._stream.flush()
            self._stream.write(text)
            self._stream.flush()

    def _finish(self, raw: io.RawIOBase) -> None:
        """With PYTHONUNBUFFERED: Python's own streams pass over it that the system has taken but a part."""
        while self._left:
            taken = raw.write(self._left)
            if taken is None:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self._left = self._left[taken:]

    def _writable(self, text: str) -> str:
        """What the stream has no character for, as Python writes it: it is no reason for a dead letter."""
        encoding = self._stream.encoding or "utf-8"
        try:
            text.encode(encoding, self._stream.errors or "strict")
        except UnicodeEncodeError:
            return text.encode(encoding, "backslashreplace").decode(encoding)
        return text

    def _line(self, record: logging.LogRecord) -> str:
        if self._formatter is not None:
            return self._formatted(self._formatter, record)
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else record.exc_text
        fields = {**vars(record), "message": record.getMessage(), "exc_info": trace}
        try:
            return json.dumps(fields, default=repr)
        except (TypeError, ValueError):  # a dict with keys that JSON hasn't
            plain = (str, int, float, type(None))
            return json.dumps({name: each if isinstance(each, plain) else repr(each) for name, each in fields.items()})

    def _formatted(self, formatter: logging.Formatter, record: logging.LogRecord) -> str:
        """A number for which the record has no number is no reason for a dead letter, either; and a slip in the name of
        its message none to show nothing of it, since it is gone then."""
        try:
            line = formatter.format(record)
            lacking = next((name for name in self._needed if not hasattr(record, name)), None)
            if lacking is None:
                return line
            problem = f"they have no {lacking!r}"
        except (TypeError, ValueError) as error:
            problem = str(error)
        line = _USUAL.format(record)  # where that fails it is the record's own fault
        if self._fits:
            click.echo(f"--format isn't made for all records; others are shown by the usual one: {problem}", err=True)
        self._fits = False
        return line
