"""Forks in the middle of use: the connections of the parent are never used or closed by a child, however that ends.

A COM_QUIT on a shared socket, or a byte read from it, would end the parent's connection, and with it the parent's lock:
its items would go to others while it works on them.
"""

from __future__ import annotations

import os

import pytest

from pqadapters.stores.mysql import MysqlStore
from tests.segment.programs import PATIENCE, running, said

_PARENT = """
import gc, itertools, os, sys, threading
from pqadapters.store import Ack, Put
from pqadapters.stores.mysql import MysqlStore, reader

url, how = sys.argv[1:]
reader._IDLE = 100  # so that the pool closes none by itself
store = MysqlStore(url)
core = store._core
over, failed, numbers, done = threading.Event(), [], itertools.count(), []
taken = threading.Semaphore(0)

def connections():
    return {raw.server_thread_id[0] for raw in list(core.dialer._open) if raw._sock is not None}

def keep_on(step):
    try:
        while not over.is_set():
            step()
    except BaseException as error:
        failed.append(error)
        raise

def put():
    store.commit(Put("q", b"%d" % next(numbers)))

def take():
    for claim in store.claim("q", timeout=0.2):
        store.commit(Ack(claim))
        done.append(int(claim.payload))
        taken.release()

def some(count):
    for _ in range(count):
        assert taken.acquire(timeout=60), failed

def look():
    store.depth("q")
    store.get("t", b"k")

(held,) = store.commit(Put("held", b"")) and store.claim("held")
threads = [threading.Thread(target=keep_on, args=(step,)) for step in (put, take, look, look)]
for thread in threads:
    thread.start()
some(20)
before = connections()

def child(nth):
    if how == "_exit":
        os._exit(0)
    if how == "collect":
        global store, core
        store = core = None
        gc.collect()
        sys.exit(0)
    if how == "use":
        store.commit(Put("r", b"%d" % nth))
        (mine,) = store.claim("r", timeout=None)
        store.commit(Ack(mine), Put("s", mine.payload))
        if nth % 2:
            store.close()
    sys.exit(0)  # with all that the interpreter does at its end

for nth in range(6):
    store.depth("q")  # there are connections in the pool now that nobody uses
    pid = os.fork()
    if not pid:
        child(nth)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, (nth, status)
    some(5)
over.set()
for thread in threads:
    thread.join()
assert not failed, failed
assert before <= connections(), (before, connections())
store.commit(Ack(held))
while claims := store.claim("q", limit=1000):
    store.commit(*map(Ack, claims))
    done += [int(claim.payload) for claim in claims]
count = next(numbers)
assert sorted(done) == list(range(count)), "each exactly once"
if how == "use":
    assert sorted(record.payload for record in store.browse("s")) == [b"%d" % nth for nth in range(6)]
print("all is well", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["_exit", "exit", "collect", "use"])
def test_i5_a_child_that_is_forked_in_the_middle_of_use_ends_nothing_of_its_parent(url: str, how: str) -> None:
    MysqlStore(url).close()
    with running(_PARENT, url, how) as parent:
        assert said(parent) == "all is well"
        parent.stdin.write("\n")  # type: ignore[union-attr]
        parent.stdin.close()  # type: ignore[union-attr]
        assert parent.wait(PATIENCE) == 0
    with MysqlStore(url) as store:
        assert store.depth("held").unfinished == 0


_CHAIN = """
import os, sys
from pqadapters.store import Put
from pqadapters.stores.mysql import MysqlStore

store, before = MysqlStore(sys.argv[1]), None
for n in range(4):
    store.commit(Put("q", b"%d" % n))
    open_now = sum(os.readlink(each.path).startswith("pipe:") for each in [*os.scandir("/proc/self/fd")]
                   if os.path.islink(each.path))
    print(open_now, flush=True)
    if pid := os.fork():
        os.waitpid(pid, 0)
        os._exit(0)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc here")
def test_children_that_fork_the_next_one_have_no_more_descriptors_each_time(url: str) -> None:
    with running(_CHAIN, url) as program:
        assert len({said(program) for _ in range(4)}) == 1
