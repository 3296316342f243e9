"""A pool of what can't be pickled."""

from __future__ import annotations

import threading
from queue import Queue

from tests.unchanged.progress import report

pool: Queue[threading.Lock] = Queue()
for _ in range(3):
    pool.put(threading.Lock())
lock = pool.get()
with lock:
    report("locked")
pool.put(lock)
report("locks", pool.qsize())
