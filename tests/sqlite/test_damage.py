"""Damaged, foreign and newer files: a clear word, nothing that is whole is lost, nothing damaged is handed out."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, FormatError, StoreError, StoreRefused
from pqadapters.opening import look_at, probe_file
from pqadapters.stdlib._dbm import kind_of
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Ack, Nack, Order, Put, Set
from pqadapters.stores import _directory
from pqadapters.stores.sqlite import SqliteStore, backup, salvage
from pqadapters.stores.sqlite.beside import check_sides
from pqadapters.stores.sqlite.salvage import Salvaged
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, ROOT


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


_TAKE_FOR_ITSELF = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode = DELETE')"


def _fill(database: Path, records: int = 400) -> set[bytes]:
    """Records of all sizes in two queues, keys in a table, some of it acknowledged: the payloads that are left."""
    payloads = [b"payload %04d " % n + bytes([65 + n % 26]) * (n % 9 * 300) for n in range(records)]
    with SqliteStore(database) as store:
        for n, payload in enumerate(payloads):
            store.commit(Put("qr"[n % 2], payload, rank=b"%d" % (n % 5) if n % 4 == 0 else b""))
        store.commit(*[Set("t", b"key %d" % n, b"value" * n) for n in range(40)])
        done = store.claim("q", limit=30)
        store.commit(*map(Ack, done[:-1]), Nack(done[-1], dead="no use"))
        gone = {claim.payload for claim in done[:-1]}
    return set(payloads) - gone


def _left(store: SqliteStore) -> set[bytes]:
    return {record.payload for queue in ("q", "r", "q.dead") for record in store.browse(queue, state=None)}


def test_a_flipped_bit_in_a_payload_is_found_by_its_checksum(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"first"), Put("q", b"damaged one"), Put("q", b"third"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    with SqliteStore(database) as store:
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"first", b"third"]
        (damage,) = store.damage
        assert "checksum" in damage.reason
        assert damage.path == str(database)
        assert store.depth("q")[:3] == (0, 0, 2)
    with sqlite3.connect(database) as raw:
        assert raw.execute("SELECT payload FROM damaged").fetchall() == [(b"damaged 0ne",)]
    raw.close()


def test_damage_is_told_with_the_store_free_for_others(database: Path) -> None:
    """A handler of a log waits for another thread, which has its lock and puts into the same store: for ever."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"damaged one"), Put("q", b"whole"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    heard: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            Task(lambda: store.commit(Put("log", b"")), patience=PATIENCE).result()
            heard.append(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("pqadapters.stores.sqlite")
    logger.addHandler(handler)
    try:
        with SqliteStore(database) as store:
            assert [claim.payload for claim in store.claim("q")] == [b"whole"]
            assert store.depth("log").ready == len(heard) == 1
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize(("column", "value"), [("payload", 3), ("payload", 0.5), ("payload", "x"), ("attempts", -1)])
@pytest.mark.parametrize("ack", ["get", "task_done"])
def test_a_flipped_bit_in_a_columns_type(database: Path, column: str, value: object, ack: str) -> None:
    """With a number for a payload each get was a TypeError; with less than no attempts, one that is gone when it is
    handed out was taken for one that somebody had looked at, and held for good."""
    with SqliteStore(database, durability="process") as store:
        q: Queue[int] = Queue(store=store, ack=ack)
        for number in range(3):
            q.put(number)
        assert q.get() == 0
        q.task_done()
        with sqlite3.connect(database) as raw:
            raw.execute(f"UPDATE record SET {column} = ? WHERE place = (SELECT min(place) FROM record)", (value,))
        raw.close()
        assert q.get_nowait() == 2
        q.task_done()
        assert len(store.damage) == 1
        assert store.depth("default").unfinished == q.unfinished_tasks == 0


def test_a_flipped_bit_in_a_long_payload(database: Path) -> None:
    long = b"x" * 5000 + b"damaged one"
    with SqliteStore(database) as store:
        store.commit(Put("q", long), Put("q", b"whole"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    with SqliteStore(database) as store:
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"whole"]
        assert len(store.damage) == 1


def test_a_damaged_value_is_missing_and_reported(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Set("t", b"a", b"whole"), Set("t", b"b", b"damaged one"))
    database.write_bytes(database.read_bytes().replace(b"damaged one", b"damaged 0ne"))
    with SqliteStore(database) as store:
        assert (store.get("t", b"a"), store.get("t", b"b")) == (b"whole", None)
        assert list(store.scan("t")) == [(b"a", b"whole")]
        assert len(store.damage) == 1


def test_i8_random_damage_hands_out_nothing_that_was_not_put(database: Path) -> None:
    whole = _fill(database)
    data = database.read_bytes()
    for seed in range(25):
        rng = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(rng.choice([1, 3, 20])):
            at = rng.randrange(len(damaged))
            length = min(rng.choice([1, 1, 64, 2048]), len(damaged) - at)
            damaged[at : at + length] = rng.randbytes(length)
        database.write_bytes(damaged)
        for side in ("-wal", "-shm"):
            Path(f"{database}{side}").unlink(missing_ok=True)
        try:
            with SqliteStore(database) as store:
                found = {claim.payload for queue in "qr" for claim in store.claim(queue, limit=1000)}
                assert found <= whole
        except StoreError as error:
            assert str(database) in str(error)  # noqa: PT017
        target = database.with_name(f"new-{seed}.db")
        brought = salvage(database, to=target)
        with SqliteStore(target) as store:
            names = [record.payload for queue in _queues(target) for record in store.browse(queue, state=None)]
        assert set(names) <= whole
        assert brought.records == len(names)
        assert brought.records > 0


def _queues(database: Path) -> list[str]:
    raw = sqlite3.connect(database)
    names = [name.decode() for (name,) in raw.execute("SELECT name FROM queue WHERE number > 0")]
    raw.close()
    return names


def test_a_page_that_is_gone_costs_its_own_rows_and_no_others(database: Path) -> None:
    whole = _fill(database)
    data = bytearray(database.read_bytes())
    at = data.index(b"payload 0200") // 2048 * 2048
    data[at : at + 2048] = bytes(2048)
    database.write_bytes(data)
    brought = salvage(database, to=database.with_name("new.db"))
    assert len(whole) - 30 < brought.records < len(whole)
    with SqliteStore(database.with_name("new.db")) as store:
        assert _left(store) < whole
        assert store.count("t") == 40


def test_salvage_brings_out_all_of_a_healthy_database_in_its_order(database: Path) -> None:
    whole = _fill(database)
    assert salvage(database, to=database.with_name("new.db")) == Salvaged(len(whole), 40, 0)
    with SqliteStore(database) as old, SqliteStore(database.with_name("new.db")) as new:
        for queue in ("q", "r", "q.dead"):
            for order in Order:
                pairs = zip(old.browse(queue, order=order), new.browse(queue, order=order), strict=True)
                assert all(a[3:] == b[3:] for a, b in pairs)
        assert list(old.scan("t")) == list(new.scan("t"))


def test_salvage_of_a_store_that_is_open_keeps_its_locks(database: Path) -> None:
    _fill(database)
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


def test_salvage_names_what_it_cannot_do(database: Path) -> None:
    _fill(database, 2)
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
    payloads, new = _fill(database), database.with_name("new.db")

    def refuse(store: SqliteStore) -> None:
        raise DiskError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new))

    with monkeypatch.context() as patched, pytest.raises(DiskError):
        patched.setattr(SqliteStore, "checkpoint", refuse)
        salvage(database, to=new)
    assert not list(database.parent.glob("new.db*"))
    salvage(database, to=new)
    assert {path.name for path in database.parent.glob("new.db*")} == {"new.db"}
    with SqliteStore(new) as store:
        assert _left(store) == payloads


def test_salvage_takes_nobodys_place(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who had opened the new one meanwhile went on with a file that was gone, and all that it stored was lost."""
    _fill(database)
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
        assert _left(store) == {b"theirs"}


def test_salvage_of_a_file_that_was_made_longer_than_there_is_room_for(database: Path) -> None:
    """Each page of nothing was looked at: for days."""
    payloads = _fill(database)
    os.truncate(database, 1 << 40)
    assert salvage(database, to=database.with_name("new.db")).lost == 0
    with SqliteStore(database.with_name("new.db")) as store:
        assert _left(store) == payloads


def test_a_database_that_was_cut_to_nothing_keeps_its_wal(tmp_path: Path) -> None:
    """SQLite removes it where the database is empty, also for who only looks: all was gone without a word."""
    (tmp_path / "here").mkdir(mode=0o700)
    with SqliteStore(tmp_path / "here" / "q.db") as store:
        store.commit(*(Put("q", b"%d" % n) for n in range(9)))
        shutil.copytree(tmp_path / "here", tmp_path / "there")  # as SIGKILL leaves it
    path = tmp_path / "there" / "q.db"
    os.truncate(path, 0)
    looks: list[Callable[[], object]] = [
        lambda: SqliteStore(path),
        lambda: look_at(str(path), lambda sight: sight.queues()),
        lambda: probe_file(str(path)),
    ]
    for look in looks:
        with pytest.raises(FormatError, match=r"q\.db is empty, .*salvage.*move .*q\.db-wal away"):
            look()
    assert salvage(path, to=tmp_path / "new.db") == Salvaged(9, 0, 0)
    path.with_name("q.db-wal").unlink()
    with SqliteStore(path) as store:
        assert list(store.browse("q")) == []


def test_an_empty_file_that_another_one_makes_a_database_of(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size was from before that, and its WAL's from behind it: it was refused as one that was cut to nothing."""
    database.touch()
    real, opened = os.path.getsize, list[SqliteStore]()

    def slow(path: str) -> int:
        try:
            return real(path)
        finally:
            if not opened:
                monkeypatch.undo()
                opened.append(SqliteStore(database))
                opened[0].commit(Put("q", b"theirs"))

    monkeypatch.setattr(os.path, "getsize", slow)
    assert probe_file(str(database)).sqlite
    opened[0].close()


def test_i6_i8_a_database_that_was_cut_to_nothing_is_told_of(database: Path) -> None:
    """An empty one took its place without a word, and ids that were given were given again."""
    with SqliteStore(database) as store:
        ids = store.commit(*(Put("q", b"%d" % n) for n in range(9)))
    os.truncate(database, 0)
    with SqliteStore(database) as store:
        (damage,) = store.damage
        assert "its last commits are gone" in damage.reason
        assert store.commit(Put("q", b"new"))[0] > ids[-1]


@pytest.mark.parametrize("side", ["", "-wal", "-shm", "-journal"])
def test_a_pipe_in_a_files_place_is_refused(side: str, database: Path) -> None:
    """It was waited for, for ever."""
    payloads, file = _fill(database, 20), Path(f"{database}{side}")
    kept = database.rename(database.with_name("kept.db"))
    os.mkfifo(file)
    if side:
        kept.rename(database)
    looks: list[Callable[[], object]] = [
        lambda: SqliteStore(database),
        lambda: look_at(str(database), lambda sight: sight.queues()),
        lambda: kind_of(str(database)),
    ]
    for look in looks[: 3 if side else 2]:
        with pytest.raises(StoreRefused, match=rf"{file} is no regular file"):
            look()
    assert side or kind_of(str(database)) is None
    if side in ("", "-wal"):
        with pytest.raises(DiskError, match="can't be read"):
            salvage(database, to=database.with_name("new.db"))
    file.unlink()
    if side:
        with SqliteStore(database) as store:
            assert _left(store) == payloads


def test_a_file_that_goes_while_it_is_looked_at_is_nothing_else(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process closed the database right then, its opening was refused: it was "no regular file"."""
    shared, look = f"{database}-shm", os.stat

    def look_and_lose(path: Any, *how: Any, **more: Any) -> os.stat_result:
        found = look(path, *how, **more)
        if path == shared:
            os.unlink(path)
        return found

    SqliteStore(database).close()
    Path(shared).touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", look_and_lose)
        check_sides(str(database))
    assert not os.path.exists(shared)


def test_salvage_as_a_command(database: Path) -> None:
    _fill(database, 20)
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
    _fill(database, 20)
    command = [sys.executable, "-m", "pqadapters.stores.sqlite", str(database), f"{database}.new"]
    done = subprocess.run(["bash", "-c", how, "bash", *command], stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr
    with SqliteStore(f"{database}.new") as store:
        assert store.count("t") == 40


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 3000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(database: Path, content: bytes) -> None:
    database.write_bytes(content)
    database.chmod(0o600)
    with pytest.raises(FormatError, match=rf"{database}.*salvage"):
        SqliteStore(database)
    assert database.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(database: Path) -> None:
    with sqlite3.connect(database) as raw:
        raw.execute("CREATE TABLE users(name)")
    raw.close()
    before = database.read_bytes()
    with pytest.raises(StoreRefused, match=r"another program.*a database of its own"):
        SqliteStore(database)
    assert database.read_bytes() == before


def test_a_newer_version_is_refused(database: Path) -> None:
    _fill(database, 2)
    with sqlite3.connect(database) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(FormatError, match=r"version 99.*upgrade pqadapters"):
        SqliteStore(database)


def test_a_network_filesystem_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_directory, "_filesystem", lambda path: "nfs4")
    with pytest.raises(StoreRefused, match=r"lies on nfs4.*local disk"):
        SqliteStore(database)
    assert not database.exists()


def test_two_names_of_one_file_are_refused(database: Path) -> None:
    """Each of them has a WAL of its own: what was put by the one was gone without a word."""
    _fill(database, 20)
    other = database.with_name("other.db")
    os.link(database, other)
    for name in (database, other):
        with pytest.raises(StoreRefused, match=r"2 names of the same file.*store.backup"):
            SqliteStore(name)
    other.unlink()
    other.symlink_to(database)
    with SqliteStore(other) as store:
        assert store.depth("r").ready == 10


def test_a_file_that_is_mounted_without_its_directory_is_refused(database: Path) -> None:
    """As `docker run -v jobs.db:/data/jobs.db` does it."""
    _fill(database, 2)
    (database.parent / "there").mkdir()
    mounted = database.parent / "there" / "jobs.db"
    mounted.touch()
    made = subprocess.run(["mount", "--bind", str(database), str(mounted)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"can't mount a file here: {made.stderr.strip()}")
    try:
        with pytest.raises(StoreRefused, match=r"mounted from elsewhere.*Mount the directory"):
            SqliteStore(mounted)
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)
    SqliteStore(database).close()


def test_a_directory_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="is a directory"):
        SqliteStore(tmp_path)


_OPENS = """
import sys
from pqadapters.errors import DiskError
from pqadapters.stores.sqlite import SqliteStore
try:
    SqliteStore(sys.argv[1])
except DiskError as error:
    print(error)
"""


def _refusal(database: Path) -> str:
    """What is said to a user who may not write anywhere, as root may."""
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*plain, sys.executable, "-c", _OPENS, str(database)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert not done.stderr
    return done.stdout


def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert f"[Errno {errno.EACCES}]" in _refusal(tmp_path / "x.db")


def test_a_database_that_may_not_be_read(database: Path) -> None:
    """It was "no such file"."""
    SqliteStore(database).close()
    database.chmod(0)
    assert f"[Errno {errno.EACCES}]" in _refusal(database)


def test_the_files_are_their_owners_alone(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"secret"))
        store.claim("q")
        for name in os.listdir(database.parent):
            assert not os.stat(database.parent / name).st_mode & 0o077


def test_a_backup_is_a_store_and_what_was_claimed_is_ready_in_it(database: Path) -> None:
    copy = database.with_name("copy.db")
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"), Put("q", b"b"), Set("t", b"k", b"v"))
        (claim,) = store.claim("q")
        store.backup(to=copy)
        with pytest.raises(StoreRefused, match="exists already"):
            store.backup(to=copy)
        store.commit(Ack(claim), Put("q", b"c"))
    with SqliteStore(copy) as store:
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"a", b"b"]
        assert store.get("t", b"k") == b"v"
    assert sorted(os.listdir(database.parent)) == ["copy.db", "copy.db-owners", "jobs.db", "jobs.db-owners"]


@pytest.mark.parametrize(
    "copies", [lambda store, to: store.backup(to=to), lambda store, to: salvage(store.place, to=to)]
)
def test_what_may_stand_where_a_copy_is_to_is_not_replaced(
    copies: Any, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that doesn't tell whether a file is there was taken to say no."""
    copy = database.with_name("copy.db")
    copy.write_bytes(b"somebody's")

    def failing(look: Any) -> Any:
        def fails(path: Any, **options: Any) -> Any:
            if str(path) == str(copy):
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            return look(path, **options)

        return fails

    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        for name in ("stat", "lstat"):
            monkeypatch.setattr(os, name, failing(getattr(os, name)))
        with pytest.raises(DiskError, match="the system's log"):
            copies(store, copy)
    assert copy.read_bytes() == b"somebody's"


def test_two_backups_to_one_name_at_a_time(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They wrote into one file of that name: each took the other one's away, or gave it its name half written."""
    copy, real = database.with_name("copy.db"), backup._copy

    def slowly(path: str, part: str) -> None:
        monkeypatch.setattr(backup, "_copy", real)
        real(path, part)
        with SqliteStore(database) as other:
            other.backup(to=copy)

    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        monkeypatch.setattr(backup, "_copy", slowly)
        with pytest.raises(StoreRefused, match="exists already"):
            store.backup(to=copy)
    with SqliteStore(copy) as store:
        assert store.depth("q").ready == 1
    assert not list(database.parent.glob("*.part*"))


def test_a_backup_that_fails_leaves_nothing(database: Path) -> None:
    with SqliteStore(database) as store, pytest.raises(DiskError, match="back up to"):
        store.backup(to=database.parent / "none" / "copy.db")
