"""`python -m pqadapters`: `run` needs nothing but Python; all other commands need the extra `cli`."""

from __future__ import annotations

import os
import sys

_HELP = """\
usage: python -m pqadapters run [--only NAME,...] [--also PACKAGE]... [--explain] (-m module | script.py | ...) [args]

Runs an unchanged program with the durable classes in place of the standard library's.
The other commands need click and rich: pip install "pqadapters[cli]"
"""


def main() -> None:
    """Do what `sys.argv` says."""
    arguments = sys.argv[1:]
    runs = arguments[:1] == ["run"]
    if _has_own_directory():
        own = sys.path.pop(0)  # which is no business of the program's
        if not runs or os.path.isfile(own):  # the standard library comes first; in an archive is what we need, too
            sys.path.append(own)
    if runs:
        from .running.command import run

        return run(arguments[1:])
    try:
        from .commands import main as others
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in ("click", "rich"):
            raise
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            sys.stdout.write(_HELP)
            return None
        if arguments[0] == "--version":
            from . import __version__

            sys.stdout.write(f"pqadapters, version {__version__}\n")
            return None
        sys.stderr.write('pqadapters: all commands but run need click and rich: pip install "pqadapters[cli]"\n')
        sys.exit(2)
    others()
    return None


def _has_own_directory() -> bool:
    """Whether `sys.path` begins with where Python looks for `-m pqadapters`, or where the command `pqadapters` lies."""
    if getattr(sys.flags, "safe_path", False) or sys.flags.isolated:
        return False
    try:
        return __name__ != "__main__" or bool(os.getcwd())
    except FileNotFoundError:  # Python has left it out
        return False


if __name__ == "__main__":
    main()
