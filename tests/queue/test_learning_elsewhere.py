"""What ack="auto" learns by way of others: the next run of an unnamed queue, and other processes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib.queue import Empty, Queue

from .programs import run

KILLED = -signal.SIGKILL
LOOK = "q = Queue(); print(q.stats()['learnt'], list(q.queue)); crash()"


def test_unnamed_a_crash_before_anything_is_learnt_redelivers_all(tmp_path: Path) -> None:
    run("q = Queue(); q.put_many(range(3)); q.get(); q.get(); crash()", tmp_path, status=KILLED)
    assert run(LOOK, tmp_path, status=KILLED).out == "None [0, 1, 2]"


def test_unnamed_the_first_task_done_is_found_again(tmp_path: Path) -> None:
    run("q = Queue(); q.put_many(range(4)); q.get(); q.get(); q.task_done(); crash()", tmp_path, status=KILLED)
    assert run(LOOK, tmp_path, status=KILLED).out == "task_done [1, 2, 3]"
    run("q = Queue(); q.get()", tmp_path)  # a normal exit, with an item in hand
    assert run(LOOK, tmp_path, status=KILLED).out == "task_done [1, 2, 3]"


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "q.close()", "del q", "with q: pass"])
def test_unnamed_a_normal_end_settles_on_next(tmp_path: Path, end: str) -> None:
    status = 3 if "exit" in end else 0
    run("q = Queue(); q.put_many(range(3)); q.get(); q.get()\n" + end, tmp_path, status=status)
    assert run(LOOK, tmp_path, status=KILLED).out == "next [2]"


@pytest.mark.parametrize("end", ["raise LookupError", "with q: raise LookupError"])
def test_unnamed_an_uncaught_exception_is_no_normal_end(tmp_path: Path, end: str) -> None:
    run("q = Queue(); q.put_many(range(3)); q.get(); q.get()\n" + end, tmp_path, status=1)
    assert run(LOOK, tmp_path, status=KILLED).out == "None [0, 1, 2]"


def test_unnamed_another_process_of_the_place_has_learnt_more(tmp_path: Path) -> None:
    """Of two workers one calls task_done() and the other one ends before it gets there."""
    run(
        """
        import subprocess
        q = Queue(); q.put(1); q.get()
        other = "from pqadapters.stdlib.queue import Queue; q = Queue(); q.put(2); q.get(); q.task_done()"
        subprocess.run([sys.executable, "-c", other], check=True)
        """,
        tmp_path,
    )
    assert run(LOOK, tmp_path, status=KILLED).out == "task_done [1]"


def test_unnamed_a_given_policy_ignores_the_note(tmp_path: Path) -> None:
    run("q = Queue(); q.put_many(range(3)); q.get()", tmp_path)
    run("q = Queue(ack='task_done'); q.get()", tmp_path)
    assert run(LOOK, tmp_path, status=KILLED, PQADAPTERS_ACK="get").out == "None [1, 2]"
    assert run(LOOK, tmp_path, status=KILLED).out == "next [1, 2]"


def test_unnamed_simple_queues_note_nothing(tmp_path: Path) -> None:
    run("q = SimpleQueue(); q.put(1); q.put(2); q.put(3); q.get(); q.get(); crash()", tmp_path, status=KILLED)
    assert run(LOOK, tmp_path, status=KILLED).out == "None [2, 3]"


def test_what_another_process_holds_is_counted_until_that_has_learnt_what_it_means(tmp_path: Path) -> None:
    """Here it is done at its normal end: then the calls for it are over, too."""
    holder, caller = (Queue[int](store=f"sqlite:///{tmp_path}/q.db") for _ in range(2))
    holder.put_many(range(3))
    assert holder.get_many(2) == [0, 1]
    caller.task_done()
    caller.task_done()
    assert (caller.unfinished_tasks, caller.stats()["learnt"]) == (1, None)
    holder.close()
    assert (caller.stats()["learnt"], caller.stats()["unfinished"]) == (None, 1)
    caller.task_done()
    assert (caller.stats()["learnt"], caller.unfinished_tasks) == ("next", 1)


def test_calls_for_what_one_process_has_done_are_not_taken_for_what_another_one_holds(tmp_path: Path) -> None:
    """A worker ended, and its items were done: the calls for them were counted for what the other worker was at."""
    first, second, caller = (Queue[int](store=f"sqlite:///{tmp_path}/q.db") for _ in range(3))
    caller.put_many(range(3))
    assert (first.get_many(2), second.get()) == ([0, 1], 2)
    caller.task_done()
    caller.task_done()
    first.close()
    assert caller.unfinished_tasks == 1


def test_calls_for_what_comes_again_are_not_too_many(tmp_path: Path) -> None:
    """A worker was killed, and the next one sent the same results again: the calls for these raised ValueError in the
    main process, or were taken for calls for what nobody had got yet."""
    killed, second, caller = (Queue[int](store=f"sqlite:///{tmp_path}/q.db", ack="auto") for _ in range(3))
    caller.put_many(range(4))
    for _ in range(2):
        killed.get()
        caller.task_done()
    killed._line.close(normal=False)
    for left in (3, 2, 1, 0):
        second.get()
        caller.task_done()
        assert caller.unfinished_tasks == left
    caller.task_done()
    second.close()
    caller.join()


def test_join_is_not_over_where_what_is_learnt_meanwhile_says_that_items_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above: join() ended while the other worker was at its item."""
    first, second, caller = (Queue[int](store=f"sqlite:///{tmp_path}/q.db") for _ in range(3))
    caller.put_many(range(3))
    assert (first.get_many(2), second.get()) == ([0, 1], 2)
    caller.task_done()
    caller.task_done()
    wait, waits = caller._line.store.wait, list[int]()

    def late(queue: str, until: Any, *more: Any) -> bool:
        waits.append(caller._line.counts.elsewhere)
        if len(waits) == 1:
            first.close()
        else:
            second.task_done()
        return wait(queue, until, *more)

    monkeypatch.setattr(caller._line.store, "wait", late)
    caller.join()
    assert waits == [2, 0]


def test_task_done_for_what_another_process_never_does_stands(tmp_path: Path) -> None:
    """A `None` that ends a worker: whoever has put it may say so, also before the worker's own first one."""
    holder, caller = (Queue[Any](store=f"sqlite:///{tmp_path}/q.db") for _ in range(2))
    holder.put_many(["item", None])
    holder.get_many(2)
    caller.task_done()
    holder.task_done()
    caller.join()
    holder.close()
    assert (caller.qsize(), caller.unfinished_tasks) == (1, 0)


def test_task_done_for_what_this_process_had_and_asked_beyond_settles_for_good(tmp_path: Path) -> None:
    """An earlier run ended before its first one. A batch ends where nothing more is there, and is done behind that."""
    url = f"sqlite:///{tmp_path}/q.db"
    with Queue[int](store=url) as first:
        first.put_many(range(3))
        first.get()
    with Queue[int](store=url) as q:
        assert (q.get(), q.get(), q.stats()["learnt"]) == (1, 2, "next")
        with pytest.raises(Empty):
            q.get_nowait()
        q.task_done()
        assert q.stats()["learnt"] == "task_done"


def test_task_done_ahead_of_any_get_stands(tmp_path: Path) -> None:
    with Queue[int](store=f"sqlite:///{tmp_path}/q.db") as q:
        q.put(1)
        q.task_done()
        q.join()
        with pytest.raises(ValueError, match="too many"):
            q.task_done()
