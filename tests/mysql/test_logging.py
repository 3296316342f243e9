"""Log records on a server: what is said of them has no password in it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pqadapters.logging.handlers import QueueHandler, QueueListener, SpoolQueue
from tests.commands.command import refusal
from tests.logging.sinks import PATIENCE, Noting, logger_of

from .server import Server
from .test_opening import QUOTED, SECRET, _as, user

__all__ = ["user"]


def _is_secret(text: object) -> bool:
    return any(word in str(text) for word in (SECRET, QUOTED))


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
    config.write_text(json.dumps({"version": 1, "handlers": handlers}))
    said = refusal("logs", "drain", f"mysql://me:{QUOTED}@127.0.0.1:2/d", "--config", str(config))
    assert "127.0.0.1:1/d" in said
    assert "127.0.0.1:2/d" in said
    assert not _is_secret(said)
