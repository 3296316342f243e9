"""The main module of a run, and its end: as Python itself has them.

A script is run as `python script.py` runs it. A module, a directory and an archive are run by what runs them under
`python`, which finds our code where it looks for theirs. An exception that the program doesn't catch goes on to the
interpreter, which ends the process as always; what is shown of it has no frames of ours.

In the main thread, once in a process.
"""

from __future__ import annotations

import builtins
import os
import runpy
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from importlib.util import MAGIC_NUMBER
from types import CodeType, ModuleType, TracebackType
from typing import Any

from .finder import Finder
from .hiding import forget, hidden_in

_TYPED = "<stdin>"  #: what the code of a program on standard input is called
#: The main module before the program's: when the interpreter has shown an error, it still looks into that one's names,
#: which nobody else may have any more by then.
_began_with: list[ModuleType] = []


class Program:
    """What is to be run: `path` a script, "-" for standard input, a directory or an archive, or `module` a module's
    name."""

    def __init__(self, path: str, module: str, arguments: tuple[str, ...]) -> None:
        self._given, self._module, self._arguments = path, module, arguments
        self._is_typed = path == "-"
        self._path = _TYPED if self._is_typed else _whole(path) if path else ""
        self._is_script = bool(path) and (self._is_typed or not _is_importable(self._path))

    def set_up(self, load: Callable[[], object]) -> None:
        """Make `sys.argv` and `sys.path` what they are without us. Before the program's own modules hide any of the
        standard library's, `load` is called: to import what needs those."""
        safe = bool(getattr(sys.flags, "safe_path", False) or sys.flags.isolated)
        sys.argv[:] = [self._given or "-m", *self._arguments]
        own = self._own_directory()
        if own is not None and (not safe or (self._path and not self._is_script)):
            hidden = hidden_in([own])
            if hidden:
                load()
            sys.path.insert(0, own)
            forget(hidden)

    def _own_directory(self) -> str | None:
        """What stands first in `sys.path`. None where that is a working directory which is gone, as Python has it."""
        if self._is_typed:
            return ""
        with suppress(FileNotFoundError):
            return os.path.dirname(os.path.realpath(self._path)) if self._is_script else self._path or os.getcwd()
        return None

    def run(self, finder: Finder) -> None:
        """Run it. Raises what it raises."""
        source = self._source() if self._is_script else b""
        main = self._main_module(source)
        code = self._code(finder, source) if self._is_script else None
        try:
            if code is not None:
                exec(code, vars(main))
            else:
                runpy._run_module_as_main(self._module or "__main__", bool(self._module))  # type: ignore[attr-defined]
        except BaseException as error:
            if not isinstance(error, SystemExit) or sys.flags.inspect or os.environ.get("PYTHONINSPECT"):
                trace = error.__traceback__
                _show(error, trace and trace.tb_next, lambda: self._forget(main))
            raise
        self._forget(main)

    def _main_module(self, source: bytes) -> ModuleType:
        main = ModuleType("__main__")
        vars(main).update(__loader__=BuiltinImporter, __annotations__={}, __builtins__=builtins)
        if self._is_script:
            vars(main).update(__file__=self._path, __cached__=None)
        if self._is_script and not self._is_typed:
            kind = SourcelessFileLoader if self._is_bytecode(source) else SourceFileLoader
            vars(main).update(__loader__=kind("__main__", self._path))
        _began_with.append(sys.modules["__main__"])
        sys.modules["__main__"] = main
        return main

    def _forget(self, main: ModuleType) -> None:
        """What Python takes from a script's module when it has come to its end, though its threads may go on."""
        if self._is_script:
            for name in ("__file__", "__cached__"):
                vars(main).pop(name, None)

    def _is_bytecode(self, source: bytes) -> bool:
        return not self._is_typed and (self._path.endswith(".pyc") or source.startswith(MAGIC_NUMBER))

    def _source(self) -> bytes:
        """Ends the process with status 2 where there is none, as Python does."""
        if self._is_typed:
            return sys.stdin.buffer.read() if sys.stdin is not None else b""
        try:
            with open(self._path, "rb") as file:
                return file.read()
        except OSError as error:
            started = sys.orig_argv[0] if sys.orig_argv else sys.executable
            sys.stderr.write(f"{started}: can't open file {self._path!r}: [Errno {error.errno}] {error.strerror}\n")
            raise SystemExit(2) from None

    def _code(self, finder: Finder, source: bytes) -> CodeType:
        if self._is_bytecode(source):
            found = SourcelessFileLoader("__main__", self._path).get_code("__main__")
            assert found is not None
            return found
        code: CodeType | None = None
        with suppress(Exception):  # it is met again
            code = finder.rewritten("__main__", source, self._path).code
        if code is not None:
            return code
        try:
            return compile(source, self._path, "exec", dont_inherit=True)
        except BaseException as error:
            _show(error, None)
            raise


def _whole(path: str) -> str:
    """As Python writes it in messages and in `sys.path`: with the working directory in front, if that is there, and
    nothing else done."""
    here = ""
    with suppress(FileNotFoundError):
        here = os.getcwd()
    return here if here and path == "." and sys.version_info >= (3, 11) else os.path.join(here, path)


def _is_importable(path: str) -> bool:
    """Whether it is a directory or an archive, in which there is a main module."""
    for hook in sys.path_hooks:
        with suppress(ImportError):
            hook(path)
            return True
    return False


def _show(error: BaseException, trace: TracebackType | None, then: Callable[[], object] = lambda: None) -> None:
    """When the interpreter shows the error, it has that traceback. The hook is the program's, as it is now."""
    hook: Any = getattr(sys, "excepthook", sys.__excepthook__)

    def excepthook(kind: type[BaseException], value: BaseException, whole: TracebackType | None) -> None:
        sys.excepthook = hook
        if value is not error:
            return hook(kind, value, whole)  # type: ignore[no-any-return]
        sys.last_traceback = value.__traceback__ = trace
        try:
            hook(kind, value, trace)
        except SystemExit:
            raise
        except BaseException as failure:
            _say_both(failure, value)
        then()
        return None

    sys.excepthook = excepthook


def _say_both(failure: BaseException, error: BaseException) -> None:
    """As the interpreter does when an excepthook fails."""
    assert failure.__traceback__ is not None
    failure.__traceback__ = failure.__traceback__.tb_next
    sys.stderr.write("Error in sys.excepthook:\n")
    sys.__excepthook__(type(failure), failure, failure.__traceback__)
    sys.stderr.write("\nOriginal exception was:\n")
    sys.__excepthook__(type(error), error, error.__traceback__)
