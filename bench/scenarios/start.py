"""How long a program takes that puts one item into a queue, gets it, and ends: nearly all of it is the start."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter

from ..contender import Contender, Kind, Level
from ..contenders import OUR_START
from ..scenario import Job, Metric, Report, Scenario

_START = Metric("start", "ms", more=False)


def start(scenario: Scenario, contender: Contender, job: Job, report: Report) -> None:
    """The mean of so many starts, behind one that writes bytecode and makes the queue's directory."""
    assert contender.program is not None, "rounds.entries() gives programs only"
    source, *before = contender.program
    path = os.path.join(job.directory, "program.py")
    with open(path, "w") as file:
        file.write(source)
    command = [sys.executable, *before, path]
    home = {**os.environ, "PQADAPTERS_HOME": os.path.join(job.directory, "home")}
    home.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever installs a package has its bytecode
    subprocess.run(command, check=True, env=home)
    begun = perf_counter()
    for _ in range(job.operations):
        subprocess.run(command, check=True, env=home)
    report({_START.name: (perf_counter() - begun) / job.operations * 1000})


SCENARIOS = (
    Scenario(
        name="start",
        about="a program that puts one item, gets it, and ends",
        level=Level.PROCESS,
        floor="python",
        metrics=(_START,),
        steps=(start,),
        kind=Kind.START,
        puts_only=True,
        ours=OUR_START,
        floor_metric=_START.name,
    ),
)
