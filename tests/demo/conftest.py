"""Python files to index, and named pipes among them: a worker that meets one stays there as long as a test likes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.index_source import WORKERS

MakeFiles = Callable[[int], list[str]]


@pytest.fixture
def make_files(tmp_path: Path) -> MakeFiles:
    """Files with a few identifiers each; but the first is not Python, and the end of the second is not text."""
    directory = tmp_path / "sources"
    directory.mkdir()

    def make(count: int) -> list[str]:
        first = len(list(directory.iterdir()))
        paths = [directory / f"module{first + number}.py" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_text(f"import os\n\ndef function{number % 7}(x):\n    return os.path.join(x, {number!r})\n")
        paths[0].write_text("x = (\n")
        paths[1].write_bytes(b"\n" * 3 + b"\xff\n")
        return [str(path) for path in paths]

    return make


class Gates:
    """One named pipe for each worker of the program."""

    def __init__(self, directory: Path) -> None:
        self.names = [str(directory / f"gate{number}.py") for number in range(WORKERS)]
        for name in self.names:
            os.mkfifo(name)

    def open(self) -> None:
        """Put ordinary files in their place, for workers that come by later."""
        for name in self.names:
            os.unlink(name)
            Path(name).write_text("passed = True\n")


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    return Gates(tmp_path)
