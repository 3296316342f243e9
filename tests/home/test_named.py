"""`Queue(name=...)` alone: one queue for all processes of the application, in the home's database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import NoHome, RankError
from pqadapters.home import application
from pqadapters.stdlib.queue import Empty, PriorityQueue, Queue
from tests.segment.programs import PATIENCE, ROOT

APP = """
import os, sys
from pqadapters.stdlib import Queue
q = Queue(name="jobs")
if sys.argv[1] == "put":
    for n in range(5):
        q.put(n)
    print(q.qsize(), os.path.basename(q.stats()["place"]))
else:
    print("first", q.get(), flush=True)
    pid = os.fork()
    if not pid:
        print("child", q.get(), q.get(), flush=True)
        q.task_done()
        q.task_done()
        raise SystemExit
    os.waitpid(pid, 0)
    q.task_done()
    while not q.empty():
        print("parent", q.get(), flush=True)
        q.task_done()
    q.join()
    print(q.unfinished_tasks)
"""


def _run(tmp_path: Path, role: str, **environment: str) -> list[str]:
    (tmp_path / "app.py").write_text(APP)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PQADAPTERS_")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(tmp_path / "app.py"), role],
        env={**kept, "PYTHONPATH": str(ROOT), "PQADAPTERS_HOME": str(tmp_path / "home"), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_runs_of_an_application_share_a_named_queue_with_their_children(tmp_path: Path) -> None:
    assert _run(tmp_path, "put") == ["5 named.db"]
    assert _run(tmp_path, "get") == ["first 0", "child 1 2", "parent 3", "parent 4", "0"]


def test_the_url_in_the_environment_moves_named_queues(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.db?durability=process"
    assert _run(tmp_path, "put", PQADAPTERS_URL=url) == ["5 elsewhere.db"]
    assert len(_run(tmp_path, "get", PQADAPTERS_URL=url)) == 5
    assert not (tmp_path / "home").exists()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _set_home(tmp_path / "home", monkeypatch)
    return tmp_path / "home"


def _set_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(home))
    monkeypatch.setattr(application, "_known", None)  # it knows of this process since before there was a home


def test_names_are_queues_of_their_own_and_handles_share_them(home: Path) -> None:
    with Queue[str](name="a") as a, Queue[str](name="b") as b, Queue[str](name="a") as again:
        a.put("for a")
        assert b.empty()
        assert again.get_nowait() == "for a"
        again.task_done()
        with pytest.raises(Empty):
            a.get_nowait()
    (database,) = home.glob("*/named.db")
    assert database.stat().st_mode & 0o777 == 0o600


def test_a_shared_priority_queue_orders_by_what_bytes_can_say(home: Path) -> None:
    with PriorityQueue[Any](name="p") as q, PriorityQueue[Any](name="p") as other:
        for item in ((2, "b"), (1, "z"), (10, "a"), (1, "a"), (-1.5, "")):
            q.put(item)
        assert [other.get() for _ in range(5)] == [(-1.5, ""), (1, "a"), (1, "z"), (2, "b"), (10, "a")]
        with pytest.raises(RankError, match="shared with other processes"):
            q.put(object)


def test_a_home_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file")
    _set_home(tmp_path / "home", monkeypatch)
    with pytest.raises(NoHome, match=r"home.*PQADAPTERS_HOME.*path"):
        Queue(name="jobs")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/x.db", "sqlite:///x.db?segment_bytes=9"])
def test_a_url_that_names_no_database(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///|no option of this store"):
        Queue(store=url)


def test_a_relative_path_is_one_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    absolute = f"sqlite:///{tmp_path}/jobs.db"
    with Queue[int](store="sqlite:///jobs.db", name="a") as q, Queue[int](store=absolute, name="a") as same:
        q.put(1)
        assert same.get_nowait() == 1
    assert (tmp_path / "jobs.db").exists()
