"""A disk that is really full: submit says so and has stored nothing, what is on disk is done, and shutdown comes back.

As in tests/crash the disk is a small tmpfs, filled by another file; beside it the same where a write is refused.
"""

from __future__ import annotations

import errno
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import ThreadPoolExecutor
from pqadapters.errors import DiskError
from tests.crash.test_full_disk import fill

from . import work
from .harness import App

CAPACITY = 8 << 20


@pytest.fixture(params=["segment", "sqlite"])
def place(request: pytest.FixtureRequest, small: Path) -> dict[str, Any]:
    if request.param == "segment":
        return {"path": small / "jobs", "durability": "process"}
    return {"store": f"sqlite:///{small}/jobs.db?durability=process"}


def submit_until_full(executor: ThreadPoolExecutor, **options: Any) -> list[Future[Any]]:
    """The futures of what was submitted, numbered from 0 on."""
    futures: list[Future[Any]] = []
    with pytest.raises(DiskError, match="No space left") as caught:
        while True:
            number = len(futures)
            with_options = executor.using(key=number, **options) if options else executor
            futures.append(with_options.submit(work.numbered, number, bytes(2000)))
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    return futures


@pytest.mark.parametrize("options", [{}, {"result_ttl": 60.0}], ids=["plain", "keyed"])
def test_what_was_submitted_is_done_and_the_executor_goes_on(
    small: Path, place: dict[str, Any], options: dict[str, Any]
) -> None:
    executor = ThreadPoolExecutor(2, **place)
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    held_too = executor.submit(work.hold, "gate")
    work.reached("gate")
    ballast = fill(small)
    futures = submit_until_full(executor, **options)
    assert executor.stats()["pending"] == len(futures) > 0
    work.GATES["gate"].set()
    assert (held.result(work.PATIENCE), held_too.result(work.PATIENCE)) == ("gate", "gate")
    ballast.unlink()
    assert [future.result(work.PATIENCE) for future in futures] == list(range(len(futures)))
    assert executor.submit(work.double, 2).result(work.PATIENCE) == 4
    executor.shutdown()
    with ThreadPoolExecutor(1, recover="manual", **place) as another:
        assert list(another.jobs()) == []


def test_a_full_disk_is_drained(small: Path, place: dict[str, Any]) -> None:
    """Nobody frees anything: what is done makes the room."""
    executor = ThreadPoolExecutor(2, **place)
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    fill(small)
    futures = submit_until_full(executor)
    work.GATES["gate"].set()
    held.result(work.PATIENCE)
    executor.shutdown()
    assert [future.result(0) for future in futures] == list(range(len(futures)))


@pytest.mark.parametrize("how", [{"drain": False}, {"wait": False, "drain": False}, {"cancel_futures": True}])
def test_shutdown_on_a_full_disk(small: Path, place: dict[str, Any], how: dict[str, Any]) -> None:
    executor = ThreadPoolExecutor(1, **place)
    held = executor.submit(work.hold, "gate")
    work.reached("gate")
    ballast = fill(small)
    futures = submit_until_full(executor)
    work.GATES["gate"].set()
    executor.shutdown(**how)
    assert held.result(work.PATIENCE) == "gate"
    assert all(future.done() or future.cancel() for future in futures)
    ballast.unlink()
    with ThreadPoolExecutor(1, **place) as another:
        left = [future.result(work.PATIENCE) for future in another.recovered()]
    done = {future.result(0) for future in futures if not future.cancelled()}
    expected = set() if "cancel_futures" in how else set(range(len(futures))) - done
    assert expected <= set(left)


PROGRAM = """
from tests.crash.test_full_disk import fill
from pathlib import Path
from tests.executors import work

small, ledger, where = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
place = {"path": small / "jobs"} if where == "segment" else {"store": f"sqlite:///{small}/jobs.db"}

def note(number, filling):
    work.append(ledger, number)

def wait_for_the_end():
    say("holds")
    time.sleep(600)

if sys.argv[4] == "fills":
    executor = ThreadPoolExecutor(1, **place)
    executor.submit(wait_for_the_end)
    number = 0
    try:
        while True:
            executor.submit(note, number, bytes(1000))
            number += 1
            if number == 20:
                fill(small)
    except OSError as error:
        say("full", number, error)
    hear()
else:
    def wait_for_the_end():
        pass
    with ThreadPoolExecutor(2, **place) as executor:
        for future in as_completed(executor.recovered()):
            future.result()
"""


@pytest.mark.parametrize("where", ["segment", "sqlite"])
def test_a_process_that_is_killed_on_a_full_disk(small: Path, tmp_path: Path, where: str) -> None:
    app = App(tmp_path, PROGRAM)
    ledger = tmp_path / "ledger"
    with app.start(str(small), str(ledger), where, "fills") as run:
        count = int(run.until("full").split()[1])
        run.until("holds") if "holds" not in run.said else None
        run.kill()
    (small / "ballast").unlink()
    with app.start(str(small), str(ledger), where, "goes on") as run:
        run.end()
    assert sorted(map(int, ledger.read_text().split())) == list(range(count))
