"""`purge` and `dead --requeue`: what goes, what stays, and whose store is left alone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from concurrent.futures import CancelledError
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.commands import places
from pqadapters.concurrent.futures import JobParked, ThreadPoolExecutor
from pqadapters.opening import open_store
from pqadapters.persistqueue import FILOSQLiteAckQueue, SQLiteAckQueue, UniqueAckQ, UniqueQ
from pqadapters.persistqueue._removal import removal
from pqadapters.persistqueue._rows import KEY, TICKET
from pqadapters.store import Ack, Nack, Put
from pqadapters.stores.segment import SegmentStore
from pqadapters.stores.sqlite import SqliteStore
from tests.commands.command import bytes_in, call, loaded, out, process, queue, refusal
from tests.commands.conftest import path_of
from tests.executors import work
from tests.segment.programs import PATIENCE, ROOT, go_on, running, said

dead: Any = import_module("pqadapters.commands.dead")  # the package has the command by that name
_HOLD = """
import sys
from pqadapters.stdlib.queue import Queue
q = Queue(store=sys.argv[1])
q.put_many("abc")
assert q.get() == "a"
print("holds", flush=True)
sys.stdin.readline()
assert q.qsize() == int(sys.argv[2]), q.qsize()
q.task_done()
print("has done it", flush=True)
"""


def _counts(place: Path, queue: str = "default") -> list[int]:
    found = loaded("stats", place)["queues"][queue]
    return [found[name] for name in ("ready", "delayed", "claimed", "dead")]


def test_purge_removes_what_is_ready(place: Path) -> None:
    assert out("purge", place, "--queue", "default", "--yes") == "3 removed\n"
    assert _counts(place) == [0, 1, 0, 1]
    assert _counts(place, "other")[0] == 1
    assert out("purge", place, "--queue", "default", "--yes") == "nothing to remove\n"
    assert loaded("stats", place)["tables"]["dict/settings"] == 1


def test_purge_removes_dead_letters(place: Path) -> None:
    assert out("purge", place, "--dead", "--yes") == "1 removed\n"
    assert _counts(place) == [3, 1, 0, 0]


def test_what_mappings_keep_is_no_queue(url: str) -> None:
    """purge took the locks of edited keys, which nobody could edit any more then."""
    with PDict[str, int](url) as d:
        d.set("b", 1, expire=1000)
        with d.edit("a", 0):
            d["a"] = 1
    found = loaded("stats", path_of(url))
    assert (found["queues"], found["tables"]) == ({}, {"dict/default": 2})
    for command in ("peek", "purge"):
        assert "has no queue" in refusal(command, path_of(url))


def _parked(url: str, key: str, **options: Any) -> None:
    with ThreadPoolExecutor(1, store=url, recover="manual") as executor:
        executor._backlog.added = lambda: True  # and begins nothing
        executor.using(key=key, **options).submit(work.note, work.Unloadable())
        executor.shutdown(drain=False)
    with ThreadPoolExecutor(1, store=url) as executor, pytest.raises(JobParked):
        executor.future(key=key).result(PATIENCE)


def test_purge_frees_the_key_of_a_job(url: str) -> None:
    """Who submitted with it got a future that never came to an end, or that was parked for ever."""
    _parked(url, "dead")
    with ThreadPoolExecutor(1, store=url, recover="manual") as executor:
        executor._backlog.added = lambda: True  # and begins nothing
        executor.using(key="k").submit(work.note, 1)
        executor.shutdown(drain=False)
    assert out("purge", path_of(url), "--yes") == "1 removed\n"
    assert out("purge", path_of(url), "--dead", "--yes") == "1 removed\n"
    with ThreadPoolExecutor(1, store=url) as executor:
        assert executor.stats()["keys"] == executor.stats()["results"] == 0
        for key in ("k", "dead"):
            assert executor.using(key=key).submit(work.note, 2).result(PATIENCE) == 2


def test_a_job_that_is_put_back_isnt_parked_to_who_asks_for_it(url: str) -> None:
    _parked(url, "k")
    assert out("dead", path_of(url), "--requeue", "all") == "1 put back\n"
    with ThreadPoolExecutor(1, store=url, recover="manual") as executor:
        assert not executor.future(key="k").done()


def test_one_job_of_several_is_put_back(url: str) -> None:
    for key in ("a", "b"):
        _parked(url, key)
    first, second = (letter["id"] for letter in loaded("dead", path_of(url)))
    assert out("dead", path_of(url), "--requeue", second) == "1 put back\n"
    assert [letter["id"] for letter in loaded("dead", path_of(url))] == [first]
    assert loaded("dead", path_of(url), "--requeue", first) == {"put_back": 1}


def test_who_waits_for_a_job_that_is_purged_is_told(tmp_path: Path) -> None:
    """It waited for ever, and so did its shutdown()."""
    with ThreadPoolExecutor(1, store=f"sqlite:///{tmp_path}/q.db", name="jobs") as executor:
        executor.submit(work.hold, "purged")
        work.reached("purged")
        future = executor.submit(work.note, 1)
        ended = process("purge", tmp_path / "q.db", "--yes")
        assert ended.stdout == "1 removed\n", ended.stderr
        with pytest.raises(CancelledError):
            future.result(PATIENCE)
        work.GATES["purged"].set()


@pytest.mark.parametrize("kind", [UniqueQ, SQLiteAckQueue, FILOSQLiteAckQueue, UniqueAckQ])
def test_purge_leaves_nothing_of_an_item_behind(kind: Any, tmp_path: Path) -> None:
    """What was purged could never be put again, or was ready for ever and never served."""
    with kind(str(tmp_path)) as q:
        for item in "abcd":
            q.put(item)
        if kind is not UniqueQ:
            q.nack(q.get())
    assert out("purge", tmp_path, "--yes") == "4 removed\n"
    with kind(str(tmp_path)) as q:
        assert q.queue() == []
        assert q.qsize() == 0
        assert q._store.count(f"{q._queue}/rows") == 0
        assert kind is UniqueQ or q.ready_count() == 0
        assert all(q.put(item) for item in "abcd")
        assert sorted(q.get(block=False) for _ in range(4)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("there", [True, False])
def test_purge_takes_no_item_from_a_worker_for_a_ticket_that_is_old(tmp_path: Path, there: bool) -> None:
    """Which stands for an item that waits no more: it is in somebody's hands, or there is none."""
    with SQLiteAckQueue(str(tmp_path)) as q:
        if there:
            q.put("a")
            q.nack(q.get())
            item = q.get()
        key = KEY.pack(1)
        q._store.commit(Put(q._queue, key, rank=TICKET + key))
        assert out("purge", tmp_path, "--yes") == "1 removed\n"
        assert [item["data"] for item in q.queue()] == ["a"] * there
        if there:
            q.nack(item)
            assert q.get(block=False) == "a"


def test_purge_of_many(tmp_path: Path) -> None:
    with queue(path=tmp_path / "q") as q:
        q.put_many(range(2500))
    assert out("purge", tmp_path / "q", "--yes") == "2500 removed\n"
    with queue(path=tmp_path / "q") as q:
        assert q.empty()


@pytest.mark.parametrize("command", [("purge", "--yes"), ("dead", "--requeue", "all")])
@pytest.mark.parametrize("jobs", [False, True])
def test_large_records_are_in_memory_a_few_at_a_time(
    url: str, command: tuple[str, ...], jobs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand were, of whatever size."""
    with ThreadPoolExecutor(1, store=url, recover="manual") as executor:
        executor._backlog.added = lambda: True  # and begins nothing
        for _ in range(3):
            executor.submit(work.note, "x")
        executor.shutdown(drain=False)
    with open_store(url) as store:
        claims = store.claim("default", limit=3)
        payloads = [claim.payload if jobs else b"an item" for claim in claims]
        store.commit(*map(Ack, claims), *[Put("default", payload) for payload in payloads])
        if command[0] == "dead":
            store.commit(*[Nack(claim, dead="no") for claim in store.claim("default", limit=3)])
    taken: list[int] = []
    for kind in (SegmentStore, SqliteStore):
        monkeypatch.setattr(kind, "claim", _counting(kind.claim, taken))
    monkeypatch.setattr("pqadapters.portions.BYTES", 1)
    assert out(command[0], path_of(url), *command[1:]) in ("3 removed\n", "3 put back\n")
    assert max(taken) == 1


def _counting(claim: Any, taken: list[int]) -> Any:
    def counting(*arguments: Any, **options: Any) -> Any:
        found = claim(*arguments, **options)
        taken.append(len(found))
        return found

    return counting


def test_what_is_put_or_done_meanwhile(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(path: str) -> Any:
        with opened(path) as store:
            (first,) = store.claim("default")
            store.commit(Ack(first), Put("default", b"late"))
        return opened(path)

    opened = places.opened
    monkeypatch.setattr(sys.modules["pqadapters.commands.purge"], "opened", late)
    assert out("purge", place, "--queue", "default", "--yes") == "2 removed\n"
    (row,) = loaded("peek", place)
    assert row["size"] == 4


def test_without_a_terminal_nobody_is_asked(place: Path, tmp_path: Path) -> None:
    before = bytes_in(tmp_path)
    assert "say --yes" in refusal("purge", place)
    done = process("purge", place)
    assert (done.returncode, done.stdout) == (1, "")
    assert "say --yes" in done.stderr
    assert bytes_in(tmp_path) == before


def test_with_a_closed_stdin_nobody_is_asked(place: Path) -> None:
    """`<&-`: there is no sys.stdin then. It was a traceback."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "pqadapters", "purge", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: nobody can be asked here: say --yes. Nothing was removed\n"


@pytest.mark.parametrize(("answer", "status", "left"), [(b"n\n", 1, 3), (b"\n", 1, 3), (b"y\n", 0, 0)])
def test_it_asks_in_a_terminal(place: Path, answer: bytes, status: int, left: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pqadapters", "purge", str(place)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as child:
        os.close(theirs)
        asked = b""
        while b"[y/N]" not in asked:
            asked += os.read(ours, 1000)
        os.write(ours, answer)
        assert child.wait(PATIENCE) == status
    os.close(ours)
    assert b"Remove 3 records of 'default'" in asked
    assert _counts(place)[0] == left


def test_what_is_somebody_elses_is_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root was told to pass trust_directory=True, which no command takes."""
    before = bytes_in(place.parent)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    for words in (("purge", "--queue", "default", "--yes"), ("dead", "--requeue", "all")):
        assert f"belongs to user {os.getuid()}: " in (said := refusal(*words, place))
        assert "call this as that user" in said
    assert bytes_in(place.parent) == before


def test_a_directory_that_a_process_holds_is_left_alone(tmp_path: Path) -> None:
    with running(_HOLD, f"file://{tmp_path}/q", 2) as child:
        assert said(child) == "holds"
        assert f"held by process {child.pid}: end it first. Nothing was removed" in refusal("purge", tmp_path / "q")
        go_on(child)
        assert said(child) == "has done it"


def test_a_holder_that_comes_behind_the_look_is_named_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pqadapters.stores.segment import onlooker

    monkeypatch.setattr(onlooker, "holder_of", lambda file: None)
    with running(_HOLD, f"file://{tmp_path}/q", 2) as child:
        assert said(child) == "holds"
        assert f"process {child.pid}" in refusal("purge", tmp_path / "q", "--yes")
        child.kill()


def test_what_a_process_has_claimed_in_a_database_stays(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/q.db"
    with running(_HOLD, url, 0) as child:
        assert said(child) == "holds"
        assert out("purge", url, "--yes") == "2 removed\n"
        go_on(child)
        assert said(child) == "has done it"


def test_requeue(place: Path) -> None:
    (letter,) = loaded("dead", place)
    assert f"no dead letter {letter['id'] + 1000}" in refusal("dead", place, "--requeue", letter["id"] + 1000)
    assert out("dead", place, "--requeue", letter["id"]) == "1 put back\n"
    assert _counts(place) == [4, 1, 0, 0]
    assert loaded("peek", place)[-1]["payload"] == "'three'"
    assert out("dead", place, "--requeue", "all") == "0 put back\n"


def test_a_letter_that_somebody_has_in_hand_is_told(place: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (letter,) = loaded("dead", place)
    opened = places.opened

    def after_another(place: Any) -> Any:
        with queue(store=url) as q:
            q._line.store.commit(*map(Ack, q._line.store.claim("default.dead", limit=9)))
        return opened(place)

    monkeypatch.setattr(dead, "opened", after_another)
    ended = call("dead", place, "--requeue", letter["id"])
    assert (ended.exit_code, ended.stdout) == (1, "0 put back\n")
    assert "1 in the hands of another process, or gone meanwhile" in ended.stderr
    assert _counts(place) == [3, 1, 0, 0]


def test_requeue_all_of_one_queue(url: str, place: Path) -> None:
    for name in ("default", "other"):
        with queue(store=url, name=name) as q:
            q._line.store.commit(*[Put(f"{name}.dead", bytes([n]), note="x") for n in range(3)])
    assert out("dead", place, "--queue", "other", "--requeue", "all") == "3 put back\n"
    assert _counts(place) == [3, 1, 0, 4]
    assert _counts(place, "other") == [4, 0, 0, 0]
    assert len(loaded("dead", place)) == 4


def test_purge_leaves_an_item_that_somebody_has_in_hand(tmp_path: Path) -> None:
    """A ticket that has outlived that its item waits is a record alone."""
    with SQLiteAckQueue(str(tmp_path)) as q:
        q.put("a")
        q.nack(q.get())
        ticket = next(q._store.browse(q._queue))
        item = q.get(raw=True)
        q._store.commit(Put(q._queue, ticket.payload, rank=ticket.rank))
        assert out("purge", tmp_path, "--yes") == "1 removed\n"
        assert [row["data"] for row in q.queue()] == ["a"]
        assert q.ack(item) == item["pqid"]


def test_purge_of_an_item_that_is_updated_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was purged as what it had been, and what it had become could never be put again."""
    with UniqueAckQ(str(tmp_path)) as q:
        q.put("a")
        q.nack(q.get())
        updated: list[Any] = []

        def meanwhile(store: Any, claim: Any) -> Any:
            ops = removal(store, claim)
            if not updated:
                updated.append(q.update("b", id=1))
            return ops

        monkeypatch.setattr("pqadapters.persistqueue._removal.removal", meanwhile)
        assert out("purge", tmp_path, "--yes") == "1 removed\n"
        assert (updated, q.queue()) == ([1], [])
        assert all(q.put(item) for item in "ab")


def test_requeue_of_an_item_of_an_acknowledging_unique_queue(tmp_path: Path) -> None:
    """It has never left what is in the queue."""
    with UniqueAckQ(str(tmp_path)) as q:
        q.put("a")
        q._store.commit(Nack(q._store.claim(q._queue)[0], dead="x"))
    assert out("dead", tmp_path, "--requeue", "all") == "1 put back\n"
    with UniqueAckQ(str(tmp_path)) as q:
        assert not q.put("a")
        assert q.get(block=False) == "a"


def test_requeue_puts_no_item_into_a_unique_queue_twice(tmp_path: Path) -> None:
    """It was there beside an equal one, and a third could be put."""
    with UniqueQ(str(tmp_path)) as q:
        for item in "abc":
            q.put(item)
        for _ in range(3):
            claim = q._store.claim(q._queue)[0]
            q._store.commit(Nack(claim, dead="x"), *q._removal(claim)[1:])
        assert q.put("b")
    letters = {letter["payload"]: letter["id"] for letter in loaded("dead", tmp_path)}
    assert out("dead", tmp_path, "--requeue", letters["'a'"]) == "1 put back\n"
    result = call("dead", tmp_path, "--requeue", "all")
    assert result.exit_code == 1
    assert result.stdout == "1 put back\n"
    assert "1 left where they are: an equal item is in the queue" in result.stderr
    assert [letter["payload"] for letter in loaded("dead", tmp_path)] == ["'b'"]
    with UniqueQ(str(tmp_path)) as q:
        assert not any(q.put(item) for item in "abc")
        assert [q.get(block=False) for _ in range(3)] == ["b", "a", "c"]
        assert q.empty()
        assert all(q.put(item) for item in "abc")


def test_requeue_in_a_directory_that_a_process_holds(tmp_path: Path) -> None:
    with running(_HOLD.replace('"abc")', '"abc"); q._line.store.commit(__import__("pqadapters.store").store.Put('
                               '"default.dead", b"x"))'), f"file://{tmp_path}/q", 2) as child:  # fmt: skip
        assert said(child) == "holds"
        assert len(loaded("dead", tmp_path / "q")) == 1
        assert f"process {child.pid}" in refusal("dead", tmp_path / "q", "--requeue", "all")
        assert call("dead", tmp_path / "q", "--requeue", "nonsense").exit_code == 2
        child.kill()
