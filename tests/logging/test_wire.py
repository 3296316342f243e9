"""Real sinks: a socket server and an HTTP server that refuse, hang, reset and recover. Every record arrives."""

from __future__ import annotations

import logging
import select
import socket
import sys
from collections.abc import Callable, Iterator
from logging import handlers as stdlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.logging import _wire
from pqadapters.logging.handlers import (
    HTTPHandler,
    QueueHandler,
    QueueListener,
    Sink,
    SocketHandler,
    SysLogHandler,
)

from . import failures
from .failures import each_failure
from .records import raised
from .servers import HTTPServer, Server, SocketServer, SyslogServer, serving
from .sinks import PATIENCE, Noting, eventually, logger_of, spool

QUICK: dict[str, Any] = {"backoff": (0.01, 0.05)}


@pytest.fixture(params=[SocketServer, SyslogServer, HTTPServer], ids=["socket", "syslog", "http"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with serving(request.param()) as server:
        yield server


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[logging.Logger]:
    handler = QueueHandler(tmp_path / "spool")
    yield logger_of(handler)
    spool(handler).close()


def _handler(server: Server) -> logging.Handler:
    if isinstance(server, SyslogServer):
        return SysLogHandler(("127.0.0.1", server.port), socktype=socket.SOCK_STREAM)
    if isinstance(server, SocketServer):
        return SocketHandler("127.0.0.1", server.port)
    return HTTPHandler(f"127.0.0.1:{server.port}", "/log", method="POST")


def _log(logger: logging.Logger, first: int, last: int) -> list[str]:
    for number in range(first, last):
        logger.info(f"m {number}")  # HTTPHandler sends msg and args as they are
    return [f"m {number}" for number in range(first, last)]


@pytest.fixture
def listener(server: Any, tmp_path: Path) -> Iterator[QueueListener]:
    """With so many tries that none is the one behind which two records may have changed places."""
    handler = _handler(server)
    with QueueListener(tmp_path / "spool", Sink(handler, name="wire", retries=10_000, **QUICK)) as listener:
        yield listener
        listener.stop(drain_timeout=0.0)
    handler.close()


def test_all_handlers_are_there_for_who_imports_all_of_them() -> None:
    """`from logging.handlers import *` gave `RotatingFileHandler`, and the same of ours didn't."""
    durable: dict[str, Any] = {}
    exec("from pqadapters.logging.handlers import *", durable)
    assert durable.keys() >= {name for name in vars(logging.handlers) if not name.startswith("_")}
    assert durable["RotatingFileHandler"] is logging.handlers.RotatingFileHandler
    assert durable["HTTPHandler"] is HTTPHandler


def test_a_server_that_is_there(server: Any, logger: logging.Logger, listener: QueueListener) -> None:
    messages = _log(logger, 0, 50)
    assert listener.flush(PATIENCE)
    server.until_all(messages)
    assert server.messages == messages


def test_a_server_that_refuses_and_comes_back(server: Any, logger: logging.Logger, listener: QueueListener) -> None:
    messages = _log(logger, 0, 20)
    assert listener.flush(PATIENCE)
    server.stop()
    messages += _log(logger, 20, 60)
    assert eventually(lambda: listener.stats()["sinks"]["wire"]["retried"])
    assert not listener.flush(0.3)
    server.start()
    assert listener.flush(PATIENCE)
    server.until_all(messages)
    assert list(dict.fromkeys(server.messages)) == messages
    assert "Connection" in listener.stats()["sinks"]["wire"]["last_error"]


def test_a_syslog_that_is_not_there_yet(logger: logging.Logger, tmp_path: Path) -> None:
    server = SyslogServer()
    sink = Sink(_handler(server), name="wire", **QUICK)
    messages = _log(logger, 0, 5)
    with QueueListener(tmp_path / "spool", sink) as listener:
        assert not listener.flush(0.1)
        with serving(server):
            assert listener.flush(PATIENCE)
            server.until_all(messages)
            sink.handler.close()


@pytest.mark.parametrize("ends", [socket.SHUT_WR, None], ids=["shut down first", "closed"])
@pytest.mark.parametrize("idle", [0, 60])
@pytest.mark.parametrize("kind", [SocketServer, SyslogServer], ids=["socket", "syslog"])
def test_what_a_server_has_not_read_when_it_dies_is_sent_again_however_long_it_is_down(
    logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, idle: int, ends: int | None
) -> None:
    """What was to be sent again was what had been sent within a second before the *next* connection: nothing, if the
    server was down for longer, or nothing was logged for a second behind its end."""
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(_wire, "SYSTEM", clock)
    server = kind()
    with socket.create_server(("127.0.0.1", server.port)) as deaf:
        handler = _handler(server)
        listener = QueueListener(tmp_path / "spool", Sink(handler, name="wire", retries=10_000, **QUICK))
        listener.start()
        messages = _log(logger, 0, 5)
        assert listener.flush(PATIENCE)
        connection, _ = deaf.accept()
        if ends is not None:
            connection.shutdown(ends)
        connection.close()  # what it hasn't read makes this a reset
    clock.now += idle
    messages += _log(logger, 5, 8)
    assert not listener.flush(0.1)
    clock.now += 60
    with serving(server):
        assert listener.flush(PATIENCE)
        server.until_all(messages)
        listener.stop()
        handler.close()
    assert server.messages == messages


@pytest.mark.parametrize("kind", [SocketServer, SyslogServer], ids=["socket", "syslog"])
def test_what_a_server_has_read_long_before_it_closes_the_connection_is_sent_once(
    logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(_wire, "SYSTEM", clock)
    with serving(kind()) as server:
        handler = _handler(server)
        with QueueListener(tmp_path / "spool", Sink(handler, name="wire", **QUICK)) as listener:
            messages = _log(logger, 0, 5)
            server.until_all(messages)
            assert listener.flush(PATIENCE)
            clock.now += 60
            server.stop()
            server.start()
            messages += _log(logger, 5, 8)
            assert listener.flush(PATIENCE)
        server.until_all(messages)
        handler.close()
    assert server.messages == messages


def test_a_server_that_resets_connections(
    server: Any, logger: logging.Logger, listener: QueueListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.become("reset")
    with monkeypatch.context() as patch:
        patch.setattr(_wire, "_FIRST", 5.0)  # the server's thread may be late to reset it
        messages = _log(logger, 0, 1)
        assert not listener.flush(0.3)
        messages += _log(logger, 1, 20)
        assert not listener.flush(0.0)
    server.become("well")
    assert listener.flush(PATIENCE)
    server.until_all(messages)
    assert list(dict.fromkeys(server.messages)) == messages


def test_a_server_that_hangs(
    server: Any, logger: logging.Logger, listener: QueueListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_wire, "_PATIENCE", 0.2)
    server.become("hang")
    messages = _log(logger, 0, 20)
    if isinstance(server, HTTPServer):  # a socket's records are in the other side's system
        assert not listener.flush(0.5)
    server.become("well")
    assert listener.flush(PATIENCE)
    server.until_all(messages)
    assert list(dict.fromkeys(server.messages)) == messages


def test_behind_a_part_of_a_record_comes_nothing_by_the_same_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side would take it for the rest."""
    monkeypatch.setattr(_wire, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        handler = SocketHandler("127.0.0.1", listening.getsockname()[1])
        with pytest.raises(TimeoutError):
            handler.send(b"x" * (64 << 20))
        handler.send(b"whole")
        connections = [listening.accept()[0] for _ in range(2)]
        assert connections[1].recv(5) == b"whole"
        handler.close()
        for connection in connections:
            connection.close()


def test_what_two_connections_in_a_row_may_have_lost_is_sent_once_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_wire, "SYSTEM", SimpleNamespace(monotonic=lambda: 100.0))  # all of it is recent
    with socket.create_server(("127.0.0.1", 0)) as listening:
        handler = SocketHandler("127.0.0.1", listening.getsockname()[1])
        for data in (b"a", b"b"):
            handler.send(data)
            listening.accept()[0].close()  # what was sent is unread
            assert handler.sock is not None
            assert select.select([handler.sock], [], [], PATIENCE)[0]
        handler.send(b"c")
        connection = listening.accept()[0]
        handler.close()
        assert connection.makefile("rb").read() == b"abc"
        connection.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nobody tells what the other side's system has")
def test_what_was_sent_is_in_the_other_sides_system(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    monkeypatch.setattr(_wire, "_PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        handler = SocketHandler("127.0.0.1", listening.getsockname()[1])
        with pytest.raises(TimeoutError):
            for _ in range(1 << 12):
                handler.send(b"x" * (1 << 16))
                assert handler.sock is not None
                unsent = fcntl.ioctl(handler.sock.fileno(), _wire._UNSENT, b"\0" * 4)
                assert unsent == b"\0" * 4
        handler.close()


def test_a_healthy_sink_beside_one_that_hangs(server: Any, logger: logging.Logger, tmp_path: Path) -> None:
    server.become("hang")
    wire, healthy = _handler(server), Noting()
    sinks = [Sink(wire, name="wire", **QUICK), Sink(healthy, name="healthy")]
    with QueueListener(tmp_path / "spool", *sinks) as listener:
        messages = _log(logger, 0, 300)
        healthy.until_count(300)
        assert healthy.messages == messages
        server.become("well")
        assert listener.flush(PATIENCE)
        server.until_all(messages)
    assert healthy.messages == messages
    wire.close()


@pytest.mark.parametrize("status", ["500", "503", "429"])
def test_statuses_that_mean_later(logger: logging.Logger, tmp_path: Path, status: str) -> None:
    with serving(HTTPServer()) as server:
        server.become(status)
        sink = Sink(_handler(server), name="wire", retries=2, **QUICK)
        with QueueListener(tmp_path / "spool", sink) as listener:
            messages = _log(logger, 0, 5)
            assert not listener.flush(0.3)
            server.become("well")
            assert listener.flush(PATIENCE)
        assert sorted(server.messages) == messages
        assert listener.stats()["dead"] == 0


def test_a_status_that_means_never(logger: logging.Logger, tmp_path: Path) -> None:
    with serving(HTTPServer()) as server:
        server.become("400")
        sink = Sink(_handler(server), name="wire", retries=2, **QUICK)
        with QueueListener(tmp_path / "spool", sink) as listener:
            _log(logger, 0, 3)
            assert listener.flush(PATIENCE)
            stats = listener.stats()
        assert (stats["dead"], stats["sinks"]["wire"]["dead"]) == (3, 3)
        assert "answers 400" in stats["sinks"]["wire"]["last_error"]


def test_by_get_with_credentials(logger: logging.Logger, tmp_path: Path) -> None:
    with serving(HTTPServer()) as server:
        handler = HTTPHandler(f"127.0.0.1:{server.port}", "/log?a=b", credentials=("me", "secret"))
        with QueueListener(tmp_path / "spool", handler) as listener:
            messages = _log(logger, 0, 3)
            assert listener.flush(PATIENCE)
        assert server.messages == messages


@each_failure
def test_an_exception_as_an_extra(logger: logging.Logger, tmp_path: Path, fail: Callable[[], object]) -> None:
    """Classes that are made where a record is read have no place that a pickle could name: the sink refused them. A
    receiver without pqadapters gets builtin ones that say the same."""
    _, error, _ = raised(fail)
    with serving(SocketServer()) as server:
        with QueueListener(tmp_path / "spool", Sink(_handler(server), name="wire", retries=1, **QUICK)) as listener:
            logger.info("m", extra={"error": error, "inside": [{"deep": error}]})
            assert listener.flush(PATIENCE)
            assert listener.stats()["dead"] == 0
        server.until_all(["m"])
    (fields,) = server.fields
    found = fields["error"]
    assert type(found).__module__ == "builtins"
    assert str(found) == (repr(error) if isinstance(error, failures.Mute) else str(error))
    assert repr(fields["inside"]) == repr([{"deep": found}])


def test_what_an_exception_as_an_extra_is_to_a_receiver(logger: logging.Logger, tmp_path: Path) -> None:
    class Odd(KeyError):
        def __str__(self) -> str:
            return "odd"

    named = ImportError("no such thing", name="thing", path="/thing.py")
    errors = [failures.Refused(111, "nobody there", "peer"), Odd(1), named, failures.Custom(1, also=2)]
    errors[-1].__notes__ = ["a note"]  # type: ignore[attr-defined, unused-ignore]
    with serving(SocketServer()) as server:
        with QueueListener(tmp_path / "spool", _handler(server)) as listener:
            logger.info("m", extra={"errors": errors})
            assert listener.flush(PATIENCE)
        server.until_all(["m"])
    refused, odd, missing, custom = server.fields[0]["errors"]
    assert (type(refused), refused.errno, refused.filename) == (ConnectionRefusedError, 111, "peer")
    assert (type(odd), str(odd)) == (Exception, "odd")
    assert (type(missing), missing.name, missing.path) == (ImportError, "thing", "/thing.py")
    assert (type(custom), str(custom), custom.__notes__) == (Exception, "custom 2", ["a note"])


def test_they_are_the_standard_librarys() -> None:
    assert issubclass(SocketHandler, stdlib.SocketHandler)
    assert issubclass(HTTPHandler, stdlib.HTTPHandler)
    assert issubclass(SysLogHandler, stdlib.SysLogHandler)
    for handler in (SysLogHandler(), SysLogHandler("/nowhere/log")):
        assert isinstance(handler.socket, socket.socket)
        handler.close()
    assert HTTPHandler("localhost", "/").mapLogRecord(logging.makeLogRecord({"msg": "a"}))["msg"] == "a"
