"""Tracebacks as numbers and text, and tracebacks that print the same again.

    files   [[name, [[line number, text], ...]], ...]      the lines as they were when the record was logged
    frames  [[file, function, qualified name, module, line number, [end line, column, end column] or None], ...]

A traceback is a list of numbers of frames, the outermost first. What is read back are real tracebacks. Their frames
belong to code that is never run; it has the names, the position and nothing else: there are no local variables.

`linecache` gives the stored lines for them, whatever has become of the file, and the file's own for everybody else:
the names of such files are keys of their own there (see `_Name`). Any thread may use all this.
"""

from __future__ import annotations

import ast
import itertools
import linecache
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

_WHOLE_RANGE = sys.version_info >= (3, 13)  #: the traceback module prints all lines of an expression
_FARTHEST = 1 << 30  #: the last line that a file may have


class Traces:
    """Collects tracebacks, with one table of frames and one of files."""

    def __init__(self) -> None:
        self.files: list[list[Any]] = []
        self.frames: list[list[Any]] = []
        self._files: dict[str, tuple[int, dict[int, str]]] = {}
        self._frames: dict[tuple[int, int, int | None], int] = {}

    def add(self, trace: TracebackType | None) -> list[int]:
        """The numbers of its frames."""
        path = []
        while trace is not None:
            code, lasti, lineno = trace.tb_frame.f_code, trace.tb_lasti, trace.tb_lineno
            number = self._frames.get((id(code), lasti, lineno))
            if number is None:
                number = self._frames[id(code), lasti, lineno] = self._frame(trace.tb_frame, lasti, lineno)
            path.append(number)
            trace = trace.tb_next
        return path

    def _frame(self, frame: FrameType, lasti: int, lineno: int | None) -> int:
        code = frame.f_code
        lineno, columns = _position(code, lasti, lineno)
        file = self._lines(code, lineno, columns, frame.f_globals)
        module = frame.f_globals.get("__name__")
        qualname = getattr(code, "co_qualname", code.co_name)
        module = module if type(module) is str else None
        self.frames.append([file, str.__str__(code.co_name), str.__str__(qualname), module, lineno, columns])
        return len(self.frames) - 1

    def _lines(self, code: CodeType, lineno: int, columns: list[int] | None, names: dict[str, Any]) -> int:
        """Note the lines of this position; which file it is."""
        name = code.co_filename
        known = self._files.get(name)
        if known is None:
            linecache.lazycache(name, names)
            linecache.checkcache(name)
            known = self._files[name] = len(self.files), {}
            self.files.append([str.__str__(name), []])
        number, lines = known
        last = columns[0] if columns and _WHOLE_RANGE else lineno
        for each in range(lineno, last + 1):
            if each not in lines:
                lines[each] = line = linecache.getline(name, each, names) or _typed_in(code, each)
                self.files[number][1].append([each, line])
        return number


def _typed_in(code: CodeType, lineno: int) -> str:
    """The line of code that is in no file, as Python 3.13 knows it."""
    with suppress(Exception):
        return str.__str__(linecache._getline_from_code(code, lineno))  # type: ignore[attr-defined]
    return ""


def _position(code: CodeType, lasti: int, lineno: int | None) -> tuple[int, list[int] | None]:
    if sys.version_info >= (3, 11) and lasti >= 0:
        start, end, column, end_column = next(
            itertools.islice(code.co_positions(), lasti // 2, None), (None, None, None, None)
        )
        if start is not None:
            lineno = start
            if end is not None and column is not None and end_column is not None:
                return start, [end, column, end_column]
    return lineno or 0, None


class Retold:
    """Tracebacks from tables. Raises ValueError and the like for tables that `Traces` doesn't make."""

    def __init__(self, files: Any, frames: Any) -> None:
        names = [_name(_text(name), tuple((_lineno(at), _text(line)) for at, line in lines)) for name, lines in files]
        self._frames = [
            (_frame(names[file], _text(name), _text(qualname), module, _lineno(lineno), _columns(columns)), lineno)
            for file, name, qualname, module, lineno, columns in frames
        ]

    def trace(self, path: list[int]) -> TracebackType | None:
        trace: TracebackType | None = None
        for number in reversed(path):
            (frame, lasti), lineno = self._frames[number]
            trace = TracebackType(trace, frame, lasti, lineno)
        return trace


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("a traceback of the wrong content")
    return value


def _lineno(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _FARTHEST:
        raise ValueError(f"there is no line {value!r}")
    return value


def _columns(value: Any) -> tuple[int, int, int] | None:
    if value is None:
        return None
    end, column, end_column = map(_lineno, value)
    return end, column, end_column


class _Name(str):
    """The name of a file as it was when a record was logged: equal to the plain name, and another key in a dict.

    `linecache` keeps the lines of a file by its name. These have to be found there, and mustn't be found by whoever
    prints a traceback of what is in the file now. When the name goes, so do the lines.
    """

    _hash: int

    def __hash__(self) -> int:
        return self._hash


@lru_cache(256)
def _name(name: str, lines: tuple[tuple[int, str], ...]) -> _Name:
    made, key = _Name(name), _Name(name)
    made._hash = key._hash = hash((_salt, next(_numbers)))
    entry: Any = (0, None, _Lines(name, dict(lines)), name)  # None: `linecache` doesn't look whether it has changed
    linecache.cache[key] = entry
    weakref.finalize(made, linecache.cache.pop, key, None).atexit = False
    return made


_numbers = itertools.count()
_salt = object()


class _Lines(Sequence[str]):
    """The lines of a file: those that were stored, and where they are the file's the others, too."""

    def __init__(self, name: str, stored: dict[int, str]) -> None:
        self._file, self._stored = name, stored

    def __len__(self) -> int:
        return max(self._stored, default=0)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return list(self)[at]
        if at < 0:
            at += len(self)
        line = self._stored.get(at + 1)
        if line is not None:
            return line
        return self._all()[at]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def _all(self) -> list[str]:
        there = linecache.getlines(self._file)
        if all(line == "".join(there[number - 1 : number]) for number, line in self._stored.items()):
            return there
        last = min(len(self), 100_000)
        return [self._stored.get(number, "\n") for number in range(1, last + 1)]


@lru_cache(1024)
def _frame(
    file: _Name, name: str, qualname: str, module: str | None, lineno: int, columns: tuple[int, int, int] | None
) -> tuple[FrameType, int]:
    """A frame at that position, and the number of the instruction there. It is that of a generator that isn't begun,
    so it has no callers, whom it would keep alive."""
    code, lasti = _code(lineno, columns)
    names: dict[str, Any] = {"co_filename": file, "co_name": name}
    if sys.version_info >= (3, 11):
        names["co_qualname"] = qualname
    generator = FunctionType(code.replace(**names), {"__name__": module, "__builtins__": {}})()
    frame: FrameType = generator.gi_frame
    return frame, lasti


@lru_cache(1024)
def _code(lineno: int, columns: tuple[int, int, int] | None) -> tuple[CodeType, int]:
    """Code of a generator function which has an instruction at a position, and the number of that."""
    if sys.version_info >= (3, 11) and columns is not None:
        try:
            code = _compiled(lineno, *columns)
        except ValueError:  # code that another program has made may say what no source could
            return _compiled(1, 1, 0, 0), -1
        for number, position in enumerate(code.co_positions()):
            if position == (lineno, *columns):
                return code, 2 * number
    return _compiled(1, 1, 0, 0), -1


def _compiled(lineno: int, end: int, column: int, end_column: int) -> CodeType:
    tree: Any = ast.parse("def f():\n yield")
    function = tree.body[0]
    for node in (function, function.body[0], function.body[0].value):
        node.lineno, node.end_lineno = lineno, end
        node.col_offset, node.end_col_offset = column, end_column
    whole: CodeType = compile(tree, "", "exec")
    return next(each for each in whole.co_consts if isinstance(each, CodeType))
