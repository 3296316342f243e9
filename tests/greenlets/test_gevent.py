"""Every adapter in a process that gevent has patched, before or after ours were imported: its greenlets wait for them
as threads do, and its hub runs."""

from __future__ import annotations

from tests.greenlets.executors import ExecutorPrograms
from tests.greenlets.programs import Programs


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

def ended(greenlet):
    return greenlet.ready()

def result(greenlet, seconds=10):
    return greenlet.get(timeout=seconds)

def in_pool(size, function, items):
    return list(Pool(size).imap_unordered(function, items))
"""


class TestExecutors(ExecutorPrograms):
    PATCH, WORDS = TestGevent.PATCH, TestGevent.WORDS
    DRAINS_AT_END = True
