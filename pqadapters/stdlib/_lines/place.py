"""From a constructor's arguments to the open queue of a store: where it lives, and who closes it.

Everything is checked before anything is opened.
"""

from __future__ import annotations

import os
from typing import Any

from ...choosing import choice
from ...durability import Durability, Survives
from ...home.places import made_in, occupy
from ...home.private import PrivateStore
from ...opening import given, load_slots, open_path
from ...serializers import serializer as choose_serializer
from ...serializers.signed import protected
from ...store import Order, Store
from .._where import check_name, open_where, with_durability
from . import defaults as _defaults
from .line import Line
from .policy import AckPolicy, Markers, Volatile


def open_line(
    queue: object,
    *,
    order: Order,
    path: Any,
    store: Any,
    name: str | None,
    ack: str | AckPolicy | None,
    serializer: Any,
    max_attempts: int | None,
    markers: str | Markers | None,
    volatile: str | Volatile | None,
    options: dict[str, Any],
    signing_key: Any = None,
    keep_items: bool = True,
    default: Durability | None = None,
) -> Line:
    """The queue that the arguments mean. Raises TypeError and ValueError for arguments, StoreError for the place."""
    check_name(name)
    check_attempts(max_attempts)
    policy, codec = policy_of(ack), choose_serializer(serializer)
    unnamed = path is None and store is None and name is None
    what = choice(Markers, markers, "markers") if markers is not None else Markers.DROP if unnamed else Markers.KEEP
    kept = _defaults.volatile if volatile is None else choice(Volatile, volatile, "volatile")
    options = given(**options)
    if unnamed:
        opened, owned = _private(queue, with_durability(options, default)), True
    else:
        what_path_is = "the queue's directory"
        opened, owned = open_where(path, store, options, what=what_path_is, open_path=open_path, default=default)
    try:
        codec = protected(codec, signing_key, hosts=opened.capabilities.hosts, place=opened.place)
        if volatile is None and not opened.capabilities.exclusive:
            kept = Volatile.RAISE
        if not opened.capabilities.exclusive and (what is Markers.DROP or kept is Volatile.WARN):
            raise ValueError("markers='drop' and volatile='warn' need a store that this process holds alone")
        kind = _ranked() if order is Order.RANK else Line
        return kind(
            opened,
            "default" if name is None else name,
            owned=owned,
            order=order,
            serializer=codec,
            policy=policy,
            max_attempts=max_attempts,
            keep_items=keep_items,
            markers=what,
            volatile=kept,
        )
    except BaseException:
        if owned:
            opened.close()
        raise


def policy_of(ack: str | AckPolicy | None) -> AckPolicy:
    """The argument, else the environment's word, else "auto"."""
    if ack is not None:
        return choice(AckPolicy, ack, "ack")
    return choice(AckPolicy, os.environ.get("PQADAPTERS_ACK") or AckPolicy.AUTO.value, "PQADAPTERS_ACK")


def _private(queue: object, given: dict[str, Any]) -> Store:
    """A slot of its own in the application's home, at the place where the queue is made; nothing is touched yet."""
    load_slots()
    durability = Durability.of(given.get("durability", Survives.POWER), given.get("max_lag"))
    return PrivateStore(
        occupy(made_in(queue)), durability=durability, trust_directory=bool(given.get("trust_directory"))
    )


def check_attempts(value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"max_attempts is a whole number or None, not {type(value).__name__}")
    if value is not None and value < 1:
        raise ValueError(f"max_attempts is how often a record may be handed out; {value} is too few")


def _ranked() -> type[Line]:
    """Loaded for priority queues alone: ranks need modules that a program with others may never need."""
    from .ordering import RankedLine

    return RankedLine
