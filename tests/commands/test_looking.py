"""`stats`, `peek` and `dead`: what they show, and that they change nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pqadapters.opening import open_store
from pqadapters.persistqueue import SQLiteAckQueue, SQLiteQueue
from pqadapters.rank import rank
from pqadapters.serializers import serializer
from pqadapters.stdlib.queue import PriorityQueue
from pqadapters.store import Put
from pqadapters.stores._disk import ReadingDisk
from tests.commands.command import LOOKS, bytes_in, call, loaded, out, process, queue, refusal
from tests.segment.programs import run, running, said
from tests.unchanged.users import free_user, readable_directory


def test_stats(place: Path) -> None:
    found = loaded("stats", place)
    assert found["place"] == str(place)
    assert found["held_by"] == []
    default = found["queues"]["default"]
    assert [default[name] for name in ("ready", "delayed", "claimed", "dead")] == [3, 1, 0, 1]
    assert default["oldest_age"] >= 0
    assert default["bytes"] > 0
    assert found["queues"]["other"]["ready"] == 1
    assert set(found["queues"]) == {"default", "other"}
    assert found["tables"]["dict/settings"] == 1
    assert (found["format"], found["damage"]) == (1, [])
    lines = out("stats", place).splitlines()
    assert lines[0].endswith("format 1, held by nobody")
    assert any(line.split()[:5] == ["default", "3", "1", "0", "1"] for line in lines)
    assert lines[-1].split() == ["dict/settings", "1"]


@pytest.mark.parametrize("url", ["sqlite:///q.db", "sqlite:///{}/q.db", "sqlite:///%71.db?durability=process", "file://{}/q"])
def test_places_are_known_by_the_urls_that_programs_have(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with queue(store=url.format(tmp_path)) as q:
        q.put("here")
    name = "q" if url.startswith("file") else "q.db"
    assert loaded("stats", url.format(tmp_path))["place"] == str(tmp_path / name)
    assert [row["payload"] for row in loaded("peek", url.format(tmp_path))] == ["'here'"]


def test_the_directory_of_a_database_queue_is_its_database(tmp_path: Path) -> None:
    """A program says SQLiteQueue("jobs"); `stats jobs` said that there was no store."""
    with SQLiteQueue(str(tmp_path / "jobs")) as q:
        q.put("a")
    assert loaded("stats", tmp_path / "jobs")["place"] == str(tmp_path / "jobs" / "data.db")
    assert [row["payload"] for row in loaded("peek", tmp_path / "jobs")] == ["'a'"]


def test_who_shares_the_jobs_of_an_executor_is_no_queue_to_choose(tmp_path: Path) -> None:
    """Unless a program has queues that are only called so."""
    url = f"sqlite:///{tmp_path}/q.db"
    with open_store(url) as store:
        store.commit(Put("jobs", b"1"), Put("jobs.members", bytes(8)), Put(f"jobs.to.{'0' * 16}", b"2"))
    assert [row["queue"] for row in loaded("peek", url)] == ["jobs"]
    with open_store(url) as store:
        store.commit(Put("jobs.members", b"a program's own"))
    assert "choose one by --queue; there are 'jobs', 'jobs.members'" in refusal("peek", url)


def test_an_acknowledging_queue_is_the_only_one(tmp_path: Path) -> None:
    """Who has its items in hand was a queue, too, and `peek` asked which one was meant."""
    with SQLiteAckQueue(str(tmp_path)) as q:
        q.put("a")
        q.put("b")
        q.get()
    assert [row["payload"] for row in loaded("peek", tmp_path)] == ["'b'"]
    assert set(loaded("stats", tmp_path)["queues"]) == {"ack_queue_default"}


def test_peek(place: Path) -> None:
    found = loaded("peek", place, "--queue", "default")
    assert [row["payload"] for row in found] == ["'one'", "'four'", "'five'"]
    assert {(row["format"], row["state"]) for row in found} == {("pickle", "ready")}
    assert loaded("peek", place, "--queue", "default", "-n", "2")[1]["id"] == found[1]["id"]
    (delayed,) = loaded("peek", place, "--queue", "default", "--state", "delayed")
    assert (delayed["payload"], delayed["attempts"]) == ("{'two': 2}", 1)
    assert delayed["not_before"] > delayed["put_at"]
    (dead,) = loaded("peek", place, "--queue", "default", "--state", "dead")
    assert (dead["payload"], dead["reason"]) == ("'three'", "it is broken")
    assert (dead["queue"], dead["state"]) == ("default", "dead")
    assert [row["id"] for row in loaded("peek", place, "--queue", "default.dead")] == [dead["id"]]
    assert out("peek", place, "--queue", "default", "--state", "claimed") == "nothing\n"
    assert "'four'" in out("peek", place, "--queue", "default")


def test_what_programs_get_of_a_record(tmp_path: Path) -> None:
    """A value of JSON as it is, but for what JSON hasn't; a rank, and when it is due, where there is one."""
    with queue(path=tmp_path / "j", serializer="json") as q:
        q.put_many([{"a": [1, None]}, [float("nan")], False])
    rows = loaded("peek", tmp_path / "j")
    assert [row.get("value", "none") for row in rows] == [{"a": [1, None]}, "none", False]
    assert {(row["not_before"], row["rank"], row["reason"]) for row in rows} == {(None, None, "")}
    with PriorityQueue[int](path=tmp_path / "p") as ranked:
        ranked.put(1)
    (row,) = loaded("peek", tmp_path / "p")
    assert (row["rank"], "value" in row) == (rank(1)[0].hex(), False)
    assert row["rank"] in out("peek", tmp_path / "p")


def test_dead(place: Path) -> None:
    (letter,) = loaded("dead", place)
    assert [letter[name] for name in ("payload", "queue", "state", "reason", "attempts")] == [
        "'three'", "default", "dead", "it is broken", 1
    ]  # fmt: skip
    assert "it is broken" in out("dead", place, "--queue", "default")
    assert out("dead", place, "--queue", "other") == "no dead letters\n"


def test_one_of_several_queues_is_to_be_named(place: Path, tmp_path: Path) -> None:
    assert len(loaded("peek", place)) == 3  # "default" is meant
    for name in "ab":
        with queue(store=f"sqlite:///{tmp_path}/two.db", name=name) as q:
            q.put(1)
    assert "choose one by --queue; there are 'a'" in refusal("peek", tmp_path / "two.db")
    assert "no queue 'c'; there are 'a'" in refusal("peek", tmp_path / "two.db", "--queue", "c")


def test_a_name_of_ours_is_no_queue(tmp_path: Path) -> None:
    """Where the objects are that end with their process is noted with the help of a queue."""
    code = """
import sys
from pqadapters.stdlib.queue import Queue
q = Queue(path=sys.argv[1], volatile="warn")
for item in (1, lambda: None, 2):
    q.put(item)
print("there", flush=True)
sys.stdin.read()
"""
    with running(code, tmp_path / "q") as child:
        assert said(child) == "there"
        child.kill()
    assert set(loaded("stats", tmp_path / "q")["queues"]) == {"default"}
    found = [row["payload"] for row in loaded("peek", tmp_path / "q")]
    assert found == ["1", "an object of the process that put it", "2"]


@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_looking_changes_no_byte(place: Path, tmp_path: Path, look: tuple[str, ...]) -> None:
    before = bytes_in(tmp_path)
    assert call(look[0], place, *look[1:]).exit_code == 0
    assert bytes_in(tmp_path) == before


@pytest.mark.parametrize("look", LOOKS, ids=" ".join)
def test_looking_changes_no_byte_of_what_a_killed_process_left(
    killed: Path, tmp_path: Path, look: tuple[str, ...]
) -> None:
    before = bytes_in(tmp_path)
    assert call(look[0], killed, *look[1:]).exit_code == 0
    assert bytes_in(tmp_path) == before


def test_what_a_killed_process_left_is_there(killed: Path) -> None:
    found = loaded("stats", killed)
    assert found["held_by"] == []
    assert [found["queues"]["default"][name] for name in ("ready", "delayed", "dead")] == [3, 1, 1]


_AS_SOMEBODY_ELSE = """
import os, sys
from click.testing import CliRunner
from pqadapters.commands.group import commands

user, place, *warm = int(sys.argv[1]), *sys.argv[2:]

def look(place):
    results = [
        CliRunner().invoke(commands, [name, place, *options])
        for name in ("stats", "peek", "dead")
        for options in ([], ["--json"])
    ]
    assert [each.exit_code for each in results] == [0] * 6, [each.output for each in results]
    return [each.stdout for each in results]

for each in warm:
    look(each)  # all is loaded: nobody else may be able to read the interpreter
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
assert '"ready": 3' in look(place)[1]
print("done")
"""


def test_a_directory_that_may_only_be_read(place: Path) -> None:
    root = os.geteuid() == 0
    with readable_directory() as directory:
        os.rename(place, directory / place.name)
        copy = directory / place.name
        for path in (directory, *directory.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = bytes_in(directory)
        try:
            assert run(_AS_SOMEBODY_ELSE, free_user() if root else 0, copy, *_warm(place.parent)) == "done"
            assert bytes_in(directory) == before
        finally:
            for path in (directory, *directory.rglob("*")):
                path.chmod(0o755)


def _warm(directory: Path) -> list[Path]:
    """A store of each kind to look at."""
    for url in (f"sqlite:///{directory}/w.db", f"file://{directory}/w"):
        run("import sys; from pqadapters.stdlib.queue import Queue; Queue(store=sys.argv[1]).put(1)", url)
    return [directory / "w.db", directory / "w"]


# While others use it

_WRITING = """
import sys
from pqadapters.stdlib.queue import Queue
small = "&segment_bytes=4096" if sys.argv[1].startswith("file") else ""
q = Queue(store=f"{sys.argv[1]}?durability=process{small}")
n = 0
while True:
    q.put(n)
    n += 1
    if n > 60:
        assert q.get() == n - 61
        q.task_done()
    if n == 70:
        print("writes", flush=True)
"""


def test_looking_while_another_process_writes(url: str) -> None:
    """Segments of 4 KiB come and go under the look: what it sees was there at one moment, and nothing is damaged."""
    place = url.partition("://")[2].removeprefix("/" if url.startswith("sqlite") else "")
    with running(_WRITING, url) as child:
        assert said(child) == "writes"
        seen = []
        for _ in range(40):
            found = loaded("stats", place)
            assert (found["held_by"], found["damage"]) == ([child.pid], [])
            assert 55 <= found["queues"]["default"]["ready"] <= 65
            rows = loaded("peek", place, "-n", 100)
            numbers = [int(row["payload"]) for row in rows]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert 55 <= len(numbers) <= 65
            seen.append(numbers[0])
        assert seen == sorted(seen)
        assert seen[0] < seen[-1]
        assert child.poll() is None  # it was in nobody's way
        child.kill()


def test_what_is_read_in_the_middle_of_a_write_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hole that a second reading doesn't find was never there; a segment that is gone was tidied away."""
    with queue(path=tmp_path / "q") as q:
        q.put_many(f"item {n}" for n in range(100))
    (tmp_path / "q" / "checkpoint").unlink()
    whole, whole_open = ReadingDisk.read, ReadingDisk.open
    faults = ["read", "open"]

    def read(disk: Any, fd: int, length: int, offset: int) -> bytes:
        data = whole(disk, fd, length, offset)
        if faults == ["read"] and b"item 40" in data:
            faults.remove("read")
            at = data.index(b"item 40")
            return data[:at] + b"ITEM" + data[at + 4 :]
        return data

    def open(disk: Any, path: str, **how: bool) -> int:
        if "open" in faults and path.endswith(".seg"):
            faults.remove("open")
            raise FileNotFoundError(2, "gone", path)
        return whole_open(disk, path, **how)

    monkeypatch.setattr(ReadingDisk, "read", read)
    monkeypatch.setattr(ReadingDisk, "open", open)
    found = loaded("stats", tmp_path / "q")
    assert (found["queues"]["default"]["ready"], found["damage"], faults) == (100, [], [])


def test_what_a_process_has_in_hand_is_seen_in_a_database(tmp_path: Path) -> None:
    code = """
import sys
from pqadapters.stdlib.queue import Queue
q = Queue(store=sys.argv[1])
q.put_many("ab")
q.get()
print("has it", flush=True)
sys.stdin.read()
"""
    with running(code, f"sqlite:///{tmp_path}/q.db") as child:
        assert said(child) == "has it"
        found = loaded("stats", tmp_path / "q.db")
        assert found["held_by"] == [child.pid]
        assert [found["queues"]["default"][name] for name in ("ready", "claimed")] == [1, 1]
        (row,) = loaded("peek", tmp_path / "q.db", "--state", "claimed")
        assert (row["payload"], row["attempts"]) == ("'a'", 1)


def test_a_lock_that_nobody_has_is_not_taken(url: str) -> None:
    """A process that opens the store at the moment of a look must not be told that somebody holds it."""
    place = url.partition("://")[2].removeprefix("/" if url.startswith("sqlite") else "")
    run("import sys; from pqadapters.stdlib.queue import Queue; Queue(store=sys.argv[1]).put(1)", url)
    code = """
import fcntl, os, sys
real = fcntl.flock
def flock(*arguments):
    sys.exit("a look has locked something")
fcntl.flock = flock
from click.testing import CliRunner
from pqadapters.commands.group import commands
for name in ("stats", "peek", "dead"):
    result = CliRunner().invoke(commands, [name, sys.argv[1]])
    assert result.exit_code == 0, result.output
print("done")
"""
    assert run(code, place) == "done"


# What is shown is harmless


def test_names_and_payloads_are_no_commands_to_the_terminal(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07[bold red]x[/bold red]\u202e\n"
    with queue(store=f"sqlite:///{tmp_path}/q.db", name=evil) as q:
        q.put(evil)
        for payload in (evil.encode(), serializer("json").dumps(evil)):
            q._line.store.commit(Put(evil, payload))
    for look in (("stats", tmp_path / "q.db"), ("peek", tmp_path / "q.db"), ("peek", tmp_path / "q.db", "--json")):
        text = out(*look)
        assert text.replace("\n", "").isprintable()
        assert "owned" in text
        if look[-1] != "--json":
            assert "\\x1b]0;owned\\x07[bold red]x[/bold red]\\u202e\\n" in text
    message = refusal("peek", tmp_path / "q.db", "--queue", "\x1bno")
    assert message.removesuffix("\n").isprintable()
    assert refusal("peek", tmp_path / "\x1b[31mnowhere").removesuffix("\n").isprintable()


def test_a_pipe_gets_whole_values(tmp_path: Path) -> None:
    with queue(path=tmp_path / "q") as q:
        q.put("x" * 5000)
    done = process("peek", tmp_path / "q", "--length", "10000")
    assert (done.returncode, done.stderr) == (0, "")
    assert "x" * 5000 in done.stdout
    assert "x" * 201 not in out("peek", tmp_path / "q")


def test_no_pickle_is_loaded_unasked(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    with queue(path=tmp_path / "q") as q:
        q._line.store.commit(Put("default", pickle.dumps(Evil())))
    for look in LOOKS[3:8]:
        if "--unpickle" not in look:
            call(look[0], tmp_path / "q", *look[1:])
    (row,) = loaded("peek", tmp_path / "q")
    assert row["format"] == "pickle"
    assert row["payload"].startswith(f"{os.mkdir.__module__}.mkdir(")
    assert not (tmp_path / "ran").exists()
    out("peek", tmp_path / "q", "--unpickle")
    assert (tmp_path / "ran").exists()
