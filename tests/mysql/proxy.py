"""A TCP proxy that cuts, delays and half-closes connections at chosen moments.

A moment is a packet on its way to the server that has certain bytes in it: `proxy.at(b"COMMIT", how)`. What is done
then is done once; `proxy.came` says that it was.
"""

from __future__ import annotations

import enum
import re
import socket
import threading
from contextlib import suppress
from types import TracebackType

from tests.segment.programs import PATIENCE

from .ports import held_port

_SIZE = 1 << 16


class How(enum.Enum):
    """What happens to the connection with that packet."""

    CUT_BEFORE = "the server never gets it"
    CUT_AFTER = "the server has answered, and nobody hears of it"
    LATE = "the client is cut off, and the server gets it when `go` is set"
    HANG = "nothing goes either way until `go` is set; then it is cut"
    DELAY = "the server gets it when `go` is set, and all goes on"
    HALF = "the server gets it, and the client is told that nothing comes any more"


class Proxy:
    """On a port of its own, in front of another one. Any number of connections at a time."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._moment: tuple[bytes, How] | None = None
        self._links: set[_Link] = set()
        self.came, self.go = threading.Event(), threading.Event()
        self.connections = 0
        self._listener: socket.socket | None = None
        self._held, self.port = held_port()
        self.accept()

    def at(self, marker: bytes, how: How) -> None:
        """Do it with the next packet that has these bytes in it, and no longer word that they begin or end: each new
        connection says READ COMMITTED."""
        with self._lock:
            self.came.clear()
            self.go.clear()
            self._moment = marker, how

    def how(self, data: bytes) -> How | None:
        """What is to be done with a packet."""
        with self._lock:
            if self._moment is None or not re.search(rb"\b" + re.escape(self._moment[0]) + rb"\b", data):
                return None
            how, self._moment = self._moment[1], None
        self.came.set()
        return how

    def accept(self) -> None:
        """Take connections (again)."""
        self._listener = listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """No new connections, and those that are there are cut."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            _close(listener)
        self.cut()

    def cut(self) -> None:
        """All connections, in both directions."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            link = _Link(self, client, server)
            with self._lock:
                refused = listener is not self._listener  # since it came, and nobody has cut this one
                if not refused:
                    self._links.add(link)
                    self.connections += 1
            if refused:
                link.close()
            else:
                link.start()

    def gone(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go.set()
        self.refuse()
        self._held.close()


class _Link:
    """One connection, in both directions."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._deaf = False  #: what the server says isn't passed on
        self._answered = threading.Event()
        self._statements, self._heard = 1, b""  #: of a packet whose answer nobody hears, and the answer

    def start(self) -> None:
        for function in (self._up, self._down):
            threading.Thread(target=function, daemon=True).start()

    def close(self) -> None:
        for each in (self._client, self._server):
            _close(each)
        self._proxy.gone(self)

    def _up(self) -> None:
        with suppress(OSError):
            while data := self._client.recv(_SIZE):
                how = self._proxy.how(data)
                if how is not None and not self._do(how, data):
                    break
                if how is None:
                    self._server.sendall(data)
        self.close()

    def _down(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(_SIZE):
                if not self._deaf:
                    self._client.sendall(data)
                elif self._is_answered(data):
                    self._answered.set()
        if not self._deaf:
            self.close()

    def _is_answered(self, data: bytes) -> bool:
        """Whether all statements are: a server that is cut off behind the first answer carries out no other one."""
        self._heard += data
        rest, found = self._heard, 0
        while len(rest) > 4 and len(rest) >= (end := 4 + int.from_bytes(rest[:3], "little")):
            found = self._statements if rest[4] == 0xFF else found + 1  # an error is the last one
            rest = rest[end:]
        return found >= self._statements

    def _do(self, how: How, data: bytes) -> bool:
        """Whether the connection goes on."""
        if how is How.DELAY:
            self._proxy.go.wait(PATIENCE)
            self._server.sendall(data)
            return True
        if how in (How.CUT_AFTER, How.LATE, How.HALF):
            self._statements = data.count(b";\n") + 1
            self._deaf = True
            if how is How.LATE:
                _close(self._client)
                self._proxy.go.wait(PATIENCE)
            self._server.sendall(data)
            if how is How.HALF:
                self._client.shutdown(socket.SHUT_WR)
            self._answered.wait(PATIENCE)
        elif how is How.HANG:
            self._proxy.go.wait(PATIENCE)
        return False


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
