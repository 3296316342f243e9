"""A worker thread that fails at its second job, while the main thread goes on to a normal end.

With "confirm" it calls task_done() for what went well.
"""

from __future__ import annotations

import sys
import threading
from queue import Empty, Queue

from tests.unchanged.progress import report

jobs: Queue[int] = Queue()


def work() -> None:
    while True:
        try:
            job = jobs.get_nowait()
        except Empty:
            return
        report("begin", job)
        if job == 1:
            raise LookupError("no such thing")
        report("end", job)
        if "confirm" in sys.argv:
            jobs.task_done()


for job in map(int, sys.argv[1].split(",")):
    jobs.put(job)
thread = threading.Thread(target=work)
thread.start()
thread.join()
report("finished")
