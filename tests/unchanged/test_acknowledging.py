"""Programs that call task_done() in their own ways: in batches, in another thread, or with a queue for each request."""

from __future__ import annotations

from pathlib import Path

from .harness import NOTHING, App, Left, undisturbed


def test_batches_undisturbed(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "batches", 0, 250)
    assert app.left() == NOTHING
    assert app.slots() == []


def finish_batches(app: App, expected: range) -> None:
    assert app.run(1000, 7).items("got") == [*expected, *range(1000, 1007)]
    assert app.run(2000, 0).items("got") == []
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_batches_killed_while_one_is_fetched(tmp_path: Path) -> None:
    app = App(tmp_path, "batches")
    app.killed(0, 210, at=["got 150"])
    finish_batches(app, range(100, 210))


def test_batches_killed_between_two_task_dones(tmp_path: Path) -> None:
    """Each task_done() acknowledges the oldest item of its thread, and no other."""
    app = App(tmp_path, "batches")
    app.killed(0, 210, at=["done 130"])
    finish_batches(app, range(131, 210))


def test_batches_killed_before_the_first_task_done(tmp_path: Path) -> None:
    app = App(tmp_path, "batches")
    app.killed(0, 210, at=["batch of 100"])
    finish_batches(app, range(210))


def finish_dispatcher(app: App, expected: range, *more: str) -> None:
    assert app.run(100, 3, *more).items("begin") == [*expected, *range(100, 103)]
    assert app.run(200, 0, *more).items("begin") == []
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_task_done_in_another_thread_undisturbed(tmp_path: Path) -> None:
    undisturbed(tmp_path, "dispatcher", 0, 10, "wait")


def test_task_done_in_another_thread_item_by_item(tmp_path: Path) -> None:
    """The one item outstanding is covered by the call of a thread that holds none."""
    app = App(tmp_path, "dispatcher")
    app.killed(0, 10, "wait", at=["begin 4"])
    finish_dispatcher(app, range(4, 10), "wait")


def test_task_done_in_another_thread_while_more_is_outstanding(tmp_path: Path) -> None:
    """Nobody can tell which item such a call means: as long as not all are covered, all come again."""
    app = App(tmp_path, "dispatcher")
    with app.start(0, 10, hold=["begin 0", "begin 4"]) as running:
        running.until("begin 0", "all dispatched")
        running.release("begin 0")
        running.until("begin 4")
        running.kill()
    finish_dispatcher(app, range(10))


def test_task_done_in_another_thread_once_all_are_covered(tmp_path: Path) -> None:
    app = App(tmp_path, "dispatcher")
    app.killed(0, 10, at=["done 9"])
    finish_dispatcher(app, range(0))


def test_a_queue_for_each_request_undisturbed(tmp_path: Path) -> None:
    app = undisturbed(tmp_path, "requests", 0, 8)
    assert app.slots() == []
    app.run(100, 8)
    assert (app.left(), app.slots()) == (NOTHING, [])


def test_a_queue_for_each_request_killed_in_one(tmp_path: Path) -> None:
    """What a request left is nobody else's: it is found among the dead letters, and doesn't grow with the requests."""
    app = App(tmp_path, "requests")
    app.killed(0, 8, at=["begin 41"])
    again = app.run(100, 8)
    answers = [line for line in again.lines if line.startswith("answer")]
    assert answers == [f"answer {number} {[number * 10 + part for part in range(3)]}" for number in range(100, 108)]
    assert not {40, 41, 42} & set(again.items("begin"))
    # 40 was done as far as its own queue goes; what came of it was on its way to whoever waits for the answer
    assert app.left().items == []
    assert {41, 42} <= set(app.left().dead) <= {40, 41, 42}
    before = app.slots()
    app.run(200, 8)
    assert app.slots() == before
    assert {41, 42} <= set(app.left().dead) <= {40, 41, 42}


def test_a_queue_for_each_request_killed_in_the_very_first(tmp_path: Path) -> None:
    """Nothing tells a place from any other before it has made a second queue: this once, what is left comes again."""
    app = App(tmp_path, "requests")
    app.killed(0, 8, at=["begin 1"])
    again = app.run(100, 8)
    assert {1, 2} <= set(again.items("begin"))
    assert [line for line in again.lines if line.startswith("answer")][1:] == [
        f"answer {number} {[number * 10 + part for part in range(3)]}" for number in range(101, 108)
    ]


def test_remade_undisturbed(tmp_path: Path) -> None:
    undisturbed(tmp_path, "remade", 0, 3, "del")


def test_a_queue_that_is_dropped_and_made_anew_leaves_dead_letters(tmp_path: Path) -> None:
    app = App(tmp_path, "remade")
    app.run(0, 3, "del")
    assert app.left() == Left([], [1, 2])
    run = app.run(10, 3, "del")
    assert run.lines == ["in it 3", "begin 10", "left 0", "after clear 13", "finished"]
    assert app.left() == Left([], [1, 2, 11, 12])
    assert len(app.slots()) == 1


def test_a_queue_that_gives_its_name_to_a_new_one_is_found_by_the_next_run(tmp_path: Path) -> None:
    """The new queue is made while the old one lives, as in a list of queues: what is left in it isn't thrown away."""
    app = App(tmp_path, "remade")
    app.run(0, 3)
    assert app.left() == Left([1, 2], [])
    assert app.run(10, 0).items("begin") == [1]
