"""What a program leaves under `run` is there in the next run, and where its import is changed by hand."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pqadapters.stdlib.queue import homes

from .programs import RUN, Place

#: Puts items, and waits to be killed; or says what is there.
PROGRAM = """
    import sys
    import queue

    class Pool:
        def __init__(self):
            self.jobs = queue.Queue()

    jobs = queue.LifoQueue()

    def main():
        inner = queue.PriorityQueue()
        all_of_them = [jobs, Pool().jobs, inner, queue.SimpleQueue()]
        if sys.argv[1:] == ["put"]:
            for number, q in enumerate(all_of_them):
                q.put(number)
            print("all put", flush=True)
            sys.stdin.read()
        print([[q.get() for _ in range(q.qsize())] for q in all_of_them])

    if __name__ == "__main__":
        main()
"""
BY_HAND = PROGRAM.replace("import queue", "from pqadapters.stdlib import queue")
PROGRAMS = ["app.py", "-m app", "-m pack", "pack"]


def place_with(tmp_path: Path, text: str) -> Place:
    return Place(tmp_path, {"app.py": text, "pack/__main__.py": text})


def killed(place: Place, *arguments: str, run: Sequence[str] | None = RUN) -> None:
    """Run it until everything was put, and kill it."""
    command = place.command(*arguments, "put", run=run)
    with subprocess.Popen(
        command, cwd=place.directory, env=place.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "all put\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("program", PROGRAMS)
def test_sigkill_and_another_run(program: str, tmp_path: Path) -> None:
    place = place_with(tmp_path, PROGRAM)
    killed(place, *program.split())
    assert place.well(*program.split()) == ["[[0], [1], [2], [3]]"]
    assert homes(place.home) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_whose_import_is_changed_by_hand_is_the_same(program: str, tmp_path: Path) -> None:
    """The same directory, the same places in it, one way and the other."""
    place = place_with(tmp_path, PROGRAM)
    killed(place, *program.split())
    place_with(tmp_path, BY_HAND)
    (found,) = {home.application for home in homes(place.home)}
    assert place.well(*program.split(), run=None) == ["[[0], [1], [2], [3]]"]
    killed(place, *program.split(), run=None)
    assert {home.application for home in homes(place.home)} == {found}
    place_with(tmp_path, PROGRAM)
    assert place.well(*program.split()) == ["[[0], [1], [2], [3]]"]


def test_a_shelf_is_there_in_the_next_run(tmp_path: Path) -> None:
    program = """
        import os, shelve, signal
        with shelve.open("counts") as counts:
            counts["runs"] = counts.get("runs", 0) + 1
            print(counts["runs"], flush=True)
            if counts["runs"] < 3:
                os.kill(os.getpid(), signal.SIGKILL)
    """
    place = Place(tmp_path, {"app.py": program})
    ended = [place.start("app.py") for _ in range(3)]
    assert [(each.status, each.out) for each in ended] == [(-9, "1\n"), (-9, "2\n"), (0, "3\n")]


def test_asyncio_items_come_again(tmp_path: Path) -> None:
    program = """
        import asyncio, os, signal
        async def main():
            jobs = asyncio.Queue()
            if not jobs.qsize():
                await jobs.put("job")
                os.kill(os.getpid(), signal.SIGKILL)
            print(await jobs.get())
        asyncio.run(main())
    """
    place = Place(tmp_path, {"app.py": program})
    assert [place.start("app.py")[:2] for _ in range(2)] == [(-9, ""), (0, "job\n")]


def test_what_cant_be_stored_is_kept_in_memory_with_a_warning(tmp_path: Path) -> None:
    """Only where a queue is this process's own: what others see has to be stored."""
    program = """
        import os, queue, threading
        q = queue.Queue()
        q.put(threading.Lock())
        print(type(q.get()).__name__)
        shared = queue.Queue(name="shared")
        shared.put(1)
        print(shared.get())
        shared.task_done()
        for other in (shared, queue.Queue(volatile="raise")):
            try:
                other.put(threading.Lock())
            except TypeError:
                print("refused")
    """
    ended = Place(tmp_path, {"app.py": program}).start("app.py")
    assert (ended.status, ended.lines) == (0, ["lock", "1", "refused", "refused"])
    assert ended.errors.count("app.py:3: NotDurableWarning") == 1
