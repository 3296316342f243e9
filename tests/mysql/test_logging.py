"""Log records on a server: one listener at a time delivers, and what is said of them has no password in it."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from pqadapters.logging._delivery import turn as _turn
from pqadapters.logging._spools.names import Names
from pqadapters.logging.handlers import QueueHandler, QueueListener, SpoolQueue
from tests.commands.command import refusal
from tests.logging.sinks import PATIENCE, Noting, logger_of

from .server import Server
from .test_opening import QUOTED, SECRET, _as, user

__all__ = ["user"]


def _change_turn(server: Server, url: str, how: str) -> None:
    server.run(f"UPDATE pqa_items SET {how} WHERE queue = ({_TURN})", database=url.rpartition("/")[2])


_TURN = f"SELECT number FROM pqa_queues WHERE name = '{Names().turn}'"


def _is_secret(text: object) -> bool:
    return any(word in str(text) for word in (SECRET, QUOTED))


@pytest.mark.parametrize("sinks", [1, 2])
def test_who_was_taken_for_dead_delivers_no_more_beside_who_has_its_turn(
    server: Server, url: str, sinks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both delivered from then on, and records of one thread overtook each other."""
    monkeypatch.setattr(_turn, "_LOOK", 0.0)
    handler = QueueHandler(url)
    logger = logger_of(handler)
    mine, theirs = [Noting() for _ in range(sinks)], [Noting() for _ in range(sinks)]
    with QueueListener(url, *mine) as first:
        logger.info("0")
        assert first.flush(PATIENCE)
        delivery: Any = first._delivery
        rests, is_ours = threading.Event(), delivery._turn.is_ours

        def asking(stopping: threading.Event) -> bool:
            ours: bool = is_ours(stopping)
            if not ours:
                rests.set()
            return ours

        monkeypatch.setattr(delivery._turn, "is_ours", asking)
        with QueueListener(f"{url}?durability=process", *theirs) as second:
            _change_turn(server, url, "attempts = attempts + 1")  # as if its process had been taken for dead
            assert rests.wait(PATIENCE)
            _change_turn(server, url, "state = 0, place = ''")
            for number in range(1, 50):
                logger.info("%d", number)
            assert second.flush(PATIENCE)
    for one, other in zip(mine, theirs, strict=True):
        assert sorted([one.messages[1:], other.messages]) == [[], [str(number) for number in range(1, 50)]]
    handler.queue.close()


def test_the_password_is_in_nothing_that_a_handler_shows(
    server: Server, url: str, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`stats()` had it, and the warning that records wait."""
    place, sink = _as(url, user, QUOTED), Noting()
    handler = QueueHandler(place, handlers=[sink])
    logger_of(handler).info("m")
    assert handler.flush(PATIENCE)
    assert handler.stats()["place"] == _as(url, user, "***")
    assert not _is_secret(handler.stats())
    with pytest.raises(ValueError, match="puts its records into") as told:
        QueueListener(place, QueueHandler(place)).start()
    assert not _is_secret(told.value)
    with pytest.raises(ValueError, match="is used with") as told:
        for durability in ("power", "process"):
            SpoolQueue(place, durability=durability)
    assert not _is_secret(told.value)
    with pytest.raises(TypeError, match="two words for one thing") as wrong:
        QueueHandler(place, path=place)
    assert not _is_secret(wrong.value)
    listener: Any = handler.listener
    with caplog.at_level(logging.WARNING, "pqadapters"):
        listener._delivery._tell("no server")
    assert "***" in caplog.text
    assert not _is_secret(caplog.text)
    handler.close()
    handler.queue.close()


def test_the_password_is_in_nothing_that_is_said_of_a_configuration(tmp_path: Path) -> None:
    place, config = f"mysql://me:{QUOTED}@127.0.0.1:1/d", tmp_path / "logging.json"
    handlers: dict[str, Any] = {"spool": {"()": "pqadapters.logging.QueueHandler", "path": place, "handlers": ["file"]}}
    handlers["file"] = {"class": "logging.FileHandler", "filename": str(tmp_path / "log"), "delay": True}
    config.write_text(json.dumps({"version": 1, "disable_existing_loggers": False, "handlers": handlers}))
    said = refusal("logs", "drain", f"mysql://me:{QUOTED}@127.0.0.1:2/d", "--config", str(config))
    assert "127.0.0.1:1/d" in said
    assert "127.0.0.1:2/d" in said
    assert not _is_secret(said)
