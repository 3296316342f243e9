"""`peek`: records of a queue, left where they are."""

from __future__ import annotations

from typing import Any

import click

from ..sight import Sight
from ..store import State
from . import options
from .failures import told
from .places import find, seen
from .queues import chosen, letters_of
from .records import Decode, decoder, letters_in, rows_of, show
from .screen import Screen, print_json

_DEAD = "dead"


@click.command()
@options.place
@options.queue
@click.option("-n", "count", type=click.IntRange(1), default=10, show_default=True, help="How many.")
@click.option(
    "--state", type=click.Choice([*(state.value for state in State), _DEAD]), default="ready", show_default=True
)
@options.format
@options.length
@options.unpickle
@options.as_json
@told
def peek(
    place: str,
    queue: str | None,
    count: int,
    state: str,
    format: str,
    length: int | None,
    unpickle: bool,
    as_json: bool,
) -> None:
    """The first records of a queue, oldest first, claimed by nobody through this.

    Pickles are shown by what they say, and not loaded.
    """
    decode = decoder(options.length_of(length, as_json), format, unpickle)
    rows = seen(find(place), lambda sight: _look(sight, queue, count, state, decode))
    if as_json:
        print_json(rows)
    elif rows:
        show(rows, letters=state == _DEAD)
    else:
        Screen().line("nothing")


def _look(sight: Sight, queue: str | None, count: int, state: str, decode: Decode) -> list[dict[str, Any]]:
    name = chosen(sight, queue)
    if state == _DEAD:
        return letters_in(sight, letters_of(name), count, decode)
    return rows_of(sight.browse(name, state=State(state)), count, decode)
