"""What can't be looked at: one line on stderr, exit status 1, no traceback, and nothing made or changed."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import persistqueue as old
import pytest

from pqadapters import __version__
from pqadapters.stores.segment import format
from tests.commands.command import bytes_in, call, loaded, out, process, queue, refusal
from tests.segment.programs import PATIENCE, run

_LOOKS = ("stats", "peek", "dead")


@pytest.mark.parametrize("command", [*_LOOKS, "purge"])
def test_a_place_that_is_not_there(command: str, tmp_path: Path) -> None:
    for place in (tmp_path / "no", f"sqlite:///{tmp_path}/no.db", f"file://{tmp_path}/no", f"SQLITE:///{tmp_path}/no"):
        assert "isn't there" in refusal(command, place)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", [*_LOOKS, "migrate", "logs drain"])
@pytest.mark.parametrize("place", ["{}/loop/q", "sqlite:///{}/loop/q.db"])
def test_a_place_of_which_nobody_can_tell_whether_it_is_there(command: str, place: str, tmp_path: Path) -> None:
    """In a directory of another user's, say: it "isn't there", to who has called as the wrong one."""
    (tmp_path / "loop").symlink_to("loop")
    said = refusal(*command.split(), place.format(tmp_path))
    assert "isn't there" not in said
    assert os.strerror(errno.ELOOP) in said


@pytest.mark.parametrize("command", [*_LOOKS, "purge", "ls", "migrate", "logs drain"])
def test_a_place_that_is_empty(command: str) -> None:
    """A variable of the shell that isn't set: migrate took it for the working directory."""
    assert "empty" in refusal(*command.split(), "", status=2)


@pytest.mark.parametrize("option", ["--to", "--queue"])
def test_an_option_of_migrate_that_is_empty(option: str, tmp_path: Path) -> None:
    """The same: with --to "" what was to stay as it is was converted in its place."""
    (tmp_path / "shelf").write_text("mine")
    assert "empty" in refusal("migrate", tmp_path / "shelf", option, "", status=2)


@pytest.mark.parametrize("command", [*_LOOKS, "purge"])
def test_foreign_places(command: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("mine")
    (tmp_path / "text").write_text("no database" * 100)
    (tmp_path / "nothing").touch()
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t(x)")
    other.close()
    os.mkfifo(tmp_path / "pipe")
    before = bytes_in(tmp_path / "foreign")
    assert "no store" in refusal(command, tmp_path / "empty")
    assert "no store" in refusal(command, tmp_path / "foreign")
    assert "no database" in refusal(command, tmp_path / "text")
    assert "another program" in refusal(command, tmp_path / "other.db")
    assert "no store" in refusal(command, tmp_path / "nothing")
    assert "no regular file" in refusal(command, tmp_path / "pipe")
    assert bytes_in(tmp_path / "foreign") == before
    assert sorted(os.listdir(tmp_path)) == [
        "empty", "foreign", "nothing", "other.db", "pipe", "text"
    ]
    assert "from outside" in refusal(command, "memory:")
    for place in ("mysql://ann:secret@h/d?no=1", "mysqlx://ann:secret@h/d"):  # terminals are logged
        assert "ann:***@h" in refusal(command, place)
    for place in ("sqlite3:///other.db", "redis://h/0", "sqlite:other.db", "file:q"):  # "isn't there", of one that is
        assert ": use sqlite:///" in (said := refusal(command, place)) or "///" in said.partition(": write ")[2]
    assert "write sqlite" in refusal(command, "sqlite:///")


@pytest.mark.parametrize("command", [*_LOOKS, "purge"])
def test_what_persist_queue_has_written(command: str, tmp_path: Path) -> None:
    """It was said to be another program's, with no word of what can be done."""
    database, files = str(tmp_path / "database"), str(tmp_path / "files")
    for q in (old.SQLiteQueue(database), old.Queue(files)):
        q.put(1)
        getattr(q, "close", lambda: None)()
    for place in (database, files):
        assert "persist-queue's: `pqadapters migrate`" in refusal(command, place)


@pytest.mark.parametrize("arguments", [("stats",), ("peek",), ("dead",), ("stats", "--json")])
def test_a_closed_stdout(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """`>&-`: there is no sys.stdout then. Tables ended in a traceback."""
    with queue(path=tmp_path / "q") as q:
        q.put(1)
    command = [sys.executable, "-m", "pqadapters", *arguments, str(tmp_path / "q")]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=subprocess.PIPE, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_closed_stderr(tmp_path: Path) -> None:
    """`2>&-`: what was wrong was said on stdout, to who reads a result there."""
    for words in ("stats nowhere", "stats", "logs drain nowhere"):
        command = [sys.executable, "-m", "pqadapters", *words.split()]
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" 2>&-', "sh", *command], stdout=subprocess.PIPE, timeout=PATIENCE, cwd=tmp_path
        )
        assert (done.returncode > 0, done.stdout) == (True, b""), words


@pytest.mark.parametrize("command", _LOOKS)
def test_a_newer_format(command: str, tmp_path: Path) -> None:
    with queue(path=tmp_path / "q") as q, queue(store=f"sqlite:///{tmp_path}/q.db") as other:
        q.put(1)
        other.put(1)
    (segment, *_) = (tmp_path / "q").glob("*.seg")
    data = bytearray(segment.read_bytes())
    fields = list(format.HEADER.unpack_from(data))
    fields[1] = format.VERSION + 1
    body = format.HEADER.pack(*fields)[:-4]
    header = body + format.CRC.pack(crc32(body))
    for at in (0, format.HEADER_COPY):
        data[at : at + len(header)] = header
    segment.write_bytes(data)
    with sqlite3.connect(tmp_path / "q.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "version" in refusal(command, tmp_path / "q")
    assert "version 99" in refusal(command, tmp_path / "q.db")


def test_damaged_segments_are_told_and_the_rest_is_shown(tmp_path: Path) -> None:
    with queue(path=tmp_path / "q") as q:
        q.put_many(f"item {n}" for n in range(10))
    (tmp_path / "q" / "checkpoint").unlink()
    (segment, *_) = (tmp_path / "q").glob("*.seg")
    data = segment.read_bytes()
    at = data.index(b"item 4")
    segment.write_bytes(data[:at] + b"ITEM" + data[at + 4 :])
    before = bytes_in(tmp_path)
    found = loaded("stats", tmp_path / "q")
    assert found["queues"]["default"]["ready"] == 9
    assert len(found["damage"]) == 1
    assert "no record can be read there" in out("stats", tmp_path / "q")
    assert "'item 4'" not in out("peek", tmp_path / "q")
    assert "'item 5'" in out("peek", tmp_path / "q")
    assert bytes_in(tmp_path) == before
    queue(path=tmp_path / "q").close()
    assert [bool(each["quarantine"]) for each in loaded("stats", tmp_path / "q")["damage"]] == [True]


def test_damage_anywhere_ends_in_words(tmp_path: Path) -> None:
    """Whatever the bytes are: what can be shown, or one line; never a traceback."""
    with queue(path=tmp_path / "q") as q, queue(store=f"sqlite:///{tmp_path}/q.db") as other:
        for each in (q, other):
            each.put_many(f"item {n}" for n in range(50))
    for place in ("q", "q.db"):
        for seed in range(25):
            chance = random.Random(seed)
            copy = tmp_path / f"copy {seed}" / place
            copy.parent.mkdir(exist_ok=True)
            if place == "q":
                shutil.copytree(tmp_path / place, copy)
                files = sorted(copy.glob("*.seg")) + sorted(copy.glob("checkpoint"))
            else:
                shutil.copy(tmp_path / place, copy)
                files = [copy]
            file = chance.choice(files)
            data = bytearray(file.read_bytes())
            for _ in range(chance.choice((1, 30))):
                at = chance.randrange(min(len(data), 8192))
                data[at : at + 4] = chance.randbytes(4)
            file.write_bytes(data)
            for command in _LOOKS:
                result = call(command, copy)
                assert result.exit_code in (0, 1), (place, seed)
                assert result.exception is None or isinstance(result.exception, SystemExit), (place, seed)


@pytest.mark.parametrize("command", [*_LOOKS, "migrate --dry-run"])
def test_a_database_that_was_cut_off_gets_no_files_beside_it(command: str, tmp_path: Path) -> None:
    """SQLite was asked again, with locks, and left "-shm" and "-wal" there."""
    queue(store=f"sqlite:///{tmp_path}/q.db").put(1)
    shutil.copy(tmp_path / "q.db", tmp_path / "copy.db")
    os.truncate(tmp_path / "copy.db", 5000)
    before = bytes_in(tmp_path)
    assert "malformed" in refusal(*command.split(), tmp_path / "copy.db")
    assert bytes_in(tmp_path) == before


def test_where_a_program_has_a_queue_and_a_logging_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-m` puts the working directory in front of the standard library, and each command was a traceback."""
    for name in ("queue", "logging", "shelve", "asyncio"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    for command in ("ls .", "migrate .", "logs drain ."):
        done = process(*command.split())
        assert len((done.stdout + done.stderr).splitlines()) == 1, done.stderr


def test_output_on_a_full_disk(tmp_path: Path) -> None:
    """Help was a traceback. Where output has a buffer, Python tried again at its end: status 120, two lines more."""
    queue(path=tmp_path / "q").close()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for words in ("--help", "--version", "peek --help", "stats q", "ls .", "stats q --json"):
        command = [sys.executable, "-m", "pqadapters", *words.split()]
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, cwd=tmp_path, env=env
            )
        assert (done.returncode, done.stderr) == (1, "Error: [Errno 28] No space left on device\n"), words


def test_the_version_of_a_copy_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was looked for among what is installed."""
    monkeypatch.setattr(sys, "path", [])
    assert out("--version") == f"pqadapters, version {__version__}\n"


def test_usage() -> None:
    wrong = [(), ("peek",), ("peek", "x", "--state", "no"), ("no",), ("dead", "x", "--nothing"), ("run", "x.py")]
    for words in wrong:
        assert call(*words).exit_code == 2, words
    assert "run comes first" in refusal("run", "x.py", status=2)
    assert "'all'" in refusal("dead", Path(__file__).parent, "--requeue", "x", status=2)


def test_as_a_process(tmp_path: Path) -> None:
    run("import sys; from pqadapters.stdlib.queue import Queue; Queue(path=sys.argv[1]).put('ä')", tmp_path / "q")
    done = process("peek", tmp_path / "q", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "'\\xe4'" in done.stdout
    missing = process("stats", tmp_path / "no")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.count("\n") == 1
    usage = process("stats")
    assert usage.returncode == 2
    assert "python -m pqadapters stats" in usage.stderr
    helped = process("--help").stdout
    assert all(f"\n  {name} " in helped for name in ("dead", "ls", "peek", "purge", "run", "stats"))
