"""What hands rewritten code to Python's own loaders: a finder in front of the others, which it asks.

A module of the program's own in which something is to be swapped is loaded by the loader that Python has found for it,
with its file, its spec and its attributes; only its code comes from us. All other modules are none of our business, and
neither is one that can't be compiled: Python says so itself.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, cast
from zipimport import zipimporter

from .bytecode import Bytecode
from .ownership import Ownership, is_stdlibs
from .rewriting import PREFIX, SWAPPED, Rewritten, rewrite
from .standins import StandIns

EARLY = "it was imported before the program began"


class Notes:
    """What a run has done, for `--explain`."""

    def __init__(self) -> None:
        self.early = frozenset(sys.modules)  #: what was there before
        self.seen: set[str] = set()  #: modules of the program's own that were looked at
        self.swapped: dict[str, tuple[str, tuple[str, ...]]] = {}  #: module -> file, imports
        self.left: dict[str, str] = {}  #: module -> why it was left alone


class Finder:
    """`notes`: to be kept; then no code is read that an earlier run has kept, which doesn't say what was swapped."""

    def __init__(self, stand_ins: StandIns, ownership: Ownership, notes: Notes | None = None) -> None:
        self._stand_ins, self._ownership, self._notes = stand_ins, ownership, notes
        self._bytecode: Bytecode | None = None
        self._names: frozenset[str] | None = None
        #: Called with a module of the standard library when it has been loaded.
        self.loaded: dict[str, Callable[[ModuleType], object]] = {}

    def install(self) -> None:
        """From now on imports are swapped."""
        sys.meta_path.insert(0, self)
        setattr(builtins, SWAPPED, self._swapped)
        for name, call in self.loaded.items():
            if name in sys.modules:
                call(sys.modules[name])

    def _swapped(self, value: object) -> object:
        """For rewritten code: what one of its calls has returned, with what is to be swapped in it."""
        if type(value) is ModuleSpec:
            self._change(value)
        return self._stand_ins.swapped(value)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """For Python's import. Holds the lock of it: nothing is imported here."""
        if name.startswith(PREFIX):
            return self._stand_ins.spec(name)
        spec = self._by_others(name, path, target)
        if spec is not None:
            if name in self.loaded:
                _call_after(name, spec, self.loaded[name])
            self._change(spec)
        return spec

    def _by_others(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        finders = list(sys.meta_path)
        ours = finders.index(self) if self in finders else -1
        for finder in finders[ours + 1 :]:
            find: Any = getattr(finder, "find_spec", None)
            if find is None:
                if _finds_as_of_old(finder, name, path):  # Python goes on with it
                    return None
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                return spec
        return None

    def _change(self, spec: ModuleSpec) -> None:
        """Let the loader take its code from us, if anything in it is to be swapped."""
        file, loader = spec.origin, cast("Any", spec.loader)
        if file is None or file in ("built-in", "frozen") or not self._ownership.has(spec.name, file):
            return
        if self._notes is not None:
            self._notes.seen.add(spec.name)
        if type(loader) is zipimporter:  # one for all modules of the archive
            loader = zipimporter(os.path.join(loader.archive, loader.prefix) if loader.prefix else loader.archive)
            if file.endswith(".pyc") and loader.get_source(spec.name) is not None:
                file = file.removesuffix("c")
        elif type(loader) is not SourceFileLoader:
            return self._leave(spec.name, file, loader)
        if file.endswith(".pyc"):
            return self._leave(spec.name, file, loader)
        code = self.code(spec.name, file, loader)
        if code is not None:
            vars(loader)["get_code"] = _Code(self, spec.name, file, loader, code)
            spec.loader = loader

    def _leave(self, name: str, file: str, loader: object) -> None:
        if self._notes is None or loader is None:
            return
        if file.endswith(tuple(EXTENSION_SUFFIXES)):
            why = "an extension module"
        elif file.endswith(".pyc"):
            why = "there is no source of it"
        else:
            why = f"loaded by {type(loader).__qualname__}"
        self._notes.left[name] = f"{file}: {why}"

    def code(self, name: str, file: str, loader: Any) -> CodeType | None:
        """The module's code with its imports swapped; None where it has none, and where it can't be had from us."""
        kept = self._kept() if type(loader) is SourceFileLoader else None
        if kept is not None and self._notes is None:
            there, code = kept.read(file)
            if there:
                return code
        header = kept.header(file) if kept is not None else b""
        try:
            source: bytes = loader.get_data(file)
            found = self.rewritten(name, source, file)
        except Exception:  # Python meets it again, and says what is wrong
            return None
        if kept is not None and header:
            kept.write(file, header, found.code)
        return found.code

    def rewritten(self, name: str, source: bytes, file: str) -> Rewritten:
        """The code of a source. Raises SyntaxError and whatever else Python's compiler may."""
        try:
            found = rewrite(source, file, self.names)
        except RecursionError:
            compile(source, file, "exec", dont_inherit=True)  # raises where Python itself gives up
            sys.stderr.write(f"pqadapters: nothing is swapped in {file}: something in it is nested too deep\n")
            raise
        if self._notes is not None and found.found:
            self._notes.swapped[name] = file, found.found
        return found

    def passed_over(self) -> Iterator[tuple[str, str]]:
        """The program's own modules that were loaded past this finder and have something to be swapped; and why."""
        assert self._notes is not None
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__spec__", None)
            if isinstance(spec, ModuleSpec) and spec.name not in self._notes.seen and self._is_to_be_swapped(spec):
                why = EARLY if name in self._notes.early else "another import hook was asked first"
                yield name, f"{spec.origin}: {why}"

    def _is_to_be_swapped(self, spec: ModuleSpec) -> bool:
        file = spec.origin
        if not spec.has_location or file is None or not self._ownership.has(spec.name, file):
            return False
        try:
            with open(file, "rb") as source:
                return bool(rewrite(source.read(), file, self.names).found)
        except Exception:  # there is no source, or none that Python could read
            return False

    def _kept(self) -> Bytecode:
        if self._bytecode is None:
            self._bytecode = Bytecode(self.names)
        return self._bytecode

    @property
    def names(self) -> frozenset[str]:
        """The modules that have stand-ins. None, where the program has a module of its own by one of these names: it
        hides what our modules need."""
        if self._names is None:
            tops = {name.partition(".")[0] for name in self._stand_ins.names} | {"queue"}
            hidden = sorted(top for top in tops if not is_stdlibs(self._origin(top)))
            self._names = frozenset() if hidden else self._stand_ins.names
            if hidden:
                sys.stderr.write(
                    f"pqadapters: nothing is swapped: the program's own {self._origin(hidden[0])} hides the standard "
                    f"library's {hidden[0]}\n"
                )
        return self._names

    def _origin(self, top: str) -> str | None:
        module = sys.modules.get(top)
        spec = self._by_others(top, None, None) if module is None else getattr(module, "__spec__", None)
        return spec.origin if spec is not None else None


class _Code:
    """A loader's `get_code`: what was compiled when the module was found, once; then as the source is."""

    def __init__(self, finder: Finder, name: str, file: str, loader: Any, code: CodeType) -> None:
        self._finder, self._name, self._file, self._loader = finder, name, file, loader
        self._ready: list[CodeType] = [code]

    def __call__(self, fullname: str) -> CodeType | None:
        if fullname == self._name:
            if self._ready:
                return self._ready.pop()
            code = self._finder.code(self._name, self._file, self._loader)
            if code is not None:
                return code
        plain: Any = type(self._loader).get_code
        found: CodeType | None = plain(self._loader, fullname)
        return found


def _finds_as_of_old(finder: Any, name: str, path: Sequence[str] | None) -> bool:
    """Whether a finder without `find_spec` has the module, or fails: Python passes over such from 3.12 on."""
    if sys.version_info >= (3, 12):
        return False
    find = getattr(finder, "find_module", None)
    return find is None or find(name, path) is not None


def _call_after(name: str, spec: ModuleSpec, call: Callable[[ModuleType], object]) -> None:
    loader: Any = spec.loader
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        if module.__name__ == name:  # a loader may be one for many
            call(module)

    vars(loader)["exec_module"] = exec_module
