"""The command line of `run`. What stands behind the program's name is the program's.

Needs nothing but the standard library.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from .swaps import heads

if TYPE_CHECKING:
    import argparse

_WITH_VALUE = ("--only", "--also")
_USAGE = (
    "%(prog)s [--only NAME,...] [--also PACKAGE]... [--explain] (-m module | script.py | directory or zip | -) [args]"
)


class Options(NamedTuple):
    """What a run was asked for."""

    module: str = ""  #: of -m, or ""
    path: str = ""  #: of a script, a directory or an archive; "-" for standard input
    arguments: tuple[str, ...] = ()  #: the program's
    only: tuple[str, ...] = ()  #: names to swap; () for all
    also: tuple[str, ...] = ()  #: packages that count as the program's own
    explain: bool = False


def refuse(message: str) -> NoReturn:
    """Say what is wrong with the command line, and end with status 2."""
    _parser().error(message)


def parse(arguments: Sequence[str]) -> Options:
    """Ends the process where that can't be done: with 0 for --help, with 2 for a mistake."""
    ours, module, rest = _split(arguments)
    if rest and not ours:
        return _program(module, rest)
    parser = _parser()
    given = parser.parse_args(ours)
    if not rest:
        parser.error("there is no program: give a script, a directory, an archive, or -m and a module")
    only = tuple(name.strip() for names in given.only for name in names.split(",") if name.strip())
    unknown = [name for name in only if name not in heads()]
    if unknown or (given.only and not only):
        choices = ", ".join(heads())
        parser.error(f"argument --only: invalid choice: {', '.join(unknown) or repr('')} (choose from {choices})")
    also = tuple(name.partition(".")[0] or name for name in given.also)
    return _program(module, rest)._replace(only=only, also=also, explain=given.explain)


def _program(module: bool, rest: Sequence[str]) -> Options:
    """Without any option, which takes no parser: that is a part of a start that can be seen."""
    name, *arguments = rest
    if module and not name:
        refuse("argument -m: it is empty")
    return Options(name if module else "", "" if module else name, tuple(arguments))


def _split(arguments: Sequence[str]) -> tuple[list[str], bool, list[str]]:
    """Our own part; whether -m is behind it; the program and its arguments."""
    place = 0
    while place < len(arguments):
        argument = arguments[place]
        if argument.startswith("-m"):
            name = [argument[2:]] if argument[2:] else []
            return list(arguments[:place]), True, [*name, *arguments[place + 1 :]]
        if argument == "--":
            return list(arguments[:place]), False, list(arguments[place + 1 :])
        if not argument.startswith("-") or argument == "-":
            return list(arguments[:place]), False, list(arguments[place:])
        place += 2 if argument in _WITH_VALUE else 1
    return list(arguments), False, []


@cache  # from here on: a program may have an argparse of its own
def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m pqadapters run",
        usage=_USAGE,
        allow_abbrev=False,
        description="Runs an unchanged program with the durable classes in place of the standard library's, in the "
        "program's own modules.",
    )
    parser.add_argument(
        "--only", metavar="NAME,...", action="append", default=[], help=f"swap only these of {', '.join(heads())}"
    )
    parser.add_argument(
        "--also", metavar="PACKAGE", action="append", default=[], help="swap in this installed package, too"
    )
    parser.add_argument(
        "--explain", action="store_true", help="at the end say on stderr what was swapped, and where the queues live"
    )
    return parser
