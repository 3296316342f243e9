"""Salvage in a process of its own, and what it comes to."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NamedTuple

from ....errors import StoreRefused
from ....paths import absolute


class Salvaged(NamedTuple):
    """What was brought out."""

    records: int
    keys: int
    lost: int  #: rows of records and keys whose checksum doesn't hold


def salvage_apart(path: str, to: str | os.PathLike[str]) -> Salvaged:
    """`salvage.salvage` in a process of its own. Whoever has the database open would lose its locks by closing the file
    here."""
    place = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", __package__.rpartition(".")[0], path, absolute(os.fsdecode(to))]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=place)
    numbers = [int(word) for word in done.stdout.split() if word.isdigit()]
    if done.returncode or len(numbers) != len(Salvaged._fields):
        raise StoreRefused(f"{path} could not be salvaged: {done.stderr.strip() or done.stdout.strip()}")
    return Salvaged(*numbers)
