"""Durable `multiprocessing`: its queues survive the processes. All the rest is the standard library's.

    from pqadapters.stdlib import multiprocessing      # was: import multiprocessing

`Queue`, `JoinableQueue`, `SimpleQueue` and the contexts of `get_context` are durable; see `queues`. They pass to
children under fork, spawn and forkserver. They need a store that processes share: SQLite, or another one by its URL.

`import multiprocessing.pool` further down binds the name `multiprocessing` to the standard library's again: write
`from multiprocessing import pool`, or `multiprocessing.pool` without that import.
"""

from __future__ import annotations

import multiprocessing as _stdlib
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import (
    Array,
    AuthenticationError,
    Barrier,
    BoundedSemaphore,
    BufferTooShort,
    Condition,
    Event,
    Lock,
    Manager,
    Pipe,
    Pool,
    Process,
    ProcessError,
    RawArray,
    RawValue,
    RLock,
    Semaphore,
    TimeoutError,
    Value,
    active_children,
    allow_connection_pickling,
    cpu_count,
    current_process,
    freeze_support,
    get_all_start_methods,
    get_logger,
    get_start_method,
    log_to_stderr,
    parent_process,
    reducer,
    set_executable,
    set_forkserver_preload,
    set_start_method,
)
from queue import Empty, Full
from typing import TYPE_CHECKING, Any

from . import context as _context
from . import queues
from .queues import DeadLetter, JoinableQueue, Queue, SimpleQueue

if TYPE_CHECKING:  # what `__getattr__` finds
    from multiprocessing import connection as connection
    from multiprocessing import managers as managers
    from multiprocessing import pool as pool
    from multiprocessing import process as process
    from multiprocessing import shared_memory as shared_memory
    from multiprocessing import sharedctypes as sharedctypes
    from multiprocessing import synchronize as synchronize

    from . import context as context

__all__ = [
    "Array",
    "AuthenticationError",
    "Barrier",
    "BoundedSemaphore",
    "BufferTooShort",
    "Condition",
    "DeadLetter",
    "Empty",
    "Event",
    "Full",
    "JoinableQueue",
    "Lock",
    "Manager",
    "Pipe",
    "Pool",
    "Process",
    "ProcessError",
    "Queue",
    "RLock",
    "RawArray",
    "RawValue",
    "Semaphore",
    "SimpleQueue",
    "TimeoutError",
    "Value",
    "active_children",
    "allow_connection_pickling",
    "cpu_count",
    "current_process",
    "freeze_support",
    "get_all_start_methods",
    "get_context",
    "get_logger",
    "get_start_method",
    "log_to_stderr",
    "parent_process",
    "queues",
    "reducer",
    "set_executable",
    "set_forkserver_preload",
    "set_start_method",
]

get_context = _context.default.get_context


def __getattr__(name: str) -> Any:
    """The standard library's other modules, imported where need be: `pool`, `connection`, `managers`."""
    if not hasattr(_stdlib, name) and not name.startswith("_") and find_spec(f"multiprocessing.{name}"):
        import_module(f"multiprocessing.{name}")
    return getattr(_stdlib, name)
