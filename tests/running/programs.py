"""Programs in a directory of their own, started by plain Python and under `run`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

PATIENCE = 100.0  #: seconds until a program that doesn't end is given up
RUN = ("-m", "pqadapters", "run")
_KEPT_BACK = ("PQADAPTERS_", "PYTHON", "COVERAGE_")


class Ended(NamedTuple):
    """What a program left behind."""

    status: int
    out: str
    errors: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Place:
    """A directory with a program's files, and a home for its queues."""

    def __init__(self, directory: Path, files: Mapping[str, str]) -> None:
        self.directory = directory / "program"
        self.home = directory / "home"
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"))

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_BACK)}
        return {**kept, "PQADAPTERS_HOME": str(self.home), **more}

    def command(self, *arguments: str, run: Sequence[str] | None = RUN, python: Sequence[str] = ()) -> list[str]:
        return [sys.executable, *python, *(run or ()), *arguments]

    def start(
        self,
        *arguments: str,
        run: Sequence[str] | None = RUN,
        python: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        given: str = "",
        inside: str = ".",
    ) -> Ended:
        """`run=None` for plain Python. `given` on standard input."""
        done = subprocess.run(
            self.command(*arguments, run=run, python=python),
            cwd=self.directory / inside,
            env=self.environment(**(env or {})),
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def well(self, *arguments: str, run: Sequence[str] | None = RUN, python: Sequence[str] = ()) -> list[str]:
        """The lines of a program that ends well."""
        ended = self.start(*arguments, run=run, python=python)
        assert ended.status == 0, ended.errors
        return ended.lines
