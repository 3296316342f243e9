"""Three workers, all stopped by one sentinel: whoever meets it puts it back for the next one.

With "confirm" the workers call task_done(); without, nobody ever does.
"""

from __future__ import annotations

import queue
import sys
import threading

from tests.unchanged.progress import report

WORKERS = 3
STOP = object()
q: queue.Queue[object] = queue.Queue()
confirm = "confirm" in sys.argv


def worker() -> None:
    while True:
        item = q.get()
        if item is STOP:
            break
        assert isinstance(item, int), f"a worker was given {item!r}"
        report("begin", item)
        report("end", item)
        if confirm:
            q.task_done()
    q.put(STOP)
    report("worker stops")


def main(first: int, count: int) -> None:
    for item in range(first, first + count):
        q.put(item)
    q.put(STOP)
    report("all put")
    threads = [threading.Thread(target=worker) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report("finished")


main(int(sys.argv[1]), int(sys.argv[2]))
