"""Forks beside threads that have the lock of `logging`, which is held across a fork like ours."""

from __future__ import annotations

import errno
import logging
import os
import signal
from pathlib import Path

import pytest

import pqadapters
from pqadapters import forking
from pqadapters.logging.handlers import QueueListener
from pqadapters.opening import importing
from pqadapters.store import Put
from pqadapters.stores import _disk
from pqadapters.stores.sqlite import SqliteStore

from .contract.interrupting import interrupted
from .contract.threads import Task
from .segment.programs import run

_CONFIGURING = """
import logging, logging.config, os, sys, threading
from pqadapters import forking
from pqadapters.opening import importing
from pqadapters.logging.handlers import QueueListener
from pqadapters.stdlib.queue import Queue

Queue(store=sys.argv[1]).put("loads what a database needs")
sink = logging.StreamHandler()
listener = QueueListener(sys.argv[2], sink)
listener.start()
begun, held = threading.Event(), threading.Event()
forking.hold_at_fork(99, held.set, lambda: None)

def opened():
    begun.set()
    held.wait()
    ACT
    return logging.NullHandler()

configuration = {"version": 1, "handlers": {"ours": {"()": opened}}, "root": {"handlers": ["ours"]}}
configuring = threading.Thread(target=logging.config.dictConfig, args=(configuration,))
configuring.start()
begun.wait()
child = os.fork()
if not child:
    logging.getLogger("child").warning("it can log")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
configuring.join()
"""


@pytest.mark.parametrize(
    "act",
    ["Queue(store=sys.argv[1]).put(1)", "Queue(store=sys.argv[1] + '.other').put(1)", "sink.acquire(); sink.release()"],
    ids=["a queue", "another queue", "a handler that was given to a listener"],
)
def test_who_configures_logging_may_use_what_a_fork_holds(act: str, tmp_path: Path) -> None:
    """The fork waited for the lock of `logging`, and who had it for what the fork held."""
    run(_CONFIGURING.replace("ACT", act), f"sqlite:///{tmp_path / 'queues'}", tmp_path / "spool")


def test_what_is_said_while_a_queue_is_settled_is_said_with_no_lock_held() -> None:
    """Where `logging` was imported behind us its lock is taken first: the fork, with that, waited for the queue's, and
    who had that for the lock of `logging`."""
    program = """
import os, sys, threading
from pqadapters.stdlib import multiprocessing
from pqadapters.stdlib.multiprocessing import _shared_line
assert "logging" not in sys.modules
has_logging = threading.Event()
os.register_at_fork(before=has_logging.set)
import logging

queue = multiprocessing.Queue()
settling, settled = threading.Event(), _shared_line.found_family

def said(*where, **options):
    settling.set()
    has_logging.wait()
    _shared_line._log.warning("said")
    return settled(*where, **options)

_shared_line.found_family = said
putting = threading.Thread(target=queue.put, args=(1,))
putting.start()
settling.wait()
child = os.fork()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
putting.join()
print(queue.get())
"""
    assert run(program) == "1"


def _fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def test_what_is_done_before_a_fork_is_done_though_one_of_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the import of what a database's child needs left a queue that nobody had used yet unknown: parent and
    child had one each."""
    done: list[int] = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(forking, "_first", [interrupted, lambda: done.append(1)])
    try:
        with pytest.raises(KeyboardInterrupt):
            forking._hold_all()
    finally:
        forking._go_on()
    assert done == [1]


def test_all_is_held_across_a_fork_though_one_of_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't held is torn in the child, whose databases have to be opened anew then."""
    said: list[str] = []

    def interrupted() -> None:
        said.append("begins")
        raise KeyboardInterrupt

    first = forking._Hold(interrupted, lambda: said.append("lets go of what it hasn't"))
    second = forking._Hold(lambda: said.append("held"), lambda: said.append("let go"))
    monkeypatch.setattr(forking, "_holds", {2: second, 1: first})
    try:
        with pytest.raises(KeyboardInterrupt):
            forking._take_all()
    finally:
        forking._go_on()
    assert said == ["begins", "held", "let go", "lets go of what it hasn't"]


def test_a_fork_that_is_interrupted_anywhere_lets_go_of_all(tmp_path: Path) -> None:
    """Ctrl-C as a process forked left what is held meanwhile, the handler of a listener's sink among that, to the main
    thread for good: every other thread that wanted it hung."""
    sink = logging.StreamHandler()
    lock = sink.lock
    assert lock is not None
    listener = QueueListener(tmp_path / "spool", sink)
    listener.start()
    package = Path(pqadapters.__file__).parent

    def goes_on() -> None:
        for each in (lock, logging._lock, _disk._forking):  # type: ignore[attr-defined]
            with each:
                pass

    def handler(*_: object) -> None:
        pass

    nth, struck, before = 0, True, signal.signal(signal.SIGUSR1, handler)
    while struck:
        nth += 1
        struck = interrupted(_fork, nth, (str(package / "forking.py"), str(package / "logging")))
        assert not forking._taken.calls
        assert signal.getsignal(signal.SIGUSR1) is handler
        Task(goes_on, patience=60.0).result()
    assert nth > 10
    signal.signal(signal.SIGUSR1, before)
    listener.stop()


def test_a_fork_that_is_interrupted_anywhere_lets_go_of_databases(tmp_path: Path) -> None:
    """The main thread kept locks of a database's for good: every other thread that put or got hung. A look failed from
    then on where its connection was just being closed."""
    with SqliteStore(tmp_path / "q.db", durability="process") as store:
        nth, struck = 0, True
        while struck:
            nth += 1
            struck = interrupted(_fork, nth, (str(Path(pqadapters.__file__).parent),))
            assert not forking._taken.calls
            Task(lambda: store.commit(Put("q", b"")), patience=60.0).result()
            assert Task(lambda: store.depth("q").ready, patience=60.0).result() == nth
    assert nth > 20


def test_a_fork_says_nothing_where_a_module_can_not_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """For want of a descriptor: the first one that couldn't kept the others from being tried, with a traceback on
    stderr for each fork."""
    tried = []

    def refuses(name: str) -> None:
        tried.append(name)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), name)

    monkeypatch.setattr(importing, "import_module", refuses)
    monkeypatch.setattr("threading.active_count", lambda: 2)
    importing._import_all()
    assert len(tried) > 1


_TOLD = """
import os, signal, threading
from pqadapters import forking

class Ends(Exception):
    pass

def end(number, frame):
    said.append(f"{number} with {len(children)} children")
    ended.release()
    raise Ends

said, children, ended = [], [], threading.Semaphore(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGUSR1, lambda number, frame: (said.append(number), ended.release()))
BEFORE
forking.hold_at_fork(99, lambda: said.append("held"), lambda: None)
for _ in range(2):
    try:
        if not children:
            child = os.fork()
            if not child:
                os._exit(signal.getsignal(signal.SIGTERM) is not end)
            children.append(child)
        ended.acquire()
    except Ends:
        said.append("ended")
    except KeyboardInterrupt:
        said.append(f"Ctrl-C with {len(children)} children")
        ended.release()
assert signal.getsignal(signal.SIGTERM) is end
assert not os.wait()[1]
print(*said, sep=", ")
"""
_KILLED = "forking.before_fork(lambda: os.kill(os.getpid(), signal.SIG{}))"
_BEHIND = "forking.hold_at_fork(98, lambda: None, lambda: os.kill(os.getpid(), signal.SIGTERM))"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (_KILLED.format("TERM"), "held, 15 with 1 children, ended"),
        (_BEHIND, "held, 15 with 1 children, ended"),
        (_KILLED.format("INT"), "held, Ctrl-C with 1 children"),
        (_KILLED.format("USR1") + "\n" + _KILLED.format("USR1"), "10, held, 10"),
    ],
    ids=["before it", "right behind it", "Ctrl-C", "a second time"],
)
def test_a_signal_in_the_middle_of_a_fork_is_handled_behind_it(before: str, said: str) -> None:
    """What the handler raised was lost, with "Exception ignored in" on stderr: a service that forked a lot went on
    behind one SIGTERM in four, and what its child had of a store was torn. Raised right behind the fork it left a child
    that nobody knew."""
    assert run(_TOLD.replace("BEFORE", before)) == said


def test_a_signal_that_only_the_child_gets_is_handled_there() -> None:
    program = """
import os, signal, threading
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))  # done before our part
from pqadapters import forking

signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
signal.signal(signal.SIGUSR1, lambda *_: (print("the parent's"), ended.release()))
forking.before_fork(lambda: os.kill(os.getpid(), signal.SIGUSR1))
ended = threading.Semaphore(0)
if not os.fork():
    ended.acquire()
    os._exit(0)
ended.acquire()
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    assert run(program) == "the parent's\n7"


def test_a_fork_in_another_thread_leaves_handlers_alone() -> None:
    program = """
import os, signal, threading
from pqadapters import forking

handler = lambda *_: None
signal.signal(signal.SIGTERM, handler)
forking.before_fork(lambda: print(signal.getsignal(signal.SIGTERM) is handler))
def fork():
    if not os.fork():
        os._exit(signal.getsignal(signal.SIGTERM) is not handler)
    print(os.wait()[1])
thread = threading.Thread(target=fork)
thread.start()
thread.join()
"""
    assert run(program) == "True\n0"
