"""What isn't converted, and is left where it is: others are at it, it is ours, newer or somebody else's."""

from __future__ import annotations

import errno
import os
import pickle
import sqlite3
import subprocess
import sys
from pathlib import Path

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters.errors import StoreLocked, StoreRefused
from pqadapters.persistqueue import serializers
from pqadapters.persistqueue.conversion import databases
from pqadapters.stores.sqlite.processes.forks import cores
from pqadapters.stores.sqlite.takeover.predecessor import Predecessor
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, running, said

from . import theirs
from .test_conversion import ITEMS, all_of

linux = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system doesn't show who has a file open")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for others gives up soon."""
    monkeypatch.setattr(databases, "PATIENCE", 0.2)


def test_a_database_that_persist_queue_has_open_is_left_to_it(path: str, impatient: None) -> None:
    q = old.SQLiteQueue(path)
    q.put("a")
    with pytest.raises(StoreLocked, match="open in another program"):
        ours.SQLiteQueue(path)
    q.put("b")
    assert q.get() == "a"
    q.close()
    assert all_of(ours.SQLiteQueue(path)) == ["b"]


_IDLE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM queue").fetchall()
print("there", flush=True)
sys.stdin.read()
"""


@linux
def test_a_connection_without_a_lock_is_seen(tmp_path: Path, impatient: None) -> None:
    """persist-queue's async classes leave the database out of WAL mode, and hold no lock while they do nothing."""
    file = str(tmp_path / "async.db")
    theirs.async_database(file, "queue")
    with running(_IDLE, file) as child:
        assert said(child) == "there"
        with pytest.raises(StoreLocked, match=str(child.pid)):
            ours.SQLiteQueue(file)
    assert all_of(ours.SQLiteQueue(file)) == ["a", "b", "c"]


@linux
def test_a_file_queue_that_this_program_has_open_by_persist_queue_is_left_to_it(path: str) -> None:
    """One module had the old import still: what it put went into the original that was kept, unseen."""
    q = old.Queue(path)
    q.put("a")
    with pytest.raises(StoreLocked, match="persist-queue itself"):
        ours.Queue(path)
    q.put("b")
    assert q.get() == "a"
    q.task_done()
    del q
    with ours.Queue(path) as new:
        assert all_of(new) == ["b"]


@linux
def test_a_file_queue_that_persist_queue_has_open_is_left_to_it(path: str) -> None:
    code = (
        "import sys, persistqueue\nq = persistqueue.Queue(sys.argv[1])\nq.put('a')\n"
        "print('there', flush=True)\nsys.stdin.read()"
    )
    with running(code, path) as child:
        assert said(child) == "there"
        before = theirs.contents(path)
        with pytest.raises(StoreLocked, match=str(child.pid)) as error:
            ours.Queue(path)
        assert (error.value.pid, theirs.contents(path)) == (child.pid, before)
    with ours.Queue(path) as q:
        assert all_of(q) == ["a"]


_OPENING = """
import sys, pqadapters.persistqueue as ours
from pqadapters.errors import StoreLocked
print('there', flush=True)
sys.stdin.readline()
try:
    q = getattr(ours, sys.argv[2])(sys.argv[1])
    print(q.qsize(), flush=True)
    sys.stdin.readline()
except StoreLocked:
    print("locked", flush=True)
"""


@pytest.mark.parametrize("kind", ["Queue", "SQLiteQueue"])
def test_two_processes_that_open_at_once_convert_once(path: str, kind: str) -> None:
    if kind == "Queue":
        theirs.file_queue(path, list(range(2000)))
    else:
        theirs.database(path, old.SQLiteQueue, list(range(500)))
    with running(_OPENING, path, kind) as one, running(_OPENING, path, kind) as other:
        assert [said(one), said(other)] == ["there", "there"]
        for child in (one, other):
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        found = sorted([said(one), said(other)])
        count = "2000" if kind == "Queue" else "500"
        assert found == ([count, "locked"] if kind == "Queue" else [count, count])
    kept = [name for name in os.listdir(os.path.dirname(path)) + os.listdir(path) if "persist-queue" in name]
    assert len(kept) == 1


def test_a_thread_that_opens_a_database_while_another_one_converts_it(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the old one with the lock of all openings, which the other thread wanted for the new one: both stood
    still for a minute, and then it was refused."""
    theirs.database(path, old.SQLiteQueue, [1, 2, 3])
    seize, others = Predecessor.seize, list[Task[int]]()

    def seized(predecessor: Predecessor) -> sqlite3.Connection:
        connection = seize(predecessor)
        others.append(Task(lambda: ours.SQLiteQueue(path).qsize(), patience=PATIENCE))
        for _ in range(2_000_000):  # until it has the lock
            if not cores.opening().acquire(blocking=False):
                break
            cores.opening().release()
        return connection

    monkeypatch.setattr(Predecessor, "seize", seized)
    with ours.SQLiteQueue(path) as q:
        assert q.qsize() == 3
    assert others[0].result() == 3


def test_ours_is_never_taken_for_theirs(path: str) -> None:
    with ours.Queue(path) as q:
        q.put("a")
    theirs.file_queue(path, ["b"])  # persist-queue minds no other files
    before = theirs.contents(path)
    with pytest.raises(StoreRefused, match="has been used on it"):
        ours.Queue(path)
    assert theirs.contents(path) == before


def test_chunks_that_persist_queue_would_not_read_are_moved_out_of_our_way(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its constructor leaves an empty chunk, and a put that was killed leaves one with bytes and without an `info`."""
    with ours.Queue(path) as q:
        q.put("a")
    theirs.file_queue(path, [])
    chunk = os.path.join(path, "q00000")
    with open(chunk, "ab") as file:
        assert file.tell() == 0
        assert not os.path.exists(os.path.join(path, "info"))
        file.write(b"garbage")
    with ours.Queue(path) as q:
        assert q.get() == "a"
        q.task_done()
    assert theirs.contents(path + ".persist-queue") == {"q00000": b"garbage"}
    assert "q00000" in caplog.text
    with ours.Queue(path) as q:
        assert q.empty()


@linux
def test_chunks_that_somebody_has_open_stay_where_they_are(path: str) -> None:
    with ours.Queue(path) as q:
        q.put("a")
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLDING_A_CHUNK, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=str(child.pid)):
            ours.Queue(path)
        child.stdin.close()
    with ours.Queue(path) as q:
        assert q.get() == "a"


_HOLDING_A_CHUNK = """
import os, sys
with open(os.path.join(sys.argv[1], "q00000"), "ab"):
    print("open", flush=True)
    sys.stdin.read()
"""


def _foreign(file: str, *statements: str) -> None:
    os.makedirs(os.path.dirname(file), exist_ok=True)
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE customers (_id INTEGER PRIMARY KEY, data BLOB, timestamp FLOAT)", r"data\.db"),
        ("CREATE TABLE queue_default (_id INTEGER PRIMARY KEY, data BLOB, timestamp FLOAT, tenant TEXT)", "tenant"),
        ("CREATE TABLE queue_default (_id INTEGER PRIMARY KEY, data BLOB)", "persist-queue 1.1.0 gives it"),
        ("PRAGMA user_version = 3", "version 3"),
    ],
)
def test_foreign_and_newer_databases_are_refused(path: str, statement: str, words: str) -> None:
    file = f"{path}/data.db"
    if "version" in statement:
        theirs.database(path, old.SQLiteQueue, ["a"])
    _foreign(file, statement)
    before = Path(file).read_bytes()
    with pytest.raises(StoreRefused, match=words):
        ours.SQLiteQueue(path)
    assert Path(file).read_bytes() == before
    assert not Path(f"{file}.persist-queue").exists()


def test_a_database_with_tables_of_another_program_is_not_taken_away_from_it(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, ["a"])
    _foreign(f"{path}/data.db", "CREATE TABLE customers (name TEXT)")
    with pytest.raises(StoreRefused, match=r"customers.*--to"):
        ours.SQLiteQueue(path)
    assert theirs.rows(f"{path}/data.db", "queue_default")[0][1] == pickle.dumps("a", 4)


def test_a_file_queue_with_other_files_is_refused(path: str) -> None:
    theirs.file_queue(path, ["a"])
    Path(path, "notes.txt").write_text("mine")
    before = theirs.contents(path)
    for kind in (ours.Queue, ours.AsyncQueue):
        with pytest.raises(StoreRefused, match=r"notes\.txt"):
            kind(path)
    assert theirs.contents(path) == before
    with pytest.raises(StoreRefused):
        ours.Queue(os.path.dirname(path))


_OPENS = """
import sys
import pqadapters.persistqueue
try:
    pqadapters.persistqueue.SQLiteQueue(sys.argv[1])
except OSError as error:
    print(error)
"""


def test_a_database_that_may_not_be_written_is_refused_as_such(path: str) -> None:
    """It was an I/O error, and the disk was to be looked at."""
    theirs.database(path, old.SQLiteQueue, ITEMS)
    before = Path(path, "data.db").read_bytes()
    os.chmod(f"{path}/data.db", 0o400)
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*plain, sys.executable, "-c", _OPENS, path]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)
    assert f"[Errno {errno.EROFS}] attempt to write a readonly database" in done.stdout
    assert Path(path, "data.db").read_bytes() == before


@pytest.mark.parametrize("wrong", ["json", "msgpack"])
def test_a_file_queue_and_the_wrong_serializer(path: str, wrong: str) -> None:
    """Nothing can be read by it: that is no reason to convert nothing."""
    theirs.file_queue(path, ITEMS)
    before = theirs.contents(path)
    with pytest.raises(StoreRefused, match="seems to be pickle's"):
        ours.Queue(path, serializer=getattr(serializers, wrong))
    assert theirs.contents(path) == before
    with ours.Queue(path) as q:
        assert all_of(q) == ITEMS


def test_somebody_elses_name_for_the_original_is_not_written_over(path: str) -> None:
    theirs.database(path, old.SQLiteQueue, ["a"])
    Path(path, "data.db.persist-queue").write_text("mine")
    theirs.file_queue(f"{path}-files", ["b"])
    Path(f"{path}-files.persist-queue").write_text("mine")
    assert all_of(ours.SQLiteQueue(path)) == ["a"]
    with ours.Queue(f"{path}-files") as q:
        assert all_of(q) == ["b"]
    assert Path(path, "data.db.persist-queue").read_text() == "mine"
    assert theirs.rows(f"{path}/data.db.persist-queue.2", "queue_default")
    assert "q00000" in os.listdir(f"{path}-files.persist-queue.2")
