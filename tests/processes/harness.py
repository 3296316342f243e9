"""Runs a script as an application of its own, with its children; killed when it has said what a test waits for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

PATIENCE = 60.0  #: seconds until a program that says nothing more is ended
ROOT = Path(__file__).resolve().parents[2]
METHODS = ["fork", "spawn", "forkserver"]
HEAD = """
import os, sys
from pqadapters.stdlib import multiprocessing

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def hear():
    return sys.stdin.readline().strip()
"""


class Running:
    """The script, in a process group of its own."""

    def __init__(self, script: Path, home: Path, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PQADAPTERS_")}
        self.process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "PQADAPTERS_HOME": str(home), "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        self.said: list[str] = []
        self._watchdog = threading.Timer(PATIENCE, self.kill_all)
        self._watchdog.daemon = True
        self._watchdog.start()

    def until(self, line: str) -> str:
        """Read up to a line that begins so."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.said.append(text.rstrip("\n"))
            if self.said[-1].startswith(line):
                return self.said[-1]
        raise AssertionError(f"it never said {line!r}, but {self.said}: {self._errors()}")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def words(self, word: str) -> list[str]:
        """What was said behind this word, in order."""
        return [text.partition(" ")[2] for text in self.said if text.partition(" ")[0] == word]

    def kill(self) -> None:
        """The main process alone."""
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> Running:
        """Wait for all its processes; what it had still to say is read."""
        assert self.process.stdout is not None
        self.said += [text.rstrip("\n") for text in self.process.stdout]
        assert self.process.wait() == 0, self._errors()
        return self

    def _errors(self) -> str:
        self.kill_all()
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_all()
        assert self.process.stdout is not None
        for _ in self.process.stdout:  # until its children are gone, too: each of them has the pipe
            pass
        self.process.wait()
        self._watchdog.cancel()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


class App:
    """A script and its home."""

    def __init__(self, directory: Path, body: str) -> None:
        self.script, self.home = directory / "app.py", directory / "home"
        self.script.write_text(HEAD + body)

    def start(self, *arguments: str) -> Running:
        return Running(self.script, self.home, *arguments)
