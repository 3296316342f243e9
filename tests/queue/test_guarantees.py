"""What the first page of the README promises, for each class, by real programs that are really killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pqadapters.stdlib import queue as durable

from .test_lifetime import run

#: What is left of 3, 1, 2 (one handed out and done, one handed out): in the order in which it comes again.
LEFT = {"Queue": [1, 2], "LifoQueue": [1, 3], "PriorityQueue": [2, 3]}


@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.parametrize("kind", LEFT)
def test_sigkill_loses_nothing_and_what_was_handed_out_comes_again_in_its_place(
    tmp_path: Path, kind: str, durability: str
) -> None:
    program = f"""
    import os, signal
    q = {kind}(path=here, durability={durability!r})
    for i in (3, 1, 2): q.put(i)
    q.get()
    q.task_done()
    q.get()
    os.kill(os.getpid(), signal.SIGKILL)
    """
    run(program, tmp_path, status=-signal.SIGKILL)
    with getattr(durable, kind)(path=tmp_path) as q:
        assert q.unfinished_tasks == 2
        assert [q.get(), q.get()] == LEFT[kind]


def test_sigkill_brings_back_the_last_item_of_each_thread_of_a_simple_queue(tmp_path: Path) -> None:
    program = """
    import os, signal, threading
    q = SimpleQueue(path=here, durability="process")
    for i in range(6): q.put(i)
    def take(): q.get(); q.get()
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    take()
    os.kill(os.getpid(), signal.SIGKILL)
    """
    run(program, tmp_path, status=-signal.SIGKILL)
    with durable.SimpleQueue[int](path=tmp_path) as q:
        assert [q.get() for _ in range(q.qsize())] == [1, 3, 4, 5]


@pytest.mark.parametrize("kind", [*LEFT, "SimpleQueue"])
def test_a_second_process_is_told_who_holds_the_queue_and_nothing_is_lost(tmp_path: Path, kind: str) -> None:
    with getattr(durable, kind)(path=tmp_path) as q:
        q.put(1)
        program = f"""
        from pqadapters.errors import StoreLocked
        try: {kind}(path=here)
        except StoreLocked as error: print(error.pid)
        """
        assert run(program, tmp_path) == f"{os.getpid()}\n"
        assert q.get() == 1
