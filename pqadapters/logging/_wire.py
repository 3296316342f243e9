"""Handlers of the standard library that swallow what goes wrong, and here report it.

`SocketHandler`, and `SysLogHandler` by TCP, have nothing but that to go by: a record counts as delivered when the other
side's system has it and the connection is still there. What was sent within a second before a connection broke may not
have been read, and is sent again by the next one, whenever that is. Who needs to know that a record was processed uses
HTTP, or `Sink(check=)`.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import sys
import time
from collections import deque
from logging import handlers as stdlib
from typing import Any

from ..clock import SYSTEM

_PATIENCE = 5.0  #: seconds for the other side's system
_FIRST = 0.02  #: seconds in which who doesn't want a new connection closes it
_AGAIN, _MOST_AGAIN = 1.0, 1000  #: seconds, and records: what is sent again where a connection breaks
_UNSENT = 0x5411  #: SIOCOUTQ of Linux: what the other side's system hasn't got yet


class SocketHandler(stdlib.SocketHandler):
    """`logging.handlers.SocketHandler` that reports what it can't send, and tries a new connection at once.

    The pauses between tries are the listener's."""

    def __init__(self, host: str, port: int | None) -> None:
        super().__init__(host, port)
        self._recent: deque[tuple[float, Any]] = deque(maxlen=_MOST_AGAIN)  #: when it was sent, and what
        self._lost: list[Any] = []  #: what the last connection may have lost

    def send(self, s: Any) -> None:
        """Raises OSError."""
        try:
            if self.sock is not None and (error := _broken(self.sock)) is not None:
                self._drop(error)
            if self.sock is None:
                self._connect()
            self._send_all(s)
        except OSError as error:
            self._drop(error)
            raise
        self._recent.append((SYSTEM.monotonic(), s))

    def _connect(self) -> None:
        """A new connection, by which what the last one may have lost is sent again."""
        self.sock = self.makeSocket()
        for data in self._lost:
            self._send_all(data)
        _refuse_broken(self.sock, _FIRST)
        now = SYSTEM.monotonic()
        self._recent.extend((now, data) for data in self._lost)
        self._lost = []

    def _send_all(self, data: Any) -> None:
        assert self.sock is not None
        self.sock.settimeout(_PATIENCE)
        self.sock.sendall(data)
        _wait_until_sent(self.sock)

    def _drop(self, error: OSError) -> None:
        """It is found broken now. Who closes it has read all that was there; one that broke in another way may have
        done so behind what was sent last, however long ago that was."""
        if self.sock is None:
            return
        self.sock.close()
        self.sock = None
        is_closed = isinstance(error, ConnectionClosed)
        since = (SYSTEM.monotonic() if is_closed or not self._recent else self._recent[-1][0]) - _AGAIN
        self._lost += [data for sent, data in self._recent if sent > since]
        self._recent.clear()

    def handleError(self, record: logging.LogRecord) -> None:
        logging.Handler.handleError(self, record)


class _Stream(SocketHandler):
    """What a `SysLogHandler` has in the place of its socket."""

    def sendall(self, data: bytes) -> None:
        """Raises OSError."""
        self.send(data)


class SysLogHandler(stdlib.SysLogHandler):
    """`logging.handlers.SysLogHandler` that by TCP connects again, as `SocketHandler` does; the standard library's goes
    on with the connection that is broken. A server that isn't there yet is no error."""

    def __init__(
        self, address: Any = ("localhost", stdlib.SYSLOG_UDP_PORT), facility: Any = stdlib.SysLogHandler.LOG_USER,
        socktype: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        by_tcp = socktype == socket.SOCK_STREAM and not isinstance(address, str)
        self._stream = _Stream(*address) if by_tcp else None
        super().__init__(address, facility, socket.SOCK_DGRAM if by_tcp else socktype, **options)
        if by_tcp:
            self.socket.close()  # before Python 3.11 it is one of UDP
            self.socktype = socket.SOCK_STREAM
            self.createSocket()

    def createSocket(self) -> None:
        """From Python 3.11 on it is called for each record for which there is none."""
        if self._stream is None:
            theirs: Any = super()  # which has it from 3.11 on
            theirs.createSocket()
        else:
            self.unixsocket, self.socket = False, self._stream


class ConnectionClosed(ConnectionResetError):
    """The other side has closed it, with nothing of what it was sent left unread."""


def _broken(sock: socket.socket, within: float = 0.0) -> OSError | None:
    """Why the other side takes no more, or doesn't within some seconds. It sends nothing else."""
    readable, _, _ = select.select([sock], [], [], within)
    try:
        if not readable or sock.recv(1, socket.MSG_PEEK):
            return None
        if failed := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):  # closed for writing first, reset then
            return ConnectionResetError(failed, os.strerror(failed))
        return ConnectionClosed(f"{sock} was closed by the other side")
    except OSError as error:
        return error


def _refuse_broken(sock: socket.socket, within: float) -> None:
    if (error := _broken(sock, within)) is not None:
        raise error


def _wait_until_sent(sock: socket.socket) -> None:
    """Until the other side's system has it all. Raises OSError."""
    if not sys.platform.startswith("linux") or sock.family == getattr(socket, "AF_UNIX", None):
        return
    import fcntl

    deadline, pause = SYSTEM.monotonic() + _PATIENCE, 0.0
    while struct.unpack("i", fcntl.ioctl(sock.fileno(), _UNSENT, b"\0" * 4))[0]:
        if SYSTEM.monotonic() > deadline:
            raise TimeoutError(f"{sock.getpeername()} doesn't take what was sent")
        time.sleep(pause)  # the system offers nothing to wait for
        pause = min(0.01, pause + 0.0005)
    _refuse_broken(sock, 0.0)


class HTTPHandler(stdlib.HTTPHandler):
    """`logging.handlers.HTTPHandler` for which a status other than 2xx is a failure."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record, and read the answer."""
        try:
            self._send(record)
        except Exception:
            self.handleError(record)

    def _send(self, record: logging.LogRecord) -> None:
        from http.client import HTTPException
        from urllib.parse import urlencode

        data = urlencode(self.mapLogRecord(record))
        connection = self.getConnection(self.host, self.secure)
        connection.timeout = _PATIENCE if connection.timeout is socket._GLOBAL_DEFAULT_TIMEOUT else connection.timeout  # type: ignore[attr-defined]
        headers: dict[str, Any] = {}
        url = self.url
        if self.method == "GET":
            url += ("&" if "?" in url else "?") + data
        else:
            headers = {"Content-type": "application/x-www-form-urlencoded"}
        if self.credentials:
            import base64

            secret = base64.b64encode(":".join(self.credentials).encode()).decode("ascii")
            headers["Authorization"] = f"Basic {secret}"
        try:
            connection.request(self.method, url, data if self.method == "POST" else None, headers)
            answer = connection.getresponse()
            answer.read()
        except HTTPException as error:
            raise ConnectionError(f"{self.host}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if answer.status // 100 == 5 or answer.status in (408, 429):
            raise ConnectionError(f"{self.host} answers {answer.status} {answer.reason}")
        if answer.status // 100 != 2:
            raise ValueError(f"{self.host} answers {answer.status} {answer.reason}")
