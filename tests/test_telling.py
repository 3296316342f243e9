"""What we tell is heard with no lock of ours held, whole and in order; whoever fails to hear it is in nobody's way."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from pqadapters import telling
from pqadapters.telling import silence

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


def test_a_warning_is_about_the_line_that_led_here() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with silence():
            telling.warn("in silence", UserWarning)
            assert caught == []
        telling.warn("aloud", UserWarning)
    assert [str(each.message) for each in caught] == ["in silence", "aloud"]
    assert {each.filename for each in caught} == {__file__}


def test_a_warning_that_is_an_error_keeps_nothing_back(heard: Heard) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="an error"), silence():
            telling.warn("an error", UserWarning)
            log.warning("behind it")
    assert heard.lines == ["behind it"]
