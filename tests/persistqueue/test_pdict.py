"""`PDict`: the whole of a mapping, in the directory's database."""

from __future__ import annotations

import os
import pickle
import signal
from pathlib import Path

import pytest

from pqadapters.persistqueue import PDict, SQLiteQueue
from tests.segment.programs import run, running

_KILLED = f"""
import sys, os
from pqadapters.persistqueue import PDict
d = PDict(sys.argv[1], "n")
d["a"] = [1]; d["b"] = 2; del d["b"]
os.kill(os.getpid(), {int(signal.SIGKILL)})
"""


def test_what_persist_queues_has(path: str) -> None:
    d = PDict(path, "n", multithreading=True)
    d["a"] = 1
    d["a"] = 2
    assert (d["a"], d.get("a"), d.get("b"), d.get("b", 3), len(d)) == (2, 2, None, 3, 1)
    assert "a" in d
    assert "b" not in d
    del d["a"]
    for miss in (lambda: d["a"], lambda: d.__delitem__("a")):
        with pytest.raises(KeyError) as error:
            miss()
        assert str(error.value) == "'Key: a not exists.'"


def test_what_persist_queues_has_not(path: str) -> None:
    d = PDict(path, "n")
    d.update({1: "int", "1": "str"})
    assert dict(d) == {1: "int", "1": "str"}
    assert list(d) == [1, "1"]
    assert (list(d.values()), d.pop(1), d.setdefault("1", 0), d.setdefault("c", 0)) == (["int", "str"], "int", "str", 0)
    d.clear()
    assert not d


def test_two_names_a_second_object_and_a_queue_share_a_database(path: str) -> None:
    one, two, again, q = PDict(path, "1"), PDict(path, "2"), PDict(path, "1"), SQLiteQueue(path)
    one["k"] = 1
    two["k"] = 2
    q.put("k")
    assert (again["k"], two["k"], q.get()) == (1, 2, "k")


def test_sigkill_and_another_process(path: str) -> None:
    with running(_KILLED, path) as child:
        child.wait(60)
    assert dict(PDict(path, "n")) == {"a": [1]}
    look = "import sys; from pqadapters.persistqueue import PDict; print(PDict(sys.argv[1], 'n')['a'])"
    assert run(look, path) == "[1]"


def test_a_pickle_is_the_same_mapping(path: str) -> None:
    d = PDict(path, "n")
    d["a"] = 1
    assert pickle.loads(pickle.dumps(d))["a"] == 1
    with pytest.raises(TypeError, match="memory"):
        pickle.dumps(PDict(":memory:", "n"))
    assert not os.path.exists(":memory:")


class _Own(PDict):
    def __init__(self, path: str) -> None:
        super().__init__(path, "n")
        self.mine = 5


def test_a_pickle_is_the_same_mapping_in_another_directory_and_of_a_subclass(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new mapping, which was empty, was made in the directory that was the current one then; and a subclass was
    called with arguments that it doesn't take."""
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(path)
    d, own = PDict(relative, "n"), _Own(relative)
    d["a"] = 1
    data = pickle.dumps([d, own])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again, ours = pickle.loads(data)
    assert (dict(again), dict(ours), ours.mine, ours.multithreading) == ({"a": 1}, {"a": 1}, 5, False)
    assert not os.listdir()


def test_it_can_be_shrunk_as_the_queues_can(path: str) -> None:
    for where in (path, ":memory:"):
        d = PDict(where, "n")
        d["a"] = 1
        d.shrink_disk_usage()
        assert dict(d) == {"a": 1}


def test_the_names_of_python_2(path: str) -> None:
    d = PDict(path, "n")
    d.update({"a": 1, "b": 2})
    assert (list(d.iterkeys()), list(d.itervalues()), list(d.iteritems())) == (["a", "b"], [1, 2], [("a", 1), ("b", 2)])
