"""Arguments and options that several commands have."""

from __future__ import annotations

import click

from .payloads import FORMATS


def named(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """What was given, which isn't empty: a shell's variable that isn't set would be the working directory, or as good
    as no option at all."""
    if given == "":
        raise click.BadParameter("it is empty", context, parameter)
    return given


place = click.argument("place", callback=named)
queue = click.option("--queue", metavar="NAME", help="One of the queues in it.")
as_json = click.option("--json", "as_json", is_flag=True, help="For programs.")
format = click.option(
    "--format", type=click.Choice(FORMATS), default="auto", help="What the payloads are; by default it is seen."
)
length = click.option("--length", type=click.IntRange(1), help="Characters of a payload to show; 200, in JSON 10000.")
unpickle = click.option(
    "--unpickle", is_flag=True, help="Load pickles. This RUNS what whoever wrote the store has put into them."
)


def length_of(given: int | None, as_json: bool) -> int:
    return given or (10_000 if as_json else 200)
