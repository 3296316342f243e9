"""From a constructor's arguments to the open queue of a store: where it lives, and who closes it.

Everything is checked before anything is opened.
"""

from __future__ import annotations

import os
from typing import Any

from ..durability import Durability, Survives
from ..home.places import made_in, occupy
from ..home.private import PrivateStore
from ..home.shared import open_shared
from ..opening import load_slots, open_path, open_store
from ..serializers import serializer as choose_serializer
from ..store import Order, Store
from ._line import Line
from ._ordering import RankedLine
from ._policy import AckPolicy, Markers, Volatile, choice


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
    keep_items: bool = True,
) -> Line:
    """The queue that the arguments mean. Raises TypeError and ValueError for arguments, StoreError for the place."""
    _check_name(name)
    _check_attempts(max_attempts)
    policy, codec = _policy(ack), choose_serializer(serializer)
    unnamed = path is None and store is None and name is None
    what = choice(Markers, markers, "markers") if markers is not None else Markers.DROP if unnamed else Markers.KEEP
    kept = choice(Volatile, "raise" if volatile is None else volatile, "volatile")
    given = {option: value for option, value in options.items() if value is not None}
    opened, owned = (_private(queue, given), True) if unnamed else _open(path, store, name, given)
    if not opened.capabilities.exclusive and (what is Markers.DROP or kept is Volatile.WARN):
        raise ValueError("markers='drop' and volatile='warn' need a store that this process holds alone")
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
        markers=what,
        volatile=kept,
    )


def _policy(ack: str | AckPolicy | None) -> AckPolicy:
    """The argument, else the environment's word, else "auto"."""
    if ack is not None:
        return choice(AckPolicy, ack, "ack")
    return choice(AckPolicy, os.environ.get("PQADAPTERS_ACK") or AckPolicy.AUTO.value, "PQADAPTERS_ACK")


def _durability(options: dict[str, Any]) -> dict[str, Any]:
    """The options with the environment's word where the durability isn't given."""
    word = os.environ.get("PQADAPTERS_DURABILITY")
    if not word or "durability" in options:
        return options
    try:
        return {**options, "durability": Durability.of(word, options.get("max_lag"))}
    except ValueError as error:
        raise ValueError(f"PQADAPTERS_DURABILITY: {error}") from None


def _private(queue: object, options: dict[str, Any]) -> Store:
    """A slot of its own in the application's home, at the place where the queue is made; nothing is touched yet."""
    load_slots()
    given = _durability(options)
    durability = Durability.of(given.get("durability", Survives.POWER), given.get("max_lag"))
    return PrivateStore(
        occupy(made_in(queue)), durability=durability, trust_directory=bool(given.get("trust_directory"))
    )


def _open(path: Any, store: Any, name: str | None, options: dict[str, Any]) -> tuple[Store, bool]:
    """The store, and whether the queue is to close it."""
    if path is not None and store is not None:
        raise ValueError("path= and store= both say where the queue lives: give one of them")
    if path is not None:
        return open_path(_directory(path), **_durability(options)), True
    if isinstance(store, str):
        return _open_url(store, options), True
    if store is not None:
        return _as_given(store, options), False
    url = os.environ.get("PQADAPTERS_URL")
    if url:
        return _open_url(url, options), True
    return open_shared(**_durability(options)), True


def _open_url(url: str, options: dict[str, Any]) -> Store:
    """An option in the URL wins over the environment, an argument over both."""
    in_url = "durability=" in url.partition("?")[2] or url.startswith("memory:")
    return open_store(url, **(options if in_url else _durability(options)))


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
