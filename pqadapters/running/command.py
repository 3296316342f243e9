"""`python -m pqadapters run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec

from .children import install
from .finder import EARLY, Notes
from .options import Options, parse, refuse
from .ownership import is_stdlibs
from .program import Program
from .swaps import load_mirrors


def run(arguments: Sequence[str]) -> None:
    """Run the program that the arguments name. Raises what it raises; ends the process with status 2 for a mistake."""
    options = parse(arguments)
    program = Program(options.path, options.module, options.arguments)
    program.set_up(lambda: load_mirrors(options.only))
    _check(options)
    packages = [*options.also, *_package_of(options.module)]
    if options.explain:
        from .explanation import Shelves, explain_at_end

        notes, shelves = Notes(), Shelves()
        early = [name for name in options.also if name in sys.modules]
        notes.left.update(dict.fromkeys(early, EARLY))
        finder = install(options.only, packages, notes, shelves.taken)
        explain_at_end(notes, shelves, finder)
    else:
        finder = install(options.only, packages)
    program.run(finder)


def _check(options: Options) -> None:
    for package in options.also:
        if package == "pqadapters":
            refuse("argument --also: pqadapters itself can't be swapped")
        if package not in sys.modules and _found(package) is None:
            refuse(f"argument --also: no module named {package!r}")


def _package_of(module: str) -> list[str]:
    """What is the program's own because `-m` names it. A package of the standard library's isn't, nor one that runs
    other people's programs, as servers do and workers of tasks: what these have in hand is no item of a program's."""
    top = module.partition(".")[0]
    spec = _found(top) if top else None
    if spec is None or is_stdlibs(spec.origin):
        return []
    from ..home.application import is_launcher

    return [] if is_launcher(top) else [top]


def _found(package: str) -> ModuleSpec | None:
    finders = [finder.find_spec for finder in sys.meta_path if hasattr(finder, "find_spec")]
    return next(filter(None, (find(package, None, None) for find in finders)), None)
