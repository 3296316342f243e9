"""Where an executor's jobs live: from its arguments to a store. Nothing is opened yet here.

Without `path`, `store` and `name` a slot of this process in the application's home, at the place in the source where
the executor is made: the next run finds it there, in whatever order it makes its executors and queues.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from ....durability import Durability, Survives, in_environment
from ....home.ground import ground_of
from ....home.places import LastingSpot, Spot, made_in, occupy
from ....home.private import PrivateStore
from ....home.shared import open_shared
from ....opening import (
    absolute_url,
    check_path,
    check_url,
    given,
    is_memory,
    load_slots,
    open_given,
    open_path,
    open_store,
    url_in_environment,
)
from ....paths import absolute
from ....store import Store
from .names import Names

_NAME = "default"


class Place(NamedTuple):
    """Where the jobs are. `open` opens it; `owned`: whoever opened it closes it."""

    names: Names
    open: Callable[[], Store]
    owned: bool = True
    private: PrivateStore | None = None
    lazy: bool = False  #: nothing is there before the first submit


def find_place(
    executor: object,
    *,
    path: Any,
    store: Any,
    name: str | None,
    durability: str | Survives | Durability | None,
    max_lag: float | None,
    trust_directory: bool,
) -> Place:
    """The place that the arguments mean, wherever the program is when it is opened. Raises TypeError, ValueError."""
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"name is a str that isn't empty, not {name!r}")
    if path is not None and store is not None:
        raise ValueError("path= and store= both say where the jobs live: give one of them")
    names = Names.of(name or _NAME)
    options = given(durability=durability, max_lag=max_lag, trust_directory=trust_directory or None)
    if path is not None:
        directory = _absolute(path)
        return Place(names, lambda: open_path(directory, **_steered(options)))
    if store is not None and not isinstance(store, str):
        return Place(names, lambda: open_given(store, options), owned=False)
    url = store if store is not None else url_in_environment() if name is not None else None
    if url is not None:
        check_url(url)
        url = absolute_url(url)
        in_url = "durability=" in url or is_memory(url)
        return Place(names, lambda: open_store(url, **(options if in_url else _steered(options))))
    if name is not None:
        return Place(names, lambda: open_shared(**_steered(options)))
    return _private(executor, names, _steered(options))


def _absolute(path: Any) -> str:
    try:
        directory = os.fsdecode(path)
    except TypeError:
        kind = type(path).__name__
        raise TypeError(f"path is the jobs' directory, as str, bytes or os.PathLike, not {kind}") from None
    if not directory:
        raise ValueError("path is the jobs' directory; '' names none")
    check_path(directory)
    return absolute(directory)


def _steered(options: dict[str, Any]) -> dict[str, Any]:
    """With the environment's word where the durability isn't given."""
    found = None if "durability" in options else in_environment(options.get("max_lag"))
    return options if found is None else {**options, "durability": found}


def _private(executor: object, names: Names, options: dict[str, Any]) -> Place:
    load_slots()
    durability = Durability.of(options.get("durability", Survives.POWER), options.get("max_lag"))
    trust = bool(options.get("trust_directory"))
    # A name of its own: queues that are made at the same place keep their numbers, whether or not there are executors.
    spot = occupy(f"{made_in(executor)}-executor", LastingSpot)
    private = PrivateStore(spot, durability=durability, trust_directory=trust, tables=names.tables)
    return Place(names, lambda: private, private=private, lazy=not _is_something_there(spot, durability, trust))


def _is_something_there(spot: Spot, durability: Durability, trust: bool) -> bool:
    """Whether an earlier run has left a slot at this place; else there is no need to make one before the first job."""
    try:
        return any(name.isdecimal() for name in os.listdir(ground_of(spot, durability, trust).directory))
    except Exception:  # no home: the first submit says so
        return False
