"""`dead`: the dead letters of a store, and back into their queues with them."""

from __future__ import annotations

from itertools import chain
from typing import Any

import click

from ..errors import ConditionFailed
from ..portions import parts_of
from ..sight import Sight
from ..store import DEAD, Ack, Claim, Nack, Op, Put, Store
from . import options
from .failures import Failure, told
from .places import Place, find, opened, seen
from .queues import chosen, letters_of
from .records import Decode, Sizes, decoder, letters_in, show, sizes_of
from .screen import Screen, print_json

_ALL = "all"


@click.command()
@options.place
@options.queue
@click.option("--requeue", metavar="ID|all", multiple=True, help="Put it back at the end of its queue; any number.")
@options.format
@options.length
@options.unpickle
@options.as_json
@told
def dead(
    place: str,
    queue: str | None,
    requeue: tuple[str, ...],
    format: str,
    length: int | None,
    unpickle: bool,
    as_json: bool,
) -> None:
    """Dead letters, with the reason; of all queues, or of one.

    --requeue puts them back, as new records. It needs a database, a server, or a directory that no process holds.
    """
    path = find(place)
    if requeue:
        _requeue(path, queue, _ids(requeue), as_json)
        return
    decode = decoder(options.length_of(length, as_json), format, unpickle)
    rows = seen(path, lambda sight: _look(sight, queue, decode))
    if as_json:
        print_json(rows)
    elif rows:
        show(rows, letters=True)
    else:
        Screen().line("no dead letters")


def _ids(words: tuple[str, ...]) -> set[int] | None:
    """Those that are meant; None for all."""
    if _ALL in words:
        return None
    try:
        return {int(word) for word in words}
    except ValueError:
        raise click.UsageError(f"--requeue takes the id of a dead letter, or {_ALL!r}") from None


def _queues(sight: Sight, queue: str | None) -> list[str]:
    if queue is not None:
        return [letters_of(chosen(sight, queue))]
    return [name for name in sight.queues() if name.endswith(DEAD)]


def _look(sight: Sight, queue: str | None, decode: Decode) -> list[dict[str, Any]]:
    return [row for name in _queues(sight, queue) for row in letters_in(sight, name, None, decode)]


def _requeue(path: Place, queue: str | None, ids: set[int] | None, as_json: bool) -> None:
    from ..concurrent.futures._commands import requeue  # with all that it imports

    def look(sight: Sight) -> dict[str, Sizes]:
        return {name: sizes_of(sight.browse(name, state=None)) for name in _queues(sight, queue)}

    letters = seen(path, look)
    known = {id for each in letters.values() for sizes in each.values() for id in sizes}
    if ids is not None and not ids <= known:
        raise Failure(f"{path} has no dead letter {min(ids - known)}; nothing was changed")
    done = equal = 0
    with opened(path) as store:
        for name, each in letters.items():
            wanted = ({id: each[job][id] for id in each[job] if ids is None or id in ids} for job in (False, True))
            items, jobs = map(parts_of, wanted)
            done += requeue(store, name, jobs) if jobs else 0
            for part in items:
                back, stay = _put_back(store, name, part)
                done, equal = done + back, equal + stay
    if as_json:
        print_json({"put_back": done})
    else:
        click.echo(f"{done} put back")
    if equal:
        raise Failure(f"{equal} left where they are: an equal item is in the queue, which has none twice")
    if ids is not None and done < len(ids):
        raise Failure(f"{len(ids) - done} in the hands of another process, or gone meanwhile")


def _put_back(store: Store, letters: str, ids: list[int]) -> tuple[int, int]:
    """In one commit, and one by one where some are in the queue. How many are back, and how many of the latter."""
    from ..persistqueue._removal import entry  # with all that it imports

    queue = letters.removesuffix(DEAD)
    claims = store.claim(letters, ids=ids, limit=len(ids))
    moves: list[list[Op]] = [
        [Ack(claim), Put(queue, claim.payload, claim.rank), *entry(queue, claim.payload)] for claim in claims
    ]
    try:
        if moves:
            store.commit(*chain.from_iterable(moves))
        return len(claims), 0
    except ConditionFailed:
        back = sum(_moved(store, move, claim) for move, claim in zip(moves, claims, strict=True))
        return back, len(claims) - back


def _moved(store: Store, move: list[Op], claim: Claim) -> bool:
    try:
        store.commit(*move)
        return True
    except ConditionFailed:
        store.commit(Nack(claim))
        return False
