"""What runs the cells of a notebook: the main module is one that it makes, without a file."""

from __future__ import annotations

import builtins
import sys
import types
from pathlib import Path

from tests.unchanged.progress import report

main = types.ModuleType("__main__", "Automatically created module for the notebook")
sys.modules["__main__"] = main
builtins.__dict__["__IPYTHON__"] = True
for number, argument in enumerate(sys.argv[1:], 1):
    cell = Path(argument)
    exec(compile(cell.read_text(), f"<ipython-input-{number}>", "exec"), main.__dict__)
    report("ran", cell.stem)
