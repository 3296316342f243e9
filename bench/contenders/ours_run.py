"""The same program, unchanged, by `python -m pqadapters run`."""

from __future__ import annotations

from ..contender import Contender, Level, Speed
from . import OUR_START
from .stdlib_start import PROGRAM

CONTENDER = Contender(
    name=OUR_START,
    about="the same program: python -m pqadapters run program.py",
    program=(PROGRAM, "-m", "pqadapters", "run"),
    speed={Level.PROCESS: Speed(5, 5)},
    package="pqadapters",
    modules=("pqadapters",),
    gets=False,
)
