"""The commands as the tests call them, and what they must leave as it was."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from pqadapters.commands.group import commands
from pqadapters.stdlib.queue import Queue
from tests.segment.programs import PATIENCE, ROOT

#: All that look at a place with records in each state.
LOOKS: list[tuple[Any, ...]] = [
    ("stats",),
    ("stats", "--json"),
    ("stats", "--queue", "other"),
    ("peek", "--queue", "default"),
    ("peek", "--queue", "default", "--state", "delayed", "--json"),
    ("peek", "--queue", "default", "--state", "claimed"),
    ("peek", "--queue", "default", "--state", "dead", "--unpickle"),
    ("dead",),
    ("dead", "--json"),
]


def queue(**options: Any) -> Queue[Any]:
    return Queue(**options)


def call(*arguments: object, input: str | None = None) -> Result:
    """A command in this process, with its output in a pipe."""
    return CliRunner().invoke(commands, [str(each) for each in arguments], input=input)


def out(*arguments: object) -> str:
    """What it prints; it must succeed."""
    result = call(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def loaded(*arguments: object) -> Any:
    """What it prints as JSON."""
    return json.loads(out(*arguments, "--json"))


def refusal(*arguments: object, status: int = 1) -> str:
    """The line on stderr; it must fail without a traceback."""
    result = call(*arguments)
    assert result.exit_code == status, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert not result.stdout
    return result.stderr


def process(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "pqadapters", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def bytes_in(directory: Path) -> dict[str, tuple[object, ...]]:
    """Every file and directory: what is in it, when it was changed, who may use it."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.rglob("*")):
        info = path.stat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else sorted(os.listdir(path))
        found[str(path)] = content, info.st_mtime_ns, info.st_mode, info.st_ino
    return found
