"""A private MariaDB server: a data directory, a socket and a free port of its own, killed with whoever has started it.

`shared()` is the one of this process, for tests that don't mean to stop it; the others start one for themselves.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pymysql

from .ports import held_port

PATIENCE = 60.0
_NAMES = ("mariadbd", "mysqld")
_AS_ROOT = ["--user=root"] if os.geteuid() == 0 else []  #: it refuses to run as root unless it is told to
_numbers = itertools.count(1)

#: Ends the server when its standard input ends, which it does with the process that has started both.
_GUARD = """
import os, shutil, signal, sys
sys.stdin.read()
for path in sys.argv[1:]:
    try:
        with open(os.path.join(path, "pid")) as file:
            os.kill(int(file.read()), signal.SIGKILL)
    except (OSError, ValueError):
        pass
    shutil.rmtree(path, ignore_errors=True)
"""


def program() -> str | None:
    """The server's program, where there is one."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    return next((found for name in _NAMES if (found := shutil.which(name, path=path))), None)


def need_server() -> None:
    """Skips the test where there is no server to start; in CI that is a failure."""
    import pytest  # here: the benchmark starts servers, too, and has no pytest

    if program() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no mariadbd here: apt-get install mariadb-server")
        pytest.skip("there is no mariadbd here: apt-get install mariadb-server")


class Server:
    """One server. `root` is who made it, without a password. `data`: where its files are; a socket has a short path."""

    def __init__(self, *, data: Path | None = None, **options: object) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pqadapters-mysql-"))
        self._data = data or self.directory / "data"
        self.socket = str(self.directory / "socket")
        self._held, self.port = held_port()
        self._options = options
        self._server: subprocess.Popen[bytes] | None = None
        self._guard = subprocess.Popen([sys.executable, "-c", _GUARD, str(self.directory)], stdin=subprocess.PIPE)
        _install(self._data)

    @property
    def pid(self) -> int:
        assert self._server is not None
        return self._server.pid

    def start(self, **options: object) -> Server:
        """It takes connections when this returns."""
        given = {**_OPTIONS, **self._options, **options}
        words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        command = [
            str(program()),
            "--no-defaults",
            f"--datadir={self._data}",
            f"--tmpdir={self.directory}",  # a server that starts removes what others have in a directory they share
            f"--socket={self.socket}",
            f"--port={self.port}",
            f"--pid-file={self.directory / 'pid'}",
            *_AS_ROOT,
            *words,
        ]
        with open(self.directory / "log", "ab") as log:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait()
        return self

    def _wait(self) -> None:
        assert self._server is not None
        for _ in range(int(PATIENCE / 0.05)):
            with suppress(pymysql.err.OperationalError):
                pymysql.connect(unix_socket=self.socket, user="root").close()
                return
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(0.05)
                break
        raise AssertionError(f"the server hasn't started:\n{(self.directory / 'log').read_text()[-3000:]}")

    @property
    def runs(self) -> bool:
        return self._server is not None

    @property
    def has_ended(self) -> bool:
        """By its own will, or because it was killed."""
        return self._server is None or self._server.poll() is not None

    def freeze(self) -> None:
        """It says nothing from when this returns until it is told to go on, and takes no connection."""
        if self._server is not None:
            self._server.send_signal(signal.SIGSTOP)
            while not _is_stopped(self._server.pid):  # its threads stop one by one: one could still answer
                time.sleep(0.001)

    def resume(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL: nothing is put in order."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(how)
            self._server.send_signal(signal.SIGCONT)
            self._server.wait(PATIENCE)
            self._server = None

    def close(self) -> None:
        self.kill()
        self._held.close()
        assert self._guard.stdin is not None
        with suppress(OSError):
            self._guard.stdin.close()
        self._guard.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, *statements: str, database: str | None = None) -> Any:
        """What root is answered."""
        with pymysql.connect(unix_socket=self.socket, user="root", database=database, autocommit=True) as connection:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def url(self, database: str, *, user: str = "root", port: int | None = None, query: str = "") -> str:
        return f"mysql://{user}@127.0.0.1:{port or self.port}/{database}{query}"

    @contextmanager
    def database(self) -> Iterator[str]:
        """A database of its own: its URL."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            self.run(f"DROP DATABASE {name}")


#: Small, and without what a test doesn't need; what it syncs is as in a server that is left alone.
_OPTIONS: dict[str, object] = {
    "bind_address": "127.0.0.1",
    "skip_name_resolve": 1,
    "innodb_buffer_pool_size": "64M",
    "innodb_log_file_size": "16M",
    "innodb_flush_log_at_trx_commit": 1,
    "max_connections": 400,
    "skip_log_bin": 1,
}


@cache
def _template() -> Path:
    """A data directory with the system's tables, made once for a process. A busy machine may refuse it at first."""
    for _ in range(3):
        path = Path(tempfile.mkdtemp(prefix="pqadapters-mysql-"))
        atexit.register(shutil.rmtree, path, ignore_errors=True)
        made = _installed(path)
        if not made.returncode:
            return path
    raise AssertionError(made.stdout + made.stderr)


def _installed(path: Path) -> subprocess.CompletedProcess[str]:
    words = ["--no-defaults", f"--datadir={path}", "--auth-root-authentication-method=normal", "--skip-test-db"]
    words += ["--skip-name-resolve", "--innodb-log-file-size=16M"]
    words += _AS_ROOT
    return subprocess.run(["mariadb-install-db", *words], capture_output=True, text=True)


def _install(path: Path) -> None:
    shutil.copytree(_template(), path)


_shared: list[Server] = []


def shared() -> Server:
    """The server of this process, started when it is first asked for."""
    need_server()
    if not _shared:
        _shared.append(Server().start())
        atexit.register(end_shared)
    return _shared[0]


def end_shared() -> None:
    """Nobody needs it any more."""
    while _shared:
        _shared.pop().close()


def _is_stopped(pid: int) -> bool:
    """Whether all of its threads are."""
    states = set()
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # it has ended
            states.add((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return states <= {"T", "t"}
