"""Several processes on one mapping, some of which are killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from pqadapters.stdlib import shelve
from tests.segment.programs import PATIENCE, ROOT, go_on, run, running, said

OPEN = """
import os, sys
from pqadapters import PDict
from pqadapters.stdlib import shelve

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

d = PDict(sys.argv[1], "d", durability="process")
"""

_COUNTER = (
    OPEN
    + """
me = sys.argv[2]
while True:
    with d.edit("total") as total:
        d["total"] = total + 1
        d[me] = d.get(me, 0) + 1
    say("counted")
"""
)


def _open(path: Path) -> PDict[Any, Any]:
    return PDict(path, "d", durability="process")


def test_processes_that_count_one_key_and_are_killed_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "counts.db"
    lives, told = 4, []
    with _open(path) as d:
        d["total"] = 0

        def live(name: str) -> None:
            rng = random.Random(name)
            for _ in range(lives):
                with running(_COUNTER, path, name) as child:
                    for _ in range(rng.randrange(1, 40)):
                        assert said(child) == "counted"
                        told.append(name)
                    child.kill()
                    assert child.stdout is not None
                    told.extend(name for line in child.stdout if line.endswith("\n"))

        threads = [threading.Thread(target=live, args=(f"p{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            counts = d.copy()  # nobody sees half of an edit, ever
            assert counts.pop("total") == sum(counts.values())
            threads[0].join(0.01)
        for thread in threads:
            thread.join(PATIENCE)
        counts = d.copy()
        total = counts.pop("total")
        assert total == sum(counts.values())
        assert len(told) <= total <= len(told) + 3 * lives
        with d.edit("total", timeout=30):
            pass


def test_a_key_that_a_killed_process_was_editing_is_free_and_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    with _open(path) as d:
        d.update(a=[1], b=1)
        code = """
with d.edit("a") as value:
    value.append(2)
    d["b"] = 2
    say("editing")
    sys.stdin.read()
"""
        with running(OPEN + code, path) as child:
            assert said(child) == "editing"
            with pytest.raises(TimeoutError), d.edit("a", timeout=0.1):
                pass
            child.kill()
            child.wait()
            with d.edit("a", timeout=PATIENCE) as value:
                assert value == [1]
                value.append(3)
        assert d == {"a": [1, 3], "b": 1}


def test_a_batch_of_a_killed_process_is_there_or_not(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    code = """
number = 0
while True:
    number += 1
    with d.batch():
        for key in range(40):
            d[key] = number
    say(number)
"""
    rng = random.Random(5)
    with _open(path) as d:
        for _ in range(6):
            with running(OPEN + code, path) as child:
                last = 0
                for _ in range(rng.randrange(1, 30)):
                    last = int(said(child))
                child.kill()
                assert child.stdout is not None
                last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
            (value,) = set(d.copy().values())
            assert value in (last, last + 1)


def test_a_key_is_popped_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    code = """
say("ready")
sys.stdin.readline()
found = []
while True:
    try:
        found.append(d.popitem()[0] if len(sys.argv) > 2 else d.pop(len(found)))
    except KeyError:
        if len(sys.argv) > 2 or len(found) >= 50:
            break
        found.append(None)
say(*[each for each in found if each is not None])
"""
    with _open(path) as d:
        for mode in ([], ["items"]):
            d.update((n, n) for n in range(50))
            with running(OPEN + code, path, *mode) as one, running(OPEN + code, path, *mode) as two:
                children = (one, two)
                for child in children:
                    assert said(child) == "ready"
                for child in children:
                    go_on(child)
                found = [int(word) for child in children for word in said(child).split()]
            assert sorted(found) == list(range(50))
            assert len(d) == 0


def test_a_shelf_is_shared_by_processes(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    with shelve.open(path) as shelf:
        shelf["a"] = 1
        code = OPEN + "s = shelve.open(sys.argv[2]); say(s['a']); s['b'] = [2]; s.close()"
        assert run(code, tmp_path / "other.db", path) == "1"
        assert shelf["b"] == [2]


def test_a_forked_child_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    code = """
d["a"] = 1
with d.edit("a"):
    child = os.fork()
    if not child:
        d["b"] = 2
        say(sorted(d))
        os._exit(0)
    os.waitpid(child, 0)
say(sorted(d))
"""
    assert run(OPEN + code, path).splitlines() == ["['a', 'b']"] * 2  # it isn't in its parent's batch
    with _open(path) as d:
        assert d == {"a": 1, "b": 2}
        with d.edit("a", timeout=0):
            pass


def test_a_forked_child_leaves_its_parents_batch_alone(tmp_path: Path) -> None:
    """Also where it comes to the end of the block: that is its parent's to commit, or to drop."""
    path = tmp_path / "d.db"
    code = """
class Stop(Exception):
    pass

try:
    with d.batch():
        d["a"] = 1
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            raise Stop
except Stop:
    pass
say(sorted(d))
"""
    assert run(OPEN + code, path).splitlines() == ["[]"] * 2
    with _open(path) as d:
        assert d == {}


_SPAWNS = """
import dataclasses, enum, multiprocessing, sys
from collections import namedtuple
from pqadapters import PDict

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass(frozen=True)
class Data:
    number: int

Point = namedtuple("Point", "x y")

class Own:
    def __init__(self, name):
        self.name = name
    def __eq__(self, other):
        return isinstance(other, Own) and self.name == other.name
    def __hash__(self):
        return hash(self.name)

KEYS = [Colour.RED, Data(1), Point(1, Colour.RED), Own("__mp_main__")]

def work(path):
    with PDict(path, "d") as d:
        for key in KEYS:
            d[key] += 1

if __name__ == "__main__":
    with PDict(sys.argv[1], "d") as d:
        d.update((key, 1) for key in KEYS)
        child = multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1],))
        child.start()
        child.join()
        print([d[key] for key in KEYS], len(d), list(d) == KEYS)
"""


def test_a_spawned_child_finds_keys_of_the_programs_own_types(tmp_path: Path) -> None:
    """Its main module has another name, and what its parent had set was missing for it, and set beside that."""
    program = tmp_path / "program.py"
    program.write_text(_SPAWNS)
    command = [sys.executable, str(program), str(tmp_path / "d.db")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env)
    assert done.stdout == "[2, 2, 2, 2] 4 True\n", done.stderr


_LATER = """
import sys
from pqadapters import PDict

class Own:
    name = "own"

def work(path):
    with PDict(path, "d") as d:
        d["a"] = Own()

if __name__ == "__main__":
    if sys.argv[2] == "later":
        print(PDict(sys.argv[1], "d")["a"].name, "multiprocessing" in sys.modules)
    else:
        import multiprocessing
        child = multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1],))
        child.start()
        child.join()
"""


def test_a_run_without_multiprocessing_reads_what_a_spawned_child_has_set(tmp_path: Path) -> None:
    """It raised ModuleNotFoundError for __mp_main__, which multiprocessing makes when it is imported."""
    program = tmp_path / "program.py"
    program.write_text(_LATER)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for word in ("now", "later"):
        command = [sys.executable, str(program), str(tmp_path / "d.db"), word]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=env)
    assert done.stdout == "own False\n", done.stderr
