"""Records as `peek` and `dead` show them, and what is remembered of those that `purge` and `dead` take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from ..clock import SYSTEM
from ..sight import Sight
from ..store import DEAD, Record
from .payloads import Shown, shown
from .screen import Screen, age

Decode = Callable[[bytes], Shown]


def decoder(length: int, format: str, unpickle: bool) -> Decode:
    return lambda payload: shown(payload, length, format=format, unpickle=unpickle)


Sizes = dict[bool, dict[int, int]]  #: of records in bytes, by their ids: of items, and (True) of executors' jobs


def sizes_of(records: Iterable[Record]) -> Sizes:
    """Of all of them, for `portions.parts_of`."""
    from ..concurrent.futures._commands import is_job  # with all that it imports

    found: Sizes = {False: {}, True: {}}
    for record in records:
        found[is_job(record.payload)][record.id] = len(record.payload)
    return found


def rows_of(records: Iterable[Record], count: int | None, decode: Decode) -> list[dict[str, Any]]:
    """The first records, each as a program gets it."""
    return [_row(record, decode(record.payload)) for record in islice(records, count)]


def letters_in(sight: Sight, letters: str, count: int | None, decode: Decode) -> list[dict[str, Any]]:
    """The first dead letters of a queue of them, which to itself is one like any other, and its records ready."""
    rows = rows_of(sight.browse(letters, state=None), count, decode)
    return [row | {"queue": letters.removesuffix(DEAD), "state": "dead"} for row in rows]


def _row(record: Record, payload: Shown) -> dict[str, Any]:
    row = {
        "queue": record.queue,
        "id": record.id,
        "state": record.state.value,
        "attempts": record.attempts,
        "put_at": record.put_at,
        "age": max(0.0, SYSTEM.wall() - record.put_at),
        "not_before": record.not_before or None,
        "size": len(record.payload),
        "rank": record.rank.hex() or None,
        "reason": record.note,
        "format": payload.format,
        "payload": payload.text,
    }
    if payload.format == "json" and _is_json(payload.value):
        row["value"] = payload.value
    return row


def _is_json(value: object) -> bool:
    """NaN isn't, and what is nested too deeply can't be written."""
    try:
        json.dumps(value, allow_nan=False)
        return True
    except (ValueError, RecursionError):
        return False


def show(rows: list[dict[str, Any]], *, letters: bool) -> None:
    """`letters`: dead ones, whose reason matters."""
    ranked = any(row["rank"] for row in rows)
    columns = ["id", "attempts", "age", "size"]
    columns += ["rank"] * ranked + ["queue", "reason"] * letters
    cells = [
        [age(row[name]) if name == "age" else row[name] for name in columns] + [row["format"], row["payload"]]
        for row in rows
    ]
    Screen().table([*columns, "format", "payload"], cells, right="id,attempts,age,size")
