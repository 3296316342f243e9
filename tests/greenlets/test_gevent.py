"""Every adapter in a process that gevent has patched, before or after ours were imported: its greenlets wait for them
as threads do, and its hub runs."""

from __future__ import annotations

import subprocess
import sys

from tests.greenlets.executors import ExecutorPrograms
from tests.greenlets.programs import Programs
from tests.segment.programs import PATIENCE, ROOT


class TestGevent(Programs):
    PATCH = "from gevent import monkey; monkey.patch_all()"
    WORDS = """
import gevent
from gevent.event import Event
from gevent.pool import Pool

spawn, sleep, kill = gevent.spawn, gevent.sleep, gevent.kill
native_sleep = monkey.get_original("time", "sleep")
native_lock = monkey.get_original("_thread", "allocate_lock")

def throw(greenlet):
    greenlet.kill(block=False)

def in_hub(call):
    gevent.get_hub().loop.run_callback(call)

def ended(greenlet):
    return greenlet.ready()

def result(greenlet, seconds=60):
    return greenlet.get(timeout=seconds)

def in_pool(size, function, items):
    return list(Pool(size).imap_unordered(function, items))
"""

    def test_a_forked_child_says_nothing_of_its_parents_threads(self, begin: str, place: str) -> None:
        """They are greenlets, and live on in it. At their end `threading`, which has forgotten them, raised KeyError,
        and a listener said that the parent's records wait."""
        code = """
import gc, logging

def ours():
    found = [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet)]
    return [each for each in found if "pqadapters-" in repr(each) and not each.ready()]

class Sink(logging.Handler):
    def emit(self, record):
        pass

handler = handlers.QueueHandler(place, handlers=[Sink(), Sink()])
logger = logging.getLogger("greenlets")
logger.addHandler(handler)
logger.warning("of the parent")
assert handler.flush(60)
child = os.fork()
if not child:
    living = ours()
    assert living
    for _ in range(3000):
        if all(each.ready() for each in living):
            break
        sleep(0.01)
    else:
        print(living)
    logger.warning("of the child")
    assert handler.flush(60)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", begin + code, place],
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (done.stdout, done.stderr) == ("done\n", "")


class TestExecutors(ExecutorPrograms):
    PATCH, WORDS = TestGevent.PATCH, TestGevent.WORDS
    DRAINS_AT_END = True
