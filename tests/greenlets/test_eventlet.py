"""Every adapter in a process that eventlet has patched, before or after ours were imported: its greenlets wait for them
as threads do, and its hub runs."""

from __future__ import annotations

import pytest

from tests.greenlets.executors import ExecutorPrograms
from tests.greenlets.programs import Programs

pytest.importorskip("eventlet", reason="eventlet isn't to be had for every interpreter")


class TestEventlet(Programs):
    PATCH = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of itself
import eventlet
eventlet.monkey_patch()
"""
    WORDS = """
from eventlet import patcher, spawn, sleep, kill, event, timeout, GreenPool, hubs

native_sleep = patcher.original("time").sleep
native_lock = patcher.original("_thread").allocate_lock
throw = kill  # which waits for nothing

def in_hub(call):
    hubs.get_hub().schedule_call_global(0, call)

class Event:
    def __init__(self):
        self._event = event.Event()

    def set(self):
        self._event.send()

    def wait(self):
        self._event.wait()

def ended(greenlet):
    return greenlet.dead

def result(greenlet, seconds=60):
    with timeout.Timeout(seconds):
        return greenlet.wait()

def in_pool(size, function, items):
    return list(GreenPool(size).imap(function, items))
"""


class TestExecutors(ExecutorPrograms):
    PATCH, WORDS = TestEventlet.PATCH, TestEventlet.WORDS
    DRAINS_AT_END = False
