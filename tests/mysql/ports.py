"""Ports of 127.0.0.1 that stay one's own while nobody listens there."""

from __future__ import annotations

import socket


def held_port() -> tuple[socket.socket, int]:
    """What keeps a free port from anybody to whom the system would give it, until that is closed; and the port. Who
    listens there, with SO_REUSEADDR as servers do, may end and come again; between, connections are refused."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, int(held.getsockname()[1])
