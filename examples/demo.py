"""Kills a program in the middle of its work, starts it again, and counts what it lost: once with the standard
library's queue, once with ours.

The program is index_source.py, beside this file. It is fed the standard library of the interpreter that runs this, and
gets SIGKILL at a random moment after all its input was accepted; the next start gets no input at all. The durable
variant is made here from the same text by the one change in `DURABLE`, which is shown.

Everything is kept in a temporary directory that is gone at the end. Children are ended by their process id. The exit
status is 0 if the durable variant lost nothing and its totals are those of an undisturbed run, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "index_source.py"

#: What is changed in the program to make its queue durable.
DURABLE = {
    "from queue import Queue": "from pqadapters.stdlib.queue import Queue",
}

TITLE = len("pqadapters.stdlib.queue")
COLUMNS = ("killed", "lost", "redone", "finished", "identifiers", "totals")

#: A pipe of one page holds few lines of the program's log: it can't run far ahead of whoever watches and kills it.
PIPE_BYTES = 4096

#: No more files than that are done between a line of the log and the kill that follows from it: two pages of lines.
HEAD_START = 150


class Outcome(NamedTuple):
    """What became of the files that a program had accepted."""

    title: str
    files: int
    kills: int
    finished: int  #: files that have their counts
    redone: int  #: files that were begun more than once
    totals: Mapping[str, int]

    @property
    def lost(self) -> int:
        """Files that were accepted and never counted."""
        return self.files - self.finished


class Trial:
    """The program in a directory of its own: started, watched by its log, and killed where asked to.

    For one thread. What the program left in its directory is there for its next run.
    """

    def __init__(self, directory: Path, changes: Mapping[str, str]) -> None:
        directory.mkdir()
        self.directory = directory
        self.on_done: Callable[[], object] = lambda: None  #: called for each file, the first time that it is done
        self.begun: Counter[str] = Counter()
        self.done: set[str] = set()
        self.kills = 0
        self._accepted = False
        (directory / PROGRAM.name).write_text(changed(PROGRAM.read_text(), changes))

    def run(self, names: Sequence[str] = (), kill_when: Callable[[], bool] | None = None) -> bool:
        """Give the program these names as its input, and wait for its end. True if it was killed before.

        `kill_when` is asked at each line of the log from the end of the input on. Raises SystemExit if the program
        failed.
        """
        self._accepted = False
        with self._started(names) as child:
            for line in child.stderr or ():
                self._note(line.rstrip("\n"))
                if kill_when and self._accepted and kill_when():
                    child.send_signal(signal.SIGKILL)
                    kill_when = None  # what is left in the pipe still counts
            return self._ended(child.wait())

    def _ended(self, status: int) -> bool:
        if status == -signal.SIGKILL:
            self.kills += 1
        elif status:
            raise SystemExit(f"{PROGRAM.name} failed: it ended with status {status}")
        return status != 0

    @contextmanager
    def _started(self, names: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        (self.directory / "names").write_text("".join(f"{name}\n" for name in names))
        with open(self.directory / "names") as source, open(self.directory / "totals.json", "w") as result:
            child = self._popen(source, result)
            with child:
                try:
                    yield child
                finally:
                    child.kill()  # nothing, if it has ended

    def _popen(self, source: IO[str], result: IO[str]) -> subprocess.Popen[str]:
        command = [sys.executable, PROGRAM.name, "counts"]
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "PQADAPTERS_HOME": str(self.directory / "home"),  # else the user's own
            },
            stdin=source,
            stdout=result,
            stderr=subprocess.PIPE,
            text=True,
            pipesize=PIPE_BYTES,
        )

    def _note(self, line: str) -> None:
        word, _, name = line.partition(" ")
        if word == "accepted":
            self._accepted = True
        elif word == "begin":
            self.begun[name] += 1
        elif word == "done":
            if name not in self.done:
                self.on_done()
            self.done.add(name)
        elif not line.startswith(("the queue made in ", "queue ")):  # the durable queue's own log
            tqdm.write(f"{PROGRAM.name}: {line}", file=sys.stderr)

    def finished(self) -> set[str]:
        """The files that have their counts. One may be among them before the log says that it is done."""
        return {json.loads(path.read_text())["file"] for path in (self.directory / "counts").glob("*.json")}

    def outcome(self, title: str, names: Sequence[str]) -> Outcome:
        """What the program left behind, once a run has come to its end."""
        finished = self.finished() & set(names)
        redone = sum(count > 1 for count in self.begun.values())
        totals = json.loads((self.directory / "totals.json").read_text())
        return Outcome(title, len(names), self.kills, len(finished), redone, totals)


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of the changes made, which must have exactly one place in it."""
    for old, new in changes.items():
        if text.count(old) != 1:
            raise SystemExit(f"{PROGRAM} should have {old!r} once, and has it {text.count(old)} times")
        text = text.replace(old, new)
    return text


def shown(changes: Mapping[str, str]) -> str:
    """The changes as the lines that go and the lines that come."""
    pairs = [(line, changed_line(line, changes)) for line in PROGRAM.read_text().splitlines()]
    return "\n".join(f"    - {old}\n    + {new}" for old, new in pairs if old != new)


def changed_line(line: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        line = line.replace(old, new)
    return line


def sources() -> list[str]:
    """Every .py file of the running interpreter's standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages"}
    return sorted(str(path) for path in root.rglob("*.py") if path.is_file() and not installed & set(path.parts))


def kill_points(files: int, kills: int, chance: random.Random) -> list[int]:
    """After how many files to kill, ascending. From the last of them on there is work left, whoever is slow."""
    return sorted(chance.sample(range(max(kills, min(files * 9 // 10, files - HEAD_START))), kills))


def attempt(title: str, trial: Trial, names: Sequence[str], points: Sequence[int] = ()) -> Outcome:
    """One variant: fed, killed once at each point, and started again without input until it comes to its end."""
    # disable=None: no bar where nobody looks
    with tqdm(total=len(names), desc=f"{title:<{TITLE}}", unit="file", disable=None, dynamic_ncols=True) as bar:
        trial.on_done = bar.update
        given = names
        for point in (*points, None):
            if not trial.run(given, when(trial, point)):
                break
            done = len(trial.finished())
            bar.write(f"{title}: SIGKILL, {done:,} files done, {len(names) - done:,} pending; restart without input")
            given = ()
        outcome = trial.outcome(title, names)
        bar.update(outcome.finished - bar.n)  # those whose last line the kill cut off
    return outcome


def when(trial: Trial, point: int | None) -> Callable[[], bool] | None:
    """The moment at which so many files are done; None: never."""
    return None if point is None else lambda: len(trial.done) >= point


def compare(directory: Path, names: Sequence[str], points: Sequence[int]) -> list[Outcome]:
    """The undisturbed run, the standard library's queue and ours, both of them killed at the same points."""
    return [
        attempt("undisturbed", Trial(directory / "undisturbed", {}), names),
        attempt("queue", Trial(directory / "stdlib", {}), names, points),
        attempt("pqadapters.stdlib.queue", Trial(directory / "durable", DURABLE), names, points),
    ]


def table(outcomes: Sequence[Outcome]) -> str:
    """The outcomes in columns of fixed width; the first is the one that the others' totals are compared with."""
    rows: list[tuple[str, ...]] = [("", *COLUMNS)]
    for outcome in outcomes:
        counts = (outcome.kills, outcome.lost, outcome.redone, outcome.finished, sum(outcome.totals.values()))
        verdict = "equal" if outcome.totals == outcomes[0].totals else "different"
        rows.append((outcome.title, *(f"{count:,}" for count in counts), verdict))
    return "\n".join(f"{row[0]:<{TITLE}}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in rows)


def intact(outcomes: Sequence[Outcome]) -> bool:
    """Whether the last of the outcomes, ours, is what it promises to be."""
    return outcomes[-1].lost == 0 and outcomes[-1].totals == outcomes[0].totals


def options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description="SIGKILL a program that uses a queue, and count what it lost.")
    parser.add_argument("--files", type=int, help="how many files of the standard library (default: all)")
    parser.add_argument("--kills", type=int, default=1, help="how often to kill each variant (default: 1)")
    parser.add_argument("--seed", type=int, help="repeat a run's choices (default: another one each time)")
    given = parser.parse_args(arguments)
    if given.kills < 1 or (given.files is not None and given.files < given.kills):
        parser.error("there must be at least one kill, and a file for each kill")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    seed = random.randrange(10**6) if given.seed is None else given.seed
    chance = random.Random(seed)
    names = sources()
    if given.files is not None and given.files < len(names):
        names = chance.sample(names, given.files)
    points = kill_points(len(names), given.kills, chance)
    print(
        f"{PROGRAM.name} counts the identifiers in {len(names):,} files of Python {sys.version.split()[0]}'s standard "
        f"library.\nOnce it has accepted them all, it gets SIGKILL (seed {seed}), and is started again without input.\n"
        f"The durable variant is the same program but for\n{shown(DURABLE)}\n",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="pqadapters-demo-") as directory:
        outcomes = compare(Path(directory), names, points)
    print(f"\n{table(outcomes)}\n\n{summary(outcomes)}")
    return 0 if intact(outcomes) else 1


def summary(outcomes: Sequence[Outcome]) -> str:
    """The table in a sentence."""
    _, stdlib, durable = outcomes
    first = f"With queue, {stdlib.lost:,} of {stdlib.files:,} files were lost."
    if intact(outcomes):
        return f"{first} With {durable.title}, none was, and its totals equal the undisturbed run's."
    return f"{first} With {durable.title}, {durable.lost:,} were, or its totals differ: that is a bug."


if __name__ == "__main__":
    sys.exit(main())
