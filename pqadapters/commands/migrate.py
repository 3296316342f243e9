"""`migrate`: what persist-queue or shelve has written becomes a store of ours, or goes into one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ..opening import open_store
from ..serializers import NAMES
from ..wording import escaped, shown
from . import options
from .failures import Failure, told
from .screen import Screen, print_json

if TYPE_CHECKING:
    from ..persistqueue.conversion import Progress as Tell
    from ..persistqueue.conversion import Report
    from .moves import Move


@click.command()
@options.place
@click.option(
    "--to",
    metavar="URL",
    callback=options.named,
    help="Into this store, and PLACE stays as it is: sqlite:////abs/file.db, mysql://...",
)
@click.option("--dry-run", is_flag=True, help="Say what there is, and change nothing.")
@click.option(
    "--serializer", type=click.Choice(NAMES), help="What a file queue was written by; without it that is seen."
)
@click.option(
    "--queue",
    metavar="NAME",
    callback=options.named,
    help="Of a server: only this one. With --to: what a file queue or shelf is called there.",
)
@options.as_json
@told
def migrate(
    place: str, to: str | None, dry_run: bool, serializer: str | None, queue: str | None, as_json: bool
) -> None:
    """Move over what persist-queue, or shelve, has written: all queues with all states, and mappings.

    PLACE is a directory, a database, a dbm file, or mysql://user@host/database. No program may use it meanwhile. The
    original is kept under another name beside it. Nothing is unpickled. What was broken off goes on when this is called
    again.
    """
    from .moves import check_name, found_in  # here: the other commands needn't wait for what it imports
    from .targets import check_target, look_at_target

    if to is not None:
        check_target(to)
    found = found_in(place, serializer, queue)
    if found and queue is not None:
        check_name(found, place, elsewhere=to is not None)
    if not found and to is not None:
        raise Failure(
            f"{shown(place)} is pqadapters' own already, and only what persist-queue or shelve has written is moved: "
            f"nothing was put into {shown(to)}"
        )
    if not found:
        _nothing_to_do(place, queue, as_json)
        return
    before = [move.look(elsewhere=to is not None) for move in found]
    if dry_run:
        if to is not None:
            look_at_target(to)
        _show(before, as_json, "")
        return
    after: list[Report] = []
    try:
        with _bar(sum(report.total for report in before)) as tell:
            after.extend(_into(to, found, tell) if to else (report for move in found for report in move.here(tell)))
    finally:  # what was moved is told, whatever the next one fails for: its original has another name
        if after:
            _show(after, as_json, shown(to) if to else "")
    if not after:
        _nothing_to_do(place, queue, as_json)
    _compare(before, after)


def _nothing_to_do(place: str, queue: str | None, as_json: bool) -> None:
    if as_json:
        print_json([])
        return
    what = "is pqadapters' own already" if queue is None else f"has no queue {queue!r} of persist-queue's any more"
    click.echo(f"{escaped(shown(place))} {escaped(what)}: there is nothing to do")


def _into(url: str, found: list[Move], tell: Tell) -> Iterator[Report]:
    with open_store(url) as store:
        for move in found:
            yield move.into(store, tell)
        store.checkpoint()


def _compare(before: list[Report], after: list[Report]) -> None:
    """Raises Failure where something is missing."""
    damaged = sum(len(report.damage) for report in after)
    if damaged:
        raise Failure(f"{damaged} places could not be read, and are listed; everything else was moved over")
    counts = [sum(report.total for report in reports) for reports in (before, after)]
    if counts[0] > counts[1]:  # there are more where something had been broken off
        raise Failure(f"there were {counts[0]} items, and {counts[1]} were moved over: look at what was kept")


@contextmanager
def _bar(total: int) -> Iterator[Tell]:
    """On a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("moving", total=total)
        yield lambda more: progress.advance(task, more)


def _show(reports: list[Report], as_json: bool, to: str) -> None:
    if as_json:
        print_json([_for_programs(report, to) for report in reports])
        return
    screen = Screen()
    for report in reports:
        screen.line(_headline(report, to))
        rows: list[tuple[object, ...]] = [
            (part.name, part.was, state, count) for part in report.parts for state, count in part.counts.items()
        ]
        rows += [(part.name, part.was, None, 0) for part in report.parts if not part.counts]
        screen.table(("queue", "was", "state", "items"), rows, right="items")
        damage = [(each.path, each.offset, each.length, each.reason) for each in report.damage]
        screen.table(("damaged", "at", "bytes", "what"), damage, right="at,bytes")


def _headline(report: Report, to: str) -> str:
    if report.kept:
        return f"{report.place}: {report.total} items moved over; the original is kept as {report.kept}"
    if to:
        return f"{report.place}: {report.total} items moved into {to}; it is as it was"
    return f"{report.place}: {report.total} items would be moved over"


def _for_programs(report: Report, to: str) -> dict[str, Any]:
    return {
        "place": report.place,
        "kept": report.kept or None,
        "to": to or None,
        "items": report.total,
        "parts": [{"name": part.name, "was": part.was, "counts": part.counts} for part in report.parts],
        "damage": [each._asdict() for each in report.damage],
    }
