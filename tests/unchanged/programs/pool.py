"""A pool of three tokens (numbers of connections, say), that threads take and give back."""

from __future__ import annotations

import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

TOKENS = 3
pool: Queue[int] = Queue(TOKENS if "bounded" in sys.argv else 0)


def use(task: int) -> None:
    token = pool.get()
    report("begin", task)
    pool.put_nowait(token)  # there is room: it was taken from there
    report("end", task)


for token in range(TOKENS):
    pool.put(token)
first, count = map(int, sys.argv[1:3])
threads = [threading.Thread(target=use, args=(task,)) for task in range(first, first + count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
report("tokens", pool.qsize())
