"""Which Python interpreters of this machine the tests can run on.

An interpreter counts when it starts (a pyenv shim may exist and refuse to), can make virtual environments and has
CPython's own test package. Run as `python3 -m tools.interpreters others` for the versions beside the one that runs
this, or `report` for a line about all of them. Writes nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"

_PROBE = """
import importlib.util as u, json, sys
def has(name):
    try:
        return u.find_spec(name) is not None
    except ImportError:
        return False
version = "%d.%d" % sys.version_info[:2]
print(json.dumps([sys.executable, version, has("venv") and has("ensurepip"), has("test.test_queue")]))
"""


class Interpreter(NamedTuple):
    """A Python that was run and answered."""

    executable: str
    version: str  #: "3.12"
    venv: bool  #: it can make virtual environments
    tests: bool  #: it has CPython's test package

    @property
    def lacks(self) -> str:
        """What is missing for the tests, in words; empty when nothing is."""
        wants = ((self.venv, "venv and ensurepip"), (self.tests, "CPython's test package"))
        return " and ".join(words for there, words in wants if not there)


def probe(executable: str) -> Interpreter | None:
    """The interpreter behind a path, or None when it doesn't start."""
    try:
        answer = subprocess.run(
            [executable, "-c", _PROBE], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
        )
        return Interpreter(*json.loads(answer.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None


def current() -> Interpreter:
    """The interpreter that runs this."""
    found = probe(sys.executable)
    if found is None:
        raise SystemExit(f"{sys.executable} doesn't start a second time; call make with PYTHON=/path/to/python3")
    return found


def find(version: str) -> Interpreter | None:
    """The first interpreter of a version that lacks nothing, else the first that starts, else None."""
    answers = [found for path in _paths(version) if (found := probe(path)) and found.version == version]
    return next((found for found in answers if not found.lacks), answers[0] if answers else None)


def _paths(version: str) -> Iterator[str]:
    """Where a version may be: on PATH, and among pyenv's versions, whose shims may be set to others."""
    places = [Path(place) for place in os.environ.get("PATH", "").split(os.pathsep) if place]
    for root in (os.environ.get("PYENV_ROOT"), os.path.expanduser("~/.pyenv")):
        if root:
            places += sorted(Path(root).glob(f"versions/{version}*/bin"), reverse=True)
    paths = (str(place / f"python{version}") for place in places)
    return (path for path in dict.fromkeys(paths) if os.access(path, os.X_OK))


def others() -> dict[str, Interpreter | None]:
    """The supported versions beside the one that runs this."""
    return {version: find(version) for version in SUPPORTED if version != RUNNING}


def report() -> str:
    """One line: what the tests run on, and what is absent."""
    found = others()
    used = [version for version, each in found.items() if each and not each.lacks]
    absent = [version + _why(each) for version, each in found.items() if not each or each.lacks]
    return (
        f"interpreters: {RUNNING} (all tests); {', '.join(used) or 'none'} (the segment store's part); "
        f"absent: {', '.join(absent) or 'none'}"
    )


def _why(found: Interpreter | None) -> str:
    return f" ({found.executable} lacks {found.lacks})" if found else ""


if __name__ == "__main__":
    if sys.argv[1:] == ["report"]:
        print(report())
    elif sys.argv[1:] == ["others"]:
        print(*(version for version, found in others().items() if found and not found.lacks))
    else:
        raise SystemExit("usage: python3 -m tools.interpreters others | report")
