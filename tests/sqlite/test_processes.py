"""Several processes on one database: claims of the dead come back, those of the living stay, and everybody hears."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import Mock

import pytest

import pqadapters.stores.sqlite
from pqadapters.errors import DiskError, LeaseLost, StoreLocked
from pqadapters.store import Ack, Claim, Nack, Put, Set
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite import SqliteStore, schema
from pqadapters.stores.sqlite import core as sqlite_core
from pqadapters.stores.sqlite import store as sqlite_store
from pqadapters.stores.sqlite.processes.orphans import Orphan, claimed
from pqadapters.stores.sqlite.processes.owners import Owners
from pqadapters.stores.sqlite.work import Work
from tests.contract.interrupting import interrupted
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, forked, go_on, run, running, said
from tests.segment.users import USER, as_root, home_of_user, owners

_SQLITE = os.path.dirname(str(pqadapters.stores.sqlite.__file__))
_OPEN = """
import os, sys, threading
from pqadapters.store import Ack, Nack, Put, Set
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], durability="process")
"""
_CLAIM = _OPEN + """
(claim,) = store.claim("q", timeout=None)
print(claim.payload.decode(), claim.attempt, flush=True)
sys.stdin.readline()
store.commit(Ack(claim))
print("acked", flush=True)
sys.stdin.readline()
"""


def test_i5_what_a_killed_process_had_claimed_is_ready_again(database: Path) -> None:
    store = SqliteStore(database)
    store.commit(Put("q", b"a"), Put("q", b"b"))
    with running(_CLAIM, database) as child:
        assert said(child) == "a 1"
        assert [claim.payload for claim in store.claim("q", limit=5)] == [b"b"]
        child.kill()
        child.wait(PATIENCE)
        (claim,) = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE).result()
    assert (claim.payload, claim.attempt) == (b"a", 2)
    store.commit(Ack(claim))
    store.close()


def test_i5_a_stopped_process_is_not_robbed(database: Path) -> None:
    store = SqliteStore(database)
    store.commit(Put("q", b"a"))
    with running(_CLAIM, database) as child:
        assert said(child) == "a 1"
        os.kill(child.pid, signal.SIGSTOP)
        assert store.claim("q", timeout=1.0) == []
        os.kill(child.pid, signal.SIGCONT)
        go_on(child)
        assert said(child) == "acked"
        assert store.depth("q").unfinished == 0
    store.close()


@as_root
def test_i5_what_a_dead_process_of_root_leaves_beside_another_users_database(tmp_path: Path) -> None:
    """What it had claimed stayed claimed: the file that tells whether it lives was root's, as was all that it made."""
    database = home_of_user(tmp_path) / "jobs.db"
    trusting = _OPEN.replace("sys.argv[1]", "sys.argv[1], trust_directory=True")
    run(trusting + 'store.commit(Put("q", b"a")); store.claim("q"); os._exit(0)', database)
    assert list(Path(f"{database}-owners").glob("process-*"))
    assert owners(database.parent) == {USER}


def test_i5_a_process_that_ends_without_a_word_leaves_its_claims(database: Path) -> None:
    store = SqliteStore(database)
    store.commit(Put("q", b"a"))
    run(_OPEN + 'store.claim("q"); os._exit(0)', database)
    assert [claim.attempt for claim in store.claim("q", timeout=PATIENCE)] == [2]
    store.close()


def test_i5_what_a_killed_process_had_claimed_is_next_in_its_place(database: Path) -> None:
    """It came when somebody found the queue dry: behind a backlog, and never beside producers that kept up."""
    store = SqliteStore(database)
    store.commit(*[Put("q", b"%d" % n) for n in range(3)])
    with running(_CLAIM, database) as child:
        assert said(child) == "0 1"
        assert [claim.payload for claim in store.claim("q")] == [b"1"]
        child.kill()
        child.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while (claims := store.claim("q"))[0].payload != b"0":
        assert time.monotonic() < deadline
        store.commit(Ack(claims[0]), Put("q", b"more"))
    assert claims[0].attempt == 2
    store.close()


ASKS: dict[str, Callable[[SqliteStore], int]] = {
    "depth": lambda store: store.depth("q").ready,
    "claim": lambda store: len(store.claim("q")),
    "wait": lambda store: store.wait("q", lambda depth: depth.ready > 0, timeout=0.0),
}


@pytest.mark.parametrize("how", ASKS)
def test_i5_a_queue_that_seems_empty_is_asked_after_its_dead(how: str, database: Path) -> None:
    """`while not q.empty(): q.get()` ended beside an item that a killed process had in hand."""
    store = SqliteStore(database)
    store.commit(Put("q", b"a"))
    with running(_CLAIM, database) as child:
        assert said(child) == "a 1"
        assert (ASKS[how](store), store.depth("q").claimed) == (0, 1)
        child.kill()
        child.wait(PATIENCE)
    assert ASKS[how](store) == 1
    store.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_i5_a_forked_child_asks_after_the_dead_itself(database: Path) -> None:
    """That its parent has just asked is no reason not to."""
    store = SqliteStore(database, durability="process")
    store.commit(Put("q", b"a"), Put("q", b"b"))
    with running(_CLAIM, database) as child:
        assert said(child) == "a 1"
        assert [claim.payload for claim in store.claim("q")] == [b"b"]
        assert store.depth("q").ready == 0
        store.commit(Put("q", b"c"))
        child.kill()
        child.wait(PATIENCE)
        assert forked(lambda: [claim.payload for claim in store.claim("q")] == [b"a"]) == 0
    store.close()


def test_asking_after_a_process_makes_no_file(database: Path) -> None:
    """Two that ask at a time left an empty one, behind a process that had ended."""
    with SqliteStore(database) as store:
        assert store._core.owners.is_dead(99)
        assert not list(Path(f"{database}-owners").glob("process-*"))


class _Looking(Disk):
    """In whose look at a process somebody else looks at it, too."""

    look: Callable[[], None] | None = None

    def close(self, fd: int) -> None:
        if self.look is not None:
            look, self.look = self.look, None
            look()
        super().close(fd)


def test_who_looks_after_a_dead_process_isnt_taken_for_it(database: Path) -> None:
    """By others who look right then: what it had claimed would come later than what stands behind it."""
    with SqliteStore(database, durability="process") as store, running(_CLAIM, database) as child:
        store.commit(Put("q", b"a"))
        assert said(child) == "a 1"
        here = _Looking()
        lookers = [Owners(str(database), disk, trust=False) for disk in (here, Disk())]
        ((number,),) = store._core.reader.rows(schema.OWNERS)
        found: list[bool] = []
        here.look = lambda: found.append(lookers[1].is_dead(number))
        assert not lookers[0].is_dead(number)
        assert found.pop() is False
        child.kill()
        child.wait(PATIENCE)
        here.look = lambda: found.append(lookers[1].is_dead(number))
        assert lookers[0].is_dead(number)
        assert found == [True]


def _files(database: Path) -> list[str]:
    return sorted(file.name for file in Path(f"{database}-owners").glob("process-*"))


def test_nothing_is_left_of_a_process_that_has_ended(database: Path) -> None:
    """Its file goes when it closes the store, and where it couldn't, when it is buried."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        run(_OPEN + 'store.claim("q"); store.close()', database)
        assert not _files(database)
        run(_OPEN + 'store.claim("q"); os._exit(0)', database)
        assert _files(database) == ["process-2"]
        assert store.claim("q", timeout=PATIENCE)
        assert _files(database) == ["process-3"]
    assert not _files(database)


def test_a_number_whose_transaction_was_broken_off_leaves_no_file(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        core = store._core

        def enter_in_vain(connection: sqlite3.Connection) -> None:
            core.owners.enter(connection)
            raise DiskError(errno.EIO, "behind it")

        with pytest.raises(DiskError, match="behind it"):
            core.writer.do(Work(enter_in_vain, synced=False))
        assert store.claim("q")
        assert _files(database) == [f"process-{core.owners.number}"]
        assert core.reader.rows(schema.OWNERS) == [(core.owners.number,)]


def test_a_number_that_another_process_has_in_a_transaction_that_is_undone_is_passed_over(database: Path) -> None:
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        core = store._core
        hold = core.owners.lock("process-1")
        assert hold is not None
        assert store.claim("q")
        assert core.owners.number == 2
        assert core.reader.rows(schema.OWNERS) == [(2,)]  # nobody waits for the other one's end
        hold.close()


def test_i7_a_put_wakes_a_getter_in_another_process(database: Path) -> None:
    store = SqliteStore(database, durability="process")
    with running(_OPEN + """
print("waiting", flush=True)
(claim,) = store.claim("q", timeout=None)
print(claim.payload.decode(), flush=True)
""", database) as child:
        assert said(child) == "waiting"
        store.commit(Put("q", b"hello"))
        assert said(child) == "hello"
    store.close()


def test_i5_i7_who_waits_is_told_of_what_other_processes_put_and_of_their_end(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the lookout, within milliseconds; its own looks are for want of one."""
    monkeypatch.setattr(sqlite_store, "_WITHOUT_LOOKOUT", 3600.0)
    store = SqliteStore(database)

    def waiting(queue: str) -> Task[list[Claim]]:
        task = Task(lambda: store.claim(queue, timeout=None), patience=PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while not store._core.bells.waiting:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return task

    with running(_OPEN + """
store.commit(Put("other", b"claimed"))
store.claim("other")
sys.stdin.readline()
store.commit(Put("q", b"put"))
print("put", flush=True)
sys.stdin.readline()
""", database) as child:
        task = waiting("q")
        go_on(child)
        assert [claim.payload for claim in task.result()] == [b"put"]
        assert said(child) == "put"
        task = waiting("other")
        child.kill()
        assert [claim.payload for claim in task.result()] == [b"claimed"]
    store.close()


def test_a_lookout_outlives_a_database_that_is_locked_for_a_moment(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStore(database) as store:
        lookout = store._core.lookout
        version = lookout.version(-1)
        assert lookout.version(version) == version

        def locked(*arguments: object) -> None:
            raise StoreLocked("for a moment")

        monkeypatch.setattr(lookout.reader, "rows", locked)
        assert lookout.version(7) == 7


def test_an_orphan_that_was_given_back_is_not_given_back_again(database: Path) -> None:
    """Somebody may have claimed it by then."""
    with SqliteStore(database) as store:
        store.commit(Put("q", b"a"))
        core, claims = store._core, store.claim("q")
        orphan = Orphan(claimed(claims), store._handle)
        orphan.giving = claimed([])
        core.orphans.append(orphan)
        core.orphans.give_back(core)
        assert not core.orphans
        assert (store.depth("q").ready, store.depth("q").unfinished) == (0, 1)


def _orphaned(store: SqliteStore) -> Work:
    """A claim in nobody's hand, which somebody was about to give back; what he would have done."""
    store.commit(Put("q", b"a"))
    claims = store.claim("q")
    orphan = Orphan(claimed(claims), store._handle)
    orphan.giving = store._core.giving_back(claims, store._handle)
    store._core.orphans.append(orphan)
    return orphan.giving


def test_an_orphan_is_given_back_by_who_comes_behind_an_interrupted_leader(database: Path) -> None:
    """It was left to the leader that there seemed to be, and whoever waited for the record waited for the next commit.
    """
    with SqliteStore(database) as store:
        _orphaned(store)
        core = store._core
        core.writer.inside = True
        assert [claim.attempt for claim in store.claim("q", timeout=PATIENCE)] == [1]
        assert not core.orphans


def test_an_orphan_is_given_back_wherever_that_was_interrupted(database: Path) -> None:
    """It was nobody's any more."""
    with SqliteStore(database, durability="process") as store:
        core, nth, going = store._core, 0, True
        while going:
            nth += 1
            store.commit(Put("q", b"a"))
            core.orphans.append(Orphan(claimed(store.claim("q")), store._handle))
            going = interrupted(lambda: core.orphans.give_back(core), nth, (_SQLITE,), exits=True)
            assert store.depth("q")[:3] == (1, 0, 0), f"at place {nth}"
            assert not core.orphans
            (claim,) = store.claim("q")
            assert claim.attempt == 1
            store.commit(Ack(claim))
        assert nth > 20


def test_an_orphan_whose_giving_back_was_refused_is_given_back(database: Path) -> None:
    """By what a signal handler raised in the middle, say: it was taken for given back."""
    with SqliteStore(database) as store:
        core, giving = store._core, _orphaned(store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite_core, "give_back", Mock(side_effect=RuntimeError("in a signal handler")))
            with pytest.raises(RuntimeError):
                core.writer.do(giving)
        assert [claim.attempt for claim in store.claim("q")] == [1]
        assert not core.orphans


def test_a_parent_keeps_its_connections_behind_a_fork(database: Path) -> None:
    """It made new ones for each commit, look and claim."""
    with SqliteStore(database) as store:
        assert forked(lambda: True) == 0
        store.commit(Put("q", b"a"))
        core = store._core
        connection = core.writer.connection
        assert connection is not None
        assert store.depth("q").ready == 1
        store.commit(Put("q", b"b"))
        assert core.writer.connection is connection
        assert not any(each.fleeting for each in (core.writer, core.reader, core.lookout.reader))


def test_join_goes_on_when_another_process_has_done_the_last_task(database: Path) -> None:
    store = SqliteStore(database)
    store.commit(Put("q", b"a"))
    with running(_CLAIM, database) as child:
        assert said(child) == "a 1"
        joined = Task(lambda: store.wait("q", lambda depth: not depth.unfinished), patience=PATIENCE)
        go_on(child)
        assert joined.result()
    store.close()


def test_ten_processes_open_a_database_at_once(database: Path) -> None:
    code = """
import sys
sys.stdin.readline()
""" + _OPEN + """
store.commit(Put("q", sys.argv[2].encode()))
print(store.depth("q").ready > 0, flush=True)
store.close()
"""
    with ExitStack() as stack:
        children = [stack.enter_context(running(code, database, n)) for n in range(10)]
        for child in children:
            go_on(child)
        assert [said(child) for child in children] == ["True"] * 10
        assert [child.wait(PATIENCE) for child in children] == [0] * 10
    with SqliteStore(database) as store:
        assert sorted(record.payload for record in store.browse("q")) == [b"%d" % n for n in range(10)]
        assert [record.id for record in store.browse("q")] == list(range(1, 11))


def test_counts_are_true_in_every_process(database: Path) -> None:
    store = SqliteStore(database)
    store.commit(*[Put("q", b"12345")] * 6, Set("t", b"k", b"v"))
    held = store.claim("q", limit=3)
    store.commit(Ack(held[0]), Nack(held[1], dead="no"))
    told = run(_OPEN + 'print(store.depth("q")[:5], store.count("t"), store.get("t", b"k"))', database)
    assert told == "(3, 0, 1, 1, 20) 1 b'v'"
    store.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_goes_on_with_a_connection_of_its_own(database: Path) -> None:
    store = SqliteStore(database, durability="process")
    store.commit(Put("q", b"parent's"), Put("q", b"child's"))
    (claim,) = store.claim("q")

    def child() -> bool:
        with pytest.raises(LeaseLost):
            store.commit(Ack(claim))
        (mine,) = store.claim("q")
        store.commit(Ack(mine), Put("r", mine.payload))
        return mine.payload == b"child's"

    assert forked(child) == 0
    assert [record.payload for record in store.browse("r")] == [b"child's"]
    store.commit(Ack(claim))
    assert store.depth("q").unfinished == 0
    store.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_that_ends_takes_nothing_from_its_parent(database: Path) -> None:
    """It closes neither connections nor locks, and what the parent has claimed stays so."""
    store = SqliteStore(database, durability="process")
    store.commit(Put("q", b"a"))
    with running(_OPEN + """
import gc
(claim,) = store.claim("q")
pid = os.fork()
if not pid:
    store.depth("q")
    del store
    gc.collect()
    sys.exit(0)
print(os.waitpid(pid, 0)[1], flush=True)
sys.stdin.readline()
store.commit(Ack(claim), Put("r", b"b"))
print("acked", flush=True)
""", database) as child:
        assert said(child) == "0"
        assert store.claim("q") == []
        go_on(child)
        assert said(child) == "acked"
        assert [store.depth(queue).ready for queue in "qr"] == [0, 1]
    store.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_child_outlives_its_parent_and_holds_none_of_its_locks(database: Path) -> None:
    store = SqliteStore(database, durability="process")
    store.commit(Put("q", b"a"))
    with running(_OPEN + """
(claim,) = store.claim("q")
if not os.fork():
    print("forked", flush=True)
    sys.stdin.read()
    os._exit(0)
os.read(0, 1)
""", database) as child:
        assert said(child) == "forked"
        child.kill()
        child.wait(PATIENCE)
        (claim,) = Task(lambda: store.claim("q", timeout=None), patience=PATIENCE).result()
        assert claim.attempt == 2
    store.close()
