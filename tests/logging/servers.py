"""Servers on loopback that refuse, hang, reset connections and recover, when they are told to."""

from __future__ import annotations

import json
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..mysql.ports import held_port
from .sinks import PATIENCE


class Server:
    """What it got, in order, and how it behaves: "well", "hang" (reads nothing, answers nothing), "reset".
    Its port stays its own while it is stopped: else records went to whoever got it meanwhile."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.fields: list[dict[str, Any]] = []
        self.behaves = "well"
        self._held, self.port = held_port()
        self.changed = threading.Condition()

    def close(self) -> None:
        """It doesn't come again."""
        self._held.close()

    def got(self, message: str) -> None:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def become(self, behaviour: str) -> None:
        with self.changed:
            self.behaves = behaviour
            self.changed.notify_all()

    def wait_while_hanging(self) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.behaves != "hang", PATIENCE)

    def until(self, condition: Callable[[], object]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), f"{len(self.messages)}: {self.messages[:5]}"

    def until_all(self, messages: list[str]) -> None:
        self.until(lambda: set(self.messages) >= set(messages))


class SocketServer(Server):
    """Gets what `SocketHandler` sends: pickles with their lengths."""

    def __init__(self) -> None:
        super().__init__()
        self._listening: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._thread(self._accept, self._listening)

    def _thread(self, run: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            if self.behaves == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                continue
            with self.changed:
                stopped = self._listening is not listening  # since it came, and nobody has cut this one
                if not stopped:
                    self._connections.add(connection)
            if stopped:
                connection.close()
            else:
                self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError), connection, connection.makefile("rb") as file:
            while True:
                self.wait_while_hanging()
                size = file.read(4)
                if len(size) < 4:
                    return
                fields = pickle.loads(file.read(struct.unpack(">L", size)[0]))
                self.fields.append(fields)
                self.got(str(fields["msg"]))

    def stop(self) -> None:
        """From now on connections are refused; those that are there are cut."""
        with self.changed:
            listening, self._listening = self._listening, None
            connections = [*self._connections]
            self._connections.clear()
        if listening is not None:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.become("well")
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._threads.clear()


class SyslogServer(SocketServer):
    """Gets what `SysLogHandler` sends by TCP: text with a priority before it and a zero byte behind."""

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            left = b""
            while not self.wait_while_hanging() and (data := connection.recv(1 << 16)):
                *lines, left = (left + data).split(b"\0")
                for line in lines:
                    self.got(line.partition(b">")[2].decode())


class HTTPServer(Server):
    """Gets what `HTTPHandler` sends, by GET and POST. It also behaves as a number: that status."""

    def __init__(self) -> None:
        super().__init__()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._answer(urlsplit(self.path).query)

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

            def _answer(self, query: str) -> None:
                outer.wait_while_hanging()
                if outer.behaves == "reset":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    return
                status = 200 if outer.behaves == "well" else int(outer.behaves)
                if status < 300:
                    outer.got(parse_qs(query)["msg"][0])
                body = json.dumps({"status": status}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self.become("well")
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    server.start()
    try:
        yield server
    finally:
        server.stop()
        server.close()
