"""Unnamed queues and fork: a child has a slot of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.home.adoption import QUEUE
from pqadapters.store import Ack
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.segment.slots import Slots
from tests.queue.background import Background

from .world import (
    PATIENCE,
    Child,
    child,
    leave,
    private,
    put,
    ready,
    tree,
    two_slots,
)


def test_a_forked_child_goes_on_with_a_slot_of_its_own(place: Path, restart: Callable[[], None]) -> None:
    leave(place, put("old"))
    store = private()
    assert ready(store) == ["old"]
    (claim,) = store.claim(QUEUE)
    before = tree(place / "0")

    def go_on(me: Child) -> None:
        me.say(store.place)
        me.say(tree(place / "0") == before)
        store.commit(put("the child's"))
        me.say(store.place)
        me.say(", ".join(ready(store)))
        me.hear()
        store.close()

    with child(go_on) as process:
        assert "nothing was put yet" in process.hear()
        assert process.hear() == "True", "the child has written to its parent's slot"
        assert process.hear() == str(place / "1")
        assert process.hear() == "the child's"
        store.commit(put("the parent's"), Ack(claim))
        assert ready(store) == ["the parent's"]
        process.say("end")
        assert process.wait() == 0
    store.close()
    restart()
    after = private()
    assert sorted(ready(after)) == ["the child's", "the parent's"]
    after.close()



@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc here")
def test_a_forked_child_keeps_no_file_of_its_parents_slot_open(place: Path) -> None:
    """Its store is dropped before anybody has told it of the fork."""
    store = private()
    store.commit(put("the parent's"))

    def look(me: Child) -> None:
        found = [each.path for each in [*os.scandir("/proc/self/fd")] if os.path.islink(each.path)]
        me.say([name for name in map(os.readlink, found) if name.startswith(str(place))])

    with child(look) as process:
        assert process.hear() == "[]"
        assert process.wait() == 0
    assert ready(store) == ["the parent's"]
    store.close()


def test_a_child_lets_its_parents_slot_alone_whatever_its_threads_do(place: Path) -> None:
    """The parent's store is dropped in the child before anything else: without a checkpoint, a mark, or a wait for the
    lock that a thread of the parent had."""
    store = private()
    store.commit(put("the parent's"))
    ready(store)
    core = store._slot.store._core  # type: ignore[union-attr]
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with core.lock:
            locked.set()
            assert go_on.wait(PATIENCE)

    holder = Background(hold)
    assert locked.wait(PATIENCE)
    before = tree(place)
    with child(lambda me: me.say("alive")) as process:
        assert process.hear() == "alive"
        assert process.wait() == 0
    assert tree(place) == before
    go_on.set()
    holder.result()
    store.close()


@pytest.mark.parametrize("when", ["takes a slot", "adopts", "commits"])
def test_a_fork_while_another_thread_is_at_it(place: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """The child goes on at once, and no lock of the parent's lives on in it."""
    monkeypatch.setattr("pqadapters.stores.segment.slots.LOCK_TIMEOUT", PATIENCE)
    two_slots(place)
    store = private()
    reached, go_on = threading.Event(), threading.Event()

    def hold_up(*args: Any) -> None:
        if threading.current_thread() is not threading.main_thread() and not reached.is_set():
            reached.set()
            assert go_on.wait(PATIENCE)

    owner, name = {
        "takes a slot": (Slots, "_open"),
        "adopts": (Slots, "_rename"),
        "commits": (SegmentStore, "commit"),
    }[when]
    original = getattr(owner, name)

    def held(*args: Any, **options: Any) -> Any:
        hold_up()
        return original(*args, **options)

    monkeypatch.setattr(owner, name, held)
    thread = Background(lambda: ready(store) if when == "adopts" else store.commit(put("new")))
    assert reached.wait(PATIENCE)

    def live_on(me: Child) -> None:
        store.commit(put("the child's"))
        me.say(store.place)
        me.hear()
        store.close()

    with child(live_on) as process:
        if when == "commits":  # else the directory's lock is the parent's, and the child waits for it
            assert process.hear().startswith(str(place))
        go_on.set()
        thread.result()
        assert when == "commits" or process.hear().startswith(str(place))
        mine = store.place
        store.close()
        again = private()
        again.commit(put("again"))
        assert again.place == mine, "the slot's lock has outlived its store"
        again.close()
        process.say("end")
        assert process.wait() == 0
