"""Rewritten code, kept where Python keeps code, under a name that no Python looks for.

The name has a digest of what was swapped, of our version, and of Python's `-O`. As with Python's own files, another
time or size of the source makes one worthless, a directory that can't be written is none of the program's business, and
`sys.dont_write_bytecode` and `sys.pycache_prefix` are respected.
"""

from __future__ import annotations

import marshal
import os
import struct
import sys
from collections.abc import Set
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER, cache_from_source
from types import CodeType

from .. import __version__
from ..digest import digest
from .rewriting import VERSION

_WORD = 0xFFFFFFFF


class Bytecode:
    """The code of one run's modules. None stands for a module in which nothing is to be swapped."""

    def __init__(self, names: Set[str]) -> None:
        facts = repr((__version__, VERSION, sorted(names), sys.flags.optimize))
        self._mark = f"pqadapters{digest(facts.encode())}"

    def read(self, source: str) -> tuple[bool, CodeType | None]:
        """Whether there is something of that source, as it is now; and what."""
        try:
            header = _header(source)
            with open(self._path(source), "rb") as file:
                data = file.read()
            if data[: len(header)] != header:
                return False, None
            code = marshal.loads(data[len(header) :])
        except (OSError, EOFError, ValueError, TypeError, NotImplementedError):
            return False, None
        if code is None:
            return True, None
        if not isinstance(code, CodeType) or code.co_filename != source:  # tracebacks would name the old place
            return False, None
        return True, code

    def write(self, source: str, header: bytes, code: CodeType | None) -> None:
        """Keep it, if that is possible. `header`: of the source as it was before it was read."""
        if sys.dont_write_bytecode:
            return
        try:
            path, mode = self._path(source), os.stat(source).st_mode & 0o666 | 0o200
        except (OSError, NotImplementedError):
            return
        SourceFileLoader("", source).set_data(path, header + marshal.dumps(code), _mode=mode)

    def header(self, source: str) -> bytes:
        """What is written in front of the code of a source. b"" where it can't be told."""
        try:
            return _header(source)
        except OSError:
            return b""

    def _path(self, source: str) -> str:
        return cache_from_source(source, optimization=self._mark)


def _header(source: str) -> bytes:
    found = os.stat(source)
    return MAGIC_NUMBER + struct.pack("<LLL", 0, int(found.st_mtime) & _WORD, found.st_size & _WORD)
