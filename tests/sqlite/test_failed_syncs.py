"""A sync of the WAL that fails. The system tells one process, once, and has what it couldn't write in memory as if it
were on the disk: what is committed and synced behind that would be gone with it after a power cut."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, StorePoisoned
from pqadapters.store import Put
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.space import room
from tests.segment.programs import running, said

_OTHER = """
import sys
from pqadapters.errors import StorePoisoned
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], durability=sys.argv[2])
store.commit(Put("q", b"others"))
print("open", flush=True)
sys.stdin.readline()
try:
    store.commit(Put("q", b"behind"))
    store.sync()
    print("was told nothing", flush=True)
except StorePoisoned as error:
    print("could not be synced" in str(error), flush=True)
sys.stdin.readline()
"""


class _NoSync(Disk):
    def sync(self, fd: int) -> None:
        raise OSError(5, "Input/output error")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def _fail(database: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteStore:
    """A store of which a sync has failed."""
    store = SqliteStore(database, durability="process", max_lag=1e6)
    store.commit(Put("q", b"ours"))
    with monkeypatch.context() as patch, pytest.raises(StorePoisoned):
        patch.setattr(store._core, "disk", _NoSync())
        store.sync()
    return store


@pytest.mark.parametrize("when", ["in time", "at the end", "at its close"])
def test_one_that_nobody_waits_for_is_told(
    database: Path, when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next caller was told, and a program that had put its last item, and ended, was not."""
    store = SqliteStore(database, durability="process", max_lag=1e6)
    core = store._core
    monkeypatch.setattr(core.keeper, "_start", lambda: None)  # it would do it at once
    store.commit(Put("q", b"a"))
    monkeypatch.setattr(core, "disk", _NoSync())
    {"in time": core.keeper.round, "at the end": core.end, "at its close": store.close}[when]()
    (told,) = [record for record in caplog.records if str(database) in record.getMessage()]
    assert told.levelname == "ERROR"
    assert f"{database}: what was committed could not be synced" in told.getMessage()
    store.close()


@pytest.mark.parametrize("durability", ["process", "power"])
def test_i1_others_are_told(database: Path, durability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they had committed by then is lost as well, and so would be what they commit behind it."""
    with running(_OTHER, database, durability) as child:
        assert said(child) == "open"
        with _fail(database, monkeypatch):
            assert child.stdin is not None
            child.stdin.write("go on\n")
            child.stdin.flush()
            assert said(child) == "True"


def test_i1_the_next_opening_puts_the_wal_into_the_database(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have the database open; who closes it last would do the same."""
    with running(_OTHER, database, "process") as child:
        assert said(child) == "open"
        _fail(database, monkeypatch).close()
        with SqliteStore(database) as store:
            alone = Path(shutil.copy(database, database.with_name("alone.db")))
            store.commit(Put("q", b"and on"))
    with SqliteStore(alone) as store:
        assert [record.payload for record in store.browse("q")] == [b"others", b"ours"]
    with SqliteStore(database) as store:
        assert not store._core.mark.doubted


@pytest.mark.parametrize("whose", ["a caller's", "the keeper's", "the keeper's behind readers"])
def test_i1_one_of_a_checkpoint_is_known_of(
    database: Path, whose: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite does it by itself. It was the checkpoint's failure alone, and the next sync found nothing to do."""
    failed: Any = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = 1034

    def fail(*_: object) -> None:
        raise failed

    with running(_OTHER, database, "process") as child:
        assert said(child) == "open"
        with SqliteStore(database, durability="process", max_lag=1e6) as store:
            monkeypatch.setattr(store._core.keeper, "_start", lambda: None)  # one at a time
            store.commit(Put("q", b"ours"))
            monkeypatch.setattr(room, "shorten", fail if "readers" not in whose else lambda *_: None)
            monkeypatch.setattr(room, "outwait", fail)
            if whose != "a caller's":
                store._core.room._too_long = 0
                store._core.keeper._is_much = True
                store._core.keeper.round()
            else:
                with pytest.raises(StorePoisoned, match="could not be synced"):
                    store.checkpoint()
            with pytest.raises(StorePoisoned):
                store.sync()
            assert child.stdin is not None
            child.stdin.write("go on\n")
            child.stdin.flush()
            assert said(child) == "True"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an I/O error has no code: it may be one of a sync")
def test_a_checkpoint_that_could_not_read_or_write_says_nothing_of_the_disk(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: Any = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = 266  # SQLITE_IOERR_READ

    def fail(*_: object) -> None:
        raise failed

    with SqliteStore(database, durability="process", max_lag=1e6) as store:
        store.commit(Put("q", b"ours"))
        with monkeypatch.context() as patch, pytest.raises(DiskError, match="I/O error"):
            patch.setattr(room, "shorten", fail)
            store.checkpoint()
        store.sync()
        assert not store._core.mark.doubted
