"""The floor of logging: a handler without a lock, which writes a record's fields, and nothing else. No listener."""

from __future__ import annotations

import logging
import os

from ..contender import Contender, Level, LogHandle, Speed
from .ours_logging import logger_with


class _Writing(logging.Handler):
    """Any thread may come in the middle of another one's write: each is one call of the system."""

    def __init__(self, path: str) -> None:
        from msgpack import packb

        super().__init__()
        self._pack = packb
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def handle(self, record: logging.LogRecord) -> bool:
        fields = record.name, record.levelno, record.msg, record.args, record.created, record.thread, record.pathname
        os.write(self._fd, self._pack(fields))
        return True

    def close(self) -> None:
        os.close(self._fd)
        super().close()


def open_log(directory: str, level: Level) -> LogHandle:
    handler = _Writing(os.path.join(directory, "log"))
    return LogHandle(logger_with(handler).info, lambda: None, handler.close)


CONTENDER = Contender(
    name="bare-logging",
    about="a logging.Handler without a lock: msgpack and os.write",
    open_log=open_log,
    speed={Level.PROCESS: Speed(150_000, 0)},
    modules=("msgpack",),
    gets=False,
    floor=True,
)
