"""One answer from a thread that lives on, and has the last reference to the queue it was fetched from."""

from __future__ import annotations

import sys
import threading
from queue import Queue

from tests.unchanged.progress import report

fetched = threading.Event()


def fetch(number: int) -> tuple[int, threading.Thread]:
    answers: Queue[int] = Queue()

    def work() -> None:
        answers.put(number)
        fetched.wait()

    thread = threading.Thread(target=work)
    thread.start()
    return answers.get(), thread


def serve() -> None:
    answer, thread = fetch(int(sys.argv[1]))
    report("answer", answer)
    fetched.set()
    thread.join()


server = threading.Thread(target=serve)
server.start()
server.join()
