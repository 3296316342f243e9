"""Where a program's queues live: the same home however it is started, and an error that says what to do where there is
none."""

from __future__ import annotations

from pathlib import Path

import pytest

from .harness import App, Left

KILLED = {"at": ["begin 1"]}  #: unsettled: both items come again


def test_run_through_a_symlink(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    link = tmp_path / "jobs"
    link.symlink_to(app.script)
    app.killed(0, 3, **KILLED)
    app.killed(3, 1, at=["begin 3"], command=[str(link)])
    assert app.run(4, 1).items("begin") == [0, 1, 2, 3, 4]
    assert app.slots() == []


def test_run_from_two_directories(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    app.killed(0, 3, **KILLED, cwd="/")
    app.killed(3, 1, at=["begin 3"], cwd=app.code, command=["daemon.py"])
    assert app.run(4, 1).items("begin") == [0, 1, 2, 3, 4]
    assert app.slots() == []


def test_run_with_m_from_two_directories(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    app.install("daemon", "jobs").rename(app.code / "jobs" / "__main__.py")
    (app.code / "jobs" / "__init__.py").touch()
    (tmp_path / "elsewhere").mkdir()
    package = {"PYTHONPATH": f"{app.env['PYTHONPATH']}:{app.code}"}
    app.killed(0, 3, **KILLED, command=["-m", "jobs"], cwd=app.code)
    app.killed(3, 1, at=["begin 3"], command=["-m", "jobs"], cwd=tmp_path / "elsewhere", env=package)
    assert app.run(4, 1, command=["-m", "jobs"], cwd=app.code).items("begin") == [0, 1, 2, 3, 4]
    assert app.slots() == []


def test_two_live_programs_of_one_name_are_told_so(tmp_path: Path) -> None:
    """Started with -m they have one home; both work, and nothing is lost."""
    app = App(tmp_path, "daemon")
    for version in ("one", "other"):
        app.install("daemon", version)
    command = ["-m", "daemon"]
    with app.start(0, 1, hold=["begin 0"], command=command, cwd=app.code / "one") as first:
        first.until("begin 0")
        told = ".*shares its home .* with another live program of the same name.*Set a PQADAPTERS_HOME of its own.*"
        assert app.run(10, 1, command=command, cwd=app.code / "other", errors=told).items("begin") == [10]
        first.release("begin 0")
        assert first.end().items("begin") == [0]
    assert app.slots() == []


def test_a_place_that_moved_is_named_when_the_run_ends(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    app.killed(0, 3, **KILLED)
    script = app.script.read_text()
    assert script.count(" = Queue()") == 1
    app.script.write_text(script.replace(" = Queue()", " = (lambda: Queue())()"))
    told = r"3 items .* wait for the queue made in __main__ [(].*Queue[(]path=.*/0'[)]\n"
    assert app.run(10, 1, errors=told).items("begin") == [10]
    assert app.left() == Left([0, 1, 2], [])
    assert app.run(20, 1).items("begin") == [20]


def test_two_programs_do_not_meet(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    other = app.install("daemon", "other")
    app.killed(0, 3, **KILLED)
    assert app.run(10, 1, command=[str(other)]).items("begin") == [10]
    assert app.run(0, 0).items("begin") == [0, 1, 2]


def test_the_home_of_this_user(tmp_path: Path) -> None:
    """Without PQADAPTERS_HOME it is the state directory, of XDG or below HOME."""
    app = App(tmp_path, "daemon")
    del app.env["PQADAPTERS_HOME"]
    app.env["HOME"] = str(tmp_path / "me")
    app.killed(0, 3, **KILLED)
    app.home = tmp_path / "me" / ".local" / "state" / "pqadapters"
    assert app.left() == Left([0, 1, 2], [])
    app.killed(0, 2, **KILLED, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    app.home = tmp_path / "state" / "pqadapters"
    assert app.left() == Left([0, 1], [])


def test_the_environment_says_what_an_item_is_done_by(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    for ack, again in [("get", [2]), ("next", [1, 2]), ("task_done", [0, 1, 2]), ("auto", [0, 1, 2])]:
        app.home = tmp_path / ack
        app.env |= {"PQADAPTERS_ACK": ack, "PQADAPTERS_HOME": str(app.home)}
        app.killed(0, 3, **KILLED)
        assert app.left() == Left(again, [])


@pytest.mark.parametrize("word", ["power", "process"])
def test_the_environment_says_what_a_put_survives(word: str, tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    show = "import os, pqadapters.stdlib.queue as queue; print(os.getpid(), queue.Queue()._line.store.durability)"
    run = app.run(command=["-c", show], env={"PQADAPTERS_DURABILITY": word})
    assert f"survives=<Survives.{word.upper()}: '{word}'>" in run.lines[0]


@pytest.mark.parametrize("option", ["PQADAPTERS_ACK", "PQADAPTERS_DURABILITY"])
def test_a_bad_word_in_the_environment_is_refused_by_name(option: str, tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    app.env[option] = "sometimes"
    run = app.run(0, 3, status=1, errors=f".*ValueError: {option}.*'sometimes'.*")
    assert (run.lines, app.slots()) == ([], [])


def test_an_unusable_home_is_refused_by_name(tmp_path: Path) -> None:
    app = App(tmp_path, "daemon")
    (tmp_path / "file").touch()
    for home in ("file", "file/below", "/proc/nowhere"):
        app.env["PQADAPTERS_HOME"] = str(tmp_path / home)
        refused = app.run(0, 3, status=1, errors=".*NoHome: .*")
        assert "PQADAPTERS_HOME" in refused.errors.splitlines()[-1]
        assert refused.lines == []
