"""What every adapter does in a process whose threads are greenlets; a library's own module binds these tests to it.

Each test is a program of its own, since a patched process stays patched. The words of the programs (`spawn`, `ended`,
`result`, `kill` ...) are defined in `WORDS` of each library, as is how it patches.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from tests.segment.programs import PATIENCE, ROOT, run

_OURS = """
from pqadapters import PDict
from pqadapters.logging import handlers
from pqadapters.stdlib import queue, shelve
"""
REST = """
import os, sys

place = sys.argv[1]
ticks = 0

def tick():
    global ticks
    while True:
        ticks += 1
        sleep(0.001)

ticker = spawn(tick)

def others_run():
    before = ticks
    for _ in range(3000):  # in vain where the thread waits for something else than the hub
        sleep(0.01)
        if ticks - before >= 5:
            return True
    return False

# A sync in the place of `os.fdatasync` that lasts until `go` is released.
real, entered, go = os.fdatasync, [], native_lock()
go.acquire()

def held_up(fd):
    entered.append(fd)
    assert go.acquire(timeout=30)
    go.release()
    return real(fd)
"""


class Programs:
    """The tests. A library's subclass says how it patches, and its words."""

    PATCH: ClassVar[str]
    WORDS: ClassVar[str]

    @pytest.fixture(params=["before", "after"])
    def begin(self, request: pytest.FixtureRequest) -> str:
        parts = [self.PATCH, _OURS] if request.param == "before" else [_OURS, self.PATCH]
        return "\n".join([*parts, self.WORDS, REST])

    @pytest.fixture(params=["segment", "sqlite"])
    def place(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return f"file://{tmp_path}/q" if request.param == "segment" else f"sqlite:///{tmp_path}/q.db"

    def test_greenlets_come_and_go_beside_the_main_thread(self, begin: str) -> None:
        """Whoever came next looked which of them had ended, and raised AttributeError: '_MainThread' object has no
        attribute 'done'."""
        code = """
q = queue.Queue(store="memory:")

def work():
    q.put("item")
    assert q.get() == "item"
    q.task_done()

work()
for _ in range(100):
    result(spawn(work))
assert len(q._line.held.by) < 100, "nobody has looked"
print("done")
"""
        assert run(begin + code, "") == "done"

    def test_others_run_while_a_greenlet_waits_for_an_item(self, begin: str, place: str) -> None:
        code = """
q = queue.Queue(store=place)
got = []

def work():
    while True:
        got.append(q.get())
        q.task_done()

workers = [spawn(work) for _ in range(3)]
assert others_run()
for n in range(100):
    q.put(n)
q.join()
assert sorted(got) == list(range(100))
full = queue.Queue(1, store=place, name="full")
full.put(1)
putter = spawn(full.put, 2)
assert others_run() and not ended(putter)
assert (full.get(), full.get(timeout=60)) == (1, 2)
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_a_killed_greenlet_has_taken_nothing(self, begin: str, place: str) -> None:
        code = """
q = queue.Queue(store=place)
getter = spawn(q.get)
sleep(0.02)
kill(getter)
q.put("a")
getter = spawn(q.get)
kill(getter)  # before it runs
assert q.stats()["held"] == 0 and q.qsize() == 1
assert result(spawn(q.get)) == "a"
simple = queue.SimpleQueue(store=place, name="simple")
getter = spawn(simple.get)
sleep(0.02)
kill(getter)
simple.put(1)
assert simple.get(timeout=60) == 1
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_greenlets_that_open_a_place_at_the_same_time_share_it(self, begin: str, place: str) -> None:
        """Patched behind the import each opened it for itself: a directory was in use by a process, this one."""
        code = """
queues = [result(each) for each in [spawn(queue.Queue, store=place) for _ in range(5)]]
for n, q in enumerate(queues):
    q.put(n)
assert [q.get() for q in queues] == [0, 1, 2, 3, 4]
assert len({id(q._line.store._core) for q in queues}) == 1
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_what_greenlets_log_is_delivered(self, begin: str, place: str) -> None:
        """Patched behind the import all of them were taken for the one that delivers, whose records aren't stored."""
        code = """
import logging

class Sink(logging.Handler):
    def emit(self, record):
        found.append(record.getMessage())
        logger.info("of the sink")

found = []
logger = logging.getLogger("greenlets")
logger.propagate = False
logger.setLevel("INFO")
handler = handlers.QueueHandler(queue.Queue(store=place))
logger.addHandler(handler)
listener = handlers.QueueListener(handler.queue, Sink())
listener.start()
for each in [spawn(logger.info, "of %s", n) for n in range(10)]:
    result(each)
listener.stop()
assert sorted(found) == [f"of {n}" for n in range(10)], found
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_a_task_is_done_by_its_own_greenlet(self, begin: str, place: str) -> None:
        code = """
q = queue.Queue(store=place, ack="task_done")
q.put("slow")
q.put("quick")
fetched = Event()

def slow():
    assert q.get() == "slow"
    fetched.set()
    sleep(100)

def quick():
    fetched.wait()
    assert q.get() == "quick"
    q.task_done()

one = spawn(slow)
result(spawn(quick))
q.close()
kill(one)
again = queue.Queue(store=place)
assert (again.qsize(), again.get()) == (1, "slow")
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_a_pool_of_greenlets(self, begin: str, place: str) -> None:
        code = """
q = queue.Queue(store=place)
in_pool(8, q.put, range(200))
found = sorted(in_pool(8, lambda _: (q.get(), q.task_done())[0], range(200)))
assert found == list(range(200))
q.join()
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_others_run_while_a_greenlet_waits_for_the_disk(self, begin: str, tmp_path: Path) -> None:
        code = """
q = queue.Queue(path=place)
q.put(0)
real, seen = os.fdatasync, []

def slow(fd):
    before = ticks
    for _ in range(1000):
        if ticks - before >= 100:
            seen.append(fd)
            return real(fd)
        native_sleep(0.01)
    os.write(2, b"the others stand still")  # this thread is the one that runs them
    os._exit(1)

os.fdatasync = slow
puts = [spawn(q.put, n) for n in range(1, 6)]
for put in puts:
    result(put)
assert 0 < len(seen) <= 3, seen  # they have shared them
killed = spawn(q.put, 6)
sleep(0.05)
kill(killed)  # in the middle of its sync
os.fdatasync = real
q.put(7)
found = [q.get() for _ in range(q.qsize())]
assert found in ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 7]), found
print("done")
"""
        assert run(begin + code, str(tmp_path / "q")) == "done"

    def test_a_killed_greenlet_waits_for_the_end_of_its_sync(self, begin: str, tmp_path: Path) -> None:
        code = """
q = queue.Queue(path=place)
q.put(0)
os.fdatasync = held_up
killed = spawn(q.put, 1)
while not entered:
    sleep(0.001)
throw(killed)
assert others_run() and not ended(killed)
go.release()
while not ended(killed):
    sleep(0.001)
assert [q.get(), q.get()] == [0, 1]  # it is written, and the store works on
print("done")
"""
        assert run(begin + code, str(tmp_path / "q")) == "done"

    def test_a_greenlet_that_is_killed_while_it_drops_a_queue_ends(self, begin: str, tmp_path: Path) -> None:
        """Nothing is raised out of a finalizer, and whoever has killed it may wait for its end."""
        code = """
def work():
    q = queue.Queue(path=place, durability="process", max_lag=1000)
    q.put(0)
    os.fdatasync = held_up
    del q
    while True:
        sleep(0.001)

killed = spawn(work)
while not entered:
    sleep(0.001)
throw(killed)
assert others_run() and not ended(killed)
go.release()
for _ in range(3000):
    if ended(killed):
        break
    sleep(0.01)
assert ended(killed)
print("done")
"""
        assert run(begin + code, str(tmp_path / "q")) == "done"

    def test_what_is_dropped_in_the_hub_is_closed(self, begin: str, place: str) -> None:
        """As where the garbage collector runs there, or a greenlet ends. Nobody can wait in a hub, so a database wasn't
        closed, and a queue's log or an ignored exception said so."""
        code = """
import logging, weakref

class Told(logging.Handler):
    def emit(self, record):
        told.append(record.getMessage())

told = []
logging.getLogger("pqadapters").addHandler(Told())
sys.unraisablehook = lambda ignored: told.append(repr(ignored.exc_value))
for make in (lambda store: queue.Queue(store=store, ack="next"), lambda store: PDict(store=store)):
    made = [make(place + "?durability=process")]  # a thread syncs what is written, for which a close waits
    if isinstance(made[0], PDict):
        made[0]["key"] = 1
        core = weakref.ref(made[0].store._core)
    else:
        made[0].put(1)
        assert made[0].get() == 1
        core = weakref.ref(made[0]._line.store._core)
    in_hub(made.clear)
    for _ in range(3000):
        if core() is None:
            break
        sleep(0.01)
    assert (made, core(), told) == ([], None, []), (made, core(), told)
assert queue.Queue(store=place).unfinished_tasks == 0
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_a_sync_that_fails_is_told_of_though_its_greenlet_is_killed(self, begin: str, tmp_path: Path) -> None:
        """The system tells of it once: a second sync, which goes well, would mean nothing."""
        code = """
from pqadapters.errors import StorePoisoned
q = queue.Queue(path=place)
q.put(0)
def fail(fd):
    held_up(fd)
    raise OSError(5, os.strerror(5))

os.fdatasync = fail
killed = spawn(q.put, 1)
while not entered:
    sleep(0.001)
throw(killed)
assert others_run() and not ended(killed)
os.fdatasync = real
go.release()
while not ended(killed):
    sleep(0.001)
try:
    q.put(2)
except StorePoisoned:
    print("done")
"""
        assert run(begin + code, str(tmp_path / "q")) == "done"

    def test_the_standard_librarys_side_is_there(self, begin: str, place: str) -> None:
        code = """
import threading
class Loud(queue.Queue):
    def _put(self, item):
        super()._put(item.upper())

q = Loud(store=place)
assert (q.maxsize, q.unfinished_tasks) == (0, 0) and isinstance(q.not_empty, threading.Condition)

def wait():
    with q.not_empty:
        q.not_empty.wait_for(q._qsize)
    return q.get()

waiter = spawn(wait)
assert others_run() and not ended(waiter)
q.put("a")
assert result(waiter) == "A"

class Own(queue.Queue):
    def _init(self, maxsize):
        self.items = []
    def _qsize(self):
        return len(self.items)
    def _put(self, item):
        self.items.append(item)
    def _get(self):
        return self.items.pop()

own = Own(1)
own.put(1)
joiner, putter = spawn(own.join), spawn(own.put, 2)
assert others_run() and not ended(joiner) and not ended(putter)
assert (own.get(), own.get(timeout=60)) == (1, 2)
own.task_done(), own.task_done()
result(joiner)
q.shutdown()
try:
    q.get()
except queue.ShutDown:
    print("done")
"""
        assert run(begin + code, place) == "done"

    def test_a_sync_that_fails_is_told_to_its_greenlet(self, begin: str, tmp_path: Path) -> None:
        code = """
q = queue.Queue(path=place)
q.put(0)

def fails(fd):
    raise OSError(5, "the disk is gone")

real, os.fdatasync = os.fdatasync, fails

def put():
    try:
        q.put(1)
    except Exception as error:
        return type(error).__name__

assert result(spawn(put)) == "StorePoisoned"
print("done")
"""
        assert run(begin + code, str(tmp_path / "q")) == "done"

    def test_a_databases_syncs_are_made_apart(self, begin: str, tmp_path: Path) -> None:
        code = """
q = queue.Queue(store="sqlite:///" + place)
q.put(0)
from pqadapters.stores.sqlite import transactions
made, real = [], transactions.apart
transactions.apart = lambda call, *arguments: made.append(arguments) or real(call, *arguments)
q.put(1)
assert ("COMMIT",) in made, made
for put in [spawn(q.put, n) for n in range(2, 30)]:
    result(put)
assert sorted(q.get() for _ in range(30)) == list(range(30))
assert others_run()
print("done")
"""
        assert run(begin + code, str(tmp_path / "q.db")) == "done"

    def test_mappings(self, begin: str, place: str) -> None:
        code = """
d = PDict(store=place, name="d")
s = shelve.open("s", store=place)
d["n"] = 0

def count():
    for _ in range(10):
        with d.edit("n") as n:
            sleep(0)
            d["n"] = n + 1

for each in [spawn(count) for _ in range(5)]:
    result(each)
assert d["n"] == 50
s.update(a=1, b=2)

def batch():
    with s.batch():
        s["a"] = 3
        inside.set()
        go_on.wait()
        s["b"] = 4

inside, go_on = Event(), Event()
one = spawn(batch)
inside.wait()
assert dict(s) == {"a": 1, "b": 2}
go_on.set()
result(one)
assert dict(s) == {"a": 3, "b": 4}

def hold():
    with d.edit("n"):
        held.set()
        sleep(100)

held = Event()
holder = spawn(hold)
held.wait()
waiter = spawn(count)
assert others_run() and not ended(waiter)
kill(holder)
result(waiter)
assert d["n"] == 60
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_what_the_main_greenlet_has_fetched_is_done_at_the_end(self, begin: str, place: str) -> None:
        code = """
q = queue.Queue(store=place)
if sys.argv[2] == "first":
    q.put_many("abc")
    q.get(), q.get()
print(q.qsize())
"""
        assert [run(begin + code, place, when) for when in ("first", "then")] == ["1", "1"]

    def test_another_greenlet_closes_what_the_main_one_fetched(self, begin: str, place: str) -> None:
        code = """
q = queue.Queue(store=place, ack="next")
q.put_many("ab")
assert q.get() == "a"
result(spawn(q.close))
again = queue.Queue(store=place, ack="next")
assert (again.qsize(), again.get()) == (1, "b")
print("done")
"""
        assert run(begin + code, place) == "done"

    def test_a_forked_child_works_on(self, begin: str, tmp_path: Path) -> None:
        code = """
q = queue.Queue(store="sqlite:///" + place)
q.put(1)
child = os.fork()
if not child:
    q.put(2)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert sorted((q.get(timeout=60), q.get(timeout=60))) == [1, 2]
print("done")
"""
        assert run(begin + code, str(tmp_path / "q.db")) == "done"

    def test_a_queue_without_a_place(self, begin: str, tmp_path: Path) -> None:
        code = """
q = queue.Queue()
for put in [spawn(q.put, n) for n in range(20)]:
    result(put)
assert sorted(q.get() for _ in range(20)) == list(range(20))
for _ in range(20):
    q.task_done()
q.join()
named = queue.Queue(name="jobs")
named.put(1)
assert result(spawn(named.get)) == 1
print("done")
"""
        (tmp_path / "app.py").write_text(begin + code)
        done = subprocess.run(
            [sys.executable, str(tmp_path / "app.py"), "nowhere"],
            env={"PYTHONPATH": str(ROOT), "PQADAPTERS_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr

    def test_a_store_on_a_server_ends_whose_keeper_has_ended_before(self, begin: str) -> None:
        """A program hung at its end: eventlet's os.write tries again for ever where nobody reads any more."""
        code = """
from pqadapters.stores.mysql.keeper import Keeper

class Core:  # is gone at once
    pass

keeper = Keeper(Core())
keeper.ensure()
while keeper._thread.is_alive():
    sleep(0.001)
keeper.stop(wait=True)
print("done")
"""
        assert run(begin + code, "nowhere") == "done"
