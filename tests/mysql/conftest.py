"""Servers for the tests of the MySQL store."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .proxy import Proxy
from .server import Server, need_server, shared


@pytest.fixture
def server() -> Server:
    """The server of this process, which goes on: no test stops it."""
    return shared()


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """A database of its own on it."""
    with server.database() as found:
        yield found


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """What stands between the store and that server."""
    with Proxy(server.port) as found:
        yield found


@pytest.fixture(scope="module")
def _mortal() -> Iterator[Server]:
    need_server()
    server = Server()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def mortal(_mortal: Server) -> Iterator[Server]:
    """A server that the test may kill, and start again."""
    if not _mortal.runs:
        _mortal.start()
    yield _mortal
    _mortal.resume()
