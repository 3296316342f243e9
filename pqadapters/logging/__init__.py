"""Durable logging: see `pqadapters.logging.handlers`."""

from __future__ import annotations

from .handlers import HTTPHandler, QueueHandler, QueueListener, Sink, SocketHandler, SpoolQueue, SysLogHandler, WhenFull

__all__ = [
    "HTTPHandler",
    "QueueHandler",
    "QueueListener",
    "Sink",
    "SocketHandler",
    "SpoolQueue",
    "SysLogHandler",
    "WhenFull",
]
