"""A store that refuses for a while, as a server that is away does: what was claimed just then is ready again behind it.

It was in the hands of the process, and in nobody's reach, for as long as that lived.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters import astray
from pqadapters.errors import StoreUnreachable
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Claim, Nack
from tests.segment.programs import PATIENCE

PLACES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "path": lambda path: {"path": path / "queue"},
    "sqlite": lambda path: {"store": f"sqlite:///{path}/queue.db"},
}


class Refusing:
    """Makes the store of a queue refuse commits, until it has refused to take a claim back twice: the call's own try,
    and one of the thread that comes behind it."""

    def __init__(self, queue: Queue[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(astray, "_AGAIN", 0.001)
        self._refusals = 0
        self._commit = queue._line.commit
        for owner in (queue._line, queue._line.store):
            monkeypatch.setattr(owner, "commit", self._committing)

    def begin(self) -> None:
        self._refusals = 2

    def _committing(self, *ops: Any, **options: Any) -> Any:
        if self._refusals:
            self._refusals -= any(isinstance(op, Nack) for op in ops)
            raise StoreUnreachable("it is away")
        return self._commit(*ops, **options)


@pytest.fixture(params=PLACES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Queue[Any]]]:
    made: list[Queue[Any]] = []

    def make(**options: Any) -> Queue[Any]:
        made.append(Queue(**PLACES[request.param](tmp_path), **options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


def test_an_item_whose_get_failed_comes_again(make: Callable[..., Queue[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with make(ack="get") as queue:
        queue.put_many(["a", "b"])
        refusing = Refusing(queue, monkeypatch)
        monkeypatch.setattr(queue._line, "look", None)  # what is looked at alone isn't claimed
        refusing.begin()
        with pytest.raises(StoreUnreachable):
            queue.get()
        assert queue._line.store.wait(queue.name, lambda depth: depth.ready == 2, PATIENCE)
        assert [queue.get(), queue.get()] == ["a", "b"]


def test_dead_letters_that_could_not_be_put_back_can_be_later(
    make: Callable[..., Queue[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(ack="task_done") as queue:
        queue.put("a")
        (claim,) = queue._line.store.claim(queue.name)
        queue._line.bury(claim, "bad")
        refusing = Refusing(queue, monkeypatch)
        refusing.begin()
        with pytest.raises(StoreUnreachable):
            queue.requeue()
        assert queue._line.store.wait(f"{queue.name}.dead", lambda depth: depth.ready == 1, PATIENCE)
        assert queue.requeue() == 1
        assert queue.get(timeout=PATIENCE) == "a"
        queue.task_done()


class _Away:
    """A store that can't be reached."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def commit(self, *ops: Any, **options: Any) -> Any:
        self.asked.set()
        raise StoreUnreachable("it is away")


def test_who_waits_to_give_something_back_keeps_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its claims end with it."""
    monkeypatch.setattr(astray, "_AGAIN", 0.2)
    store: Any = _Away()
    asked, ref = store.asked, weakref.ref(store)
    astray.give_back_later(store, [Claim("q", 1, 1, b"", b"", 0.0, "")])
    assert asked.wait(PATIENCE)  # else it may be gone before anybody has begun to wait
    del store
    wait_until(lambda: ref() is None)
    wait_until(lambda: not any(thread.name == "pqadapters-astray" for thread in threading.enumerate()))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
