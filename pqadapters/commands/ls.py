"""`ls`: what lives in the home."""

from __future__ import annotations

import os
from typing import Any

import click

from ..durability import Durability
from ..errors import StoreError
from ..home.adoption import QUEUE
from ..home.application import home_directory
from ..home.listing import directories
from ..opening import look_at, open_slots, slot_directories
from ..paths import absolute
from ..sight import Sight
from ..wording import shown
from . import options
from .failures import Failure, told
from .places import databases_in
from .queues import own_queues, own_tables
from .screen import Screen, print_json


@click.command()
@click.argument("home", required=False, callback=options.named)
@options.as_json
@told
def ls(home: str | None, as_json: bool) -> None:
    """What lives in HOME: by default PQADAPTERS_HOME, or the user's own."""
    directory = absolute(home) if home is not None else home_directory()
    try:
        names = directories(directory)
    except (FileNotFoundError, NotADirectoryError) as error:
        if home is not None:
            raise Failure(f"{shown(home)} isn't there, or is no directory") from error
        if isinstance(error, NotADirectoryError):
            raise
        names = []
    entries = [entry for name in names for entry in _application(directory, name)]
    if as_json:
        print_json({"home": directory, "stores": entries})
    else:
        _show(directory, entries)


def _application(home: str, application: str) -> list[dict[str, Any]]:
    above = os.path.join(home, application)
    try:
        places = directories(above)
    except FileNotFoundError:  # it has just gone
        return []
    except OSError as error:
        return [_problem(home, application, above, error)]
    found = [entry for place in places for entry in _place(home, application, os.path.join(above, place))]
    return found + [_database(home, application, database) for database in databases_in(above)]


def _place(home: str, application: str, directory: str) -> list[dict[str, Any]]:
    try:
        slots = slot_directories(directory)
        note = open_slots(directory, durability=Durability()).note() if slots else {}
    except (StoreError, OSError) as error:
        return [_problem(home, application, directory, error)]
    return [_slot(home, application, slot, note) for slot in slots]


def _problem(home: str, application: str, path: str, error: Exception) -> dict[str, Any]:
    """One that can't be read keeps nobody from seeing the others."""
    return {"place": os.path.relpath(path, home), "application": application, "problem": str(error)}


def _slot(home: str, application: str, slot: str, note: dict[str, Any]) -> dict[str, Any]:
    def look(sight: Sight) -> dict[str, Any]:
        depth = sight.depth(QUEUE)
        counts = {"items": depth.unfinished, "dead": depth.dead, "bytes": depth.bytes, "pid": _first(sight)}
        return {**counts, "damage": len(sight.damage)}

    return {
        "place": os.path.relpath(slot, home),
        "application": application,
        "program": note.get("program", ""),
        "made_in": note.get("place", ""),
        "learnt": note.get("ack"),
        "transient": bool(note.get("transient")),
        **_seen(slot, look),
    }


def _database(home: str, application: str, path: str) -> dict[str, Any]:
    def look(sight: Sight) -> dict[str, Any]:
        queues = {name: sight.depth(name) for name in own_queues(sight.queues())}
        return {
            "queues": {name: {"items": depth.unfinished, "dead": depth.dead} for name, depth in queues.items()},
            "mappings": {name: sight.count(name) for name in own_tables(sight.tables())},
            "items": sum(depth.unfinished for depth in queues.values()),
            "dead": sum(depth.dead for depth in queues.values()),
            "bytes": sum(depth.bytes for depth in queues.values()),
            "pids": list(sight.pids),
            "damage": len(sight.damage),
        }

    return {"place": os.path.relpath(path, home), "application": application, **_seen(path, look)}


def _seen(path: str, look: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = look_at(path, look)
        return found
    except (StoreError, OSError) as error:
        return {"problem": str(error)}


def _first(sight: Sight) -> int | None:
    return next(iter(sight.pids), None)


def _show(home: str, entries: list[dict[str, Any]]) -> None:
    screen = Screen()
    if not entries:
        screen.line(f"nothing lives in {home}")
        return
    screen.line(home)
    rows = [_row(entry) for entry in entries]
    columns = ("place", "made in", "items", "dead", "bytes", "held by", "about")
    screen.table(columns, rows, right="items,dead,bytes")


def _row(entry: dict[str, Any]) -> list[object]:
    pids = entry.get("pids") or ([entry["pid"]] if entry.get("pid") is not None else [])
    held = ", ".join("another process" if not pid else str(pid) for pid in pids)
    counts = [entry.get(name) for name in ("items", "dead", "bytes")]
    return [entry["place"], entry.get("made_in") or None, *counts, held or None, _about(entry) or None]


def _about(entry: dict[str, Any]) -> str:
    if "problem" in entry:
        return str(entry["problem"])
    words = [f"done by {entry['learnt']}"] if entry.get("learnt") else []
    words += ["a queue for each call"] if entry.get("transient") else []
    words += [f"queue {name}: {counts['items']}" for name, counts in entry.get("queues", {}).items()]
    words += [f"mapping {name}: {count}" for name, count in entry.get("mappings", {}).items()]
    words += ["damaged: see stats"] if entry.get("damage") else []
    return "; ".join(words)
