"""`purge`: away with what is ready, or dead."""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import chain

import click

from ..errors import ConditionFailed
from ..portions import parts_of
from ..sight import Sight
from ..store import Claim, State, Store
from ..wording import escaped
from . import options
from .failures import Failure, told
from .places import find, opened, seen
from .queues import chosen, letters_of
from .records import Sizes, sizes_of


@click.command()
@options.place
@options.queue
@click.option("--dead", is_flag=True, help="Dead letters, and not what is ready.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@told
def purge(place: str, queue: str | None, dead: bool, yes: bool) -> None:
    """Remove the ready records of a queue, or its dead letters, for good.

    It needs a database, a server, or a directory that no process holds. What a process has claimed stays, and so do
    delayed records and what is put meanwhile.
    """
    from ..concurrent.futures._commands import purge as purge_jobs  # with all that it imports

    path = find(place)

    def look(sight: Sight) -> tuple[str, Sizes]:
        name = chosen(sight, queue)
        name = letters_of(name) if dead else name
        if sight.kind == "directory" and sight.pids:
            holder = f"process {sight.pids[0]}" if sight.pids[0] else "another process"
            raise Failure(f"{path} is held by {holder}: end it first. Nothing was removed")
        return name, sizes_of(sight.browse(name, state=State.READY))

    name, found = seen(path, look)
    items, jobs = parts_of(found[False]), parts_of(found[True])
    count = sum(map(len, found.values()))
    if not count:
        click.echo("nothing to remove")
        return
    _ask(f"Remove {count} {'dead letters' if dead else 'records'} of {escaped(name)!r} in {escaped(str(path))}?", yes)
    with opened(path) as store:
        click.echo(f"{_remove(store, name, items) + (purge_jobs(store, name, jobs) if jobs else 0)} removed")


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise Failure("nobody can be asked here: say --yes. Nothing was removed")
    click.confirm(question, abort=True)


def _remove(store: Store, name: str, parts: list[list[int]]) -> int:
    count = 0
    for wanted in parts:
        claims = store.claim(name, ids=wanted, limit=len(wanted))
        if claims:
            _end(store, claims)
        count += len(claims)
    return count


def _end(store: Store, claims: list[Claim]) -> None:
    from ..persistqueue._removal import removal  # with all that it imports

    while True:
        with suppress(ConditionFailed):  # an item was updated meanwhile: it goes as what it is now
            store.commit(*chain.from_iterable(removal(store, claim) for claim in claims))
            return
