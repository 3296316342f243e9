"""What is in a queue in which no item is twice: a table of digests beside it."""

from __future__ import annotations

import hashlib

from ..store import Delete, Expect, Op, Set

Digest = bytes


def digest(payload: bytes) -> Digest:
    return hashlib.sha256(payload).digest()


def enter(queue: str, payload: bytes) -> Op:
    """It is in the queue from now on; ConditionFailed where it is already."""
    return Set(f"{queue}/unique", digest(payload), b"", Expect.ABSENT)


def owed(queue: str) -> str:
    """The queue of a record that says that what is in it was persist-queue's, and hasn't been entered yet."""
    return f"pqadapters.unique/{queue}"


def leave(queue: str, payload: bytes) -> Op:
    """It isn't in the queue any more."""
    return Delete(f"{queue}/unique", digest(payload))
