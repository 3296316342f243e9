"""Payloads that stand for an object of the process that put them: their records keep the place, not the object.

Stop markers (`None`, a bare `object()`), and items that can't be serialised, are worth nothing to any other process:
their records end with the process, and whoever finds them later drops them. A payload is

    b"\\0pq-live" | process (8 random bytes, new in a forked child) | number (8 bytes, big-endian)

where a queue of several processes has 8 random bytes of its own, for the run of the program, and number 0 for `None`.

An item's own payload that happens to begin like this is kept behind b"\\0pq-item".
"""

from __future__ import annotations

import os

#: Table of a store: queue -> the first id that may be such a record (8 bytes, big-endian), where there ever was one.
TABLE = "pqadapters.live"

_LIVE, _ITEM = b"\0pq-live", b"\0pq-item"
_LEAD = b"\0pq-"
_process = os.urandom(8)


def key_of(queue: str) -> bytes:
    """The key that a queue has in tables. A name may be of an undecodable file, with a surrogate in it."""
    return queue.encode("utf-8", "surrogatepass")


def payload(number: int, process: bytes | None = None) -> bytes:
    """The payload that stands for this process's object of that number, or for that of others."""
    return _LIVE + (process or _process) + number.to_bytes(8, "big")


def escape(data: bytes) -> bytes:
    """An item's payload as it is stored."""
    return _ITEM + data if data[:4] == _LEAD else data


def unescape(data: bytes) -> bytes:
    """The item's payload again."""
    return data[len(_ITEM) :] if data[:4] == _LEAD and data.startswith(_ITEM) else data


def number(data: bytes) -> int | None:
    """Which object of this process a payload stands for; None for an item's payload, and for another process's."""
    return int.from_bytes(data[16:], "big") if data[:4] == _LEAD and data.startswith(_LIVE + _process) else None


def is_live(data: bytes) -> bool:
    """Whether a payload stands for an object, of this process or another."""
    return data[:4] == _LEAD and data.startswith(_LIVE) and len(data) == 24


def is_left_behind(data: bytes) -> bool:
    """Whether a payload stands for an object of a process other than this one."""
    return is_live(data) and not data.startswith(_LIVE + _process)


def _renew() -> None:
    global _process
    _process = os.urandom(8)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
