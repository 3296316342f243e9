"""A fork in the middle: what a child finds of the sinks that its parent's threads deliver to."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from pqadapters.errors import StoreError
from pqadapters.logging._spools import forks

from .programs import ran
from .sinks import Noting


def test_a_fork_waits_until_no_sink_is_in_the_middle_of_a_record(tmp_path: Path) -> None:
    """A child had the stream of a FileHandler with a lock that a thread of its parent held: what it logged waited, and
    `logging.shutdown()` never returned. Six of sixty did, beside a thread that logs."""
    said = ran(
        """
from pqadapters.logging._delivery import listener
listener._FORK = 30  # seconds that a busy machine may take
forking = threading.Event()

class Busy(logging.Handler):
    inside = threading.Event()
    busy = False

    def emit(self, record):
        if record.getMessage() != "before" and not self.inside.is_set():
            self.busy = True
            self.inside.set()
            forking.wait()
            threading.Event().wait(0.3)  # else it may be through before a fork that doesn't wait for it
            self.busy = False

sink = Busy()
handler = QueueHandler(place, handlers=[sink])
logger.addHandler(handler)
logger.info("before")
handler.flush(20)
if not os.fork():
    os._exit(0)
os.wait()  # what a fork imports first is there
logger.info("parent")
sink.inside.wait()
os.register_at_fork(before=forking.set)
child = os.fork()
if not child:
    say("busy", sink.busy)
    logger.info("child")
    say("child", handler.flush(20))
    logging.shutdown()
    os._exit(0)
os.waitpid(child, 0)
logger.info("parent")
say("parent", handler.flush(20))
""",
        tmp_path / "spool",
    )
    assert said == ["busy False", "child True", "parent True"]


@pytest.mark.parametrize("own", [False, True], ids=["logging's lock", "a lock of its own"])
def test_a_fork_waits_for_a_sink_that_hangs_a_moment_only(tmp_path: Path, own: bool) -> None:
    """And leaves no lock behind, which `logging` doesn't make new where a handler has made its own."""
    said = ran(
        f"""
class Hanging(Telling):
    def createLock(self):
        self.lock = threading.RLock()
        {"return" if own else "super().createLock()"}

class First(Hanging):
    hangs = threading.Event()
    def emit(self, record):
        if record.getMessage() == "parent":
            self.hangs.set()
            threading.Event().wait()

hanging = First()
handler = QueueHandler(place, handlers=[Sink(Hanging(), name="other"), Sink(hanging, name="hanging")])
logger.addHandler(handler)
logger.info("parent")
hanging.hangs.wait()
child = os.fork()
if not child:
    hanging.createLock()
    logger.info("child")
    say("flushed", handler.flush(20))
    os._exit(0)
os.waitpid(child, 0)
""",
        tmp_path / "spool",
    )
    assert sorted(said) == ["flushed True", "got child", "got parent"]


def test_a_child_delivers_from_a_queue_of_its_own(tmp_path: Path) -> None:
    """A queue without a name is another one in a child, where the turn to deliver was that of a thread of its parent:
    what it logged waited for its end."""
    said = ran(
        """
from pqadapters.stdlib.queue import Queue

os.environ["PQADAPTERS_HOME"] = place
handler = QueueHandler(Queue(), handlers=[Telling()])
logger.addHandler(handler)
logger.info("parent")
handler.flush(20)
child = os.fork()
if not child:
    logger.info("child")
    say("flushed", handler.flush(20))
    os._exit(0)
os.waitpid(child, 0)
""",
        tmp_path / "spool",
    )
    assert said == ["got parent", "got child", "flushed True"]


def test_a_child_lets_go_of_its_directory_though_its_parent_delivers(tmp_path: Path) -> None:
    """Its parent's thread counted as one that uses it, to the end of the child."""
    said = ran(
        """
handler = QueueHandler(place, handlers=[Telling()])
logger.addHandler(handler)
logger.info("parent")
assert handler.flush(20)
child = os.fork()
if not child:
    logger.info("child")
    assert handler.flush(20)
    handler.close()
    for _ in range(2000):  # a busy machine's thread ends behind close()
        if not handler.queue.spool.is_open:
            break
        threading.Event().wait(0.01)
    say("open", handler.queue.spool.is_open)
    os._exit(0)
os.waitpid(child, 0)
""",
        tmp_path / "spool",
    )
    assert said == ["got parent", "got child", "open False"]


@pytest.mark.parametrize("shared", [False, True], ids=["directory", "sqlite"])
def test_a_child_opens_what_a_thread_of_its_parent_is_about_to_open(tmp_path: Path, shared: bool) -> None:
    said = ran(
        """
import signal

handler = QueueHandler(place)
logger.addHandler(handler)
opens, forked = threading.Event(), threading.Event()

def open_slowly():
    with handler.queue.spool._lock:
        opens.set()
        forked.wait()

threading.Thread(target=open_slowly, daemon=True).start()
opens.wait()
child = os.fork()
if not child:
    signal.alarm(60)
    logger.info("child")
    say("open", handler.queue.spool.is_open)
    os._exit(0)
os.waitpid(child, 0)
forked.set()
""",
        f"sqlite:///{tmp_path}/spool.db" if shared else tmp_path / "spool",
    )
    assert said == ["open True"]


def test_a_log_call_in_the_middle_of_a_fork_waits_for_nobody(tmp_path: Path) -> None:
    """A signal handler's. Another thread closed the spool and waited, with the store's lock, for what the fork held."""
    said = ran(
        """
import faulthandler
from pqadapters import forking
from pqadapters.logging._spools import spool as spools
from pqadapters.stores._disk import Disk

faulthandler.dump_traceback_later(30, exit=True)
handler = QueueHandler(place)
logger.addHandler(handler)
take_all, living, close = forking._take_all, spools.living, Disk.close
parent = os.getpid()
closing = threading.Event()
closer = threading.Thread(target=handler.queue.close)

def closed(disk, fd):
    if threading.current_thread() is closer:
        closing.set()
    close(disk, fd)

def taken():
    take_all()
    closer.start()
    closing.wait()
    logger.info("1 in the middle")

def begun(found):
    if os.getpid() != parent:
        spools.living = living
        logger.info("in the child's beginning")
    return living(found)

logger.info("0 before")
Disk.close, forking._take_all, spools.living = closed, taken, begun
child = os.fork()
if not child:
    logger.info("in the child")
    os._exit(0)
os.waitpid(child, 0)
closer.join()
logger.info("2 after")
with QueueListener(place, Telling()) as listener:
    say("flushed", listener.flush(20))
""",
        tmp_path / "spool",
    )
    assert sorted(said) == [
        "flushed True",
        "got 0 before",
        "got 1 in the middle",
        "got 2 after",
        "got in the child",
        "got in the child's beginning",
    ]


def test_what_a_signal_handler_breaks_off_puts_off_no_later_log_call(tmp_path: Path) -> None:
    """Neither a fork that never says that it has ended, nor what was put off in its middle."""
    said = ran(
        """
from pqadapters import forking
from pqadapters.logging._spools import forks

handler = QueueHandler(place)
logger.addHandler(handler)
take_all, get_ident = forking._take_all, threading.get_ident

def taken():
    take_all()
    logger.info("1 in the middle")
    forks.threading.get_ident = broken_off

def broken_off():
    if sys._getframe(1).f_code.co_name in ("_end", "_begin_again"):
        raise KeyboardInterrupt
    return get_ident()

forking._take_all = taken
sys.unraisablehook = lambda error: say(error.exc_type.__name__)
logger.info("0 before")
child = os.fork()
if not child:
    os._exit(0)
os.waitpid(child, 0)
forks.threading.get_ident = get_ident
say("put off", sum(len(each.put_off) for each in forks.forking.values()))
logger.info("2 after")
with QueueListener(place, Telling()) as listener:
    say("flushed", listener.flush(20))
""",
        tmp_path / "spool",
    )
    assert said[-5:] == ["put off 1", "got 0 before", "got 1 in the middle", "got 2 after", "flushed True"]


def test_what_was_put_off_is_stored_though_a_signal_breaks_that_off(tmp_path: Path) -> None:
    """Behind that nothing was carried out any more that this thread put off."""
    said = ran(
        """
from pqadapters.logging._spools import forks

sys.unraisablehook = lambda told: None  # Python goes on with the others that look after forks
calls = []

def call():
    calls.append(os.getpid())
    if len(calls) == 1:
        raise KeyboardInterrupt

fork = forks.forking[threading.get_ident()] = forks._Fork()
fork.put_off.append((os.getpid(), call))
if not os.fork():
    os._exit(len(calls))
print(os.waitstatus_to_exitcode(os.wait()[1]), len(calls), forks.forking)
""",
        tmp_path,
    )
    assert said == ["0 2 {}"]


def test_what_is_put_into_a_queue_of_records_in_the_middle_of_a_fork_is_stored_behind_it(tmp_path: Path) -> None:
    """By the standard library's handler, say, which asks nobody whether its thread forks."""
    said = ran(
        """
from logging.handlers import QueueHandler as Theirs
from pqadapters import forking
from pqadapters.logging._spools import forks
from pqadapters.logging.handlers import SpoolQueue

queue = SpoolQueue(place)
logger.addHandler(Theirs(queue))
logger.info("0 before")
take_all, depth = forking._take_all, queue.spool.store.depth

def taken():
    logger.info("1 in the middle")
    say(depth("inbox").ready, len(forks.forking[threading.get_ident()].put_off))
    take_all()

forking._take_all = taken
if not os.fork():
    os._exit(0)
os.wait()
say(depth("inbox").ready, forks.forking)
""",
        tmp_path / "spool",
    )
    assert said == ["1 1", "2 {}"]


def test_a_handler_that_fails_as_it_is_told_what_isnt_stored_costs_no_record_behind_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was logged behind it in the fork wasn't stored, and each log call of that thread failed from then on."""
    failing, stored = Noting(lambda message: RuntimeError("gone")), list[str]()
    monkeypatch.setattr(logging.getLogger("pqadapters.logging"), "handlers", [failing])

    def refused() -> None:
        raise StoreError("no room")

    fork = forks.forking[threading.get_ident()] = forks._Fork()
    fork.put_off.extend([(os.getpid(), refused), (os.getpid(), lambda: stored.append("behind it"))])
    assert not forks.put_off(lambda: None)
    assert stored == ["behind it"]
    assert failing.tries == ["a log record of the time of a fork isn't stored: no room"]
    assert not forks.forking
