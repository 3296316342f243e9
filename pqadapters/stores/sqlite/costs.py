"""What a commit or a claim brings to the file and what it frees, and whether a power cut may undo it."""

from __future__ import annotations

from ...store import Ack, Claim, Delete, Nack, Op, Put, Set, Update
from .schema import LONG

_KEY = 256  #: bytes that a key which is deleted is taken to free
_SPARE = 1024  #: bytes that whatever comes with an acknowledgement may bring beyond what that frees


def bytes_of(ops: tuple[Op, ...]) -> int:
    """What a commit brings, beside what each of its operations costs."""
    size = 0
    for op in ops:
        if type(op) is Put:
            size += len(op.payload)
        elif type(op) is Set:
            size += len(op.value)
    return size


def bytes_moved(claims: list[Claim]) -> int:
    """What of the records a claim writes again: long payloads stay where they are."""
    size = 0
    for claim in claims:
        size += min(len(claim.payload), LONG)
    return size


def shrinks(ops: tuple[Op, ...]) -> bool:
    """Whether a commit needs no more room than it gives back, about: then it may have the reserve."""
    brings = frees = 0
    for op in ops:
        if type(op) is Ack:
            frees += len(op.claim.payload) + _SPARE
        elif type(op) is Delete:
            frees += _KEY
        elif type(op) is Put or type(op) is Update:
            brings += len(op.payload) + 1
        elif type(op) is Set:
            brings += len(op.value) + 1
    return brings <= frees


def is_lazy(op: Op) -> bool:
    """Whether it may be lost in a power cut (I1)."""
    return op.lazy if type(op) is Ack else is_given_back(op)


def is_given_back(op: Op) -> bool:
    """Whether its record is ready again at once."""
    return type(op) is Nack and op.dead is None and not op.not_before
