"""From a constructor's arguments to the open queue of a store: where it lives, and who closes it.

Everything is checked before anything is opened.
"""

from __future__ import annotations

import os
from typing import Any

from ..opening import open_path, open_store
from ..serializers import serializer as choose_serializer
from ..store import Order, Store
from ._line import Line
from ._ordering import RankedLine
from ._policy import AckPolicy


def open_line(
    *,
    order: Order,
    path: Any,
    store: Any,
    name: str | None,
    ack: str | AckPolicy,
    serializer: Any,
    max_attempts: int | None,
    options: dict[str, Any],
    keep_items: bool = True,
) -> Line:
    """The queue that the arguments mean. Raises TypeError and ValueError for arguments, StoreError for the place."""
    _check_name(name)
    _check_attempts(max_attempts)
    policy, codec = AckPolicy.of(ack), choose_serializer(serializer)
    given = {option: value for option, value in options.items() if value is not None}
    opened, owned = _open(path, store, name, given)
    kind = RankedLine if order is Order.RANK else Line
    return kind(
        opened,
        "default" if name is None else name,
        owned=owned,
        order=order,
        serializer=codec,
        policy=policy,
        max_attempts=max_attempts,
        keep_items=keep_items,
    )


def _open(path: Any, store: Any, name: str | None, options: dict[str, Any]) -> tuple[Store, bool]:
    """The store, and whether the queue is to close it."""
    if path is not None and store is not None:
        raise ValueError("path= and store= both say where the queue lives: give one of them")
    if path is not None:
        return open_path(_directory(path), **options), True
    if isinstance(store, str):
        return open_store(store, **options), True
    if store is not None:
        return _as_given(store, options), False
    if name is not None:
        raise ValueError(
            f"name={name!r} alone means a queue shared by all processes of the application, which needs the SQLite "
            "store, and that isn't there yet: give path=DIRECTORY or store= as well"
        )
    raise ValueError("queues without a place aren't there yet: give path=DIRECTORY or store=")


def _directory(path: Any) -> str:
    try:
        directory = os.fsdecode(path)
    except TypeError:
        raise TypeError(
            f"path is the queue's directory, as str, bytes or os.PathLike, not {type(path).__name__}"
        ) from None
    if not directory:
        raise ValueError("path is the queue's directory; '' names none")
    return directory


def _as_given(store: Any, options: dict[str, Any]) -> Store:
    if not all(callable(getattr(store, method, None)) for method in ("commit", "claim", "browse", "wait")):
        raise TypeError(f"store is a store or the URL of one, not {type(store).__name__}")
    if options:
        raise ValueError(f"{', '.join(options)}: the store that was given is open already; give it when opening that")
    found: Store = store
    return found


def _check_name(name: Any) -> None:
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name is a str, not {type(name).__name__}")
    if name == "":
        raise ValueError("name is empty; leave it out for the queue 'default'")


def _check_attempts(value: Any) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"max_attempts is a whole number or None, not {type(value).__name__}")
    if value is not None and value < 1:
        raise ValueError(f"max_attempts is how often a record may be handed out; {value} is too few")
