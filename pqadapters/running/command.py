"""`python -m pqadapters run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .children import install
from .finder import Notes
from .options import Options, parse, refuse
from .program import Program


def run(arguments: Sequence[str]) -> None:
    """Run the program that the arguments name. Raises what it raises; ends the process with status 2 for a mistake."""
    options = parse(arguments)
    program = Program(options.path, options.module, options.arguments)
    program.set_up()
    _check(options)
    packages = list(filter(None, [*options.also, options.module.partition(".")[0]]))
    if options.explain:
        from .explanation import Shelves, explain_at_end

        notes, shelves = Notes(), Shelves()
        early = [name for name in options.also if name in sys.modules]
        notes.left.update(dict.fromkeys(early, "it was imported before the program began"))
        explain_at_end(notes, shelves)
        finder = install(options.only, packages, notes, shelves.taken)
    else:
        finder = install(options.only, packages)
    program.run(finder)


def _check(options: Options) -> None:
    for package in options.also:
        if package == "pqadapters":
            refuse("argument --also: pqadapters itself can't be swapped")
        if package not in sys.modules and not _is_there(package):
            refuse(f"argument --also: no module named {package!r}")


def _is_there(package: str) -> bool:
    finders = [finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec")]
    return any(find(package, None, None) is not None for find in finders)
