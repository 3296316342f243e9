"""Runs a program of `programs/` as an application of its own: as it is, or with the import of `queue` swapped.

Each application has a directory for its code and a home for its queues. A run is killed when the program has said what
the test waits for, never by time. Whoever kills one, or waits for its end, knows afterwards that all its processes are
gone, since each of them holds the pipe that is read here.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pqadapters.stdlib.queue import Home, Queue, homes

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(__file__).parent / "programs"
PATIENCE = 60.0  #: seconds until a program that says nothing more is given up

#: What programs don't have from whoever runs the tests.
_KEPT_BACK = ("PQADAPTERS_", "PYTHON", "PROGRESS_", "HOME", "XDG_")
_SWAPS = {
    "from queue import ": "from pqadapters.stdlib.queue import ",
    "import queue\n": "from pqadapters.stdlib import queue\n",
}


def swapped(source: str) -> str:
    """The program with its import of `queue` swapped, and nothing else."""
    assert "pqadapters" not in source
    found = [line for line in source.splitlines(keepends=True) if line.startswith(tuple(_SWAPS))]
    assert len(found) == 1, "a program imports queue once"
    (swap,) = (swap for swap in _SWAPS if found[0].startswith(swap))
    return source.replace(found[0], found[0].replace(swap, _SWAPS[swap]))


class Said(NamedTuple):
    """A line of a program."""

    pid: int
    text: str


class Run:
    """What a program has said."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.status: int | None = None
        self.errors = ""

    @property
    def lines(self) -> list[str]:
        return [said.text for said in self.said]

    def items(self, word: str) -> list[int]:
        """The items that were reported with this word, in order."""
        return [int(text.split()[1]) for text in self.lines if re.fullmatch(rf"{word} -?\d+", text)]

    def pids(self, text: str) -> list[int]:
        """The processes that said this."""
        return [said.pid for said in self.said if said.text == text]


class Running(Run):
    """A program that runs. Every process of it is in its own process group."""

    def __init__(self, process: subprocess.Popen[str], errors: Any, door: socket.socket) -> None:
        super().__init__()
        self._process, self._file, self._door = process, errors, door
        self._holding: dict[str, socket.socket] = {}
        self._watchdog = threading.Timer(PATIENCE, self.signal_all)
        self._watchdog.daemon = True
        self._watchdog.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def until(self, *lines: str) -> None:
        """Read until all these lines have been said, however often each is given."""
        missing = sorted(lines)
        for said in self.said:
            if said.text in missing:
                missing.remove(said.text)
        while missing:
            line = self._read()
            assert line, f"it ended without saying {missing}, having said {self.lines}: {self._stderr()}"
            if line in missing:
                missing.remove(line)

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            pid, _, text = line.rstrip("\n").partition(" ")
            self.said.append(Said(int(pid), text))
        return self.said[-1].text if line else ""

    def release(self, line: str) -> None:
        """Let the one go that holds at this line."""
        while line not in self._holding:
            connection, _ = self._door.accept()
            with connection.makefile() as lines:
                self._holding[lines.readline().rstrip("\n")] = connection
        with self._holding.pop(line) as connection:
            connection.sendall(b".")

    def signal_all(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> Run:
        """All its processes at once; they are gone then."""
        if self.status is None:
            self.signal_all()
            self.end()
        return self

    def end(self) -> Run:
        """Wait until all its processes have ended."""
        while self._read():
            pass
        self.status = self._process.wait()
        self._watchdog.cancel()
        for connection in self._holding.values():
            connection.close()
        self.errors = self._stderr()
        return self

    def _stderr(self) -> str:
        self._file.seek(0)
        return str(self._file.read())


class Left(NamedTuple):
    """What is stored for nobody in particular."""

    items: list[Any]
    dead: list[Any]


NOTHING = Left([], [])


class App:
    """A program, where it is installed, and where its queues live."""

    def __init__(self, directory: Path, program: str, *, swap: bool = True) -> None:
        self.directory, self.home = directory, directory / "home"
        self.code = directory / "app"
        self.code.mkdir(exist_ok=True)
        self.env = {"PQADAPTERS_HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        self.script = self.install(program, swap=swap)

    def install(self, program: str, into: str = "", *, swap: bool = True) -> Path:
        """Copy a program into a directory of the application."""
        source = (PROGRAMS / f"{program}.py").read_text()
        script = self.code / into / f"{program}.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(swapped(source) if swap else source)
        return script

    def copy(self, program: str, path: Path) -> None:
        """A file of `programs/` as it is."""
        path.write_text((PROGRAMS / f"{program}.py").read_text())

    @contextmanager
    def start(
        self, *arguments: object, hold: Sequence[str] = (), command: Sequence[str] | None = None, **popen: Any
    ) -> Iterator[Running]:
        """The program in a process of its own, killed at the end of the block if it still runs."""
        environ = popen.pop("env", {})
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_KEPT_BACK)}
        with tempfile.TemporaryFile("w+") as errors, socket.create_server(("127.0.0.1", 0)) as door:
            door.settimeout(PATIENCE)
            told = {"PROGRESS_HOLD": "\n".join(hold), "PROGRESS_PORT": str(door.getsockname()[1])}
            process = subprocess.Popen(
                [sys.executable, *(command or [str(self.script)]), *map(str, arguments)],
                env={**inherited, **self.env, **told, **environ},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                **{"cwd": self.directory, "stdin": subprocess.DEVNULL, **popen},
            )
            with process:
                running = Running(process, errors, door)
                try:
                    yield running
                finally:
                    running.kill()

    def run(self, *arguments: object, status: int = 0, errors: str = "", **options: Any) -> Run:
        """The program to its own end. `errors`: a regular expression for all that it writes to stderr."""
        with self.start(*arguments, **options) as running:
            run = running.end()
        assert run.status == status, run.errors
        assert re.fullmatch(errors, run.errors, re.DOTALL), run.errors
        return run

    def killed(self, *arguments: object, at: Sequence[str], seen: Sequence[str] = (), **options: Any) -> Run:
        """The program, held at these lines and killed once all of them, and the others, have been said."""
        with self.start(*arguments, hold=at, **options) as running:
            running.until(*at, *seen)
            return running.kill()

    def left(self) -> Left:
        """What is stored in the application's home, and held by no process."""
        left = Left([], [])
        for home in self.homes():
            assert home.pid is None, f"{home.directory} is held by process {home.pid}"
            with Queue[Any](path=home.directory) as q:
                left.items.extend(q.queue)
                left.dead.extend(letter.item for letter in q.dead_letters())
        return left

    def homes(self) -> list[Home]:
        """What there is below the home."""
        return homes(self.home)

    def slots(self) -> list[str]:
        """The directories of slots, below the home."""
        return [str(Path(home.directory).relative_to(self.home)) for home in self.homes()]


def undisturbed(directory: Path, program: str, *arguments: object) -> App:
    """Run the program as it is, and with its import swapped; both say the same."""
    (directory / "plain").mkdir()
    plain = App(directory / "plain", program, swap=False).run(*arguments)
    assert not (directory / "plain" / "home").exists()
    app = App(directory, program)
    durable = app.run(*arguments)
    assert sorted(durable.lines) == sorted(plain.lines)
    assert plain.lines, "a program says something"
    return app
