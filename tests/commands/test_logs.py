"""`logs drain`: what dead processes have left in a spool is delivered, to stdout or to a configuration's sinks."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.commands.logs import _Shown
from pqadapters.logging.handlers import QueueListener
from pqadapters.stdlib.queue import Queue
from tests.commands.command import bytes_in, call, out, process, refusal
from tests.logging.programs import ROOT, ran, running
from tests.logging.sinks import PATIENCE

CAPACITY = 64 << 10

LEFT = """
class Down(logging.Handler):
    def emit(self, record):
        raise ConnectionRefusedError
logger.addHandler(QueueHandler(place, handlers=[SINKS]))
for number in range(3):
    logger.info("m %d", number, extra={"number": number})
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("it failed")
while logger.handlers[0].stats()["sinks"].get("b", {"depth": 0})["depth"]:
    pass
os._exit(0)
"""


class Refusing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("never")


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    """Loggers as they were."""
    before, level = list(logging.root.handlers), logging.root.level
    ours = logging.getLogger("pqadapters")
    of_ours = ours.level
    yield
    ours.setLevel(of_ours)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


@pytest.fixture(params=["directory", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "spool") if request.param == "directory" else f"sqlite:///{tmp_path}/spool.db"


def _leave(place: str, sinks: str = "Down()") -> None:
    ran(LEFT.replace("[SINKS]", f"[{sinks}]"), place)


def test_to_stdout(place: str) -> None:
    _leave(place)
    lines = out("logs", "drain", place, "--format", "%(levelname)s %(message)s").splitlines()
    assert lines[:4] == ["INFO m 0", "INFO m 1", "INFO m 2", "ERROR it failed"]
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert out("logs", "drain", place) == ""


def test_as_json(place: str) -> None:
    _leave(place)
    records = [json.loads(line) for line in out("logs", "drain", place, "--json").splitlines()]
    assert [record["message"] for record in records] == ["m 0", "m 1", "m 2", "it failed"]
    assert [record.get("number") for record in records] == [0, 1, 2, None]
    assert "ZeroDivisionError" in records[-1]["exc_info"]


def test_a_place_whose_records_are_all_delivered(place: str) -> None:
    """A directory is left without slots then, and "isn't what a handler was given as its path", with the status 1."""
    ran("handler = QueueHandler(place, handlers=[logging.NullHandler()])\nlogger.addHandler(handler)\n"
        "logger.info('m')\nhandler.close()", place)
    assert out("logs", "drain", place) == ""


ODD = """
logger.addHandler(QueueHandler(place))
logger.info("lone \\ud800", extra={"by": {(1, 2): 3}})
logger.info("with an id", extra={"request": "r1"})
os._exit(0)
"""


def test_what_cannot_be_shown_as_it_is_does_not_become_a_dead_letter(tmp_path: Path) -> None:
    """Of characters that stdout hasn't, extras that only some records have, keys that JSON hasn't: what was asked for
    was no concern of the records, and they were buried."""
    ran(ODD, tmp_path / "spool")
    ended = process(
        "logs", "drain", tmp_path / "spool", "--format", "%(message)s %(request)s", PYTHONIOENCODING="utf-8"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "lone \\ud800 \nwith an id r1\n", "")
    ran(ODD, tmp_path / "spool")
    records = [json.loads(line) for line in out("logs", "drain", tmp_path / "spool", "--json").splitlines()]
    assert [record.get("by") for record in records] == ["{(1, 2): 3}", None]


def test_a_format_that_some_records_are_not_made_for(tmp_path: Path) -> None:
    """They were dead letters: those that lack the number, or all, where the format has a slip."""
    _leave(str(tmp_path / "spool"))
    done = call("logs", "drain", tmp_path / "spool", "--format", "%(number)03d %(message)s")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:3] == ["000 m 0", "001 m 1", "002 m 2"]
    assert "ERROR app: it failed" in done.stdout.splitlines()[3]
    assert done.stderr.startswith("--format isn't made for all records")
    assert len(done.stderr.splitlines()) == 1


def test_a_format_with_a_slip_in_the_messages_name(tmp_path: Path) -> None:
    """Records were shown as empty lines, and gone. An extra that only some have is no slip, beside the message."""
    ran(ODD, tmp_path / "spool")
    done = call("logs", "drain", tmp_path / "spool", "--format", "%(levelname)s %(mesage)s")
    assert done.exit_code == 0
    assert [line.partition("app: ")[2] for line in done.stdout.splitlines()] == ["lone \\ud800", "with an id"]
    (line,) = done.stderr.splitlines()
    assert line.endswith("others are shown by the usual one: they have no 'mesage'")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_a_full_disk_has_no_room_for_is_left(tmp_path: Path, small: Path, unbuffered: str) -> None:
    """With PYTHONUNBUFFERED what didn't fit was taken for shown, and was gone."""
    place = str(tmp_path / "spool")
    each = "for number in range(2000): logger.info('m %d %s.', number, 'x' * 50)"
    ran(f"logger.addHandler(QueueHandler(place))\n{each}", place)
    command = [sys.executable, "-m", "pqadapters", "logs", "drain", place, "--timeout", "1"]
    with open(small / "shown", "wb") as file:
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, stdout=file, stderr=subprocess.PIPE
        )
    assert ended.returncode == 1
    assert b"No space left on device" in ended.stderr
    shown = (small / "shown").read_text()
    assert len(shown) == CAPACITY
    there = {int(number) for number in re.findall(r"m (\d+) x+\.", shown + out("logs", "drain", place))}
    assert there == set(range(2000))


class _Full(io.RawIOBase):
    """A file on a disk that has no room for a while."""

    def __init__(self, tries: int) -> None:
        self.tries, self.has = tries, b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.tries -= 1
        if self.tries >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.has += bytes(data[:5])
        return len(data[:5])


@pytest.mark.parametrize("buffered", [True, False])
def test_what_a_try_has_left_in_the_buffer_gets_no_copies(buffered: bool) -> None:
    """Each try added one; all of them were shown once there was room."""
    file, record = _Full(tries=5), logging.makeLogRecord({"msg": "a line"})
    stream: Any = io.BufferedWriter(file) if buffered else file
    shown = _Shown(io.TextIOWrapper(stream, write_through=True), "%(message)s")
    for _ in range(5):
        with pytest.raises(OSError, match="No space"):
            shown.emit_batch([record])
    shown.emit_batch([record])
    assert file.has == b"a line\n" * 2  # the one that was left, and that which is confirmed


def test_without_a_stdout(tmp_path: Path) -> None:
    """All records were dead letters then."""
    ran(ODD, tmp_path / "spool")
    command = [sys.executable, "-m", "pqadapters", "logs", "drain", str(tmp_path / "spool")]
    closed = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], cwd=ROOT, capture_output=True, text=True)
    assert closed.returncode == 1
    assert "stdout is closed" in closed.stderr
    assert "with an id" in out("logs", "drain", tmp_path / "spool")


def test_what_waits_for_a_sink(place: str) -> None:
    """One that has fallen behind has a queue of its own, which is its own."""
    _leave(place, "Sink(Down(), name='a'), Sink(Telling(), name='b')")
    done = call("logs", "drain", place, "--format", "%(message)s", "--timeout", "2")
    assert done.exit_code == 1  # it said nothing, and 0
    assert "4 log records wait for the sink 'a', which isn't here: --sink a shows them" in done.stderr
    assert "m 0" in out("logs", "drain", place, "--format", "%(message)s", "--sink", "a")


def test_to_the_sinks_of_a_configuration(place: str, tmp_path: Path) -> None:
    _leave(place)
    configuration = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(tmp_path / "app.log")},
            "durable": {"()": "pqadapters.logging.handlers.QueueHandler", "path": place, "handlers": ["file"]},
        },
        "root": {"level": "INFO", "handlers": ["durable"]},
    }
    (tmp_path / "logging.json").write_text(json.dumps(configuration))
    assert out("logs", "drain", "--config", tmp_path / "logging.json") == ""
    assert (tmp_path / "app.log").read_text().splitlines()[:4] == ["m 0", "m 1", "m 2", "it failed"]
    assert "not nowhere" in refusal("logs", "drain", "nowhere", "--config", tmp_path / "logging.json")


@pytest.mark.parametrize("given", ["spool", "./spool", "file://{}/spool", "sqlite:///spool.db", "sqlite:///{}/spool.db"])
def test_one_of_a_configuration_is_chosen_by_what_its_handler_was_given(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """URLs of a database in the working directory, and of a directory, were told to be in no configuration."""
    monkeypatch.chdir(tmp_path)
    place = given.format(tmp_path)
    _leave(f"sqlite:///{tmp_path}/spool.db" if "sqlite" in given else str(tmp_path / "spool"))
    configuration = {
        "version": 1,
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(tmp_path / "app.log")},
            "durable": {"()": "pqadapters.logging.handlers.QueueHandler", "path": place, "handlers": ["file"]},
        },
        "root": {"handlers": ["durable"]},
    }
    (tmp_path / "logging.json").write_text(json.dumps(configuration))
    assert out("logs", "drain", place, "--config", tmp_path / "logging.json") == ""
    assert "m 2" in (tmp_path / "app.log").read_text()


@pytest.mark.parametrize("ours", [{}, {"level": "CRITICAL"}, {"handlers": []}])
def test_what_the_sinks_of_a_configuration_refuse_makes_it_fail(ours: dict[str, Any], tmp_path: Path) -> None:
    """Where it says something of the logger `pqadapters` the status was 0."""
    _leave(str(tmp_path / "spool"))
    configuration = {
        "version": 1,
        "handlers": {
            "refusing": {"()": "tests.commands.test_logs.Refusing"},
            "once": {"()": "pqadapters.logging.Sink", "handler": "refusing", "retries": 1},
            "durable": {
                "()": "pqadapters.logging.QueueHandler", "path": str(tmp_path / "spool"), "handlers": ["once"]
            },
        },
        "loggers": {"pqadapters": ours} if ours else {},
    }  # fmt: skip
    (tmp_path / "logging.json").write_text(json.dumps(configuration))
    said = refusal("logs", "drain", "--config", tmp_path / "logging.json")
    assert said.splitlines()[-1] == "Error: not everything was delivered"
    assert ("dead letter" in said) == (ours.get("level") is None)


def test_a_configuration_in_a_module(place: str, tmp_path: Path) -> None:
    """As a process: it is looked for where the command is called."""
    _leave(place)
    (tmp_path / "settings.py").write_text(f"""
import gc, sys

def collect(frame, event, argument):
    if event == "call" and frame.f_globals.get("__name__") == "pqadapters.commands.logs":
        gc.collect()  # no logger keeps the handlers

sys.setprofile(collect)
LOGGING = {{
    "version": 1,
    "handlers": {{
        "lines": {{"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
        "durable": {{"()": "pqadapters.logging.handlers.QueueHandler", "path": {place!r}, "handlers": ["lines"]}},
    }},
}}
""")
    ended = process("logs", "drain", "--config", "settings:LOGGING", PYTHONPATH=f"{tmp_path}")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[:3] == ["m 0", "m 1", "m 2"]


def test_where_a_configuration_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file of that name, if there is one; else in a module, where the command is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    _leave(str(tmp_path / "spool"))
    handlers = {
        "file": {"class": "logging.FileHandler", "filename": str(tmp_path / "app.log")},
        "alone": {"()": "pqadapters.logging.handlers.QueueHandler", "path": str(tmp_path / "alone")},
        "memory": {"()": "pqadapters.logging.handlers.QueueHandler", "queue": {"()": "queue.Queue"}},
    }
    (tmp_path / "a:b").write_text(json.dumps({"version": 1, "handlers": handlers}))
    assert "a:b has no spool with sinks" in refusal("logs", "drain", "--config", "a:b")
    assert "a:b has no spool with sinks, and not spool" in refusal("logs", "drain", "spool", "--config", "a:b")
    durable = {"()": "pqadapters.logging.handlers.QueueHandler", "path": "spool", "handlers": ["file"]}
    configuration = {"version": 1, "handlers": {**handlers, "durable": durable}}
    (tmp_path / "settings_of_here.py").write_text(f"LOGGING = {configuration!r}\nNONE = []")
    for wrong in ("settings_of_here:NONE", "settings_of_here:NOWHERE"):
        assert "is no dictionary" in refusal("logs", "drain", "--config", wrong)
    assert out("logs", "drain", "--config", "settings_of_here:LOGGING") == ""
    assert "m 2" in (tmp_path / "app.log").read_text()


def test_a_sink_that_is_down(tmp_path: Path) -> None:
    _leave(str(tmp_path / "spool"))
    configuration = {
        "version": 1,
        "handlers": {
            "http": {
                "class": "pqadapters.logging.handlers.HTTPHandler",
                "host": "127.0.0.1:9",
                "url": "/",
                "method": "POST",
            },
            "durable": {
                "()": "pqadapters.logging.handlers.QueueHandler",
                "path": str(tmp_path / "spool"),
                "handlers": ["http"],
            },
        },
    }
    (tmp_path / "logging.json").write_text(json.dumps(configuration))
    said = refusal("logs", "drain", "--config", tmp_path / "logging.json", "--timeout", "1")
    assert "http: ConnectionRefusedError" in said
    assert "log records still wait" in said
    assert len(out("logs", "drain", tmp_path / "spool").splitlines()) > 4


def test_what_is_in_hand_when_the_time_is_up_is_not_said_to_wait(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was counted, and then shown."""
    ran(
        """
logger.addHandler(QueueHandler(place))
for number in range(5000):
    logger.info("m %d", number)
os._exit(0)
""",
        place,
    )
    logs: Any = import_module("pqadapters.commands.logs")  # the package has the command by that name
    begun, ending = threading.Event(), threading.Event()
    emit_batch, stop = logs._Shown.emit_batch, QueueListener.stop

    def held_up(handler: Any, records: list[logging.LogRecord]) -> None:
        begun.set()
        assert ending.wait(PATIENCE)
        emit_batch(handler, records)

    def stopping(listener: QueueListener, drain_timeout: float | None = None) -> None:
        ending.set()
        stop(listener, drain_timeout)

    monkeypatch.setattr("pqadapters.logging._delivery.listener._JOIN", PATIENCE)  # for a busy machine's thread
    monkeypatch.setattr(logs._Shown, "emit_batch", held_up)
    monkeypatch.setattr(QueueListener, "stop", stopping)
    monkeypatch.setattr(QueueListener, "drain", lambda listener, timeout: not begun.wait(PATIENCE))
    ended = call("logs", "drain", place, "--timeout", "0")
    shown = len(ended.stdout.splitlines())
    assert 0 < shown < 5000
    assert f"{5000 - shown} log records still wait" in ended.stderr
    monkeypatch.undo()
    assert len(out("logs", "drain", place).splitlines()) == 5000 - shown


def test_a_reader_that_goes_ends_it_and_keeps_the_rest(place: str, tmp_path: Path) -> None:
    """As `| head -1` does. It waited out its timeout: a pipe that is closed was an outage like any other."""
    ran(
        """
logger.addHandler(QueueHandler(place))
for number in range(5000):
    logger.info("%s %d", "x" * 100, number)
os._exit(0)
""",
        place,
    )
    command = ["logs", "drain", place, "--format", "%(message)s", "--timeout", "100000"]
    with (
        open(tmp_path / "errors", "wb") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "pqadapters", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors
        ) as child,
    ):
        try:
            assert child.stdout is not None
            child.stdout.readline()
            child.stdout.close()
            assert child.wait(PATIENCE) == 1
        finally:
            child.kill()
    assert (tmp_path / "errors").read_text() == ""
    left = [int(line.split()[1]) for line in out("logs", "drain", place, "--format", "%(message)s").splitlines()]
    first = left[0]
    assert left == list(range(first, 5000))
    assert first <= (1 << 17) // 100  # what fits into a pipe, and what this process has read ahead


def test_slots_of_processes_that_run_are_left_to_them(tmp_path: Path) -> None:
    body = "logger.addHandler(QueueHandler(place))\nlogger.info('mine')\nsay('logged')\nsys.stdin.read()"
    with running(body, tmp_path / "spool") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "logged\n"
        assert out("logs", "drain", tmp_path / "spool") == ""
    assert "mine" in out("logs", "drain", tmp_path / "spool")


def test_where_another_process_delivers_and_nothing_waits_there_is_nothing_to_do(tmp_path: Path) -> None:
    """It waited for its turn, and failed then: "1 log record still waits"."""
    place = f"sqlite:///{tmp_path}/spool.db"
    body = "logger.addHandler(QueueHandler(place, handlers=[Telling()]))\nlogger.info('mine')\nsys.stdin.read()"
    with running(body, place) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "got mine\n"
        assert out("logs", "drain", place, "--timeout", "100000") == ""


def test_what_it_cannot_deliver_is_told_and_makes_it_fail(tmp_path: Path) -> None:
    """It printed nothing of a slot that it passed over and of damaged records, and was content."""
    place = tmp_path / "spool"
    _leave(str(place))
    (place / "0" / "stranger.txt").touch()
    ended = call("logs", "drain", place)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "stranger.txt" in ended.stderr.splitlines()[0]
    (place / "0" / "stranger.txt").unlink()
    (segment,) = (place / "0").glob("*.seg")
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"m %d", b"n %d", 1))
    ended = call("logs", "drain", place, "--format", "%(message)s")
    assert (ended.exit_code, ended.stdout.splitlines()[:2]) == (1, ["m 1", "m 2"])
    assert "damaged" in ended.stderr.splitlines()[0]
    assert call("logs", "drain", place).exit_code == 0


def test_a_slot_that_cannot_be_locked_makes_it_fail(tmp_path: Path) -> None:
    """Another user's, say: it was told, and the status was 0."""
    _leave(str(tmp_path / "spool"))
    (tmp_path / "spool" / "0").rename(tmp_path / "moved")
    (tmp_path / "spool" / "0").symlink_to(tmp_path / "nowhere")
    ended = call("logs", "drain", tmp_path / "spool")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "passed over" in ended.stderr.splitlines()[0]


def test_what_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    _leave(str(tmp_path / "spool"))
    (tmp_path / "spool" / "LOCK").unlink()
    (tmp_path / "spool" / "LOCK").symlink_to("LOCK")
    (line,) = refusal("logs", "drain", tmp_path / "spool", "--timeout", "1000").splitlines()
    assert "symbolic link" in line


def test_what_is_somebody_elses_is_left_alone(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root was told to pass trust_directory=True, which no command takes."""
    _leave(place)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert f"belongs to user {os.getuid()}: " in (said := refusal("logs", "drain", place))
    assert "call this as that user" in said
    monkeypatch.undo()
    assert "m 0" in out("logs", "drain", place)


def test_mistakes(tmp_path: Path) -> None:
    before = bytes_in(tmp_path)
    assert "isn't there" in refusal("logs", "drain", tmp_path / "nowhere")
    assert "isn't there" in refusal("logs", "drain", f"sqlite:///{tmp_path}/nowhere.db")
    assert "isn't there" in refusal("logs", "drain", f"SQLITE:///{tmp_path}/nowhere.db")
    PDict[str, int](tmp_path / "mapping.db")["a"] = 1
    with Queue[str](path=tmp_path / "queue") as q:  # which has a lock, as a spool has it
        q.put("a")
    before = bytes_in(tmp_path)
    assert "no log records" in refusal("logs", "drain", f"sqlite:///{tmp_path}/mapping.db")
    said = refusal("logs", "drain", tmp_path / "mapping.db")  # which "isn't there, or no directory"
    assert said.endswith(f"is no directory; a database is named by its URL, as in sqlite:///{tmp_path}/mapping.db\n")
    said = refusal("logs", "drain", f"file://{tmp_path}/mapping.db")  # "as in sqlite:///file%3A///..."
    assert said.endswith(f"as in sqlite:///{tmp_path}/mapping.db\n")
    assert "nowhere?x isn't there" in refusal("logs", "drain", tmp_path / "nowhere?x")
    assert "isn't there" in refusal("logs", "drain", f"file://{tmp_path}/nowhere")
    assert "no log records" in refusal("logs", "drain", f"file://{tmp_path}")
    assert "no log records" in refusal("logs", "drain", tmp_path / "queue")
    assert "PLACE" in refusal("logs", "drain", status=2)
    assert "--timeout" in refusal("logs", "drain", tmp_path, "--timeout", "nan", status=2)  # it never ended
    assert "No such file" in refusal("logs", "drain", "--config", tmp_path / "nowhere.json")
    assert "nowhere_at_all" in refusal("logs", "drain", "--config", "nowhere_at_all:LOGGING")
    assert bytes_in(tmp_path) == before
    for content in (b"{bad", b"\x89PNG\r\n"):  # the file wasn't named
        (tmp_path / "bad.json").write_bytes(content)
        assert "bad.json is no JSON" in refusal("logs", "drain", "--config", tmp_path / "bad.json")
