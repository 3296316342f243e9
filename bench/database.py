"""A MariaDB server for a measurement: with its defaults, in the measurement's directory, one for each process."""

from __future__ import annotations

import atexit
import os
from functools import cache
from typing import Any

_BUFFER = "128M"  #: the server's own default, which the tests' servers are below


@cache
def _server(directory: str) -> Any:
    from tests.mysql.server import Server

    os.environ["TMPDIR"] = directory  # where it makes its files
    server = Server(innodb_buffer_pool_size=_BUFFER, innodb_log_file_size="96M").start()
    pid = os.getpid()
    atexit.register(lambda: server.close() if os.getpid() == pid else None)
    server.run("CREATE DATABASE bench")
    return server


def server(directory: str) -> Any:
    """The server of this process and the children that it has forked, with a database "bench"."""
    return _server(os.path.dirname(os.path.abspath(directory)))


def url(directory: str, query: str) -> str:
    """The store that stands in that database."""
    found: str = server(directory).url("bench", query=query)
    return found


def connected(directory: str) -> Any:
    """A bare connection to that database, with autocommit."""
    import pymysql

    found = server(directory)
    return pymysql.connect(host="127.0.0.1", port=found.port, user="root", database="bench", autocommit=True)
