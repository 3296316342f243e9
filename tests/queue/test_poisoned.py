"""A queue whose store can't be used any more: each call is told so, and nothing of a call is kept."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import traceback
import weakref
from pathlib import Path

import pytest

from pqadapters.errors import StorePoisoned
from pqadapters.stdlib.queue import Queue


class Item(str):
    """An item that can be seen to go."""


@pytest.fixture(params=["file://{}/store", "sqlite:///{}/store/q.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "store").mkdir(mode=0o700)
    found: str = request.param.format(tmp_path)
    return found


def _refused(queue: Queue[str]) -> tuple[int, weakref.ref[Item]]:
    """How many frames the error of a put has, and the item, to see whether it is kept."""
    item = Item("item")
    gone = weakref.ref(item)
    with pytest.raises(StorePoisoned) as caught:
        queue.put(item)
    return len(traceback.extract_tb(caught.value.__traceback__)), gone


def test_a_poisoned_store_keeps_nothing_of_the_calls_that_it_refuses(url: str, tmp_path: Path) -> None:
    """It was one exception for all of them, which had the frames of each: a log handler on such a store printed longer
    and longer tracebacks, and its memory grew."""
    queue = Queue[str](store=url, durability="power")
    queue.put("one")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(StorePoisoned):
        for _ in range(2):
            queue.put("two")
    found = [_refused(queue) for _ in range(6)]
    gc.collect()
    assert len({frames for frames, _ in found}) == 1
    assert [gone() for _, gone in found] == [None] * 6
    queue.close()


def _refuses_syncs(fd: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("durability", ["power", "process&max_lag=1000"])
def test_a_poisoned_store_goes_with_its_last_queue(url: str, durability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason that it kept had the frames of the call that had failed, with the queue in one of them: who let go of
    it without a close, and made it anew, was refused until the process ended."""

    def use() -> None:
        queue = Queue[str](store=f"{url}?durability={durability}")
        queue.put("one")
        with monkeypatch.context() as patch, pytest.raises(StorePoisoned):
            patch.setattr(os, "fdatasync", _refuses_syncs)
            queue.put("two")
            queue._line.store.sync()

    use()
    gc.collect()
    with Queue[str](store=url) as queue:
        assert queue.get_nowait() == "one"
