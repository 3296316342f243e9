"""`ls`, and places as it shows them."""

from __future__ import annotations

import errno
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pqadapters.stdlib.queue import homes
from tests.commands.command import bytes_in, loaded, out, process, refusal
from tests.segment.programs import run, running, said
from tests.segment.users import as_root, as_user, open_to_all

ls: Any = import_module("pqadapters.commands.ls")  # the package has the command by that name
_APP = """
import os, sys
os.environ["PQADAPTERS_HOME"] = sys.argv[1]
from pqadapters import PDict
from pqadapters.stdlib.queue import Queue
q = Queue(ack="task_done")
q.put_many(["one", "two"])
named = Queue(name="jobs")
named.put(1)
PDict(name="settings")["a"] = 1
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Of an application that was killed."""
    home = tmp_path / "home"
    with running(_APP, home) as child:
        assert said(child) == "there"
        child.kill()
    return home


def test_ls_changes_nothing_and_shows_all(home: Path) -> None:
    before = bytes_in(home)
    found = loaded("ls", home)
    slot, database = sorted(found["stores"], key=lambda entry: "queues" in entry)
    assert (slot["items"], slot["dead"], slot["pid"], slot["transient"]) == (2, 0, None, False)
    assert slot["bytes"] > 0
    assert database["queues"] == {"jobs": {"items": 1, "dead": 0}}
    assert any(name.endswith("settings") for name in database["mappings"])
    text = out("ls", home)
    assert slot["place"] in text
    assert "queue jobs: 1" in text
    assert bytes_in(home) == before


_EACH_CALL = """
import os, sys
os.environ["PQADAPTERS_HOME"] = sys.argv[1]
from pqadapters.stdlib.queue import Queue
def handle(number):
    q = Queue()
    q.put(number)
    return q if number == 2 else None
kept = [handle(number) for number in range(3)]
kept[2].put(kept[2].get())
kept[2].task_done()
print("there", flush=True)
sys.stdin.read()
"""


def test_what_ls_says_about_them(home: Path, tmp_path: Path) -> None:
    text = out("ls", home)
    assert text.splitlines()[0] == str(home)
    slot, database = sorted(text.splitlines()[2:], key=lambda line: "named.db" in line)
    assert [*slot.split()[1:4], *slot.split()[5:]] == ["__main__", "2", "0", "-", "-"]
    assert database.rstrip().endswith("queue jobs: 1; mapping dict/settings: 1")
    assert database.split()[1] == "-"
    (segment,) = home.rglob("*.seg")
    segment.write_bytes(segment.read_bytes().replace(b"one", b"ONE", 1))
    assert "  damaged: see stats" in out("ls", home)
    (tmp_path / "nothing").mkdir()
    assert out("ls", tmp_path / "nothing") == f"nothing lives in {tmp_path}/nothing\n"
    with running(_EACH_CALL, tmp_path / "calls") as child:
        assert said(child) == "there"
        assert f"  {child.pid}  " in out("ls", tmp_path / "calls")
        child.kill()
    assert out("ls", tmp_path / "calls").rstrip().endswith("  done by task_done; a queue for each call")


def test_places_of_the_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_HOME", str(home))
    slot, database = sorted(loaded("ls")["stores"], key=lambda entry: "queues" in entry)
    for place in (slot["place"], os.path.dirname(slot["place"]), home / slot["place"]):
        assert [row["payload"] for row in loaded("peek", place)] == ["'one'", "'two'"]
    for place in (database["place"], os.path.dirname(database["place"])):
        assert [row["payload"] for row in loaded("peek", place)] == ["1"]


_PROCESSES = """
import os, sys
os.environ["PQADAPTERS_HOME"] = sys.argv[1]
from pqadapters.stdlib.multiprocessing import Queue
q = Queue()
for item in (1, None, 2):
    q.put(item)
print("there", flush=True)
sys.stdin.read()
"""


def test_what_cannot_be_read_keeps_nobody_from_seeing_the_rest(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a link to itself, or another user's application, `ls` was one error; by the first homes() had nothing."""
    real = ls.directories

    def private(above: str) -> list[str]:
        if above.endswith("private"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), above)
        return list(real(above))

    count = len(loaded("ls", home)["stores"])
    assert len(homes(home)) == 1
    (application,) = home.iterdir()
    for above in (home, application):
        (above / "loop").symlink_to(above / "loop")
    (home / "private").mkdir()
    monkeypatch.setattr(ls, "directories", private)
    found = loaded("ls", home)["stores"]
    assert len(found) == count + 1
    assert [(each["place"], "Permission denied" in each["problem"]) for each in found if "problem" in each] == [
        ("private", True)
    ]
    assert "Permission denied" in out("ls", home)
    assert len(homes(home)) == 1


def test_queues_of_multiprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the database nor an application that has no other one was known; and a name of ours, which says where the
    `None`s are, counted as a queue."""
    home = tmp_path / "home"
    with running(_PROCESSES, home) as child:
        assert said(child) == "there"
        child.kill()
    before = bytes_in(home)
    monkeypatch.setenv("PQADAPTERS_HOME", str(home))
    (entry,) = loaded("ls")["stores"]
    assert entry["queues"] == {"__main__-0.0": {"items": 3, "dead": 0}}
    for place in (entry["place"], os.path.dirname(entry["place"]), home / entry["place"]):
        assert set(loaded("stats", place)["queues"]) == {"__main__-0.0"}
        assert [row["payload"] for row in loaded("peek", place)] == ["1", "an object of the process that put it", "2"]
    assert bytes_in(home) == before


def test_an_application_that_has_both_databases(home: Path) -> None:
    """Its name alone is the one of named queues, as ever."""
    with running(_PROCESSES, home) as child:
        assert said(child) == "there"
        child.kill()
    databases = [entry for entry in loaded("ls", home)["stores"] if "queues" in entry]
    assert [os.path.basename(entry["place"]) for entry in databases] == ["named.db", "processes.db"]
    directory = (home / databases[0]["place"]).parent
    assert set(loaded("stats", directory)["queues"]) == {"jobs"}


def test_who_has_a_database_open(tmp_path: Path) -> None:
    """Also one who has claimed nothing yet, for which it was "held by nobody"; never the one who looks."""
    opens = "import sys; from pqadapters.stores.sqlite import SqliteStore; store = SqliteStore(sys.argv[1])"
    code = f"{opens}; print(1, flush=True); sys.stdin.read()"
    with running(code, tmp_path / "q.db") as one:
        assert said(one) == "1"
        with running(code, tmp_path / "q.db") as other:
            assert said(other) == "1"
            assert loaded("stats", tmp_path / "q.db")["held_by"] == sorted([one.pid, other.pid])
            other.kill()
            other.wait()
        assert loaded("stats", tmp_path / "q.db")["held_by"] == [one.pid]
        one.kill()
    assert loaded("stats", tmp_path / "q.db")["held_by"] == []


def test_a_holder_whose_number_nobody_here_knows(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux gives one of another container as 0."""
    monkeypatch.setenv("PQADAPTERS_HOME", str(home))
    monkeypatch.setattr("pqadapters.stores.segment.onlooker.holder_of", lambda file: 0)
    slot = next(entry["place"] for entry in loaded("ls", home)["stores"] if "queues" not in entry)
    assert "  another process  " in out("ls", home)
    assert "held by another process\n" in out("stats", slot)
    assert "is held by another process: end it first" in refusal("purge", slot, "--yes")


def test_a_place_with_several_stores(home: Path) -> None:
    slot = next(entry for entry in loaded("ls", home)["stores"] if "queues" not in entry)
    directory = (home / slot["place"]).parent
    os.makedirs(directory / "1")
    message = refusal("peek", directory)
    assert "several stores" in message
    assert str(directory / "1") in message
    assert [entry.get("problem") is None for entry in loaded("ls", home)["stores"]].count(False) == 1


def test_a_home_in_use(tmp_path: Path) -> None:
    with running(_APP, tmp_path / "home") as child:
        assert said(child) == "there"
        found = loaded("ls", tmp_path / "home")["stores"]
        assert [entry.get("pid", child.pid) for entry in found] == [child.pid, child.pid]
        assert [entry["items"] for entry in found if "queues" not in entry] == [2]
        assert child.poll() is None
        lines = out("ls", tmp_path / "home").splitlines()
        assert [str(child.pid) in line for line in lines] == [False, False, True, True]

        child.kill()


def test_no_home(tmp_path: Path) -> None:
    done = process("ls", PQADAPTERS_HOME=str(tmp_path / "no"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing lives in" in done.stdout
    assert "isn't there" in refusal("ls", tmp_path / "no")
    assert "ann:***@h/d isn't there" in refusal("ls", "mysql://ann:secret@h/d")
    assert os.listdir(tmp_path) == []


def test_a_home_of_which_nobody_can_tell_whether_it_is_there(tmp_path: Path) -> None:
    """Another user's: it "isn't there", to who has called as the wrong one."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for home in ("loop", "loop/q"):
        assert refusal("ls", tmp_path / home) == f"Error: {tmp_path / home}: {os.strerror(errno.ELOOP)}\n"
    assert "is no directory" in refusal("ls", tmp_path / "file")


@as_root
def test_a_home_that_may_be_listed_and_not_looked_into(home: Path) -> None:
    """Nothing lived in it."""
    open_to_all(home.parent)
    out("ls", home)  # what that imports need not be the user's to read
    home.chmod(0o744)
    with as_user():
        (entry,) = loaded("ls", home)["stores"]
    assert "Permission denied" in entry["problem"]


def test_adopted_slots_are_listed(tmp_path: Path) -> None:
    for number in ("0", "0/adopted-3-91c0aa41"):
        os.makedirs(tmp_path / "app" / "place" / number)
        run(
            "import sys; from pqadapters.stores.segment import SegmentStore as S; from pqadapters.store import Put\n"
            "S(sys.argv[1]).commit(Put('default', b'x'))",
            tmp_path / "app" / "place" / number,
        )
    found = loaded("ls", tmp_path)["stores"]
    assert [(entry["place"], entry["items"]) for entry in found] == [
        ("app/place/0", 1),
        ("app/place/0/adopted-3-91c0aa41", 1),
    ]
