"""A program that takes all that `logging.handlers` has, with the import changed."""

from __future__ import annotations

from pqadapters.logging.handlers import *  # noqa: F403


class Rotating(RotatingFileHandler): ...  # noqa: F405


def port(handler: QueueHandler) -> int:  # noqa: F405
    return DEFAULT_TCP_LOGGING_PORT  # noqa: F405
