"""A connection of multiprocessing isn't stored: a copy closed the descriptor under it, which was a database's then."""

from __future__ import annotations

import pickle as stdlib
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from pqadapters.concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pqadapters.errors import NotDurableWarning, NotSerializable
from pqadapters.serializers import pickle
from pqadapters.stdlib import shelve
from pqadapters.stdlib.queue import Queue


def _send(connection: Any) -> None:
    connection.send("sent")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("sort_keys", [False, True])
def test_it_is_refused_wherever_it_is(protocol: int, sort_keys: bool) -> None:
    for end in Pipe():
        for value in (end, ("job", end), {"reply": [end]}, [("multiprocessing.connection", end)], ("Connection", end)):
            with pytest.raises(stdlib.PicklingError, match="a connection of multiprocessing can't be stored"):
                pickle.dumps(value, sort_keys, protocol=protocol)


def test_who_only_speaks_of_it_isnt() -> None:
    for value in (["multiprocessing.connection", "Connections"], f"{Pipe()[0]!r}" * 20, {"a": repr(Pipe()[1])}):
        assert stdlib.loads(pickle.dumps(value)) == value


def test_a_queue_refuses_it_or_keeps_it_as_it_is(tmp_path: Path) -> None:
    here, there = Pipe()
    q: Queue[Any] = Queue(path=tmp_path / "q")
    with pytest.raises(NotSerializable, match="connection of multiprocessing"):
        q.put(there)
    kept: Queue[Any] = Queue(path=tmp_path / "kept", volatile="warn")
    with pytest.warns(NotDurableWarning):
        kept.put(there)
    item = kept.get()
    assert item is there
    item.send("sent")
    assert here.recv() == "sent"


@pytest.mark.filterwarnings("ignore::pqadapters.errors.NotDurableWarning")
@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_hands_it_on_from_memory(kind: Any, tmp_path: Path) -> None:
    here, there = Pipe()
    with kind(1, path=tmp_path) as executor:
        future = executor.submit(_send, there)
        assert (future.result(60), future.durable) == (None, False)
    assert here.recv() == "sent"


def test_a_shelf_refuses_it(tmp_path: Path) -> None:
    with shelve.open(tmp_path / "shelf") as shelf:
        with pytest.raises(stdlib.PicklingError, match="connection of multiprocessing"):
            shelf["end"] = Pipe()[0]
        assert not len(shelf)
