"""Processes that multiprocessing starts anew ("spawn", "forkserver"): what is swapped here is swapped there.

multiprocessing pickles what a child is to know before it runs anything of the program. Among that we put an entry whose
unpickling installs the finder in the child, and lets it load the main module with its imports swapped. A forkserver is
told in its command line. Forked children need nothing. Modules of the program's own that hide the standard library's
are out of the way meanwhile, and what of those the child had is as it was.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from types import CodeType, ModuleType
from typing import Any

from .finder import Finder, Notes
from .hiding import hidden_in
from .ownership import Ownership
from .standins import StandIns
from .swaps import chosen, load_mirrors

_FORKSERVER = "ignore"  #: what multiprocessing calls a process for which it asks on behalf of its forkserver
_PATH = tuple(sys.path)  #: without what the program puts there; in a child, too
_begun: list[Finder] = []


def install(
    only: Sequence[str],
    packages: Sequence[str],
    notes: Notes | None = None,
    taken: Callable[[ModuleType, str], Any] = getattr,
) -> Finder:
    """Swap imports in this process, and in those that multiprocessing starts from here."""
    finder = Finder(StandIns(chosen(only), taken), Ownership(packages), notes)
    finder.loaded["multiprocessing.spawn"] = lambda spawn: _tell(spawn, tuple(only), tuple(packages))
    finder.install()
    _begun.append(finder)
    return finder


def begin(only: Sequence[str], packages: Sequence[str], main: str, hides: bool) -> None:
    """In a child, before the main module is loaded there. `main` is its file, if it is a script. `hides`: the program
    has modules that hide the standard library's."""
    if _begun:  # it was forked by a forkserver
        return
    if hides:
        load_mirrors(only)
    finder = install(only, packages)

    def compile_swapped(source: Any, file: Any, mode: str, *more: Any, **options: Any) -> Any:
        code: CodeType | None = None
        if file == main and mode == "exec":
            try:
                code = finder.rewritten("__mp_main__", source, file).code
            except Exception:  # Python meets it again, and says what is wrong
                pass
        return compile(source, file, mode, *more, **options) if code is None else code

    vars(runpy)["compile"] = compile_swapped  # in place of the builtin: what runpy.run_path has for a script's code


#: What a child does. It has imported what multiprocessing needs: some of the program's own, where that was started in
#: its directory. They are put aside.
_BEGINNING = """\
import sys
path, hidden = sys.path[:], {{name: sys.modules[name] for name in sys.modules if name.partition(".")[0] in {hidden!r}}}
for name in hidden:
    if str(getattr(hidden[name], "__file__", "")).startswith({programs!r}):
        del sys.modules[name]
sys.path[:] = {path!r}
from {children} import begin
begin(*{arguments!r})
sys.path[:] = path
for name in [name for name in sys.modules if name.partition(".")[0] in {hidden!r}]:
    del sys.modules[name]
sys.modules.update(hidden)
"""


class _Beginning:
    """Something that is `begin` with these arguments, once it is unpickled or its `repr` is evaluated."""

    def __init__(self, path: Sequence[str], *arguments: object) -> None:
        programs = list(takewhile(lambda entry: entry not in _PATH, path))
        hidden = hidden_in(programs)
        self._source = _BEGINNING.format(
            path=_PATH,
            children=__name__,
            arguments=(*arguments, bool(hidden)),
            hidden=hidden,
            programs=tuple(os.path.join(directory, "") for directory in programs),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (self._source, {})

    def __repr__(self) -> str:
        return f"exec({self._source!r}, {{}})"


class _Path(list[str]):
    """A path for a forkserver, which evaluates the `repr` of it."""

    def __init__(self, path: Sequence[str], beginning: _Beginning) -> None:
        super().__init__(path)
        self._beginning = beginning

    def __repr__(self) -> str:
        return f"({self._beginning!r} or {list(self)!r})"


def _tell(spawn: ModuleType, only: Sequence[str], packages: Sequence[str]) -> None:
    """Have multiprocessing tell its children."""
    plain = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = plain(name)
        path = data.get("sys_path", sys.path)
        beginning = _Beginning(path, only, packages, data.get("init_main_from_path", ""))
        if name == _FORKSERVER:
            return {**data, "sys_path": _Path(path, beginning)}
        return {**data, "pqadapters": beginning}

    vars(spawn)["get_preparation_data"] = get_preparation_data
