"""persist-queue's classes as its own benchmark opens them, and those of the same names here, at the same promise."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from queue import Empty
from typing import Any

from ..contender import Contender, Handle, Level, Speed, itself

THEIRS, OURS = "persistqueue", "pqadapters.persistqueue"


def _file(module: str, directory: str) -> Any:
    os.environ["PQADAPTERS_DURABILITY"] = Level.PROCESS.value
    return import_module(module).Queue(os.path.join(directory, "queue"), tempdir=directory)


def _sqlite(module: str, directory: str, **options: Any) -> Any:
    return import_module(module).SQLiteQueue(directory, **options)


def _observed(module: str, open: Callable[..., Any], directory: str, level: Level) -> Handle:
    """As any queue, so that what it survives can be seen."""
    queue, its_empty = open(module, directory), import_module(module).Empty

    def get_now() -> Any:
        try:
            return queue.get_nowait()
        except its_empty:
            raise Empty from None

    def done(got: Any) -> None:
        queue.task_done()

    return Handle(queue.put, queue.get, get_now, done, itself, getattr(queue, "close", lambda: None))


def _contender(module: str, which: str, open: Callable[..., Any], level: Level, what: str) -> Contender:
    ours = module == OURS
    return Contender(
        name=f"{'pqadapters' if ours else 'persist-queue'}-{which}",
        about=f"{module}.{what}",
        open=partial(_observed, module, open),
        open_theirs=partial(open, module),
        speed={level: Speed(100_000, 100_000) if ours else Speed(5_000, 5_000)},
        package="pqadapters" if ours else "persist-queue",
        modules=(module.partition(".")[0],),
    )


def contenders_of(which: str, open: Callable[..., Any], level: Level, what: str) -> tuple[Contender, ...]:
    return tuple(_contender(module, which, open, level, what) for module in (OURS, THEIRS))


_soft = partial(_sqlite, auto_commit=False)
CONTENDERS = (
    *contenders_of("1-file", _file, Level.PROCESS, "Queue"),
    *contenders_of("1-sqlite", partial(_sqlite, auto_commit=True), Level.POWER, "SQLiteQueue(auto_commit=True)"),
    *contenders_of("1-sqlite-soft", _soft, Level.POWER, "SQLiteQueue(auto_commit=False)"),
    _contender(
        OURS,
        "1-sqlite-soft-256",
        partial(_soft, prefetch=256),
        Level.POWER,
        "SQLiteQueue(auto_commit=False, prefetch=256)",
    ),
)
