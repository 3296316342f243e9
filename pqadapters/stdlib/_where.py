"""Which store an adapter's arguments mean, with the environment's word where they say nothing.

Everything is checked before anything is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from .. import paths
from ..durability import Durability, in_environment
from ..home.shared import open_shared
from ..opening import absolute_url, is_memory, open_given, open_store, url_in_environment
from ..store import Store

#: with what may stand before one, and one that lacks slashes: as a path it would be shown with its password
_URL = re.compile(r"\s*(memory:$|mysql:|[a-z][a-z0-9+.-]+://)", re.IGNORECASE)


def with_durability(options: dict[str, Any], default: Durability | None = None) -> dict[str, Any]:
    """The options with the environment's word where the durability isn't given, or else with the adapter's default,
    whose lag also goes where its very word is given."""
    word, lag = options.get("durability"), options.get("max_lag")
    found = in_environment(lag) if word is None else Durability.of(word, lag)
    if default is not None and not isinstance(word, Durability) and (not found or found.survives is default.survives):
        found = Durability.of(default, lag)
    return options if found is None else {**options, "durability": found}


def open_where(
    path: Any,
    store: Any,
    options: dict[str, Any],
    *,
    what: str,
    open_path: Callable[..., Store],
    default: Durability | None = None,
) -> tuple[Store, bool]:
    """The store, and whether who asks is to close it. `what` a path is, for people; `open_path`: what opens one.
    Without path and store it is where things live that have a name alone."""
    if path is not None and store is not None:
        raise ValueError("path= and store= both say where it lives: give one of them")
    if path is not None:
        return open_path(_path(path, what), **with_durability(options, default)), True
    if isinstance(store, str):
        return open_url(store, options, default), True
    if store is not None:
        return open_given(store, options), False
    url = url_in_environment()
    if url is not None:
        return open_url(url, options, default), True
    return open_shared(**with_durability(options, default)), True


def is_url(place: object) -> bool:
    """Whether it is the URL of a store, and not a path."""
    return isinstance(place, str) and _URL.match(place) is not None


def absolute(place: Any) -> Any:
    """The same place, named so that it stays that one in another directory: for whoever opens it again."""
    if is_url(place):
        return absolute_url(place)
    if not (place and isinstance(place, (str, bytes, os.PathLike))):
        return place
    return paths.absolute(os.fsdecode(place))


def open_url(url: str, options: dict[str, Any], default: Durability | None = None) -> Store:
    """An option in the URL wins over the environment, an argument over both."""
    query = url.partition("?")[2]
    if is_memory(url):
        return open_store(url, **options)
    if "durability=" not in query or "durability" in options:
        return open_store(url, **with_durability(options, default))
    if default is not None and f"durability={default.survives.value}" in query and "max_lag=" not in query:
        options = {"max_lag": default.max_lag, **options}
    return open_store(url, **options)


def _path(path: Any, what: str) -> str:
    try:
        found = os.fsdecode(path)
    except TypeError:
        raise TypeError(
            f"path is {what}, as str, bytes or os.PathLike, not {type(path).__name__}"
        ) from None
    if not found:
        raise ValueError(f"path is {what}; '' names none")
    return found


def check_maxsize(maxsize: Any) -> None:
    """Raises TypeError for a place: the standard library's queues take whatever it is, and fail when they are used."""
    if isinstance(maxsize, (str, bytes, os.PathLike)):
        raise TypeError(
            f"maxsize is how many items there may be, not {maxsize!r}: where the queue lives is said by path=, for a "
            "directory, or store=, for a URL"
        )


def check_name(name: Any) -> None:
    """Raises TypeError or ValueError for what is no name."""
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name is a str, not {type(name).__name__}")
    if name == "":
        raise ValueError("name is empty; leave it out for the name 'default'")
