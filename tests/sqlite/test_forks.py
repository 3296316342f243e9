"""A forked child and its parent: what either commits is there for all, whoever goes first and whatever else runs.

SQLite remembers the locks of its process in memory. A child that inherits the memory and not the locks believes that it
has them, and lets others take the WAL away under it: so nothing is open at a fork.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pqadapters.errors import StoreClosed, StoreForked
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.core import Core
from pqadapters.stores.sqlite.processes.forks import Standstill
from pqadapters.stores.sqlite.reader import Reader
from pqadapters.stores.sqlite.writer import Writer
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, run

pytestmark = pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")

_DAEMON = """
import os, sys
from pqadapters.store import Ack, Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], durability=sys.argv[2])
store.commit(Put("q", b"of the parent"))
store.claim("q")
ready, go, parent = os.pipe(), os.pipe(), os.getpid()
if os.fork():
    store.commit(Put("q", b"of the parent, behind the fork"))
    os.read(ready[0], 1)
    os.write(go[1], b"x")
    if sys.argv[3] == "close":
        store.close()
    os._exit(0)
store.commit(Put("q", b"of the child"))
os.write(ready[1], b"x")
os.read(go[0], 1)
while os.getppid() == parent:
    os.sched_yield()
for n in range(30):
    store.commit(Put("q", b"%d" % n))
print("done", flush=True)
os._exit(0)
"""


_HOOKED = """
import os
hooks = []
os.register_at_fork(before=lambda: [hook() for hook in hooks])  # before ours: it is called behind ours
"""


def test_what_a_hook_does_right_before_the_fork_leaves_the_child_no_connection(tmp_path: Path) -> None:
    """A signal handler may come there as well. The child had SQLite's memory of the parent's locks, and what it
    committed went with the WAL that others took away."""
    database = tmp_path / "q.db"
    hook = """
        def hook():
            store.commit(Put("q", b"of the hook"))
            assert store.depth("q").ready and list(store.browse("q")) and store.get("t", b"key") is None
        hooks.append(hook)
    """
    code = _DAEMON.replace("ready, go, parent", dedent(hook) + "ready, go, parent")
    assert run(_HOOKED + code, database, "process", "close") == "done"
    with SqliteStore(database) as store:
        found = {record.payload for record in store.browse("q", state=None)}
        assert store.damage == ()
    assert found >= {b"of the hook", b"of the child", *(b"%d" % n for n in range(30))}


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("end", ["close", "die"])
def test_what_a_child_commits_is_there_when_its_parent_has_gone(tmp_path: Path, durability: str, end: str) -> None:
    database = tmp_path / "q.db"
    assert run(_DAEMON, database, durability, end) == "done"
    with SqliteStore(database) as store:
        found = {record.payload for record in store.browse("q", state=None)}
        assert store.damage == ()
    expected = {b"of the parent", b"of the parent, behind the fork", b"of the child"}
    assert found == expected | {b"%d" % n for n in range(30)}


def _child(store: SqliteStore, name: bytes) -> None:
    """In a forked child: put, and end."""
    status = 1
    try:
        store.commit(Put("q", name))
        status = 0
    finally:
        os._exit(status)


def test_forks_while_other_threads_are_in_the_middle_of_everything(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "q.db", durability="process")
    stop = threading.Event()

    def busy() -> int:
        done = 0
        while not stop.is_set():
            store.commit(Put("busy", b"x"), Put("busy", b"y"))
            store.depth("busy")
            store.claim("busy")
            done += 2
        return done

    tasks = [Task(busy, patience=PATIENCE) for _ in range(3)]
    tasks.append(Task(lambda: len(store.claim("never", timeout=None, stop=stop.is_set)), patience=PATIENCE))
    children = []
    for n in range(8):
        pid = os.fork()
        if not pid:
            _child(store, b"%d" % n)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 8
    stop.set()
    store.wake("never")
    done = sum(task.result() for task in tasks)
    assert sorted(record.payload for record in store.browse("q")) == [b"%d" % n for n in range(8)]
    assert store.depth("busy").unfinished == done
    store.close()


def test_a_fork_in_the_middle_of_a_commit_is_told_in_the_child(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "q.db")
    store.commit(Put("q", b"first"))
    statuses = []

    def stop() -> bool:
        pid = os.fork()
        if not pid:
            status = 1
            try:
                with pytest.raises(StoreForked, match="open it anew"):
                    store.depth("q")
                with SqliteStore(tmp_path / "q.db") as again:
                    status = 0 if again.depth("q").ready == 1 else 2
            finally:
                os._exit(status)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        return False

    store.commit(Put("q", b"second"), Put("q", b"third"), stop=stop)
    assert store.depth("q").ready == 3
    assert statuses == [0]
    store.close()


def test_a_fork_has_no_lock_while_it_waits_for_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has that one may need the others first, to come to an end."""
    with SqliteStore(tmp_path / "q.db") as store:
        core, is_held, rests, others_are_free = store._core, threading.Event(), threading.Event(), list[bool]()

        def hold() -> None:
            with core.aside:
                is_held.set()
                assert rests.wait(PATIENCE)
                for lock in (core.writer.lock, core.reader.lock, core.lookout.reader.lock):
                    others_are_free.append(lock.acquire(blocking=False))
                    if others_are_free[-1]:
                        lock.release()

        holder = Task(hold, patience=PATIENCE)
        assert is_held.wait(PATIENCE)
        monkeypatch.setattr(time, "sleep", lambda seconds: (rests.set(), holder.result()))
        core.standstill.begin(core)
        core.standstill.end(core)
        assert others_are_free == [True] * 3


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("step", [(Writer, "disconnect_locked"), (Reader, "end")])
def test_a_fork_while_another_thread_closes_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str], is_over: bool
) -> None:
    """The child had SQLite's memory of the locks of connections that were just being closed: what it committed by one
    of its own went with the WAL that others took away. A call of the store waited for ever, there or in the parent."""
    store = SqliteStore(tmp_path / "q.db")
    core, is_at_it, forks = store._core, threading.Event(), threading.Event()
    store.commit(Put("q", b"x"))
    assert store.depth("q").ready == 1
    kind, name = step
    go_on, begin = getattr(kind, name), Standstill.begin

    def close(connected: Any) -> None:
        if connected in (core.writer, core.reader) and threading.current_thread() is not threading.main_thread():
            is_at_it.set()
            assert forks.wait(PATIENCE)
        go_on(connected)

    def hold(held: Standstill, core: Core) -> None:
        forks.set()
        if is_over:
            closing.result()
        begin(held, core)

    monkeypatch.setattr(kind, name, close)
    monkeypatch.setattr(Standstill, "begin", hold)
    closing = Task(store.close, patience=PATIENCE)
    assert is_at_it.wait(PATIENCE)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            assert core.writer.connection is core.reader.connection is None
            with pytest.raises(StoreClosed):
                Task(lambda: store.commit(Put("q", b"y")), patience=PATIENCE).result()
            status = 0
        finally:
            os._exit(status)
    forks.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    closing.result()
    with pytest.raises(StoreClosed):
        Task(lambda: store.commit(Put("q", b"z")), patience=PATIENCE).result()
    with SqliteStore(tmp_path / "q.db") as again:
        assert again.depth("q").ready == 1


_CLOSES_ALL = """
import os, sys
from pqadapters.stdlib.multiprocessing import Queue
from pqadapters.stores.sqlite import SqliteStore
os.environ["PQADAPTERS_HOME"] = os.getcwd()
store, queue = SqliteStore("q.db"), Queue()
queue.put(1)
if os.fork():
    os._exit(os.wait()[1])
os.closerange(3, 100)
files = [open(str(number), "w") for number in range(40)]
for file in files:
    file.write("of the daemon")
if sys.argv[1] == "close":
    store.close()
else:
    del store, queue
"""


@pytest.mark.parametrize("end", ["close", "drop"])
def test_a_daemon_that_closes_all_descriptors_keeps_those_that_it_opens_then(tmp_path: Path, end: str) -> None:
    """What it had inherited of ours was closed behind that, by numbers that were its own files' by now."""
    run(f"import os, sys\nos.chdir(sys.argv[2])\n{_CLOSES_ALL}", end, tmp_path)
    assert {(tmp_path / str(number)).read_text() for number in range(40)} == {"of the daemon"}


_IMPORTS = """
import os, sys
from pqadapters.stdlib import multiprocessing
q = multiprocessing.Queue(store=f"sqlite:///{sys.argv[1]}")
q.put(1)
found = []
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        found.append((os.getpid(), name))
sys.meta_path.insert(0, Finder)
if not os.fork():
    print([name for pid, name in found if pid == os.getpid()], flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_child_imports_nothing_before_it_runs(tmp_path: Path) -> None:
    """It did for ten milliseconds, and Python ignores what is raised then: a child went on after Ctrl-C, and its parent
    waited for it."""
    assert run(_IMPORTS, tmp_path / "q.db") == "[]"


def test_a_new_database_takes_nothing_from_an_old_ones_wal(tmp_path: Path) -> None:
    database = tmp_path / "q.db"
    code = """
import os, sys
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
store = SqliteStore(sys.argv[1], durability="process")
store.commit(*[Put("q", b"old")] * 50)
os._exit(0)
"""
    run(code, database)
    assert Path(f"{database}-wal").stat().st_size
    database.unlink()
    with SqliteStore(database) as store:
        assert list(store.browse("q", state=None)) == []
        assert store.commit(Put("q", b"new")) == (1,)
        assert store.damage == ()
