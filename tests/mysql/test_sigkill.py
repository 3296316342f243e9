"""SIGKILL at random moments, producers and consumers: nothing put is lost, nothing acknowledged comes again.

Each process says on its pipe what it is about to do and what is done. The words are the truth.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import ExitStack

from pqadapters.stores.mysql import MysqlStore
from tests.segment.programs import PATIENCE, running

_OPEN = """
import os, sys
from pqadapters.store import Ack, Nack, Put
from pqadapters.stores.mysql import MysqlStore
url, name = sys.argv[1:]
"""
_PRODUCER = _OPEN + """
store = MysqlStore(url)
number = 0
while True:
    items = [f"{name}.{number + i}" for i in range(1 + number % 3)]
    number += len(items)
    os.write(1, f"putting {' '.join(items)}\\n".encode())
    store.commit(*(Put("q", item.encode()) for item in items))
    os.write(1, f"put {' '.join(items)}\\n".encode())
"""
_CONSUMER = _OPEN + """
store = MysqlStore(url, prefetch={"0": 1, "1": 3}.get(name[-1]))
turn = 0
while True:
    (claim,) = store.claim("q", timeout=None)
    item = claim.payload.decode()
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
        self.maybe: set[str] = set()  #: that may have been put
        self.put: set[str] = set()
        self.acked: set[str] = set()
        self.maybe_acked: set[str] = set()  #: whose acknowledgement was under way when its process was killed
        self.again: list[str] = []  #: delivered behind their acknowledgement

    def hear(self, words: list[str]) -> None:
        what, *items = words
        with self.lock:
            if what == "putting":
                self.maybe.update(items)
            elif what == "put":
                self.put.update(items)
            elif what == "got":
                self.again += [item for item in items if item in self.acked]
            elif what == "acked":
                self.acked.update(items)


def _live(code: str, url: str, name: str, told: _Told, words: int) -> None:
    """One process, killed behind so many words."""
    with running(code, url, name) as child:
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
                told.maybe_acked.update(last[1:])
                told.again = [item for item in told.again if item not in last[1:]]  # this was heard late


def test_producers_and_consumers_are_killed_at_random(url: str) -> None:
    told, over, rng = _Told(), threading.Event(), random.Random(11)
    MysqlStore(url).close()

    def produce(name: str, lives: list[int]) -> None:
        for life, words in enumerate(lives):
            _live(_PRODUCER, url, f"{name}-{life}", told, words)

    def consume(name: str, lives: list[int]) -> None:
        for life, words in enumerate(lives):
            if not over.is_set():
                _live(_CONSUMER, url, f"{name}-{life % 3}", told, words)

    with ExitStack() as stack:
        stack.callback(over.set)
        lives = {
            n: ([rng.randrange(10, 120) for _ in range(4)], [rng.randrange(5, 60) for _ in range(5)]) for n in range(3)
        }
        producers = [threading.Thread(target=produce, args=(f"p{n}", puts)) for n, (puts, _) in lives.items()]
        consumers = [threading.Thread(target=consume, args=(f"c{n}", gets)) for n, (_, gets) in lives.items()]
        for thread in (*producers, *consumers):
            thread.start()
        for thread in (*producers, *consumers):
            thread.join(PATIENCE)
            assert not thread.is_alive()
    left = Counter[str]()
    with MysqlStore(url) as store:
        assert store.wait("q", lambda depth: not depth.claimed, PATIENCE)  # the dead ones are found within seconds
        while claims := store.claim("q", limit=1000):
            left.update(claim.payload.decode() for claim in claims)
        depth = store.depth("q")
    assert told.again == []
    assert max(left.values(), default=1) == 1
    assert set(left) <= told.maybe
    assert told.put - told.acked - told.maybe_acked == set(left) & told.put - told.acked - told.maybe_acked
    assert not set(left) & told.acked
    assert (depth.ready, depth.claimed) == (0, len(left))
    assert len(told.acked) > 50
