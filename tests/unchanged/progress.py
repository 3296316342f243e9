"""How a program tells what it is doing: one line on stdout for each step, written at once and whole.

Where the harness wants to act at a certain moment, the program holds there: it is killed, or let go. Any thread and any
process of the program may report.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase


def report(*words: object) -> None:
    """Say so; hold where PROGRESS_HOLD has a pattern (one a line) for it."""
    line = " ".join(map(str, words))
    os.write(1, f"{os.getpid()} {line}\n".encode())
    if any(fnmatchcase(line, pattern) for pattern in os.environ.get("PROGRESS_HOLD", "").splitlines()):
        hold(line)


def hold(line: str) -> None:
    """Wait until the harness lets this line go. Where nobody is there any more to do so, this process is over."""
    import socket  # most programs hold nowhere

    with socket.create_connection(("127.0.0.1", int(os.environ["PROGRESS_PORT"]))) as connection:
        connection.sendall(line.encode() + b"\n")
        if not connection.recv(1):
            os._exit(99)
