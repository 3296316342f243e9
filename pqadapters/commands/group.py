"""All commands, by name."""

from __future__ import annotations

import io
import logging
import os
import sys

import click

from .. import __version__
from .dead import dead
from .failures import Failure
from .logs import logs
from .ls import ls
from .migrate import migrate
from .peek import peek
from .purge import purge
from .stats import stats


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pqadapters")
def commands() -> None:
    """Durable queues and mappings, from outside.

    PLACE is a directory, a database file, a store's URL (sqlite:///jobs.db, file:///abs/dir, mysql://user@host/db), or
    a place in the home as `ls` shows it (application/place).
    """


@commands.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(arguments: tuple[str, ...]) -> None:
    """Run an unchanged program with the durable classes in place of the standard library's.

    \b
    python -m pqadapters run script.py
    python -m pqadapters run -m module
    """
    raise click.UsageError("run comes first: python -m pqadapters run (-m module | script.py) [arguments]")


for each in (ls, stats, peek, dead, purge, logs, migrate):
    commands.add_command(each)


def main() -> None:
    """Do what `sys.argv` says, and exit."""
    logging.getLogger("pqadapters").addHandler(logging.NullHandler())  # what is wrong is said by the commands
    sys.stderr = sys.stderr or io.StringIO()  # where it is closed click says what is wrong on stdout
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding doesn't have
    try:
        commands(prog_name="python -m pqadapters")
    except OSError as error:  # help, and the version, on a disk that is full
        Failure(str(error)).show()
        sys.exit(1)
    finally:
        _flush()


def _flush() -> None:
    """What there is no room for is thrown away: it has been told, and Python would tell it again at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
