"""A store in a forked child whose parent has threads that wait in it: nothing hangs, and no strange error is raised."""

from __future__ import annotations

from pathlib import Path

from .programs import run

WAITERS = """
import os, sys, threading
from pqadapters.errors import StoreForked
from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore

store = SegmentStore(sys.argv[1])
waits = threading.Event()
taken = []

def wait():
    taken.extend(store.claim("q", timeout=None, stop=lambda: bool(waits.set())))

thread = threading.Thread(target=wait)
thread.start()
waits.wait(60)
store.depth("q")  # the lock is free: the thread waits
pid = os.fork()
if pid == 0:
    words = []
    calls = [
        lambda: store.commit(Put("q", b"")),
        lambda: store.claim("q", timeout=None),
        lambda: store.wait("new", lambda depth: False),
        lambda: store.get("t", b"k"),
        lambda: store.wake("q"),
        store.checkpoint,
        store.close,
        store.close,
    ]
    for call in calls:
        try:
            call()
            words.append("fine")
        except Exception as error:
            words.append(type(error).__name__)
    print(*words, flush=True)
    os._exit(0)
os.waitpid(pid, 0)
store.commit(Put("q", b"for the parent"))
thread.join(60)
print(taken[0].payload.decode())
"""


def test_a_child_of_a_process_whose_threads_wait(tmp_path: Path) -> None:
    refused = "StoreForked StoreForked StoreForked StoreForked fine StoreForked"
    assert run(WAITERS, tmp_path / "store").splitlines() == [f"{refused} fine fine", "for the parent"]


CLOSES = """
import os, sys, threading
from pqadapters.stores import _disk
from pqadapters.stores._directory import try_lock

disk = _disk.Disk()
hold = try_lock(sys.argv[1], disk)
closes, forked = threading.Event(), threading.Event()
close = os.close

def closing(fd):
    if fd == hold.fd and threading.current_thread() is closer:
        closes.set()
        forked.wait(0.2)  # in vain
    close(fd)

os.close = closing
closer = threading.Thread(target=hold.close)
closer.start()
closes.wait(60)
ours, theirs = os.pipe()
pid = os.fork()
if pid == 0:
    close(theirs)
    os.read(ours, 1)
    os._exit(0)
forked.set()
closer.join()
print("in use" if try_lock(sys.argv[1], disk) is None else "free", flush=True)
close(theirs)
os.waitpid(pid, 0)
"""


def test_a_fork_while_another_thread_lets_go_of_a_lock(tmp_path: Path) -> None:
    """The child had the descriptor and didn't know of it: the lock of a home or a spool, of which each process has a
    slot, was nobody's for as long as the child lived, and all others, the child too, waited for it."""
    assert run(CLOSES, tmp_path / "LOCK") == "free"
