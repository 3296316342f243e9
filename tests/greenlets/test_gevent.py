"""Every adapter in a process that gevent has patched, before or after ours were imported: greenlets wait, the hub runs.

Each test is a program of its own, since a patched process stays patched.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.segment.programs import PATIENCE, ROOT, run

_IMPORTS = {
    "before": "from gevent import monkey; monkey.patch_all()\nOURS",
    "after": "OURS\nfrom gevent import monkey; monkey.patch_all()",
}
_OURS = """
from pqadapters import PDict
from pqadapters.stdlib import queue, shelve
"""
_REST = """
import os, sys
import gevent
from gevent.pool import Pool

place = sys.argv[1]
ticks = 0

def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.001)

ticker = gevent.spawn(tick)

def others_run():
    before = ticks
    gevent.sleep(0.05)
    return ticks - before >= 5
"""


@pytest.fixture(params=["before", "after"])
def begin(request: pytest.FixtureRequest) -> str:
    return str(_IMPORTS[request.param]).replace("OURS", _OURS) + _REST


@pytest.fixture(params=["segment", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/q" if request.param == "segment" else f"sqlite:///{tmp_path}/q.db"


def _run(code: str, place: str) -> str:
    return run(code, place)


def test_others_run_while_a_greenlet_waits_for_an_item(begin: str, place: str) -> None:
    code = """
q = queue.Queue(store=place)
got = []

def work():
    while True:
        got.append(q.get())
        q.task_done()

workers = [gevent.spawn(work) for _ in range(3)]
assert others_run()
for n in range(100):
    q.put(n)
q.join()
assert sorted(got) == list(range(100))
full = queue.Queue(1, store=place, name="full")
full.put(1)
putter = gevent.spawn(full.put, 2)
assert others_run() and not putter.ready()
assert (full.get(), full.get(timeout=10)) == (1, 2)
print("done")
"""
    assert _run(begin + code, place) == "done"


def test_a_killed_greenlet_has_taken_nothing(begin: str, place: str) -> None:
    code = """
q = queue.Queue(store=place)
getter = gevent.spawn(q.get)
gevent.sleep(0.02)
getter.kill()
q.put("a")
getter = gevent.spawn(q.get)
getter.kill()  # before it runs
assert q.stats()["held"] == 0 and q.qsize() == 1
assert gevent.spawn(q.get).get(timeout=10) == "a"
simple = queue.SimpleQueue(store=place, name="simple")
getter = gevent.spawn(simple.get)
gevent.sleep(0.02)
getter.kill()
simple.put(1)
assert simple.get(timeout=10) == 1
print("done")
"""
    assert _run(begin + code, place) == "done"


def test_a_task_is_done_by_its_own_greenlet(begin: str, place: str) -> None:
    code = """
q = queue.Queue(store=place, ack="task_done")
q.put("slow")
q.put("quick")
fetched = gevent.event.Event()

def slow():
    assert q.get() == "slow"
    fetched.set()
    gevent.sleep(100)

def quick():
    fetched.wait()
    assert q.get() == "quick"
    q.task_done()

one = gevent.spawn(slow)
gevent.spawn(quick).get(timeout=10)
q.close()
one.kill()
again = queue.Queue(store=place)
assert (again.qsize(), again.get()) == (1, "slow")
print("done")
"""
    assert _run(begin.replace("import gevent\n", "import gevent, gevent.event\n") + code, place) == "done"


def test_a_pool_of_greenlets(begin: str, place: str) -> None:
    code = """
q = queue.Queue(store=place)
pool = Pool(8)
for _ in pool.imap_unordered(q.put, range(200)):
    pass
found = sorted(pool.map(lambda _: (q.get(), q.task_done())[0], range(200)))
assert found == list(range(200))
q.join()
print("done")
"""
    assert _run(begin + code, place) == "done"


def test_others_run_while_a_greenlet_waits_for_the_disk(begin: str, tmp_path: Path) -> None:
    code = """
import time
q = queue.Queue(path=place)
q.put(0)
real, seen = os.fdatasync, []
sleep = monkey.get_original("time", "sleep")

def slow(fd):
    before = ticks
    sleep(0.2)  # the native one, in whatever thread this is
    seen.append(ticks - before)
    return real(fd)

os.fdatasync = slow
puts = [gevent.spawn(q.put, n) for n in range(1, 6)]
gevent.joinall(puts, raise_error=True)
assert all(number >= 10 for number in seen), seen
assert len(seen) <= 3, seen  # they have shared them
killed = gevent.spawn(q.put, 6)
gevent.sleep(0.05)
killed.kill()  # in the middle of its sync
os.fdatasync = real
q.put(7)
found = [q.get() for _ in range(q.qsize())]
assert found in ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 7]), found
print("done")
"""
    assert _run(begin + code, str(tmp_path / "q")) == "done"


def test_a_databases_syncs_are_made_apart(begin: str, tmp_path: Path) -> None:
    code = """
q = queue.Queue(store="sqlite:///" + place)
q.put(0)
from pqadapters.stores.sqlite import transactions
made, real = [], transactions.apart
transactions.apart = lambda call, *arguments: made.append(arguments) or real(call, *arguments)
q.put(1)
assert ("COMMIT",) in made, made
gevent.joinall([gevent.spawn(q.put, n) for n in range(2, 30)], raise_error=True)
assert sorted(q.get() for _ in range(30)) == list(range(30))
assert others_run()
print("done")
"""
    assert _run(begin + code, str(tmp_path / "q.db")) == "done"


def test_mappings(begin: str, place: str) -> None:
    code = """
d = PDict(store=place, name="d")
s = shelve.open("s", store=place)
d["n"] = 0

def count():
    for _ in range(10):
        with d.edit("n") as n:
            gevent.sleep(0)
            d["n"] = n + 1

gevent.joinall([gevent.spawn(count) for _ in range(5)], raise_error=True)
assert d["n"] == 50
s.update(a=1, b=2)

def batch():
    with s.batch():
        s["a"] = 3
        gevent.sleep(0.01)
        s["b"] = 4

one = gevent.spawn(batch)
gevent.sleep(0.005)
assert dict(s) == {"a": 1, "b": 2}
one.get(timeout=10)
assert dict(s) == {"a": 3, "b": 4}

def hold():
    with d.edit("n"):
        gevent.sleep(100)

holder = gevent.spawn(hold)
gevent.sleep(0.02)
waiter = gevent.spawn(count)
assert others_run() and not waiter.ready()
holder.kill()
waiter.get(timeout=10)
assert d["n"] == 60
print("done")
"""
    assert _run(begin + code, place) == "done"


def test_a_queue_without_a_place(begin: str, tmp_path: Path) -> None:
    code = """
q = queue.Queue()
gevent.joinall([gevent.spawn(q.put, n) for n in range(20)], raise_error=True)
assert sorted(q.get() for _ in range(20)) == list(range(20))
for _ in range(20):
    q.task_done()
q.join()
named = queue.Queue(name="jobs")
named.put(1)
assert gevent.spawn(named.get).get(timeout=10) == 1
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
