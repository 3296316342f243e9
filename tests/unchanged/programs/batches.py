"""A consumer that works in batches: a hundred gets, the work, a hundred task_dones."""

from __future__ import annotations

import sys
from queue import Queue

from tests.unchanged.progress import report

BATCH = 100
q: Queue[int] = Queue()


def take_batch() -> list[int]:
    batch: list[int] = []
    while len(batch) < BATCH and not q.empty():
        batch.append(q.get())
        report("got", batch[-1])
    return batch


first, count = map(int, sys.argv[1:])
for item in range(first, first + count):
    q.put(item)
while batch := take_batch():
    report("batch of", len(batch))
    for item in batch:
        q.task_done()
        report("done", item)
q.join()
report("finished")
