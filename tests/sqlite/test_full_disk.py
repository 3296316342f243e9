"""A disk that is really full, and one that fails: clear errors, nothing half, and draining goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pqadapters.errors import DiskError
from pqadapters.persistqueue import SQLiteAckQueue
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Ack, Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
from tests.contract.maker import ManualClock
from tests.crash.test_full_disk import fill
from tests.segment.programs import PATIENCE, ROOT

CAPACITY = 6 << 20


def _ran(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def _put_until_full(store: SqliteStore, size: int, first: int = 0) -> int:
    number = first
    with pytest.raises(DiskError, match=r"free some space there, or drain the queue") as caught:
        while True:
            store.commit(Put("q", b"%08d" % number + bytes(size)))
            number += 1
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, store.place)
    return number


@pytest.mark.parametrize("size", [20, 1000, 20_000])
@pytest.mark.parametrize("durability", ["power", "process"])
def test_puts_are_refused_and_the_queue_is_drained_on_a_full_disk(small: Path, size: int, durability: str) -> None:
    with SqliteStore(small / "q.db", durability=durability) as store:
        store.commit(*[Put("q", b"%08d" % n + bytes(size)) for n in range(30)])
        fill(small)
        count = _put_until_full(store, size, 30)
        assert store.depth("q").ready == count
        for number in range(count):
            (claim,) = store.claim("q")
            assert claim.payload[:8] == b"%08d" % number
            store.commit(Ack(claim, lazy=number % 2 == 0))
        assert store.depth("q").unfinished == 0
        (small / "ballast").unlink()
        store.commit(Put("q", b"and on"))
        store.checkpoint()
        assert (small / "q.db-owners" / "reserve").exists()


@pytest.mark.parametrize("size", [40, 5000])
def test_a_disk_that_was_filled_by_puts_alone_is_drained(small: Path, size: int) -> None:
    """What is in the WAL needs as much room again where it is copied, and there was none: nothing could be got."""
    with SqliteStore(small / "q.db", durability="process") as store:
        count = _put_until_full(store, size)
        assert count * size > CAPACITY // 4
        for number in range(count):
            (claim,) = store.claim("q")
            assert claim.payload[:8] == b"%08d" % number
            store.commit(Ack(claim, lazy=True))
        assert store.depth("q").unfinished == 0
        again = _put_until_full(store, size)
        assert again > count // 2
        while claims := store.claim("q", limit=100):
            store.commit(*map(Ack, claims))
        assert store.depth("q").unfinished == 0


def test_what_comes_with_an_acknowledgement_has_the_reserve_too(small: Path) -> None:
    """A result, a state, a record that moves to another queue."""
    with SqliteStore(small / "q.db", durability="process") as store:
        count = _put_until_full(store, 3000)
        for number in range(count):
            (claim,) = store.claim("q")
            store.commit(Ack(claim), Put("done", claim.payload), Set("states", b"%d" % number, b"done"))
        assert store.depth("done").ready == store.count("states") == count
        with pytest.raises(DiskError):
            store.commit(Ack(store.claim("done")[0]), Put("done", bytes(1 << 20)))


def test_an_acknowledging_queue_is_drained_on_a_full_disk(small: Path) -> None:
    q = SQLiteAckQueue(str(small))
    count = 0
    with pytest.raises(DiskError):
        while True:
            q.put("x" * 3000)
            count += 1
    for number in range(count):
        q.ack(q.get(block=False))  # which keeps the item's data
        if number % 50 == 0:
            q.clear_acked_data(keep_latest=0)
    assert q.size == 0
    q.put("and on")
    q.close()


def test_nothing_is_lost_over_a_restart_on_a_full_disk(small: Path) -> None:
    store = SqliteStore(small / "q.db")
    fill(small)
    count = _put_until_full(store, 100)
    store.close()
    with SqliteStore(small / "q.db") as store:
        assert [record.payload[:8] for record in store.browse("q")] == [b"%08d" % n for n in range(count)]
        while claims := store.claim("q", limit=3):
            store.commit(*map(Ack, claims))


_CLAIMS = """
import os, signal, sys
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], durability="process")
for _ in range(int(sys.argv[2]) // 100):
    assert len(store.claim("q", limit=100)) == 100
os.kill(os.getpid(), signal.SIGKILL)
"""


def _drain(store: SqliteStore, count: int) -> None:
    """In the order in which they were put, and with room for others behind that."""
    number = 0
    while number < count:
        claims = store.claim("q", limit=20, timeout=PATIENCE)
        assert [claim.payload[:8] for claim in claims] == [b"%08d" % (number + n) for n in range(len(claims))] != []
        store.commit(*map(Ack, claims))
        number += len(claims)
    assert store.depth("q").unfinished == 0


@pytest.mark.parametrize(("size", "claimed"), [(1000, 1200), (40, 5000)])
def test_what_a_killed_process_had_in_hand_is_served_on_a_full_disk(small: Path, size: int, claimed: int) -> None:
    """To make all of it ready in one transaction takes more than the reserve: the store couldn't be opened any more."""
    with SqliteStore(small / "q.db", durability="process") as store:
        count = _put_until_full(store, size)
    died = _ran(sys.executable, "-c", _CLAIMS, str(small / "q.db"), str(claimed))
    assert died.returncode == -signal.SIGKILL, died.stderr
    with SqliteStore(small / "q.db", durability="process") as store:
        _drain(store, count)
        store.commit(Put("q", b"and on"))


def test_what_it_had_in_hand_is_served_on_a_disk_that_others_have_filled(small: Path) -> None:
    with SqliteStore(small / "q.db", durability="process") as store:
        store.commit(*[Put("q", b"%08d" % n + bytes(1000)) for n in range(1200)])
    died = _ran(sys.executable, "-c", _CLAIMS, str(small / "q.db"), "1200")
    assert died.returncode == -signal.SIGKILL, died.stderr
    fill(small)
    with SqliteStore(small / "q.db", durability="process") as store:
        _drain(store, 1200)


def test_what_is_due_all_at_once_is_served_on_a_full_disk(small: Path) -> None:
    """A claim makes all of it ready: nothing of the queue could be got any more."""
    clock = ManualClock()
    with SqliteStore(small / "q.db", durability="process", clock=clock) as store:
        later = clock.wall() + 60.0
        store.commit(*[Put("q", b"%08d" % n + bytes(1000), not_before=later) for n in range(1200)])
        count = _put_until_full(store, 1000, 1200)
        clock.advance(61.0)
        _drain(store, count)


def test_what_a_closed_handle_had_in_hand_is_served_on_a_full_disk(small: Path) -> None:
    """The same of a handle, while its process lives."""
    with SqliteStore(small / "q.db", durability="process") as store:
        count = _put_until_full(store, 1000)
        with SqliteStore(small / "q.db", durability="process") as other:
            for _ in range(12):
                assert len(other.claim("q", limit=100)) == 100
        _drain(store, count)


@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_store_is_opened_and_drained_on_a_disk_that_others_have_filled(small: Path, durability: str) -> None:
    """SQLite needs a file for its shared memory: an opening was an I/O error while the reserve was there for that."""
    with SqliteStore(small / "q.db", durability=durability) as store:
        store.commit(*[Put("q", b"%d" % n) for n in range(200)])
    fill(small)
    with SqliteStore(small / "q.db", durability=durability) as store:
        with pytest.raises(DiskError, match="drain the queue"):
            while True:
                store.commit(Put("q", bytes(1000)))
        for n in range(200):
            (claim,) = store.claim("q")
            assert claim.payload == b"%d" % n
            store.commit(Ack(claim))
    (small / "ballast").unlink()
    with SqliteStore(small / "q.db", durability=durability) as store:
        store.commit(Put("q", b"and on"))
    assert (small / "q.db-owners" / "reserve").exists()


def test_a_reserve_that_was_grown_in_one_step_more_is_no_room_that_puts_lack(small: Path) -> None:
    """There was room for one of its size and a quarter more, which it took again when the disk was full: a put was
    refused that had its room on a disk with less."""
    with SqliteStore(small / "q.db", durability="process") as store:
        reserve = store._core.room.reserve
        store.commit(Put("q", b""))
        store.checkpoint()
        ample = reserve.SIZE + reserve.SIZE // 4
        room = os.statvfs(small)
        left = room.f_bavail * room.f_frsize + reserve.size()
        (small / "ballast").write_bytes(bytes(left - ample - 60_000))
        reserve.give_up()
        store._core.room.keep_reserve()  # as a WAL has it that grows
        assert reserve.size() == ample
        store.commit(Put("q", bytes(100_000)))
        assert store.depth("q").ready == 2
        _put_until_full(store, 3000)
        while claims := store.claim("q"):
            store.commit(*map(Ack, claims))
        assert store.depth("q").unfinished == 0


def test_a_store_that_cant_be_opened_says_that_the_disk_is_full(small: Path) -> None:
    with SqliteStore(small / "q.db") as store:
        store.commit(Put("q", b"there"))
    (small / "q.db-owners" / "reserve").unlink()
    fill(small)
    with pytest.raises(DiskError, match="free some space there") as caught:
        SqliteStore(small / "q.db")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(small / "q.db"))
    (small / "ballast").unlink()
    with SqliteStore(small / "q.db") as store:
        assert [record.payload for record in store.browse("q")] == [b"there"]


def test_a_queue_says_that_the_disk_is_full(small: Path) -> None:
    q: Queue[bytes] = Queue(store=f"sqlite:///{small}/q.db?durability=process")
    q.put(b"first")
    fill(small)
    with pytest.raises(OSError, match="drain the queue") as caught:
        while True:
            q.put(bytes(1000))
    assert caught.value.errno == errno.ENOSPC
    assert q.get() == b"first"
    q.task_done()
    q.close()


_SYNC_FAILS = """
import sys
from pqadapters.errors import StorePoisoned
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
done = 0
try:
    while True:
        store.commit(Put("q", b"%d" % done))
        done += 1
except StorePoisoned as error:
    print(done, error)
try:
    store.commit(Put("q", b"late"))
except StorePoisoned:
    print("refused")
"""


def test_i1_a_failed_sync_poisons_the_store_and_is_never_tried_again(tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    with SqliteStore(database) as store:
        store.commit(Put("r", b"there"))
    tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-P", f"{database}-wal", "-e", "trace=fdatasync,fsync"]
    fault = ["-e", "inject=fdatasync,fsync:error=EIO:when=5+"]
    done = _ran(*tracer, *fault, sys.executable, "-c", _SYNC_FAILS, str(database))
    told, refused = done.stdout.splitlines()
    count, words = told.split(maxsplit=1)
    assert "could not be synced" in words
    assert refused == "refused"
    with SqliteStore(database) as store:
        found = [record.payload for record in store.browse("q")]
        assert found[: int(count)] == [b"%d" % n for n in range(int(count))]
        assert len(found) <= int(count) + 1


_LIMITED = """
import errno, resource, sys
from pqadapters.errors import DiskError
from pqadapters.store import Ack, Put
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1], durability=sys.argv[2]) as store:
    store.commit(Put("q", b"first"))
    limit = 400_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    count = 1
    try:
        while True:
            store.commit(Put("q", bytes(5000)))
            count += 1
    except DiskError as error:
        assert error.errno == errno.EFBIG and "ulimit -f" in str(error), error
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
    assert store.depth("q").ready == count > 20
    for _ in range(count):
        store.commit(*map(Ack, store.claim("q")))
    assert store.depth("q").unfinished == 0
    store.commit(Put("q", b"and on"))
print("drained")
"""


@pytest.mark.parametrize("durability", ["power", "process"])
def test_where_files_may_not_grow_it_says_so_and_goes_on_behind_that(tmp_path: Path, durability: str) -> None:
    """`ulimit -f`: SQLite calls that an I/O error, so at "power" the store was poisoned."""
    done = _ran(sys.executable, "-c", _LIMITED, str(tmp_path / "q.db"), durability)
    assert (done.stdout, done.stderr) == ("drained\n", "")


_ONE_WRITE_FAILS = """
import sys
from pqadapters.errors import DiskError
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    stored = refused = 0
    for number in range(10):
        try:
            store.commit(Put("q", b"%d" % number))
            stored += 1
        except DiskError:
            refused += 1
    print(stored, refused, store.depth("q").ready)
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no codes of errors: it may have been the sync")
def test_a_write_that_fails_before_the_sync_refuses_its_commit_alone(tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    with SqliteStore(database) as store:
        store.commit(Put("r", b"there"))
    tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-P", f"{database}-wal", "-e", "trace=pwrite64"]
    fault = ["-e", "inject=pwrite64:error=EIO:when=9"]
    done = _ran(*tracer, *fault, sys.executable, "-c", _ONE_WRITE_FAILS, str(database))
    assert (done.stdout, done.stderr) == ("9 1 9\n", "")
    with SqliteStore(database) as store:
        assert store.depth("q").ready == 9


_DRAINS = """
import errno, sys
from pqadapters.errors import DiskError
from pqadapters.store import Ack, Put
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore
Disk.is_over_quota = lambda *_: True
done = refused = 0
with SqliteStore(sys.argv[1]) as store:
    store.commit(Put("q", b"first"), *(Put("q", b"%d" % number) for number in range(int(sys.argv[2]))))
    while claims := store.claim("q"):
        store.commit(*map(Ack, claims))
        done += 1
    for number in range(10):
        try:
            store.commit(Put("q", b"more"))
        except DiskError as error:
            assert error.errno == errno.EDQUOT and "drain the queue" in str(error), error
            refused += 1
    print(done, refused > 0, store.depth("q").ready + refused)
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="no codes of errors: it may have been the sync")
@pytest.mark.parametrize(
    ("waiting", "when", "said"), [(9, "15", "10 False 10\n"), (0, "25+", "1 True 10\n")], ids=["task_done", "put"]
)
def test_a_quota_that_is_used_up_is_a_full_disk(waiting: int, when: str, said: str, tmp_path: Path) -> None:
    """SQLite calls that an I/O error: what was to free space didn't get that of the reserve."""
    database = tmp_path / "q.db"
    with SqliteStore(database) as store:
        store.commit(Put("r", b"there"))
    tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-P", f"{database}-wal", "-e", "trace=pwrite64"]
    fault = ["-e", f"inject=pwrite64:error=EDQUOT:when={when}"]
    done = _ran(*tracer, *fault, sys.executable, "-c", _DRAINS, str(database), str(waiting))
    assert (done.stdout, done.stderr) == (said, "")


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EIO])
def test_a_quota_is_known_by_what_a_write_says(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    assert not Disk().is_over_quota(str(tmp_path), 5000)
    monkeypatch.setattr(os, "pwrite", refuse)
    assert Disk().is_over_quota(str(tmp_path), 5000) == (number == errno.EDQUOT)
    assert os.listdir(tmp_path) == []


_TAKES_ALL = """
import sys
from pqadapters.errors import FormatError
from pqadapters.store import Ack
from pqadapters.stores.sqlite import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    try:
        while claims := store.claim("q"):
            store.commit(*map(Ack, claims))
    except FormatError as error:
        print(error)
"""


def test_a_disk_that_cannot_be_read_is_named_beside_the_damage_that_sqlite_takes_it_for(tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    with SqliteStore(database) as store:
        store.commit(*[Put("q", bytes(5000))] * 1000)
    tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-P", str(database), "-e", "trace=pread64"]
    fault = ["-e", "inject=pread64:error=EIO:when=100+"]
    done = _ran(*tracer, *fault, sys.executable, "-c", _TAKES_ALL, str(database))
    assert "a disk that can't be read" in done.stdout
    assert "salvage" in done.stdout
    with SqliteStore(database) as store:
        assert store.depth("q").ready > 0


_OPENS = """
import sys
from pqadapters.errors import DiskError
from pqadapters.stores.sqlite import SqliteStore
try:
    SqliteStore(sys.argv[1]).close()
except DiskError as error:
    print(error.errno, error.filename)
else:
    print("made")
"""


def test_a_new_database_is_there_whole_or_not_at_all_whichever_write_fails(tmp_path: Path) -> None:
    """It was made in a WAL. What couldn't be copied from that as its connection was closed was missing for good."""
    for nth in range(1, 100):
        database = tmp_path / str(nth) / "q.db"
        database.parent.mkdir(mode=0o700)
        tracer = ["strace", "-f", "-qq", "-o", os.devnull, "-P", f"{database}-owners/new", "-e", "trace=pwrite64"]
        fault = ["-e", f"inject=pwrite64:error=EIO:when={nth}"]
        done = _ran(*tracer, *fault, sys.executable, "-c", _OPENS, str(database))
        with SqliteStore(database) as store:
            store.commit(Put("q", b"there"))
            assert store.depth("q").ready == 1
        if done.stdout == "made\n":
            break
        assert done.stdout == f"{errno.EIO} {database.parent}\n", done.stderr
    assert nth > 10


def test_i6_i8_a_damaged_wal_that_dropped_its_last_commits_is_noticed(tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    store = SqliteStore(database)
    store.commit(*[Put("q", b"%d" % n) for n in range(50)])
    (last,) = store.commit(Put("q", b"last"))
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    mark = (tmp_path / "q.db-owners" / "mark").read_bytes()
    store.close()
    wal = bytearray(kept["q.db-wal"])
    at = wal.rindex(b"last")
    wal[at] ^= 1
    (tmp_path / "q.db").write_bytes(kept["q.db"])
    (tmp_path / "q.db-wal").write_bytes(wal)
    (tmp_path / "q.db-owners" / "mark").write_bytes(mark)
    with SqliteStore(database) as store:
        (damage,) = store.damage
        assert f"ids up to {last} were given" in damage.reason
        assert len(list(store.browse("q"))) == 50
        assert store.commit(Put("q", b"new")) > (last,)
    with SqliteStore(database) as store:
        assert store.damage == ()


def test_a_new_database_beside_an_old_ones_mark(tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    with SqliteStore(database) as store:
        store.commit(*[Put("q", b"x")] * 5)
    database.unlink()
    with SqliteStore(database) as store:
        assert (store.damage, store.commit(Put("q", b"y"))) == ((), (1,))
