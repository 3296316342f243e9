"""Turns of threads at the connection that writes, where nothing is synced."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import StoreLocked
from pqadapters.resting import Call, Rest
from pqadapters.store import Put
from pqadapters.stores import _line, _turns
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.work import Work

from ..contract.threads import together

resource = pytest.importorskip("resource")  # not on Windows

_PUTS = 400


def test_threads_that_put_are_no_convoy(tmp_path: Path) -> None:
    """Where each put is handed to whoever leads, it takes two switches of threads and more. A third is usual here."""

    def put() -> None:
        for _ in range(_PUTS):
            store.commit(Put("q", b"x" * 40))

    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        together([put] * 8, patience=60)
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before) / (8 * _PUTS) < 1.5
        assert store.depth("q").ready == 8 * _PUTS


def test_who_doesnt_take_turns_keeps_nobody_out(tmp_path: Path) -> None:
    """Some have their puts synced, some have little time, and one comes now and then."""
    rested = threading.Event()

    def hurry(store: SqliteStore, timeout: float | None) -> Callable[[], None]:
        def work() -> None:
            while not rested.is_set():
                with suppress(StoreLocked):  # that time may be over, on a slow machine
                    store.commit(Put("busy", b"x"), timeout=timeout)

        return work

    def rest() -> None:
        for _ in range(30):
            store.commit(Put("q", b"x"))
            rested.wait(0.001)
        assert store.depth("q").ready == 30
        rested.set()

    path = tmp_path / "q.db"
    with SqliteStore(path, durability="process") as store, SqliteStore(path, durability="power") as synced:
        together([hurry(store, None), hurry(store, 0.4), hurry(synced, None), rest], patience=60)


@pytest.mark.parametrize(
    ("durability", "makes_way", "called"),
    [("process", True, []), ("process", False, ["LOOK"]), ("power", True, ["LOOK"])],
)
def test_who_passes_by_calls_those_back_that_made_way(
    durability: str, makes_way: bool, called: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has its puts synced takes no turns."""
    calls: list[str] = []
    monkeypatch.setattr(Rest, "call", lambda rest, call=Call.LOOK: calls.append(call.name))
    monkeypatch.setattr(_line, "give_way", lambda line, asks: makes_way)
    with SqliteStore(tmp_path / "q.db", durability=durability) as store:
        store.commit(Put("q", b"x"))
        assert calls == []
        store._core.writer.aside = 1
        store.commit(Put("q", b"x"))
        assert calls == called


def test_who_has_had_a_turn_hands_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(Rest, "call", lambda rest, call=Call.LOOK: calls.append(call.name) or True)
    monkeypatch.setattr(Rest, "sleep", lambda rest, seconds: calls.append("sleeps") or Call.TURN)
    monkeypatch.setattr(_turns, "_comes_now_and_then", lambda line: False)
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        writer = store._core.writer
        writer.aside, writer.since = 1, float("inf")
        store.commit(Put("q", b"x"))
        assert calls == []
        writer.since = 0.0
        store.commit(Put("q", b"x"))
        assert calls == ["TURN", "sleeps"]


class _Interrupting(deque[Any]):
    """A signal handler raises right behind an append."""

    def append(self, work: Any) -> None:
        super().append(work)
        raise KeyboardInterrupt


def test_nobody_waits_who_was_interrupted_on_the_way(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        writer = store._core.writer
        store.commit(Put("q", b"x"))
        writer._pending = _Interrupting()
        with pytest.raises(KeyboardInterrupt):
            store.commit(Put("q", b"y"))
        assert not writer.is_busy()
        writer._pending = deque()


@pytest.mark.parametrize(
    ("synced", "timeout", "turns"),
    [(False, None, True), (False, 3.0, True), (False, 0.0, False), (False, 0.2, False), (True, None, False)],
)
def test_who_takes_turns(synced: bool, timeout: float | None, turns: bool, tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "q.db") as store:
        writer = store._core.writer
        work = Work(lambda connection: None, synced=synced, timeout=timeout)
        assert writer.takes_turns(work) is turns
        store.commit(Put("q", b"synced"))
        assert not writer.takes_turns(work)  # it goes along with those that are synced


def test_it_is_known_how_many_wait(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        writer = store._core.writer
        found = list[int]()
        store.commit(Put("q", b"x"), stop=lambda: found.append(writer.in_line()) is not None)
        assert (found, writer.in_line()) == ([1], 0)
