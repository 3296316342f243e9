"""The lock of a directory of slots: interrupts don't leave it behind, finalizers come through, and it may go."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stores._disk import Disk, ScratchDisk
from pqadapters.stores.segment import directory as directories
from pqadapters.stores.segment.slots import Slots

from .world import Child, child, open_slots, put


class Interrupt(BaseException):
    """What a signal handler raises."""


class Interrupted(ScratchDisk):
    """Raises at the nth call, behind it or before it: but for the one step that opens or closes a descriptor."""

    def __init__(self, nth: int, behind: bool) -> None:
        self.left, self.behind = nth, behind

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in vars(Disk) or not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            counts = name != ("open" if self.behind else "close")
            self.left -= counts
            if counts and not self.left and not self.behind:
                raise Interrupt
            result = found(*args, **options)
            if counts and not self.left and self.behind:
                raise Interrupt
            return result

        return call


@pytest.mark.parametrize("behind", [False, True])
def test_an_interrupt_anywhere_leaves_no_lock_behind(tmp_path: Path, behind: bool) -> None:
    """The next call of the same process neither waits for it nor passes the slot over."""
    for nth in itertools.count(1):
        place = tmp_path / f"place-{nth}"
        disk = Interrupted(0, behind)
        slots = open_slots(place, disk)
        disk.left = nth
        interrupted = False
        slot = None
        try:
            slot = slots.take()
            slot.store.commit(put("item"))
            slots.leave(slot, empty=False)
        except Interrupt:
            interrupted = True
            if slot is not None:
                slot.store.discard()
        del slot
        if not interrupted:
            break
        with _no_waiting():
            again = open_slots(place).take()
            again.store.commit(put("item"))
            assert len(list(place.glob("[0-9]*"))) == 1
            again.store.discard()
    assert nth > 15


@contextmanager
def _no_waiting() -> Iterator[None]:
    """No lock is waited for: it would be our own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pqadapters.stores.segment.slots.LOCK_TIMEOUT", -1.0)
        yield


def test_a_finalizer_in_the_middle_may_use_the_same_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = open_slots(tmp_path / "place-0")
    first, second = slots.take(), slots.take()
    write = Slots._write_note

    def with_a_finalizer(self: Slots, facts: dict[str, Any]) -> None:
        monkeypatch.setattr(Slots, "_write_note", write)
        slots.leave(second, empty=True)
        write(self, facts)

    monkeypatch.setattr(Slots, "_write_note", with_a_finalizer)
    with _no_waiting():
        assert slots.add_to_note({"fact": 1})
        assert os.path.isdir(first.directory)
        assert not os.path.isdir(second.directory)
        assert slots.note() == {"fact": 1}
        slots.leave(first, empty=True)


def test_a_directory_without_slots_may_go_and_come_again(tmp_path: Path) -> None:
    slots = open_slots(tmp_path / "place-20")
    slot = slots.take()
    slots.add_to_note({"fact": 1})
    slots.remove()
    assert os.path.isdir(slot.directory)
    slots.leave(slot, empty=True)
    slots.remove()
    assert not os.path.exists(slots.directory)
    slots.remove()
    again = slots.take()
    assert (os.path.isdir(again.directory), slots.note()) == (True, {})
    slots.leave(again, empty=True)


def test_who_waits_for_a_directory_that_goes_makes_it_anew(tmp_path: Path) -> None:
    """The lock that it gets in the end is that of the directory that is there, never of one that is gone."""
    place = tmp_path / "place-20"
    slots = open_slots(place)
    lock = place / directories.LOCK

    def wait(me: Child) -> None:
        assert me.hear() == "it is locked"  # else it may be there first
        me.say("ready")
        slot = open_slots(place).take()
        slot.store.commit(put("mine"))
        me.say(slot.directory)
        me.hear()

    with child(wait) as process, slots._locked():
        process.say("it is locked")
        assert process.hear() == "ready"
        lock.unlink()
        with suppress(OSError):  # it may have made another one
            place.rmdir()
        assert Path(process.hear()).parent == place
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pqadapters.stores.segment.slots._doors", {})
            found = [each.pid for each in open_slots(place).look()]
        assert found == [process.pid]
