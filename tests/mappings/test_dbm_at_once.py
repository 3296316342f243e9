"""A dbm file that several move over at once, as processes or threads: one goes on, and nothing is lost."""

from __future__ import annotations

import importlib
import os
import shelve as theirs
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from pqadapters.errors import StoreLocked
from pqadapters.stdlib import shelve
from pqadapters.stdlib._mappings import readable
from pqadapters.stdlib._mappings.dbm import ShelfError
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.database import rest
from pqadapters.stores.sqlite.takeover import conversion
from pqadapters.stores.sqlite.takeover.conversion import Conversion
from tests.home.world import PATIENCE, Child, child

from .test_dbm import KINDS

VALUES = {f"key {n}": n for n in range(20)}


def _theirs(kind: str, path: str, flag: str) -> Any:
    return theirs.Shelf(importlib.import_module(kind).open(path, flag))


@pytest.fixture(params=KINDS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The name of a shelf, and which of the modules has made it."""
    path = str(tmp_path / "old")
    with _theirs(request.param, path, "c") as shelf:
        shelf.update(VALUES)
    return path, request.param


def _items(path: str, kind: str) -> dict[str, Any]:
    with _theirs(kind, path, "r") as shelf:
        return dict(shelf)


def _files(path: str) -> list[str]:
    """Those in its directory, but for what SQLite makes in reading."""
    return sorted(name for name in os.listdir(os.path.dirname(path)) if not name.endswith(("-shm", "-wal")))


def _check_moved(path: str, kind: str) -> None:
    with shelve.DbfilenameShelf[Any](path) as shelf:
        assert dict(shelf) == VALUES
        assert shelf._table.store.damage == ()
    assert _items(f"{path}.old", kind) == VALUES
    assert not any("new-shelf" in name for name in _files(path))


def _tell_of_waiting(tell: Callable[[], object]) -> None:
    """In a process that is to end: once it waits for others that are at it."""
    real, told = rest, False

    def tell_once(pause: float) -> float:
        nonlocal told
        if not told:
            told = True
            tell()
        return real(pause)

    conversion.rest = tell_once  # type: ignore[attr-defined]


def _held_up(path: str) -> Callable[[Child], None]:
    """For a child: all has arrived in the new file, which takes the old one's place when it hears a word."""

    def move(me: Child) -> None:
        real = shelve.DbfilenameShelf.sync

        def wait(shelf: shelve.DbfilenameShelf[Any]) -> None:
            real(shelf)
            me.say("all but moved")
            me.hear()

        shelve.DbfilenameShelf.sync = wait  # type: ignore[method-assign, assignment]
        assert shelve.migrate(path) == len(VALUES)

    return move


def _second(path: str, call: Callable[[], object]) -> Callable[[Child], None]:
    """For a child: says "waits" where it has to, "reads" where it doesn't, and what came of the call."""

    def move(me: Child) -> None:
        real, empty = readable.pairs_of, shelve.DbfilenameShelf.clear  # type: ignore[attr-defined]

        def read(*args: Any) -> Any:
            me.say("reads")
            me.hear()
            return real(*args)

        def clear(shelf: shelve.DbfilenameShelf[Any]) -> None:
            empty(shelf)
            cast("SqliteStore", shelf._table.store).checkpoint()  # as its keeper does once the WAL is large

        readable.pairs_of = read  # type: ignore[attr-defined, assignment]
        shelve.DbfilenameShelf.clear = clear  # type: ignore[method-assign, assignment]
        _tell_of_waiting(lambda: me.say("waits"))
        try:
            me.say(call())
        except ShelfError as error:
            me.say(error)

    return move


def test_of_two_processes_one_waits(old: tuple[str, str]) -> None:
    """The second cleared the new file just before the first put it into its place: an empty shelf, and a success."""
    path, kind = old
    with child(_held_up(path)) as first:
        assert first.hear() == "all but moved"
        with child(_second(path, lambda: shelve.migrate(path))) as second:
            word = second.hear()
            first.say("go on")
            assert first.wait() == 0
            _check_moved(path, kind)
            assert word == "waits"
            assert "was moved over by another process or thread meanwhile" in second.hear()
            assert second.wait() == 0
    _check_moved(path, kind)


def test_a_new_one_waits_for_who_moves_the_old_one(old: tuple[str, str]) -> None:
    """What was set in it was gone when the other one took its place."""
    path, kind = old

    def begin() -> str:
        with shelve.open(path, "n") as shelf:
            shelf["new"] = 1
        return "set"

    with child(_held_up(path)) as first:
        assert first.hear() == "all but moved"
        with child(_second(path, begin)) as second:
            assert second.hear() == "waits"
            first.say("go on")
            assert first.wait() == 0
            assert second.hear() == "set"
    with shelve.open(path) as shelf:
        assert dict(shelf) == {"new": 1}
    assert _items(f"{path}.old", kind) == VALUES


def test_who_waits_goes_on_where_the_first_is_killed(old: tuple[str, str]) -> None:
    path, kind = old
    with child(_held_up(path)) as first:
        assert first.hear() == "all but moved"
        with child(_second(path, lambda: shelve.migrate(path))) as second:
            assert second.hear() == "waits"
            first.kill(signal.SIGKILL)
            assert second.hear() == "reads"
            second.say("go on")
            assert second.hear() == str(len(VALUES))
            assert second.wait() == 0
    _check_moved(path, kind)


class _Refused(Exception):
    pass


@pytest.mark.parametrize("refused", [False, True], ids=["done", "refused"])
def test_of_two_threads_one_waits(old: tuple[str, str], monkeypatch: pytest.MonkeyPatch, refused: bool) -> None:
    """Who was refused takes away what was its own, and nothing of the other's."""
    path, kind = old
    begun, waits = threading.Event(), threading.Event()
    results: dict[str, Any] = {}
    monkeypatch.setattr(conversion, "rest", rest)  # it is put back at the end
    _tell_of_waiting(waits.set)

    def hold_up(more: int) -> None:
        begun.set()
        assert waits.wait(PATIENCE)
        if refused:
            raise _Refused

    def move(name: str, progress: Callable[[int], None] | None) -> None:
        try:
            results[name] = shelve.migrate(path, progress=progress)
        except (_Refused, ShelfError) as error:
            results[name] = type(error)

    first = threading.Thread(target=move, args=("first", hold_up))
    second = threading.Thread(target=move, args=("second", None))
    first.start()
    assert begun.wait(PATIENCE)
    second.start()
    for thread in (first, second):
        thread.join(2 * PATIENCE)
    done = len(VALUES)
    assert results == ({"first": _Refused, "second": done} if refused else {"first": done, "second": ShelfError})
    _check_moved(path, kind)


def test_who_has_waited_long_is_told(old: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, kind = old
    monkeypatch.setattr(conversion, "_PATIENCE", 0.0)
    with child(_held_up(path)) as first:
        assert first.hear() == "all but moved"
        before = _files(path)
        with pytest.raises(StoreLocked, match="old is being converted by another process; try again") as caught:
            shelve.migrate(path)
        assert caught.value.pid == first.pid
        assert _files(path) == before
        first.say("go on")
        assert first.wait() == 0
    _check_moved(path, kind)


def test_nothing_is_left_behind_by_who_is_refused(old: tuple[str, str]) -> None:
    path, kind = old
    before = _files(path)

    def refuse(more: int) -> None:
        assert _files(path) != before
        raise _Refused

    with pytest.raises(_Refused):
        shelve.migrate(path, progress=refuse)
    assert _files(path) == before
    os.mkdir(f"{path}-owners")
    Path(f"{path}-owners", "reserve").touch()
    with pytest.raises(_Refused):
        shelve.migrate(path, progress=refuse)
    assert os.listdir(f"{path}-owners") == ["reserve"]
    assert _items(path, kind) == VALUES


def test_nothing_is_left_behind_by_a_new_one_that_is_refused(
    old: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, kind = old
    before = _files(path)

    def refuse(*_: object) -> None:
        assert _files(path) != before
        raise PermissionError("not by you")

    with monkeypatch.context() as patch:
        patch.setattr("pqadapters.stdlib._mappings.dbm.remove", refuse)
        with pytest.raises(PermissionError):
            shelve.open(path, "n")
    assert _files(path) == before
    assert _items(path, kind) == VALUES


class _TakenAway(Disk):
    """The first one gives up, and takes its lock away, just before ours is opened, or taken."""

    def __init__(self, first: Conversion, when: str) -> None:
        self._first: Conversion | None = first
        self._when = when

    def _give_up(self, now: str) -> None:
        if self._first is not None and now == self._when:
            self._first.withdraw()
            self._first.close()
            self._first = None

    def open(self, path: str, *, create: bool = False, write: bool = True) -> int:
        self._give_up("opened")
        return super().open(path, create=create, write=write)

    def lock(self, fd: int, *, shared: bool = False) -> bool:
        self._give_up("taken")
        return super().lock(fd, shared=shared)


@pytest.mark.parametrize("when", ["opened", "taken"])
def test_a_lock_that_was_taken_away_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Two would have it: one the file that has no name any more, one the next of that name."""
    path = str(tmp_path / "old")
    second = Conversion(path, _TakenAway(Conversion(path, Disk()), when))
    monkeypatch.setattr(conversion, "_PATIENCE", 0.0)
    with pytest.raises(StoreLocked, match="by another thread of this process"):
        Conversion(path, Disk())
    second.withdraw()
    second.close()
    assert os.listdir(tmp_path) == []
    Conversion(path, Disk()).close()
