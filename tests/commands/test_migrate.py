"""`migrate`: what persist-queue and shelve have written becomes ours, in place or elsewhere; nothing is lost."""

from __future__ import annotations

import dbm.dumb
import json
import os
import pickle
import shelve as stdlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import persistqueue as old
import pytest

import pqadapters.persistqueue as ours
from pqadapters import PDict
from pqadapters.commands.moves import Database, Files, Move, Shelf, found_in
from pqadapters.errors import StoreError, StoreLocked, StoreUnreachable, TooLarge
from pqadapters.opening import open_store
from pqadapters.persistqueue.conversion import databases, directories, moving
from pqadapters.stdlib import shelve
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Op, Put, Set
from tests.mysql.server import shared
from tests.persistqueue import theirs
from tests.segment.programs import running, said

from .command import bytes_in, call, loaded, out, process, refusal


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a database of several queues."""
    path = tmp_path / "app"
    theirs.database(str(path), old.SQLiteQueue, [1, 2, 3], "jobs")
    theirs.database(str(path), old.UniqueQ, ["a"])
    theirs.each_state(str(path))
    d = old.PDict(str(path), "settings")
    d["k"] = "v"
    d.close()
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A file queue."""
    path = tmp_path / "files"
    theirs.file_queue(str(path), [{"n": n} for n in range(250)], got=20)
    return path


def _counts(report: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {part["name"]: part["counts"] for part in report["parts"]}


COUNTS = {
    "ack_queue_default": {"acked": 2, "ack_failed": 1, "inited": 5, "ready": 1, "unack": 1},
    "dict/settings": {"set": 1},
    "queue_jobs": {"waiting": 3},
    "unique_queue_default": {"waiting": 1},
}


def test_a_dry_run_says_what_there_is_and_changes_nothing(place: Path, files: Path) -> None:
    before = bytes_in(place), bytes_in(files)
    [report] = loaded("migrate", place, "--dry-run")
    assert _counts(report) == COUNTS
    assert (report["items"], report["kept"]) == (15, None)
    [report] = loaded("migrate", files, "--dry-run")
    assert _counts(report) == {"default": {"waiting": 230}}
    assert (bytes_in(place), bytes_in(files)) == before
    assert "15 items would be moved over" in out("migrate", place, "--dry-run")


_LEAVES_A_WAL = """
import os, sys, persistqueue
q = persistqueue.SQLiteQueue(sys.argv[1])
for n in range(50): q.put(n)
os.kill(os.getpid(), 9)
"""


def test_a_dry_run_refuses_what_would_not_be_moved(files: Path) -> None:
    before = bytes_in(files)
    assert "the serializer that was given" in refusal("migrate", files, "--dry-run", "--serializer", "json")
    assert bytes_in(files) == before
    (files / "notes.txt").write_text("mine")
    assert "'notes.txt'" in refusal("migrate", files, "--dry-run")


def test_a_dry_run_refuses_items_that_none_can_be_read_of(files: Path) -> None:
    """Without an `info` that would tell whose they are."""
    (files / "info").unlink()
    assert "none of its items" in refusal("migrate", files, "--dry-run", "--serializer", "json")


def test_a_dry_run_writes_nothing_beside_what_was_killed(tmp_path: Path) -> None:
    """But for the index of a WAL, which SQLite makes anew at will: what says that it mustn't be written makes SQLite
    wait for ten seconds where a crash left it half-written."""
    with running(_LEAVES_A_WAL, tmp_path / "q") as child:
        child.wait()
    before = _without_index(tmp_path)
    assert len(before) > 1
    assert loaded("migrate", tmp_path / "q", "--dry-run")[0]["items"] == 50
    assert _without_index(tmp_path) == before


def _without_index(path: Path) -> dict[str, Any]:
    return {name: entry for name, entry in bytes_in(path).items() if not name.endswith("-shm")}


def test_a_database_in_its_place(place: Path) -> None:
    [planned] = loaded("migrate", place, "--dry-run")
    [done] = loaded("migrate", place / "data.db")
    assert _counts(done) == _counts(planned)
    assert done["kept"] == f"{place}/data.db.persist-queue"
    assert ours.SQLiteQueue(str(place), name="jobs").size == 3
    assert ours.PDict(str(place), "settings")["k"] == "v"
    assert "own already" in out("migrate", place)
    assert loaded("migrate", place) == []  # it was those words, which aren't JSON


def test_what_is_ours_already_is_put_nowhere_else(place: Path, target: str) -> None:
    """It said that there was nothing to do, with status 0, as if the items were in the other store."""
    out("migrate", place)
    for words in ((), ("--dry-run",), ("--json",)):
        said = refusal("migrate", place, "--to", target, *words)
        assert "own already" in said
        assert "nothing was put into" in said


def test_what_it_prints(place: Path, files: Path) -> None:
    theirs.database(str(place), old.FILOSQLiteQueue, [], "none")
    lines = out("migrate", f"sqlite:///{place}/data.db").splitlines()
    assert lines[0] == f"{place}/data.db: 15 items moved over; the original is kept as {place}/data.db.persist-queue"
    assert ["queue_jobs", "queue_jobs", "waiting", "3"] in [line.split() for line in lines]
    assert lines[-1].split() == ["filo_queue_none", "filo_queue_none", "-", "0"]
    assert "230 items moved over" in out("migrate", f"file://{files}")


def test_a_directory_with_a_file_queue_and_databases(tmp_path: Path) -> None:
    path = str(tmp_path / "both")
    theirs.database(path, old.SQLiteQueue, ["a"], db_file_name="one.db")
    theirs.database(path, old.SQLiteQueue, ["b"], db_file_name="two.sqlite")
    reports = loaded("migrate", path)
    assert [Path(report["place"]).name for report in reports] == ["one.db", "two.sqlite"]
    assert ours.SQLiteQueue(path, db_file_name="two.sqlite").get() == "b"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_was_moved_is_told_though_the_next_one_is_in_use(tmp_path: Path, options: list[str]) -> None:
    """The first database had another name by then, and nobody had said which."""
    path = str(tmp_path / "both")
    theirs.database(path, old.SQLiteQueue, ["a"], db_file_name="one.db")
    used = old.SQLiteQueue(path, db_file_name="two.db")
    used.put("b")
    result = process("migrate", path, *options)
    used.close()
    assert result.returncode == 1
    assert f"{path}/two.db is open in process {os.getpid()}" in result.stderr
    assert f"{path}/one.db.persist-queue" in result.stdout
    if options:
        assert [(report["place"], report["items"]) for report in json.loads(result.stdout)] == [(f"{path}/one.db", 1)]


@pytest.mark.parametrize("name", ["pickle", "json", "msgpack", "cbor2"])
def test_a_file_queues_serializer_is_seen(tmp_path: Path, name: str) -> None:
    path = tmp_path / "q"
    theirs.file_queue(str(path), [{"n": n} for n in range(5)], name=name)
    out("migrate", path)
    with ours.Queue(str(path), serializer=getattr(ours.serializers, name)) as q:
        assert [q.get()["n"] for _ in range(q.qsize())] == list(range(5))


def test_the_serializer_that_is_said_counts(files: Path) -> None:
    before = bytes_in(files)
    assert "seems to be pickle's" in refusal("migrate", files, "--serializer", "json")
    assert {path.rpartition("/")[2] for path in bytes_in(files)} == {path.rpartition("/")[2] for path in before}


class _Bomb:
    def __init__(self, file: str) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (self.file,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    bomb = _Bomb(str(tmp_path / "bang"))
    theirs.file_queue(str(tmp_path / "q"), [bomb])
    theirs.database(str(tmp_path / "db"), old.UniqueQ, [bomb])
    with stdlib.open(str(tmp_path / "shelf")) as shelf:
        shelf["k"] = bomb
    (tmp_path / "elsewhere").mkdir()
    for name in ("q", "db", "shelf"):
        out("migrate", tmp_path / name, "--dry-run")
        out("migrate", tmp_path / name, "--to", f"sqlite:///{tmp_path}/elsewhere/all.db")
        out("migrate", tmp_path / name)
    assert not (tmp_path / "bang").exists()


# Into another store


@pytest.fixture(params=["sqlite", "file"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    (tmp_path / "target").mkdir(mode=0o700)
    return f"sqlite:///{tmp_path}/target/data.db" if request.param == "sqlite" else f"file://{tmp_path}/target/store"


def test_into_another_store(place: Path, files: Path, target: str) -> None:
    before = bytes_in(place), bytes_in(files)
    [report] = loaded("migrate", place, "--to", target)
    assert (report["items"], report["kept"], report["to"]) == (15, None, target)
    loaded("migrate", files, "--to", target, "--queue", "jobs")
    assert (bytes_in(place), bytes_in(files)) == before
    with open_store(target) as store:
        assert [pickle.loads(record.payload) for record in store.browse("queue_jobs")] == [1, 2, 3]
        assert store.depth("jobs").ready == 230
    assert dict(PDict[str, str](store=target, name="settings")) == {"k": "v"}
    if target.startswith("sqlite"):
        with ours.SQLiteAckQueue(str(Path(target[10:]).parent), auto_resume=False) as q:
            assert len(q.queue()) == 10
            assert (q.acked_count(), q.unack_count()) == (2, 1)


def test_the_standard_librarys_queue_finds_a_file_queue_that_was_moved(files: Path, target: str) -> None:
    out("migrate", files, "--to", target)
    q: Queue[Any] = Queue(store=target)
    assert [q.get()["n"] for _ in range(q.qsize())] == list(range(20, 250))


def test_into_another_store_twice_is_once(place: Path, files: Path, target: str) -> None:
    for _ in range(2):
        out("migrate", place, "--to", target)
        out("migrate", files, "--to", target)
    with open_store(target) as store:
        assert (store.depth("queue_jobs").ready, store.depth("default").ready) == (3, 230)


@pytest.mark.parametrize("kind", ["files", "database", "shelf"])
def test_what_a_store_refuses_half_way_is_told_with_where_it_goes_on(
    tmp_path: Path, place: Path, files: Path, dumb: Path, target: str, kind: str
) -> None:
    """It was told as if nothing had been stored, and of an item that a server doesn't take nobody knew which it was."""
    moves: dict[str, Move] = {
        "files": Files(str(files), None, "default"),
        "database": Database(str(place / "data.db")),
        "shelf": Shelf(str(dumb), "s"),
    }
    for error, words in ((StoreUnreachable, "was being moved"), (TooLarge, r"item .* bytes, can't be moved")):
        with open_store(target) as store:
            commit = store.commit

            def refused(*ops: Op, error: type[StoreError] = error, commit: Any = commit, **options: Any) -> Any:
                if any(isinstance(op, Set) and op.table == moving.MOVED for op in ops):
                    raise error("nothing was stored")
                return commit(*ops, **options)

            vars(store)["commit"] = refused
            with pytest.raises(error, match=rf"{words}.*goes on.*\(nothing was stored\)"):
                moves[kind].into(store, lambda more: None)


@pytest.mark.parametrize("kind", ["files", "database"])
def test_into_another_store_again_after_the_first_was_used(tmp_path: Path, target: str, kind: str) -> None:
    """As many as were there were passed over, and those were others by then: new ones were lost, with status 0."""
    path = str(tmp_path / "q")
    theirs.file_queue(path, [0, 1, 2]) if kind == "files" else theirs.database(path, old.SQLiteQueue, [0, 1, 2])
    out("migrate", path, "--to", target)
    q: Any = old.Queue(path) if kind == "files" else old.SQLiteQueue(path, auto_commit=False)
    q.get()
    q.put(3)
    q.task_done()
    del q
    assert "was used since 3 items" in refusal("migrate", path, "--to", target)
    with open_store(target) as store:
        name = "default" if kind == "files" else "queue_default"
        assert [pickle.loads(record.payload) for record in store.browse(name)] == [0, 1, 2]


def test_what_is_put_while_it_is_moved_into_another_store(
    files: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could say whether it was moved, too; the next call moves what came behind."""
    moved = directories._moved

    def used(*args: Any, **options: Any) -> Any:
        part = moved(*args, **options)
        theirs.file_queue(str(files), [{"n": 250}])
        return part

    with monkeypatch.context() as patch:
        patch.setattr(directories, "_moved", used)
        assert "was changed by another program meanwhile" in refusal("migrate", files, "--to", target)
    out("migrate", files, "--to", target)
    with open_store(target) as store:
        assert store.depth("default").ready == 231


def test_into_another_store_again_moves_what_came_behind(files: Path, target: str) -> None:
    out("migrate", files, "--to", target)
    q = old.Queue(str(files))
    q.put({"n": 250})
    del q
    out("migrate", files, "--to", target)
    with open_store(target) as store:
        assert [pickle.loads(record.payload)["n"] for record in store.browse("default")] == list(range(20, 251))


def test_what_was_broken_off_goes_on(place: Path, files: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each commit that there is: no item twice, none left out."""
    monkeypatch.setattr(moving, "_AT_ONCE", 2)
    left = 0

    def broken(more: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    for commits in (0, 1, 2, 0, 1, 2):
        left = commits
        with open_store(target) as store, pytest.raises(KeyboardInterrupt):
            Database(str(place / "data.db")).into(store, broken)
    out("migrate", place, "--to", target)
    with open_store(target) as store:
        assert [pickle.loads(record.payload) for record in store.browse("queue_jobs")] == [1, 2, 3]
        assert store.depth("unique_queue_default").ready == 1
        assert {state: store.count(f"ack_queue_default/{state}") for state in "1259"} == {
            "1": 1,
            "2": 1,
            "5": 2,
            "9": 1,
        }
        assert store.count("ack_queue_default/rows") == 5
        assert not store.depth("pqadapters.reserved-ids").unfinished


@pytest.mark.parametrize("kind", ["files", "database"])
def test_of_two_that_move_the_same_at_once_one_goes_on(
    place: Path, files: Path, target: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both put what the other had put since they had looked: items were there twice, and the next call said nothing."""
    monkeypatch.setattr(moving, "_AT_ONCE", 2)
    move: Move = Files(str(files), "pickle", "default") if kind == "files" else Database(str(place / "data.db"))
    with open_store(target) as store:
        begun = False

        def meanwhile(more: int) -> None:
            nonlocal begun
            if not begun:
                begun = True
                move.into(store, lambda more: None)

        with pytest.raises(StoreLocked, match="by another process, too"):
            move.into(store, meanwhile)
    out("migrate", files if kind == "files" else place, "--to", target)
    with open_store(target) as store:
        if kind == "files":
            assert store.depth("default").ready == 230
        else:
            assert store.depth("ack_queue_default").unfinished + store.count("ack_queue_default/rows") == 11
            assert store.depth("queue_jobs").ready == 3


def test_a_mapping_that_is_there_is_not_mixed_with_another(place: Path, target: str) -> None:
    PDict[str, int](store=target, name="settings")["mine"] = 1
    assert "already" in refusal("migrate", place, "--to", target)
    assert dict(PDict(store=target, name="settings")) == {"mine": 1}


def test_tables_of_another_program_stay_with_it(place: Path, target: str) -> None:
    connection = sqlite3.connect(place / "data.db")
    connection.execute("CREATE TABLE customers (name TEXT)")
    connection.commit()
    connection.close()
    assert "customers" in refusal("migrate", place)
    assert "--to" in refusal("migrate", place / "data.db")
    out("migrate", place, "--to", target)
    with open_store(target) as store:
        assert store.depth("queue_jobs").ready == 3


# What can't be done


def test_counts_that_do_not_match_leave_the_original(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = moving.in_store
    fewer = lambda store, table: {state: count - 1 for state, count in real(store, table).items()}  # noqa: E731
    monkeypatch.setattr(moving, "in_store", fewer)
    before = theirs.rows(place / "data.db", "queue_jobs")
    assert "were put" in refusal("migrate", place)
    assert theirs.rows(place / "data.db", "queue_jobs") == before
    assert not [name for name in os.listdir(place) if "persist-queue" in name or "converting" in name]


def test_rows_that_are_passed_over_without_a_word_are_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqadapters.persistqueue.conversion.rows import Source

    real = Source.items
    monkeypatch.setattr(Source, "items", lambda self, table: (item for item in list(real(self, table))[1:]))
    assert "arrived in" in refusal("migrate", place)
    assert len(theirs.rows(place / "data.db", "queue_jobs")) == 3


def test_damage_is_listed_and_told_by_the_exit_status(files: Path) -> None:
    os.truncate(files / "q00001", 1000)
    result = call("migrate", files)
    assert result.exit_code == 1
    assert f"{files}.persist-queue/q00001" in result.stdout
    assert "could not be read" in result.stderr
    with ours.Queue(str(files)) as q:
        assert 130 < q.qsize() < 230


@pytest.mark.parametrize("what", ["missing", "gone", "empty", "text", "foreign"])
def test_what_is_nothing_of_the_kind(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "gone":
        path.symlink_to(tmp_path / "what is gone")
    elif what == "empty":
        path.mkdir()
    elif what == "text":
        path.write_text("text")
    elif what == "foreign":
        sqlite3.connect(path).execute("CREATE TABLE t (a)").connection.close()
    assert str(path) in refusal("migrate", path)
    missing = what in ("missing", "gone")
    assert ("isn't there" in refusal("migrate", path)) == missing
    assert "persist-queue or shelve" in refusal("migrate", path) or missing


@pytest.mark.parametrize("url", ["file://elsewhere{}", "sqlite://elsewhere/{}", "http://localhost{}", "file:///"])
def test_a_url_that_names_no_file_here(files: Path, url: str) -> None:
    assert "write a path, sqlite:////abs/data.db" in refusal("migrate", url.format(files))
    assert files.is_dir()


def test_what_is_somebody_elses(place: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It said that there was nothing of persist-queue's.
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for path in (place, place / "data.db", files):
        assert f"belongs to user {os.getuid()}" in refusal("migrate", path)


def test_a_database_that_is_in_use(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "PATIENCE", 0.2)
    q = old.SQLiteQueue(str(place))
    assert "open in another program" in refusal("migrate", place)
    q.close()


def test_a_process_of_its_own_and_sigkill(place: Path, files: Path) -> None:
    done = process("migrate", place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "15 items moved over" in done.stdout
    code = "import sys; from pqadapters.__main__ import main; sys.argv[1:1] = ['migrate']; main()"
    with running(code, str(files)) as child:
        child.kill()
    out("migrate", files)
    with ours.Queue(str(files)) as q:
        assert q.qsize() == 230


# Shelves


@pytest.fixture
def dumb(tmp_path: Path) -> Path:
    path = tmp_path / "shelf"
    with dbm.dumb.open(str(path), "n") as database:
        for n in range(2500):
            database[f"k{n}"] = pickle.dumps(n)
    return path


def test_a_shelf_in_its_place(dumb: Path) -> None:
    before = bytes_in(dumb.parent)
    [planned] = loaded("migrate", dumb, "--dry-run")
    assert bytes_in(dumb.parent) == before
    [done] = loaded("migrate", dumb)
    assert planned["items"] == done["items"] == 2500
    assert done["kept"] == f"{dumb}.old"
    with shelve.open(str(dumb)) as shelf:
        assert (len(shelf), shelf["k2499"]) == (2500, 2499)
    assert "own already" in out("migrate", dumb)


@pytest.mark.parametrize("where", ["in its place", "elsewhere"])
def test_a_damaged_shelf(dumb: Path, target: str, where: str) -> None:
    data = dumb.with_suffix(".dat")
    data.write_bytes(data.read_bytes()[:-600])
    more = () if where == "in its place" else ("--to", target)
    [report] = loaded("migrate", dumb, *more, "--dry-run")
    assert report["items"] == 2500 - len(report["damage"]) < 2500
    moved = call("migrate", dumb, *more)
    assert moved.exit_code == 1
    assert f"{len(report['damage'])} places could not be read, and are listed" in moved.stderr
    with shelve.open(str(dumb)) if not more else shelve.open("shelf", store=target) as shelf:
        assert len(shelf) == report["items"]
        assert shelf["k7"] == 7


def test_a_shelf_of_somebody_elses(dumb: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Moved over by root, it was root's alone, and its program couldn't open it any more."""
    before = bytes_in(dumb.parent)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for options in ((), ("--dry-run",)):
        assert f"belongs to user {os.getuid()}: " in refusal("migrate", dumb, *options)
    with pytest.raises(shelve.ShelfError, match="call migrate as that user"):
        shelve.migrate(dumb)
    assert bytes_in(dumb.parent) == before
    assert "2500 items" in out("migrate", dumb, "--dry-run", "--to", target)


@pytest.mark.parametrize("index", [None, b"garbage"])
def test_a_shelf_without_its_index(dumb: Path, target: str, index: bytes | None) -> None:
    """It "isn't there", it was said, with all values in its .dat file, and an older index beside them."""
    Path(f"{dumb}.dir").rename(f"{dumb}.bak")
    if index is not None:
        Path(f"{dumb}.dir").write_bytes(index)
    before = bytes_in(dumb.parent)
    for options in ((), ("--dry-run",), ("--to", target)):
        assert f"{dumb}.bak may be an older one" in refusal("migrate", dumb, *options)
    assert "may be an older one" in refusal("migrate", dumb, "--to", f"sqlite:///{dumb}")
    assert bytes_in(dumb.parent) == before


def test_a_name_that_says_nothing_of_what_is_there(place: Path, files: Path, dumb: Path, target: str) -> None:
    """It was ignored without a word: all queues of a database were moved, or one kept the name that it had."""
    before = bytes_in(place), bytes_in(files)
    for words in ((), ("--dry-run",)):
        for options in ((), ("--to", target)):
            words_of = refusal("migrate", place, "--queue", "jobs", *options, *words, status=2)
            assert "under the names that they have" in words_of
        for each in (files, dumb):
            assert "by --to" in refusal("migrate", each, "--queue", "jobs", *words, status=2)
    assert (bytes_in(place), bytes_in(files)) == before
    with open_store(target) as store:
        assert not store.depth("queue_jobs").unfinished


def test_a_dry_run_looks_at_the_target(files: Path, place: Path, tmp_path: Path) -> None:
    """It said what would be moved, and nothing of what the real run is refused for."""
    (tmp_path / "notes").mkdir(mode=0o700)
    (tmp_path / "notes" / "letter.txt").write_text("mine")
    (tmp_path / "empty").mkdir(mode=0o700)
    before = bytes_in(tmp_path)
    for url, words in (
        (f"sqlite:///{tmp_path}/notes", "is a directory"),
        (f"file://{tmp_path}/notes/letter.txt", "is a file"),
        (f"file://{tmp_path}/notes", "'letter.txt', which is no part of a store"),
        (f"sqlite:///{tmp_path}/notes/letter.txt", "or no database"),
        (f"sqlite:///{place}/data.db", "another program"),
        (f"sqlite:///{tmp_path}/notes/letter.txt/data.db", "is no directory"),
        (f"sqlite:///{tmp_path}/new.db?prefech=3", "no option"),
        (f"{tmp_path}/new.db", "names no store"),
        ("mysql://user@127.0.0.1:1/db", "can't be reached"),
    ):
        assert words in refusal("migrate", files, "--dry-run", "--to", url)
    for free in (f"file://{tmp_path}/empty", f"file://{tmp_path}/a/b", f"sqlite:///{tmp_path}/a/b.db"):
        assert "230 items would be moved" in out("migrate", files, "--dry-run", "--to", free)
    assert bytes_in(tmp_path) == before


def test_a_dry_run_looks_at_a_target_that_is_a_store(files: Path, target: str) -> None:
    with open_store(target) as store:
        store.commit(Put("default", b"in front"))
    assert "230 items would be moved" in out("migrate", files, "--dry-run", "--to", target)
    if target.startswith("file:"):
        with running(_HOLDS, target.removeprefix("file://")) as child:
            assert said(child) == "held"
            assert f"held by process {child.pid}" in refusal("migrate", files, "--dry-run", "--to", target)


_HOLDS = """
import sys
from pqadapters.opening import open_path
store = open_path(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("url", ["sqlite:///{}/new.db", "file://{}/new", "file://{}/new/deeper"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["", "dry"])
def test_no_store_is_made_inside_of_a_file_queue(files: Path, url: str, dry: list[str], tmp_path: Path) -> None:
    """It was, and then neither that command nor any other one took what is no part of a file queue."""
    before = bytes_in(files)
    assert "couldn't be opened any more" in refusal("migrate", files, "--to", url.format(files), *dry)
    assert bytes_in(files) == before
    ours = tmp_path / "ours"
    Queue(path=ours).close()
    before = bytes_in(ours)
    assert "couldn't be opened any more" in refusal("migrate", files, "--to", url.format(ours), *dry)
    assert bytes_in(ours) == before


def test_a_shelf_that_another_command_has_moved_meanwhile(dumb: Path, target: str) -> None:
    """A module without a name was to be imported for it."""
    [move] = found_in(str(dumb), None, None)
    out("migrate", dumb)
    with pytest.raises(shelve.ShelfError, match="nothing to move over"):
        move.look(elsewhere=False)
    with pytest.raises(shelve.ShelfError, match="nothing to move over"):
        move.here(lambda more: None)
    with open_store(target) as store, pytest.raises(shelve.ShelfError, match="nothing to move over"):
        move.into(store, lambda more: None)
    assert "own already" in out("migrate", dumb)


def test_a_shelf_into_another_store(dumb: Path, target: str) -> None:
    before = {name: entry for name, entry in bytes_in(dumb.parent).items() if name.startswith(f"{dumb}.")}
    assert "gone" in refusal("migrate", dumb, "--to", "memory:")  # all of it had been moved there, for a moment
    out("migrate", dumb, "--to", target)
    out("migrate", dumb, "--to", target, "--queue", "second")
    assert {name: entry for name, entry in bytes_in(dumb.parent).items() if name.startswith(f"{dumb}.")} == before
    for name in ("shelf", "second"):
        with shelve.open(name, store=target) as shelf:
            assert (len(shelf), shelf["k7"]) == (2500, 7)


@pytest.mark.parametrize("url", ["sqlite:///{}", "SQLITE:///{}?durability=process", "file://{}"])
def test_no_store_hides_a_shelf(dumb: Path, files: Path, url: str) -> None:
    """Its own files have other names, so the store was made, and `shelve.open` found that one, empty."""
    before = bytes_in(dumb.parent)
    for place in (dumb, files):
        assert "hide" in refusal("migrate", place, "--to", url.format(dumb))
    assert bytes_in(dumb.parent) == before
    with stdlib.open(str(dumb)) as shelf:
        assert shelf["k7"] == 7


# Servers

KEY = "0123456789abcdef" * 2


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Any]]]:
    """A database with two queues that persist-queue has written, by pickle and by JSON."""
    with shared().database() as url:
        where: dict[str, Any] = {"host": "127.0.0.1", "user": "root", "passwd": ""}
        where["db_name"] = url.rpartition("/")[2]
        where["port"] = shared().port
        for name, serializer in (("jobs", "pickle"), ("mail", "json")):
            q = old.MySQLQueue(**where, name=name, serializer=theirs.serializer(serializer))
            for n in range(30):
                q.put({"n": n})
            q.get()
        yield url, where


def test_a_server_in_its_place(server: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    url, where = server
    [planned] = loaded("migrate", url, "--dry-run")
    assert _counts(planned) == {"queue_jobs": {"waiting": 29}, "queue_mail": {"waiting": 29}}
    assert "PQADAPTERS_SIGNING_KEY" in refusal("migrate", url, "--queue", "jobs")
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    reports = loaded("migrate", url)
    assert [report["items"] for report in reports] == [29, 29]
    assert "kept_queue_jobs" in reports[0]["kept"]
    with ours.MySQLQueue(**where, name="jobs") as q:
        assert [q.get()["n"] for _ in range(q.size)] == list(range(1, 30))
    with ours.MySQLQueue(**where, name="mail", serializer="json") as q:
        assert [q.get()["n"] for _ in range(q.size)] == list(range(1, 30))
    assert loaded("migrate", url) == []
    assert "nothing to do" in out("migrate", url)
    assert shared().run("SELECT COUNT(*) FROM kept_queue_jobs", database=where["db_name"]) == ((29,),)


def test_a_queue_that_a_server_has_not(
    server: tuple[str, dict[str, Any]], target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that was written wrongly was moved elsewhere as no items at all, with the status of success."""
    url, _ = server
    for options in (("--dry-run",), (), ("--to", target), ("--dry-run", "--to", target)):
        assert "no queue 'job'" in refusal("migrate", url, "--queue", "job", *options)
    monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
    out("migrate", url)
    assert "no queue 'job'" in out("migrate", url, "--queue", "job")
    assert "nothing that persist-queue has written" in refusal("migrate", url, "--to", target)


def test_a_server_with_nothing_of_persist_queues() -> None:
    """It said nothing, with the status of success, and a database whose name was written wrongly had tables of ours."""
    with shared().database() as url:
        for options in ([], ["--json"], ["--dry-run"]):
            assert "has nothing that persist-queue has written" in refusal("migrate", url, *options)
        assert shared().run("SHOW TABLES", database=url.rpartition("/")[2]) == ()


def test_from_a_server_and_onto_one(
    server: tuple[str, dict[str, Any]], place: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, where = server
    out("migrate", url, "--to", target)
    with open_store(target) as store:
        assert [pickle.loads(record.payload)["n"] for record in store.browse("queue_jobs")] == list(range(1, 30))
    assert shared().run("SELECT COUNT(*) FROM queue_jobs", database=where["db_name"]) == ((29,),)
    with shared().database() as other:
        assert "PQADAPTERS_SIGNING_KEY" in refusal("migrate", place, "--to", other)
        monkeypatch.setenv("PQADAPTERS_SIGNING_KEY", KEY)
        out("migrate", place, "--to", other)
        assert dict(PDict[str, str](store=other, name="settings")) == {"k": "v"}
        there = {**where, "db_name": other.rpartition("/")[2]}
        with ours.MySQLQueue(**there, name="jobs") as q:
            assert [q.get() for _ in range(q.size)] == [1, 2, 3]


def test_json_lists_damage_and_places(files: Path) -> None:
    os.truncate(files / "q00001", 1000)
    result = call("migrate", files, "--json")
    [report] = json.loads(result.stdout)
    assert report["damage"][0]["path"] == f"{files}.persist-queue/q00001"
    assert isinstance(report["damage"][0]["offset"], int)
