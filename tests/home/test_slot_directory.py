"""The directory of the slots: whose it is, its lock, forks, and the note that stands in it."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreLocked, StoreRefused
from pqadapters.stores import _directory
from pqadapters.stores._directory import try_lock
from pqadapters.stores.segment import slots as module
from pqadapters.stores.segment.slots import Slots

from ..crash.faulty import FaultyDisk
from .world import PATIENCE, Child, child, open_slots


def test_directories_are_their_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "volume"
    home.mkdir()
    os.chmod(home, 0o2775)
    application = home / "app"
    application.mkdir()
    os.chmod(application, 0o2775)
    slots = open_slots(application / "place-0")
    slot = slots.take()
    slots.add_to_note({"place": "here"})
    assert stat.S_IMODE(home.stat().st_mode) == 0o2775
    for path in (application, application / "place-0", Path(slot.directory)):
        assert stat.S_IMODE(path.stat().st_mode) & 0o777 == 0o700, path
    for file in (application / "place-0").rglob("*"):
        assert file.is_dir() or stat.S_IMODE(file.stat().st_mode) == 0o600, file


@pytest.mark.parametrize("level", ["app", "place-0"])
def test_a_directory_of_somebody_else_is_refused_unless_trusted(
    tmp_path: Path, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "app" / "place-0"
    place.mkdir(parents=True, mode=0o700)
    real = os.stat

    def theirs(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        info = real(path, *rest, **options)
        return os.stat_result((*info[:4], 12345, *info[5:])) if str(path).endswith(level) else info

    monkeypatch.setattr("pqadapters.stores.segment.directory.os.stat", theirs)
    with pytest.raises(StoreRefused, match=r"user 12345.*trust_directory"):
        Slots(str(place)).prepare()
    Slots(str(place), trust_directory=True).prepare()


@pytest.mark.parametrize("level", ["volume", "volume/app", "volume/app/place-0"])
def test_a_link_to_a_directory_that_isnt_there_yet(tmp_path: Path, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory seemed to be there, and its lock was waited for as if another process had it."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    link = tmp_path / level
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere" / "deep")
    slot = open_slots(tmp_path / "volume" / "app" / "place-0").take()
    assert Path(slot.directory).resolve().is_relative_to(tmp_path / "elsewhere" / "deep")


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("")
    with pytest.raises((StoreRefused, DiskError), match="app"):
        Slots(str(tmp_path / "app" / "place-0")).prepare()


def test_a_lock_of_the_directory_that_is_held_for_too_long(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the process that holds it."""

    def hold(me: Child) -> None:
        with open_slots(place)._locked():
            me.say("held")
            me.hear()

    with child(hold) as holder:
        assert holder.hear() == "held"
        monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.0)
        with pytest.raises(StoreLocked, match=str(holder.pid)) as caught:
            open_slots(place).take()
        assert caught.value.pid == holder.pid
        holder.say("end")
        holder.wait()
    open_slots(place).take()


def test_a_lock_that_goes_from_hand_to_hand_is_waited_for(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred children that put at once had it for longer than five seconds in all, and puts of theirs failed."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 1e-6)
    taken = iter([3, 4, 5, 5])
    monkeypatch.setattr(module, "_taken", lambda file: next(taken))
    monkeypatch.setattr(module, "holder", lambda file: 5)
    monkeypatch.setattr(module, "_QUEUE", 1 << 40)
    monkeypatch.setattr(module, "try_lock", lambda *args: None)
    slots = open_slots(place)
    with pytest.raises(StoreLocked, match="process 5") as caught:
        slots.take()
    assert caught.value.pid == 5
    assert not list(taken)


def test_who_waits_for_a_lock_tries_less_and_less_often(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four hundred processes that put at once many were refused: they tried each 5 ms, and took both cores from
    those whose turn it was."""
    slots, tries, pauses = open_slots(place), count(), list[float]()
    slots.prepare()
    monkeypatch.setattr(module, "try_lock", lambda *args: try_lock(*args) if next(tries) >= 50 else None)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=pauses.append))
    slot = slots.take()
    slot.store.close()
    assert len(pauses) == 50
    assert sum(pauses[-10:]) > 4 * sum(pauses[:10])
    assert max(pauses[:3]) < 0.02
    assert max(pauses) < 0.2


def test_time_in_which_a_process_was_stopped_is_not_waited_for_a_lock(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes of a container stop at a time, whoever has the lock among them: each of the others gave up."""
    slots, now, tries = open_slots(place), [1000.0], iter([False] * 3 + [True])
    slots.prepare()

    def sleep(seconds: float) -> None:
        now[0] += 60.0 if now[0] == 1000.0 else seconds

    def trying(*args: Any) -> Any:
        return try_lock(*args) if next(tries) else None

    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(_directory, "SYSTEM", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(module, "try_lock", trying)
    with slots._locked():
        assert now[0] > 1060.0


def test_no_lock_outlives_its_process_in_a_child(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forked while one thread has the directory's lock and another a slot: the child lives on, and holds neither."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.5)
    slots = open_slots(place)
    slot = slots.take()
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with slots._locked():
            held.set()
            go_on.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(PATIENCE)

    def live_on(me: Child) -> None:
        me.say("here")
        me.hear()
        me.say(open_slots(place).take().directory)
        me.hear()

    with child(live_on) as process:
        assert process.hear() == "here"
        go_on.set()
        thread.join()
        slots.leave(slot, empty=False)
        again = slots.take()
        assert again.directory == slot.directory
        process.say("take one")
        assert process.hear() == str(place / "1")
        again.store.discard()


def test_facts_are_noted_beside_those_that_are_there(place: Path) -> None:
    slots = open_slots(place)
    assert slots.note() == {}
    slots.add_to_note({"place": "__main__.main", "index": 0, "title": "größer \udce4"})
    slots.add_to_note({"ack": "next", "index": 1})
    assert open_slots(place).note() == {"place": "__main__.main", "index": 1, "title": "größer \udce4", "ack": "next"}


def test_processes_that_note_at_once_all_have_their_say(place: Path) -> None:
    def note(me: Child) -> None:
        slots = open_slots(place)
        while (number := me.hear()) != "end":
            slots.add_to_note({f"{me.pid}-{number}": True})
            me.say("noted")

    with ExitStack() as stack:
        writers = [stack.enter_context(child(note)) for _ in range(4)]
        for number in range(20):
            for writer in writers:
                writer.say(number)
            assert [writer.hear() for writer in writers] == ["noted"] * 4
    assert set(open_slots(place).note()) == {f"{writer.pid}-{n}" for writer in writers for n in range(20)}


LONG = b" " * (1 << 20) + b'{"a": 1}'
BAD_NOTES = [LONG, b"", b"{", b"[1, 2]", b"\xff\xfe", b"null", b"3", b"[" * 100_000, b'{"a": 1}trailing', b"\0" * 50]


@pytest.mark.parametrize("content", BAD_NOTES, ids=lambda content: repr(content[:10]))
def test_a_note_that_cant_be_read_is_ignored_and_written_anew(place: Path, content: bytes) -> None:
    slots = open_slots(place)
    (place / "note").write_bytes(content)
    assert slots.note() == {}
    slots.add_to_note({"ack": "next"})
    assert slots.note() == {"ack": "next"}


def test_a_note_that_cant_be_written_is_an_error_with_a_name(place: Path) -> None:
    slots = open_slots(place)
    (place / "note").mkdir()
    assert slots.note() == {}
    with pytest.raises(DiskError, match="note something") as caught:
        slots.add_to_note({"ack": "next"})
    assert caught.value.filename == str(place)


def test_a_pipe_in_place_of_the_note_is_waited_for_by_nobody(place: Path) -> None:
    slots = open_slots(place)
    os.mkfifo(place / "note")
    writer = os.open(place / "note", os.O_RDWR)  # without one the test would stand still where the code does
    try:
        os.write(writer, b'{"a": 1}')
        assert slots.note() == {}
    finally:
        os.close(writer)


def test_a_note_is_on_the_disk_before_it_has_its_name(place: Path) -> None:
    """A power cut would leave an empty one in the place of what all processes knew."""
    slots = open_slots(place, disk := FaultyDisk(str(place)))
    slots.add_to_note({"ack": "next"})
    done = [action.kind for action in disk.actions if action.name == "note.tmp" or action.kind == "sync_directory"]
    assert done == ["create", "write", "sync", "rename", "sync_directory"]
