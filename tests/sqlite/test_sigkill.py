"""SIGKILL at random moments, four producers and four consumers: nothing put is lost, nothing acknowledged comes again.

Each process says on its pipe what it is about to do and what is done. It is killed after a random number of words, and
another one takes its place. The words are the truth that the store is held against.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from pqadapters.stores.sqlite import SqliteStore
from tests.segment.programs import PATIENCE, running

KILLS = 5  #: of each producer

_PRODUCER = """
import os, sys
from pqadapters.store import Put
from pqadapters.stores.sqlite import SqliteStore
path, name, durability = sys.argv[1:]
store = SqliteStore(path, durability=durability)
number = 0
while True:
    items = [f"{name}.{number + i}" for i in range(1 + number % 3)]
    number += len(items)
    os.write(1, f"putting {' '.join(items)}\\n".encode())
    store.commit(*(Put("q", (item + "x" * (number % 7 * 400)).encode()) for item in items))
    os.write(1, f"put {' '.join(items)}\\n".encode())
    if store.depth("q").ready > 500:
        store.wait("q", lambda depth: depth.ready < 300)
"""

_CONSUMER = """
import os, sys
from pqadapters.store import Ack, Nack
from pqadapters.stores.sqlite import SqliteStore
path, name, durability = sys.argv[1:]
store = SqliteStore(path, durability=durability, prefetch=3 if name.endswith("1") else 1)
turn = 0
while True:
    (claim,) = store.claim("q", timeout=None)
    item = claim.payload.split(b"x")[0].decode()
    turn += 1
    if turn % 9 == 0:
        os.write(1, f"nacking {item}\\n".encode())
        store.commit(Nack(claim))
        continue
    os.write(1, f"got {item}\\n".encode())
    store.commit(Ack(claim, lazy=turn % 2 == 0))
    os.write(1, f"acked {item}\\n".encode())
"""


class _Told:
    """What all processes have said."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.put: set[str] = set()
        self.got: Counter[str] = Counter()
        self.acked: set[str] = set()
        self.held: set[str] = set()  #: by processes that were killed
        self.again: list[str] = []  #: delivered behind their acknowledgement

    def hear(self, words: list[str]) -> None:
        with self.lock:
            what, *items = words
            if what == "put":
                self.put.update(items)
            elif what == "got":
                self.again += [item for item in items if item in self.acked]
                self.got.update(items)
            elif what == "acked":
                self.acked.update(items)


def _listen(child: subprocess.Popen[str], told: _Told, words: int) -> None:
    """Hear so many words of a process, kill it, and hear the rest."""
    assert child.stdout is not None
    last: list[str] = []
    for n, line in enumerate(child.stdout):
        if not line.endswith("\n"):
            break  # it was killed in the middle of a word
        last = line.split()
        told.hear(last)
        if n == words:
            child.kill()
    if last and last[0] == "got":
        with told.lock:
            told.held.update(last[1:])
            told.again = [item for item in told.again if item not in last[1:]]  # this was heard late


class _Lives:
    """One process after another of a program: `lives` of them, or until it is told that it is enough."""

    def __init__(self, code: str, name: str, lives: int | None, rng: random.Random) -> None:
        self.code, self.name, self.lives, self.rng = code, name, lives, rng
        self._enough = threading.Event()
        self._child: subprocess.Popen[str] | None = None
        self.thread: threading.Thread

    def start(self, database: Path, durability: str, told: _Told) -> None:
        self.thread = threading.Thread(target=self._run, args=(database, durability, told))
        self.thread.start()

    def _run(self, database: Path, durability: str, told: _Told) -> None:
        life = 0
        while life != self.lives and not self._enough.is_set():
            life += 1
            with running(self.code, database, f"{self.name}-{life}", durability) as self._child:
                _listen(self._child, told, self.rng.randrange(5, 250))

    def end(self) -> None:
        self._enough.set()
        while self.thread.is_alive():
            if self._child is not None:
                self._child.kill()
            self.thread.join(0.1)


@pytest.mark.parametrize("durability", ["power", "process"])
def test_four_producers_and_four_consumers_are_killed_at_random(tmp_path: Path, durability: str) -> None:
    database, told = tmp_path / "jobs.db", _Told()
    keeper = SqliteStore(database)  # so that the database is never closed: closing would put it in order
    producers = [_Lives(_PRODUCER, f"p{n}", KILLS, random.Random(f"p{n}{durability}")) for n in range(4)]
    consumers = [_Lives(_CONSUMER, f"c{n}", None, random.Random(f"c{n}{durability}")) for n in range(4)]
    with ExitStack() as stack:
        stack.callback(keeper.close)
        for lives in (*consumers, *producers):
            stack.callback(lives.end)
            lives.start(database, durability, told)
        for lives in producers:
            lives.thread.join(4 * PATIENCE)
            assert not lives.thread.is_alive()
        for lives in consumers:
            lives.end()
        assert told.again == []
        left = Counter[str]()
        deadline = time.monotonic() + PATIENCE
        while (claims := keeper.claim("q", limit=1000, timeout=0.5)) or keeper.depth("q").claimed > left.total():
            assert time.monotonic() < deadline, "what a killed consumer had in hand is given back by nobody"
            left.update(claim.payload.split(b"x")[0].decode() for claim in claims)
        assert max(left.values(), default=1) == 1
        assert told.put - told.acked - set(left) - told.held == set()
        assert set(left) & told.acked == set()
        twice = {item for item, times in told.got.items() if times > 1}
        assert twice <= told.held
        assert len(told.acked) > 100
        depth = keeper.depth("q")
        assert (depth.ready, depth.claimed) == (0, sum(left.values()))
