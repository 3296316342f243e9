"""Files that are foreign, newer, of the wrong kind or in the wrong place: refused with a clear word, and left alone."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import DiskError, FormatError, StoreRefused
from pqadapters.opening import look_at, probe_file
from pqadapters.stdlib._mappings.dbm import kind_of
from pqadapters.store import Put
from pqadapters.stores import _directory
from pqadapters.stores.sqlite import SqliteStore, salvage
from pqadapters.stores.sqlite.beside import check_sides
from tests.segment.programs import PATIENCE, ROOT
from tests.segment.users import USER, as_root

from .contents import fill, left


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


@pytest.mark.parametrize("side", ["", "-wal", "-shm", "-journal"])
def test_a_pipe_in_a_files_place_is_refused(side: str, database: Path) -> None:
    """It was waited for, for ever."""
    payloads, file = fill(database, 20), Path(f"{database}{side}")
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
            assert left(store) == payloads


@pytest.mark.parametrize("side", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("leads_to", ["moved", "nothing"])
def test_a_link_in_the_place_of_what_stands_beside_a_database(side: str, leads_to: str, database: Path) -> None:
    """It was said that the user must be allowed to write the file, and by salvage that the database is a link."""
    fill(database, 20)
    link = Path(f"{database}{side}")
    database.with_name("moved").touch()
    link.symlink_to(database.with_name(leads_to))
    looks: list[Callable[[], object]] = [
        lambda: SqliteStore(database),
        lambda: look_at(str(database), lambda sight: sight.queues()),
    ]
    for look in looks:
        with pytest.raises(StoreRefused, match=rf"{link} is a symbolic link"):
            look()
    if side == "-wal":
        with pytest.raises(DiskError, match=f"can't be read: .*{link}"):
            salvage(database, to=database.with_name("new.db"))


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


@as_root
@pytest.mark.parametrize("side", ["-wal", "-shm", "-journal"])
def test_what_another_user_has_put_beside_a_database_is_refused(side: str, database: Path) -> None:
    """In a directory that others write, such as /tmp, their WAL took the place of all that was stored."""
    payloads = fill(database, 3)
    theirs = Path(f"{database}{side}")
    theirs.write_bytes(b"theirs")
    os.chown(theirs, USER, -1)
    with pytest.raises(StoreRefused, match=f"{side} belongs to user {USER}, .* as user 0: .*move it away"):
        SqliteStore(database)
    assert theirs.read_bytes() == b"theirs"
    theirs.unlink()
    with SqliteStore(database) as store:
        assert left(store) == payloads


@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_place_of_the_directory_beside_a_database(database: Path, there: bool) -> None:
    """The directory that it leads to was made private, and used: in a directory that others write, any one of ours."""
    elsewhere = database.with_name("elsewhere")
    if there:
        elsewhere.mkdir(0o755)
        elsewhere.chmod(0o755)
    Path(f"{database}-owners").symlink_to(elsewhere)
    with pytest.raises(StoreRefused, match=r"jobs.db-owners is a symbolic link.*remove the link"):
        SqliteStore(database)
    assert elsewhere.exists() == there
    assert not there or (elsewhere.stat().st_mode & 0o777, os.listdir(elsewhere)) == (0o755, [])


@pytest.mark.parametrize("side", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("first", [True, False])
def test_no_database_has_the_name_of_what_stands_beside_another_one(first: bool, side: str, database: Path) -> None:
    """"diary" and "diary-journal": to open the one removed the other, without a word."""
    there, other = (database, Path(f"{database}{side}"))[:: 1 if first else -1]
    with SqliteStore(there) as store, SqliteStore(database.with_name("third.db")) as third:
        store.commit(Put("q", b"kept"))
        makers: list[Callable[[Path], object]] = [
            SqliteStore,
            lambda to: third.backup(to=to),
            lambda to: third.salvage(to=to),
        ]
        for make in makers:
            if first and make is not SqliteStore and side != "-journal":
                continue  # there is a file of that name
            with pytest.raises(StoreRefused, match="is no name for a database"):
                make(other)
    with pytest.raises(StoreRefused, match="is no name for a database"):
        SqliteStore(other)
    with SqliteStore(there) as store:
        assert left(store) == {b"kept"}
    there.rename(database.with_name("elsewhere.db"))
    SqliteStore(other).close()  # what stood beside it has stayed


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 3000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(database: Path, content: bytes) -> None:
    database.write_bytes(content)
    database.chmod(0o644)
    with pytest.raises(FormatError, match=rf"{database}.*salvage"):
        SqliteStore(database)
    assert database.read_bytes() == content
    assert database.stat().st_mode & 0o777 == 0o644  # of root that was even /etc/passwd


def test_a_database_that_others_may_read_is_made_private(database: Path) -> None:
    """With all that SQLite has beside it, which is as readable as the database was when it was made."""
    SqliteStore(database).close()
    database.chmod(0o644)
    with SqliteStore(database) as store:
        store.commit(Put("q", b"1"))
        assert {each.stat().st_mode & 0o777 for each in database.parent.glob("jobs.db*") if each.is_file()} == {0o600}


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_another_programs_database_is_refused_and_left_alone(mode: str, database: Path) -> None:
    """There was a directory beside it from then on."""
    with sqlite3.connect(database) as raw:
        raw.execute("CREATE TABLE users(name)")
        raw.execute(f"PRAGMA journal_mode = {mode}")
    database.chmod(0o664)
    raw.close()
    before = database.read_bytes()
    with pytest.raises(StoreRefused, match=r"another program.*a database of its own"):
        SqliteStore(database)
    assert (database.read_bytes(), database.stat().st_mode & 0o777) == (before, 0o664)
    assert list(database.parent.iterdir()) == [database]


def test_nothing_is_made_beside_what_is_no_database(database: Path) -> None:
    database.write_text("hello " * 100)
    with pytest.raises(FormatError, match="no database"):
        SqliteStore(database)
    assert list(database.parent.iterdir()) == [database]


def test_a_database_without_what_stood_beside_it_is_opened(database: Path) -> None:
    """As one that was copied alone is. It was looked at before that, as any file that nobody of ours has opened."""
    payloads = fill(database, 20)
    shutil.rmtree(f"{database}-owners")
    with SqliteStore(database) as store:
        assert left(store) == payloads


def test_a_newer_version_is_refused(database: Path) -> None:
    fill(database, 2)
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


def test_a_mount_that_can_not_be_told_is_none(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another thread had the last descriptor, the file was taken to be mounted from elsewhere."""
    fill(database, 2)
    monkeypatch.setattr(_directory, "_mount", lambda path: "mnt_id: 7" if path == str(database) else None)
    SqliteStore(database).close()


def test_two_names_of_one_file_are_refused(database: Path) -> None:
    """Each of them has a WAL of its own: what was put by the one was gone without a word."""
    fill(database, 20)
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
    fill(database, 2)
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
from pqadapters.stores.sqlite import SqliteStore, salvage
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


def test_what_is_beside_a_database_was_removed(database: Path) -> None:
    """Who took it for litter was told that they may not write there."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"1"))
        shutil.rmtree(f"{database}-owners")
        with pytest.raises(DiskError, match=r"was removed.*close the store and open it again"):
            store.claim("q")
    with SqliteStore(database) as store:
        assert [claim.payload for claim in store.claim("q")] == [b"1"]


def test_the_files_are_their_owners_alone(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"secret"))
        store.claim("q")
        for name in os.listdir(database.parent):
            assert not os.stat(database.parent / name).st_mode & 0o077
