"""The same program with its import changed by hand."""

from __future__ import annotations

from ..contender import Contender, Level, Speed
from .stdlib_start import PROGRAM

CONTENDER = Contender(
    name="pqadapters-by-hand",
    about="the same program with its import changed: python program.py",
    program=(PROGRAM.replace("import queue", "from pqadapters.stdlib import queue"),),
    speed={Level.PROCESS: Speed(5, 5)},
    package="pqadapters",
    modules=("pqadapters",),
    gets=False,
)
