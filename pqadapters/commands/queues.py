"""Which queues of a store are meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..sight import Sight
from ..store import DEAD, dead_queue
from .failures import Failure

DEFAULT = "default"
#: Names of ours: what mappings keep beside their keys, locks and times, is no queue of the program's, nor is who has
#: items of an acknowledging queue in hand.
_OURS = re.compile(r"pqadapters\.|(edit|expiry)/(dict/|shelf(/|$))|ack_(filo_|unique_)?queue_[\s\S]*/holders\Z")

_TOKEN = 8  #: bytes that stand for a process
_TOLD = re.compile(r"([\s\S]+)\.to\.[0-9a-f]{16}")


def own_queues(names: Sequence[str]) -> list[str]:
    """The queues without those of dead letters, and without ours; one of which nothing else is left counts."""
    return list(dict.fromkeys(name.removesuffix(DEAD) for name in names if not _OURS.match(name)))


def own_tables(names: Sequence[str]) -> list[str]:
    """The tables without ours."""
    return [name for name in names if not _OURS.match(name)]


def chosen(sight: Sight, name: str | None) -> str:
    """The queue of that name; without one the only queue, or "default". Raises Failure."""
    names = sight.queues()
    own = own_queues(names)
    if name is not None:
        if name in names or name in own:
            return name
        raise Failure(f"{sight.place} has no queue {name!r}{_choice(own)}")
    own = [each for each in own if not _is_of_executor(sight, each, own)]
    if DEFAULT in own or len(own) == 1:
        return DEFAULT if DEFAULT in own else own[0]
    if not own:
        raise Failure(f"{sight.place} has no queue")
    raise Failure(f"{sight.place} has several queues: choose one by --queue{_choice(own)}")


def _is_of_executor(sight: Sight, name: str, own: Sequence[str]) -> bool:
    """Whether it is where processes that share the jobs of another one enter, or are told of what those came to."""
    if told := _TOLD.fullmatch(name):
        return told[1] in own
    jobs, dot, rest = name.rpartition(".")
    if jobs not in own or dot + rest != ".members":
        return False
    return all(len(each.payload) == _TOKEN for each in sight.browse(name, state=None))


def _choice(names: Sequence[str]) -> str:
    return f"; there are {', '.join(map(repr, sorted(names)))}" if names else "; there are none"


def letters_of(queue: str) -> str:
    """The queue of its dead letters."""
    return dead_queue(queue)
