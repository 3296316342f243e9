"""A damaged database is brought out into a new one: every row whose checksum holds."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, StoreRefused
from pqadapters.store import Ack, Op, Order, Put
from pqadapters.stores.sqlite import SqliteStore, salvage
from pqadapters.stores.sqlite.damage import salvage as salvaging
from pqadapters.stores.sqlite.damage.pages import Pages
from pqadapters.stores.sqlite.damage.salvaged import Salvaged
from pqadapters.stores.sqlite.schema import PAGE_SIZE

from .contents import fill, left

_TAKE_FOR_ITSELF = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode = DELETE')"


def test_salvage_brings_out_all_of_a_healthy_database_in_its_order(database: Path) -> None:
    whole = fill(database)
    assert salvage(database, to=database.with_name("new.db")) == Salvaged(len(whole), 40, 0)
    with SqliteStore(database) as old, SqliteStore(database.with_name("new.db")) as new:
        for queue in ("q", "r", "q.dead"):
            for order in Order:
                pairs = zip(old.browse(queue, order=order), new.browse(queue, order=order), strict=True)
                assert all(a[3:] == b[3:] for a, b in pairs)
        assert list(old.scan("t")) == list(new.scan("t"))


def test_salvage_puts_large_records_a_few_at_a_time(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fill(database, 40)
    commits: list[int] = []
    commit = SqliteStore.commit

    def counting(store: SqliteStore, *ops: Op, **options: Any) -> Any:
        commits.append(len(ops))
        return commit(store, *ops, **options)

    monkeypatch.setattr(SqliteStore, "commit", counting)
    monkeypatch.setattr("pqadapters.portions.BYTES", 1)
    assert salvage(database, to=database.with_name("new.db")) == Salvaged(len(whole), 40, 0)
    assert (sum(commits), max(commits)) == (len(whole) + 40, 2)  # one of the values has no bytes


def test_salvage_of_a_store_that_is_open_keeps_its_locks(database: Path) -> None:
    fill(database)
    with SqliteStore(database) as store:
        (claim,) = store.claim("q")
        brought = store.salvage(to=database.with_name("new.db"))
        assert brought.records == sum(store.depth(queue).unfinished for queue in ("q", "r", "q.dead"))
        told = subprocess.run(
            [sys.executable, "-c", _TAKE_FOR_ITSELF, str(database)],
            capture_output=True,
            text=True,
        )
        assert "locked" in told.stderr
        store.commit(Ack(claim))


def test_salvage_reads_what_stands_in_the_wal(database: Path) -> None:
    store = SqliteStore(database)
    store.commit(*[Put("q", b"%d" % n) for n in range(200)])
    copy = database.with_name("copy.db")
    copy.write_bytes(database.read_bytes())
    wal = bytearray(Path(f"{database}-wal").read_bytes())
    Path(f"{copy}-wal").write_bytes(wal)
    assert salvage(copy, to=database.with_name("new.db")).records == 200
    store.close()


@pytest.mark.parametrize("length", [0, 17, 20, 60])
def test_salvage_of_a_file_that_ends_in_its_head_brings_out_its_wal(length: int, database: Path) -> None:
    """With the page's size in it, and nothing of what stands behind that, it was an IndexError."""
    copy = database.with_name("copy.db")
    with SqliteStore(database) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(200)])
        copy.write_bytes(database.read_bytes()[:length])
        Path(f"{copy}-wal").write_bytes(Path(f"{database}-wal").read_bytes())
    assert salvage(copy, to=database.with_name("new.db")).records == 200


def test_salvage_names_what_it_cannot_do(database: Path) -> None:
    fill(database, 2)
    with pytest.raises(StoreRefused, match="exists already"):
        salvage(database, to=database)
    with pytest.raises(DiskError, match="can't be read"):
        salvage(database.with_name("none.db"), to=database.with_name("new.db"))


@pytest.mark.parametrize("content", [b"", b"notes\n" * 9000])
def test_salvage_of_what_is_no_database_of_ours(content: bytes, tmp_path: Path) -> None:
    """Whoever gave another name was told that nothing was lost, and had an empty database."""
    (tmp_path / "notes").write_bytes(content)
    with pytest.raises(StoreRefused, match="nothing in it of a database of pqadapters"):
        salvage(tmp_path / "notes", to=tmp_path / "new.db")
    assert os.listdir(tmp_path) == ["notes"]
    SqliteStore(tmp_path / "empty.db").close()
    assert salvage(tmp_path / "empty.db", to=tmp_path / "new.db") == Salvaged(0, 0, 0)


def test_salvage_that_fails_leaves_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What had come so far looked like all of it, and was in the way of another try."""
    payloads, new = fill(database), database.with_name("new.db")

    def refuse(store: SqliteStore) -> None:
        raise DiskError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new))

    with monkeypatch.context() as patched, pytest.raises(DiskError):
        patched.setattr(SqliteStore, "checkpoint", refuse)
        salvage(database, to=new)
    assert not list(database.parent.glob("new.db*"))
    salvage(database, to=new)
    assert {path.name for path in database.parent.glob("new.db*")} == {"new.db"}
    with SqliteStore(new) as store:
        assert left(store) == payloads


def test_salvage_of_what_cant_be_read_to_its_end(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that failed behind the first look was a bare OSError that named no file, and as a command a traceback."""
    payloads, new, real = fill(database), database.with_name("new.db"), Pages._page

    def failing(pages: Pages, number: int) -> bytes:
        if list(new.parent.glob("new.db.*.part")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(pages, number)

    with monkeypatch.context() as patched:
        patched.setattr(Pages, "_page", failing)
        with pytest.raises(DiskError, match="can't be read: Input/output error") as caught:
            salvage(database, to=new)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(database))
    assert not list(new.parent.glob("new.db*"))
    salvage(database, to=new)
    with SqliteStore(new) as store:
        assert left(store) == payloads


@pytest.mark.parametrize("torn", [False, True])
def test_salvage_of_a_database_that_is_written_to(database: Path, monkeypatch: pytest.MonkeyPatch, torn: bool) -> None:
    """It brought out what its pages held at several moments, and said that nothing was lost; or an AssertionError."""
    fill(database)
    record, used = salvaging._Found.put, list[object]()

    with SqliteStore(database) as store:

        def put(found: Any, id: int) -> Any:
            if not used:
                used.append(store.commit(*map(Ack, store.claim("q", limit=5))))
                assert not torn  # as where a row isn't there any more
            return record(found, id)

        monkeypatch.setattr(salvaging._Found, "put", put)
        with pytest.raises(StoreRefused, match="was written to while it was read: end the processes"):
            salvage(database, to=database.with_name("new.db"))
    assert used
    assert not database.with_name("new.db").exists()


def test_salvage_takes_nobodys_place(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had opened the new one meanwhile went on with a file that was gone, and all that it stored was lost."""
    fill(database)
    new, real, opened = database.with_name("new.db"), SqliteStore.checkpoint, list[SqliteStore]()

    def slow(store: SqliteStore) -> None:
        real(store)
        opened.append(SqliteStore(new))
        opened[0].commit(Put("q", b"theirs"))

    with monkeypatch.context() as patched, pytest.raises(StoreRefused, match="exists already"):
        patched.setattr(SqliteStore, "checkpoint", slow)
        salvage(database, to=new)
    opened[0].close()
    with SqliteStore(new) as store:
        assert left(store) == {b"theirs"}


def test_salvage_of_a_file_that_was_made_longer_than_there_is_room_for(database: Path) -> None:
    """Each page of nothing was looked at: for days."""
    payloads = fill(database)
    os.truncate(database, 1 << 40)
    assert salvage(database, to=database.with_name("new.db")).lost == 0
    with SqliteStore(database.with_name("new.db")) as store:
        assert left(store) == payloads


def test_salvage_as_a_command(database: Path) -> None:
    fill(database, 20)
    command = [sys.executable, "-m", "pqadapters.stores.sqlite", str(database)]
    done = subprocess.run([*command, f"{database}.new"], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "11 records and 40 keys are whole, 0 are damaged and left out; what was on pages that are gone isn't counted\n"
    )  # of a file that was cut off it said that nothing was lost
    again = subprocess.run([*command, f"{database}.new"], capture_output=True, text=True)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)


@pytest.mark.parametrize("how", ['exec "$@" >&-', '"$@" | exec sleep 0; exit ${PIPESTATUS[0]}', '"$@" >/dev/full'])
def test_salvage_as_a_command_whose_output_nobody_reads(database: Path, how: str) -> None:
    """What was to be brought out was; then came a traceback."""
    fill(database, 20)
    command = [sys.executable, "-m", "pqadapters.stores.sqlite", str(database), f"{database}.new"]
    done = subprocess.run(["bash", "-c", how, "bash", *command], stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr
    with SqliteStore(f"{database}.new") as store:
        assert store.count("t") == 40


@pytest.mark.parametrize("at", [0, 3, 9, 16, 20, 24, 31, 32 + 8, 32 + 15, 32 + 2072 * 5 + 9])
def test_salvage_reads_a_wal_whose_head_or_frame_is_damaged(at: int, database: Path, tmp_path: Path) -> None:
    """One flipped bit, and nothing that stood in the WAL was brought out: all of a database that is young."""
    with SqliteStore(database) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(200)], *[Put("r", b"x" * 1000) for n in range(20)])
        shutil.copytree(database.parent, tmp_path / "killed")
    copy = tmp_path / "killed" / database.name
    wal = bytearray(Path(f"{copy}-wal").read_bytes())
    wal[at] ^= 4
    Path(f"{copy}-wal").write_bytes(wal)
    assert salvage(copy, to=tmp_path / "new.db").records > 200


@pytest.mark.parametrize("bit", range(8))
def test_salvage_takes_no_page_for_free_that_isnt(bit: int, database: Path) -> None:
    """One flipped bit in the list of free pages, and what stood on another one was left out, with no word of it."""
    with SqliteStore(database) as store:
        store.commit(*[Put("q", b"%d " % n * 20) for n in range(300)])
        store.commit(*map(Ack, store.claim("q", limit=120)))
    data = bytearray(database.read_bytes())
    assert int.from_bytes(data[36:40], "big") > 5
    data[35] ^= 1 << bit
    database.write_bytes(data)
    assert salvage(database, to=database.with_name("new.db")).records >= 180


def test_salvage_of_a_file_that_ends_in_the_list_of_free_pages(database: Path) -> None:
    """Where the WAL has a page from behind that place, it was a struct.error, and nothing was brought out."""
    with SqliteStore(database) as store:
        store.commit(*[Put("q", b"%d " % n * 20) for n in range(3000)])
        store.commit(*map(Ack, store.claim("q", limit=1500)))
    data, copy = database.read_bytes(), database.with_name("copy.db")
    listed = int.from_bytes(data[32:36], "big")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE record SET attempts = 1 WHERE place = (SELECT max(place) FROM record)")
        connection.commit()
        copy.write_bytes(data[: (listed - 1) * PAGE_SIZE + 100])
        Path(f"{copy}-wal").write_bytes(Path(f"{database}-wal").read_bytes())
    assert salvage(copy, to=database.with_name("new.db")).records > 0


def test_salvage_brings_back_nothing_that_was_deleted(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(30_000)])
        store.commit(*map(Ack, store.claim("q", limit=29_000)))
    assert salvage(database, to=database.with_name("new.db")) == Salvaged(1000, 0, 0)
