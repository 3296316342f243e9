"""A contender that fails, or isn't what it says it is, is told of with the reason, and the others go on.

It stands where huey would be imported from.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.contender import Level
from bench.contenders import contenders
from bench.measurement import Entry, Failed, measure
from bench.scenarios import scenarios

STORAGE = """
import os, sys
from collections import deque


class SqliteStorage:
    def __init__(self, filename, fsync, strict_fifo):
        self.filename, self.items, self.puts = filename, deque(), 0
        self.open()

    def open(self):
        pass

    def enqueue(self, data):
        self.items.append(data)

    def dequeue(self):
        return self.items.popleft() if self.items else None

    def close(self):
        pass


class Changed(SqliteStorage):
{changed}

SqliteStorage = Changed
"""
Measured = Callable[..., dict[str, float]]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Runs a scenario with a storage some methods of which are others."""

    def run(
        changed: str, scenario: str = "items-40", operations: int = 100, patience: float = 120.0
    ) -> dict[str, float]:
        package, place = tmp_path / "modules" / "huey", tmp_path / "place"
        package.mkdir(parents=True)
        place.mkdir()
        (package / "__init__.py").touch()
        (package / "storage.py").write_text(STORAGE.format(changed=changed))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")]))
        entry = Entry(scenarios()[scenario], contenders()["huey"], Level.PROCESS.value, operations)
        try:
            return measure(entry, place, patience)
        finally:
            assert list(place.iterdir()) == []

    return run


def test_one_that_prints_is_measured_all_the_same(measured: Measured) -> None:
    """A line that began with a brace was taken for numbers, and one that isn't UTF-8 ended the whole run."""
    found = measured(
        """
    def open(self):
        print("{ I am open", flush=True)
        os.write(1, bytes([0xFF, 10]))
        os.write(2, bytes([0xFE, 10]))
        print("and more", end="", flush=True)
"""
    )
    assert {"put", "get+done"} <= found.keys()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("    def enqueue(self, data): raise OSError('its disk is full')", "OSError: its disk is full"),
        ("    def enqueue(self, data): os._exit(3)", "ended with status 3"),
        ("    def enqueue(self, data): os._exit(0)", "it ended before there was a number"),
    ],
)
def test_one_that_ends(changed: str, reason: str, measured: Measured) -> None:
    with pytest.raises(Failed, match=reason):
        measured(changed)


@pytest.mark.parametrize("scenario", ["items-40", "ping-pong", "threads-4-4"])
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            """
    def enqueue(self, data):
        self.items += [data, data] if self.puts == 9 else [data]
        self.puts += 1
""",
            "it hands out more than was put",
        ),
        (
            """
    def dequeue(self):
        return self.items.pop() if self.items else None
""",
            "it hands out something else than was put",
        ),
    ],
)
def test_one_that_is_no_queue(changed: str, reason: str, scenario: str, measured: Measured) -> None:
    """It was listed with its numbers."""
    with pytest.raises(Failed, match=reason):
        measured(changed, scenario)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("    def enqueue(self, data): raise OSError('its disk is full')", "OSError: its disk is full"),
        (
            """
    def dequeue(self):
        raise OSError("it can't read")
""",
            "a consumer has failed: OSError: it can't read",
        ),
        (
            """
    def open(self):
        with open(self.filename + str(os.getpid()), "w"):
            pass
        if len(os.listdir(os.path.dirname(self.filename))) > 1:
            raise OSError("another process has it")
""",
            "(a consumer has failed: )?OSError: another process has it",
        ),
        ("    def dequeue(self): os._exit(3)", "a consumer has failed: it has ended"),
    ],
)
def test_one_of_two_processes_that_fails_ends_both(changed: str, reason: str, measured: Measured) -> None:
    """What went on alone was waited for as long as a measurement may take, and the reason was that it took so long."""
    with pytest.raises(Failed, match=reason):
        measured(changed, "processes-1-1")
