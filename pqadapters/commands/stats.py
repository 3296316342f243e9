"""`stats`: how much is in a store."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import click

from ..sight import Sight
from . import options
from .failures import told
from .places import find, seen
from .queues import chosen, own_queues, own_tables
from .screen import Screen, age, print_json


@click.command()
@options.place
@options.queue
@options.as_json
@told
def stats(place: str, queue: str | None, as_json: bool) -> None:
    """How much is in PLACE: its queues, its tables, who holds it, what is damaged."""
    found = seen(find(place), lambda sight: _look(sight, queue))
    if as_json:
        print_json(found)
    else:
        _show(found)


def _look(sight: Sight, queue: str | None) -> dict[str, Any]:
    names = own_queues(sight.queues()) if queue is None else [chosen(sight, queue)]
    return {
        "place": sight.place,
        "kind": sight.kind,
        "format": sight.version,
        "held_by": list(sight.pids),
        "hosts": list(sight.hosts),
        "queues": {name: sight.depth(name)._asdict() for name in names},
        "tables": {name: sight.count(name) for name in own_tables(sight.tables())} if queue is None else {},
        "damage": [each._asdict() for each in sight.damage],
    }


def _holder(pid: int, host: str | None) -> str:
    who = f"process {pid}" if pid else "another process"
    return who if host is None else f"{who} on {host}"


def _show(found: dict[str, Any]) -> None:
    screen = Screen()
    holders = ", ".join(_holder(pid, host) for pid, host in zip_longest(found["held_by"], found["hosts"]))
    screen.line(f"{found['place']}: a {found['kind']}, format {found['format']}, held by {holders or 'nobody'}")
    counts = ("ready", "delayed", "claimed", "dead", "bytes")
    rows = [
        [name, *(depth[each] for each in counts), age(depth["oldest_age"])] for name, depth in found["queues"].items()
    ]
    columns = ("queue", *counts, "oldest")
    screen.table(columns, rows, right="ready,delayed,claimed,dead,bytes,oldest")
    screen.table(("table", "keys"), found["tables"].items(), right="keys")
    damage = [list(each.values()) for each in found["damage"]]
    screen.table(("damaged", "at", "bytes", "what", "copied to"), damage, right="at,bytes")
