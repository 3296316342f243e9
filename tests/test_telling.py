"""What we tell is heard with no lock of ours held, whole and in order; whoever fails to hear it is in nobody's way."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from pqadapters import telling
from pqadapters.ending import enduring
from pqadapters.telling import silence
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, ROOT

log = telling.logger("pqadapters.test")


class Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.fails = False

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if self.fails:
            raise ValueError("the sink is down")


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


def test_what_is_said_in_silence_is_heard_at_the_end_of_the_outermost(heard: Heard) -> None:
    with silence():
        log.warning("first")
        with silence():
            log.warning("second")
        log.warning("third")
        assert heard.lines == []
    assert heard.lines == ["first", "second", "third"]
    log.warning("fourth")
    assert heard.lines[3:] == ["fourth"]


def test_an_exception_that_ends_it_is_no_reason_to_forget(heard: Heard) -> None:
    with pytest.raises(KeyError), silence():
        log.warning("said")
        raise KeyError
    assert heard.lines == ["said"]


def test_a_silence_that_was_broken_off_is_over(heard: Heard) -> None:
    """As by a signal handler that raises right when it ends."""

    def broken_off() -> None:
        silence().__enter__()
        raise KeyError

    with pytest.raises(KeyError) as kept:  # and its frames with it
        broken_off()
    log.warning("heard")
    assert heard.lines == ["heard"]
    with silence():
        log.warning("later")
        assert heard.lines == ["heard"]
    assert heard.lines == ["heard", "later"]
    assert kept.type is KeyError


def test_a_handler_that_fails_is_in_nobodys_way(heard: Heard, capsys: pytest.CaptureFixture[str]) -> None:
    heard.fails = True
    with silence():
        log.warning("first")
        log.warning("second")
    assert heard.lines == ["first", "second"]
    assert "the sink is down" in capsys.readouterr().err


@pytest.mark.parametrize("raises", [True, False])
def test_a_handler_that_fails_ends_no_thread_that_others_rely_on(
    heard: Heard, capsys: pytest.CaptureFixture[str], raises: bool
) -> None:
    heard.fails = True
    came: list[logging.LogRecord] = []
    heard.addFilter(lambda record: came.append(record) is None)

    def run() -> None:
        try:
            if raises:
                raise KeyError("why")
            log.warning("first")
        except KeyError:
            log.exception("first")
        log.warning("second")

    thread = threading.Thread(target=enduring(run))
    thread.start()
    thread.join(PATIENCE)
    assert heard.lines == ["first", "second"]
    assert [record.filename for record in came] == ["test_telling.py"] * 2
    assert [bool(record.exc_info) for record in came] == [raises, False]
    assert capsys.readouterr().err.count("ValueError: the sink is down") == 2
    with pytest.raises(ValueError, match="the sink is down"):
        log.warning("in a thread of the program's")


def test_a_warning_is_about_the_line_that_led_here() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        with silence():
            telling.warn("in silence", UserWarning)
            assert caught == []
        telling.warn("aloud", UserWarning)
    assert [str(each.message) for each in caught] == ["in silence", "aloud"]
    assert {each.filename for each in caught} == {__file__}


def test_a_warning_that_is_an_error_keeps_nothing_back(heard: Heard) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ResourceWarning)  # of what earlier tests have left
        with pytest.raises(UserWarning, match="an error"), silence():
            telling.warn("an error", UserWarning)
            log.warning("behind it")
    assert heard.lines == ["behind it"]


def test_in_silence_loggings_own_lock_isnt_waited_for(heard: Heard) -> None:
    """A fork holds it and waits for locks of ours, where a program has imported logging behind us: each waited for the
    other for ever."""
    said = threading.Event()

    def say() -> None:
        with silence():
            log.warning("first")
            try:
                raise KeyError("why")
            except KeyError:
                log.exception("second")
            said.set()

    gc.collect()  # handlers of earlier tests take it as they go, in whatever thread
    lock: threading.RLock = logging._lock  # type: ignore[attr-defined]
    with lock:
        task = Task(say, patience=PATIENCE)
        assert said.wait(PATIENCE)
    task.result()
    assert heard.lines == ["first", "second"]


@pytest.mark.parametrize("own", [False, True])
def test_without_logging_it_is_told_on_stderr(own: bool, tmp_path: Path) -> None:
    """It was imported then, with locks of ours held and while other threads forked; and a module of the program's own
    by that name was taken for it."""
    program = """
import sys
from pqadapters import telling
if OWN:
    import logging
log = telling.logger("pqadapters.test")
log.info("nobody asks for %s", "this")
with telling.silence():
    log.warning("first %s", 1)
    print("silence", file=sys.stderr, flush=True)
try:
    raise KeyError("why")
except KeyError as error:
    log.warning("second")
    log.error("third", exc_info=error)
assert hasattr(sys.modules.get("logging"), "x") == OWN
"""
    if own:
        (tmp_path / "logging.py").write_text("x = 1\n")
    found = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; OWN = {own}\n"
    ended = subprocess.run([sys.executable, "-c", found + program], capture_output=True, text=True, timeout=PATIENCE)
    lines = ended.stderr.splitlines()
    assert lines[:5] == ["silence", "first 1", "second", "third", "Traceback (most recent call last):"]
    assert (lines[-1], ended.returncode) == ("KeyError: 'why'", 0)
