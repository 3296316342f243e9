"""An item that is in hand whenever the program ends is named, with and without a path: three crashes in a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib.queue import Queue

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import logging, os, signal, sys
from pqadapters.stdlib.queue import {kind}
logging.basicConfig(format="%(message)s")

q = {kind}({arguments})
if "put" in sys.argv:
    for item in ("1 fine", "2 poison", "3 later"):
        q.put(item)
while True:
    item = q.get()
    if item == "2 poison" and "survive" not in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    q.task_done()
    if item == "3 later":
        break
"""


def run(directory: Path, *words: str, kind: str, arguments: str) -> tuple[int, str]:
    program = directory / "program.py"
    program.write_text(PROGRAM.format(kind=kind, arguments=arguments))
    done = subprocess.run(
        [sys.executable, str(program), *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PQADAPTERS_HOME": str(directory / "home")},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", ["", "path='jobs'"], ids=["unnamed", "path"])
@pytest.mark.parametrize("kind", ["Queue", "PriorityQueue"])
def test_an_item_in_hand_at_three_crashes_in_a_row_is_named(tmp_path: Path, kind: str, arguments: str) -> None:
    killed = -signal.SIGKILL
    assert run(tmp_path, "put", kind=kind, arguments=arguments) == (killed, "")
    for _ in range(2):
        assert run(tmp_path, kind=kind, arguments=arguments) == (killed, "")
    status, said = run(tmp_path, "survive", kind=kind, arguments=arguments)
    assert status == 0
    (line,) = said.splitlines()
    assert "'2 poison'" in line
    assert "3 times or more" in line
    assert "max_attempts=" in line


def test_of_one_that_was_given_back_it_is_not_said_that_the_program_ended_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        with Queue[int](path=tmp_path / "q", ack="task_done") as q:
            if q.empty():
                q.put(7)
            q.nack(q.get())
    (said,) = caplog.messages
    assert "handed out 3 times or more and never done: 7" in said
    assert "ended" not in said


class Around:
    """Two of them that name each other have no repr."""

    other: Any = None

    def __repr__(self) -> str:
        return f"Around({self.other!r})"


def test_one_that_cannot_say_what_it_is_is_handed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What its repr raised came out of get(), at each start, and the item was in hand all the same."""
    item = Around()
    item.other = item
    with Queue[Any](path=tmp_path / "q", ack="task_done") as q:
        q.put(item)
    for _ in range(4):
        with Queue[Any](path=tmp_path / "q", ack="task_done") as q:
            q.nack(q.get_nowait())
    assert "never done: <Around: RecursionError>. " in caplog.messages[-1]


def test_a_queue_that_begins_empty_counts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue[int](path=tmp_path / "q") as q:
        counted: list[bool] = []
        claim = q._line.claim

        def watched(*args: Any, **options: Any) -> Any:
            counted.append(options["counted"])
            return claim(*args, **options)

        monkeypatch.setattr(q._line, "claim", watched)
        q.put(1)
        q.get()
        assert counted == [False]
