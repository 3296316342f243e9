"""A store in a forked child, also where its parent has threads that wait in it: nothing hangs, and no strange error is
raised."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pqadapters.errors import StoreClosed, StoreError, StoreForked, StoreLocked
from pqadapters.store import Ack, Put
from pqadapters.stores.segment import SegmentStore

from .contents import payloads
from .programs import run, running, said

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


FORKED_HOLDER = """
import os, sys
from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore
store = SegmentStore(sys.argv[1])
store.commit(Put("q", b"theirs"))
here, there = os.pipe()
if os.fork() == 0:
    os.write(there, b"x")    # the child is itself now, and lives on beyond its parent's end
    os.read(0, 1)
    os._exit(0)
os.read(here, 1)
print("held", flush=True)
os.read(0, 1)
"""


def test_a_lock_goes_with_its_holder_even_if_a_forked_child_lives_on(tmp_path: Path) -> None:
    with running(FORKED_HOLDER, tmp_path / "q") as child:
        assert said(child) == "held"
        with pytest.raises(StoreLocked):
            SegmentStore(tmp_path / "q")
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert payloads(tmp_path / "q") == [b"theirs"]


def test_a_forked_child_gets_a_clear_error_and_may_use_another_directory(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "q")
    store.commit(Put("q", b"1"))
    answer = _in_child(store, tmp_path)
    assert answer.startswith("StoreForked")
    assert f"belongs to process {os.getpid()}" in answer
    assert answer.endswith("StoreLocked own 1")
    (claim,) = store.claim("q")
    store.commit(Ack(claim), Put("q", b"2"))
    store.close()
    assert payloads(tmp_path / "q") == [b"2"]


DAEMON = """
import os, sys
alive, ours = os.pipe()

def wait_for_the_parents_end():
    os.close(ours)
    os.read(alive, 1)

os.register_at_fork(after_in_child=wait_for_the_parents_end)  # before anything of ours runs in the child
from pqadapters.errors import StoreForked
from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore
store = SegmentStore(sys.argv[1])
opener = os.getpid()
if os.fork():
    os._exit(0)
try:
    store.commit(Put("q", b""))
except StoreForked as error:
    print(f"belongs to process {opener}," in str(error), flush=True)
os._exit(0)
"""


def test_a_daemon_is_told_which_process_has_opened_the_store(tmp_path: Path) -> None:
    """It was told of process 1, which has it by then."""
    assert run(DAEMON, tmp_path / "q") == "True"


def _in_child(store: SegmentStore, tmp_path: Path, work: str = "commit") -> str:
    end, other = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(other, _use_in_child(store, tmp_path).encode())
        finally:
            os._exit(0)
    os.close(other)
    with open(end) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return text


def _use_in_child(store: SegmentStore, tmp_path: Path) -> str:
    words = []
    for use in (lambda: store.commit(Put("q", b"x")), lambda: SegmentStore(tmp_path / "q")):
        try:
            use()
        except StoreError as error:
            words.append(type(error).__name__ + (f" {error}" if isinstance(error, StoreForked) else ""))
    store.close()
    with SegmentStore(tmp_path / "own") as own:
        own.commit(Put("q", b"y"))
        words.append(f"own {own.depth('q').ready}")
    return " ".join(words)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc here")
def test_a_forked_child_keeps_no_file_of_its_parents_open(tmp_path: Path) -> None:
    """A worker that lives for months had the segments of that moment, which the parent removes, take their space; and
    where each child forks the next one, each had one descriptor more."""
    store = SegmentStore(tmp_path / "q", segment_bytes=4096)
    for _ in range(30):
        store.commit(Put("q", bytes(500)))
    assert len([*store.browse("q")]) == 30
    end, other = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            names = [os.readlink(each.path) for each in [*os.scandir("/proc/self/fd")] if os.path.islink(each.path)]
            os.write(other, repr([name for name in names if ".seg" in name and str(tmp_path) in name]).encode())
        finally:
            os._exit(0)
    os.close(other)
    with open(end) as answer:
        assert answer.read() == "[]"
    os.waitpid(pid, 0)
    assert len([*store.browse("q")]) == 30
    store.close()


def test_a_forked_child_is_told_of_a_store_that_was_removed_before_the_fork(tmp_path: Path) -> None:
    """To open it after the fork would be of no use."""
    store, other = SegmentStore(tmp_path / "q"), SegmentStore(tmp_path / "q")
    assert other.discard(remove=True)
    pid = os.fork()
    if not pid:
        status = 1
        try:
            with pytest.raises(StoreClosed, match="was removed"):
                store.commit(Put("q", b"x"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


FORK_UNDER_LOCK = """
import os, sys, threading
from pqadapters.errors import StoreForked
from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore
store = SegmentStore(sys.argv[1])
entered, go = threading.Event(), threading.Event()
def stop():
    entered.set()
    go.wait(60)
    return False
thread = threading.Thread(target=lambda: store.commit(Put("q", b"1"), stop=stop))
thread.start()
entered.wait(60)             # the thread is in the middle of a commit, with the store's lock
pid = os.fork()
if pid == 0:
    try:
        store.commit(Put("q", b"2"))
    except StoreForked:
        os._exit(7)
    os._exit(1)
status = os.waitpid(pid, 0)[1]
go.set()
thread.join()
print(os.waitstatus_to_exitcode(status), store.depth("q").ready)
"""


def test_a_fork_while_a_thread_holds_the_stores_lock_is_no_deadlock(tmp_path: Path) -> None:
    assert run(FORK_UNDER_LOCK, tmp_path / "q") == "7 1"
