"""What `dictConfig` means for a handler with a queue. From Python 3.12 on it makes queues and listeners itself; before
that, and where the handler is given by "()", it leaves all of it to the handler.

    queue: {"()": "pqadapters.logging.SpoolQueue", "path": ...}     or the name of a class or function, or a place
    listener: "pqadapters.logging.handlers.QueueListener"           or a description of what makes one, like the above
    handlers: [names]

A handler that is used by its name alone is kept by nobody but the configuration, and one that comes later in the
alphabet isn't there yet: both are found by the configurator that calls us.

Beside "class" a queue that is text never comes here from Python 3.12 on: it is taken for a name, and where it is a
directory or a URL the configurator raises ValueError before it asks anybody.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from logging.config import BaseConfigurator
from types import FrameType
from typing import Any

_OWN = ("queue", "listener", "handlers", "respect_handler_level")  #: what dictConfig itself understands


def queue_of(given: Any) -> Any:
    """The queue that a configuration describes or names; anything else as it is. Raises ValueError, TypeError."""
    if isinstance(given, dict):
        return _made(given, "queue")
    if isinstance(given, str) and _is_name(given) and _calling("configure_handler") is not None:
        return _named_queue(given)
    return given


def _named_queue(name: str) -> Any:
    try:
        found = _resolved(name)
    except ValueError as error:
        raise ValueError(f"{error}; the directory of that name is ./{name}") from error
    return found()


def listener_of(given: Any) -> Callable[..., Any]:
    """What makes the listener that a configuration describes. Raises TypeError, ValueError."""
    if isinstance(given, dict):
        given = _made(given, "listener")
    found = _resolved(given) if isinstance(given, str) else given
    if not callable(found):
        raise TypeError(f"listener is a class, its name, or a dictionary with the key '()', not {given!r}")
    return found  # type: ignore[no-any-return]


def passed_over() -> dict[str, Any]:
    """Options of the handler that is configured now, which the first releases of Python 3.12 don't pass on."""
    frame = _calling("_configure_queue_handler") if sys.version_info[:2] == (3, 12) else None
    given = frame.f_locals.get("kwargs", {}) if frame is not None else {}
    return {name: value for name, value in given.items() if name not in _OWN}


def is_made_unasked(queue: object) -> bool:
    """Whether the configurator has made the queue, where the description of the handler has none."""
    frame = _calling("_configure_queue_handler")
    if frame is None or frame.f_locals.get("q") is not queue or frame.f_back is None:
        return False
    return not frame.f_back.f_locals.get("config", {}).get("queue")


def configured() -> Mapping[str, Any]:
    """The handlers of the configuration that is carried out now, by name: those that are there, and descriptions of
    those that come later, in a dictionary that will have them."""
    frame = _calling("configure_handler")
    configurator = frame.f_locals.get("self") if frame is not None else None
    if not isinstance(configurator, BaseConfigurator):
        return {}
    found: Mapping[str, Any] = configurator.config.get("handlers", {})
    return found


def handler_named(name: str, handlers: Mapping[str, Any]) -> logging.Handler:
    """Raises ValueError where there is none, or not yet."""
    found = handlers.get(name)
    if not isinstance(found, logging.Handler):
        found = logging._handlers.get(name)  # type: ignore[attr-defined]
    if not isinstance(found, logging.Handler):
        raise ValueError(f"there is no handler named {name!r} yet")
    return found


def _calling(function: str) -> FrameType | None:
    """The frame of logging.config that has called us."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_name == function and frame.f_globals.get("__name__") == "logging.config":
            return frame
        frame = frame.f_back
    return None


def _is_name(text: str) -> bool:
    """Whether it names something in a module, rather than a directory."""
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts) and not os.path.exists(text)


def _resolved(name: str) -> Any:
    return BaseConfigurator({}).resolve(name)


def _made(description: dict[str, Any], what: str) -> Any:
    if "()" not in description:
        raise ValueError(f"{what} has no '()' that says what it is: {description!r}")
    given = {key: description[key] for key in description}  # one by one: a configurator's resolves cfg:// and ext://
    return BaseConfigurator({}).configure_custom(given)
