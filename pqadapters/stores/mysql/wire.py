"""One connection, and what goes over it: statements by the packet, each with its answer.

A packet takes several statements in one round trip. They are carried out in order up to the first that fails, so a
COMMIT at its end is reached by those that went through, and by no others.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from ...clock import SYSTEM
from ...errors import StoreRefused
from ...interrupts import SuppressRefusals, check_refusal, of_handler
from ...living import living
from .address import Address
from .driver import ERRORS, FLAGS, pymysql
from .errors import is_silent, too_large
from .schema import Statements, bound

_ROOM = 4096  #: bytes of a packet that aren't statements
_UNTIL_TOLD = 1 << 14  #: bytes of a packet before the server has said what it takes
_NO_GREETING = (struct.error, IndexError, AssertionError, UnicodeDecodeError)  #: where PyMySQL can't make sense of it
_SHORTEST, _LONGEST = 0.5, 86_400.0  #: seconds that an attempt to connect is given; sockets take 24 days at most
#: Seconds that a connection is idle before the other side is asked whether it is there, and between that and the next
#: time; how often it is asked in vain. The driver has set SO_KEEPALIVE.
_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_GREETING = 1.0  #: seconds that each word of a server's greeting may take at least
_SCAN = 60.0  #: seconds that an answer may take which is about many rows
_QUIET = 2.5  #: seconds of it until the server is asked whether it is there, which may take as long again


class Failed(Exception):
    """What went over a connection, or its making, has failed; `error` is the driver's. Nothing else raises this, so it
    isn't mistaken for what a caller's own function raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__(*error.args)
        self.error = error


class Answer(NamedTuple):
    """What a statement said: rows, or how many it has changed, and the first id that it gave."""

    rows: Sequence[Any]
    affected: int
    first_id: int


class Wire:
    """A connection, for one thread at a time."""

    is_broken = False  #: an interrupt in the middle of an answer has ended it

    def __init__(self, raw: Any, dialer: Dialer, begun: float) -> None:
        self.raw = raw
        self._dialer = dialer
        self.sql = statements = dialer.sql
        self._cursor = raw.cursor()
        self._most = _UNTIL_TOLD
        now, largest, self.step = self.ask(statements.BEGIN_SESSION, int(raw.autocommit_mode)).rows[0]
        self._most = int(largest)  #: bytes of a packet
        self.largest = self._most - _ROOM  #: bytes of its statements
        #: seconds that the server's clock is ahead of our monotonic one; at most the time that the question took wrong
        self.ahead = float(now) - (begun + SYSTEM.monotonic()) / 2

    def send(self, texts: Sequence[str]) -> list[Answer]:
        """The answers to several statements. Raises Failed; a packet that the server wouldn't take isn't sent."""
        cursor, text = self._cursor, ";\n".join(texts)
        if len(text) + 1 >= self._most:  # there is nothing but ASCII in it
            raise Failed(too_large(len(text) + 1, self._most))
        found, handled = [], sys.exc_info()[1]
        try:
            cursor.execute(text)
            while True:
                found.append(Answer(cursor.fetchall(), cursor.rowcount, cursor.lastrowid or 0))
                if not cursor.nextset():
                    return found
        except ERRORS as error:
            raised = of_handler(error, handled)
            if raised is None:
                raise Failed(error) from error
            self._break()
            raise raised  # noqa: B904  # it comes first
        except BaseException:
            self._break()
            raise

    def _break(self) -> None:
        """A signal handler has raised something: an answer is left unread, which the next statement would be given."""
        self.drop()
        self.is_broken = True

    def ask(self, statement: str, *values: Any) -> Answer:
        """The answer to the last statement of a text."""
        return self.send([bound(statement, values)])[-1]

    def ask_patiently(self, statement: str, *values: Any) -> Answer:
        """As `ask` of one statement, which may be about many rows."""
        with self._dialer.waiting_for(self.raw):
            return self.ask(statement, *values)

    def give(self, seconds: float) -> None:
        """How long an answer may take from here on."""
        self.raw._read_timeout = self.raw._write_timeout = min(seconds, _LONGEST)

    def alone(self, name: str) -> bool:
        """Whether it holds the named lock from here on. An earlier connection of ours that does, and that the server
        takes for alive, is ended: what it has locked is free then, and what it was sent is carried out no more."""
        lock = name.encode()
        if self.ask(self.sql.GET_LOCK, lock, 0).rows[0][0] == 1:
            return True
        holder = self.ask(self.sql.HOLDER, lock).rows[0][0]
        if holder is not None:
            with suppress(Failed):  # it has ended just now
                self.ask(self.sql.END, int(holder))
        return bool(self.ask(self.sql.GET_LOCK, lock, 1).rows[0][0] == 1)

    def waits_for_room(self) -> bool:
        """Whether somebody's commit waits for space on the server's disk, as for that of its binary log."""
        return bool(self.ask(self.sql.NO_ROOM).rows[0][0])

    def look_at_grants(self) -> None:
        """Those to the database, which the server looks at when that is chosen, and no more. Locks stay held."""
        with suppress(*ERRORS):
            self.raw.select_db(self.raw.db)

    @property
    def version(self) -> str:
        return str(self.raw.get_server_info())

    def fileno(self) -> int:
        """The socket's; ValueError, OSError or AttributeError where it is gone."""
        return int(self.raw._sock.fileno())

    def is_gone(self) -> bool:
        """Whether the other side has ended it: it says nothing unless it is asked. What isn't sent leaves no doubt."""
        try:
            return bool(readable([self.fileno()], 0.0))
        except OSError as error:
            check_refusal(error)
            return True
        except (ValueError, AttributeError):
            return True

    def close(self) -> None:
        """In order. A second call does nothing."""
        with suppress(*ERRORS):
            self.raw.close()

    def drop(self) -> None:
        """Without a word to the server: in a forked child, or where it doesn't answer."""
        drop(self.raw)


def readable(descriptors: Sequence[int], seconds: float) -> list[int]:
    """Those that have something to read, or nothing any more, as soon as there are any; none behind so many seconds.
    Raises OSError, ValueError for one that is closed."""
    if not hasattr(select, "poll"):  # eventlet takes it away
        return select.select(descriptors, [], [], seconds)[0]
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]


def _keep_alive(sock: socket.socket) -> None:
    """What lies between forgets connections that are idle, and says nothing: of the next commit nobody would know. Two
    hours, as systems mostly have it, are too long."""
    for name, value in _ALIVE.items():
        with suppress(AttributeError), SuppressRefusals():  # it has no such option; a Unix socket has none
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def drop(raw: Any) -> None:
    with suppress(Exception):
        raw._force_close()


class Dialer:
    """Makes the connections of a process to one store, and knows those that are open."""

    def __init__(self, address: Address, statements: Statements) -> None:
        self.address = address
        self.sql = statements
        self._options = address.options()
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()

    def raw(self, seconds: float, answer: float, *, autocommit: bool, flags: int = FLAGS) -> Any:
        """A connection of the driver's, as it is. Errors of the driver, StoreRefused where it isn't encrypted or isn't
        one of such a server."""
        answer = min(answer, _LONGEST)
        greeting = min(answer, max(seconds, _GREETING))
        try:
            made = pymysql.connect(
                **self._options,
                autocommit=autocommit,
                charset="utf8mb4",
                client_flag=flags,
                connect_timeout=min(max(seconds, _SHORTEST), _LONGEST),
                read_timeout=greeting,
                write_timeout=greeting,
            )
        except RuntimeError as error:
            if "package is required" not in str(error):
                raise  # a signal handler's
            raise StoreRefused(f"{self.address.place}: to send this server its password, {error}") from error
        except _NO_GREETING as error:
            raise StoreRefused(
                f"{self.address.place}: what answers there doesn't greet as a MySQL or MariaDB server: look at host "
                "and port (3306; 33060 is for another protocol)"
            ) from error
        made._read_timeout = made._write_timeout = answer
        _keep_alive(made._sock)
        self._open.add(made)
        if self.address.encrypted and not isinstance(made._sock, ssl.SSLSocket):
            made.close()
            raise StoreRefused(f"{self.address.place}: the server offers no TLS, and tls= asks for it")
        return made

    def dial(self, seconds: float, answer: float, *, autocommit: bool = False) -> Wire:
        """A connection with a session of ours, made within so many seconds; its answers may take `answer` seconds.
        Raises Failed, StoreRefused."""
        handled = sys.exc_info()[1]
        try:
            raw = self.raw(seconds, answer, autocommit=autocommit)
        except StoreRefused:
            raise
        except ERRORS as error:
            raise of_handler(error, handled) or Failed(error) from error
        try:
            return Wire(raw, self, SYSTEM.monotonic())
        except BaseException:
            drop(raw)
            raise

    @contextmanager
    def waiting_for(self, raw: Any) -> Iterator[None]:
        """Statements over this connection, each sent by itself, take their time as long as the server isn't silent."""
        read = raw._read_query_result

        def wait_and_read(unbuffered: bool = False) -> Any:
            self._wait_for_answer(raw)
            return read(unbuffered)

        raw._read_query_result = wait_and_read
        try:
            yield
        finally:
            del raw._read_query_result

    def _wait_for_answer(self, raw: Any) -> None:
        """As long as the server answers others. Raises its error where it doesn't."""
        until = SYSTEM.monotonic() + _SCAN
        while not readable([raw._sock.fileno()], _QUIET):
            try:
                self.dial(_QUIET, _QUIET, autocommit=True).close()
            except Failed as error:
                if is_silent(error):
                    drop(raw)  # else its answer would be the next question's
                    raise error.error from None
            if SYSTEM.monotonic() >= until:
                return

    def abandon(self) -> None:
        """In a forked child: the connections are the parent's."""
        for raw in living(self._open):
            _abandon(raw)
        self._open = weakref.WeakSet()


def _abandon(raw: Any) -> None:
    """Close this process's descriptor, and say nothing. The file of a thread that was reading has a lock that nobody
    lets go of here, and that its end would wait for: it never ends."""
    sock, file = raw._sock, getattr(raw, "_rfile", None)
    raw._sock = raw._rfile = None
    with suppress(OSError, AttributeError):
        os.close(sock.detach())
    with suppress(ImportError):
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(file))
