"""SIGKILL at random moments: what was acknowledged is there, what was acked is gone, all of it in order.

A program of several threads says on a pipe what it is about to do and what is done; it is killed after a random number
of these words, and started again on the same directory. The words are the truth that the store is held against.
"""

from __future__ import annotations

import os
import random
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore
from tests.segment.programs import running

KILLS = 12

PROGRAM = """
import os, sys, threading
from pqadapters.store import Ack, Nack, Put
from pqadapters.stores.segment import SegmentStore

path, run, durability, segment_bytes = sys.argv[1:]
store = SegmentStore(path, durability=durability, segment_bytes=int(segment_bytes))

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())   # one write: lines of threads don't mix

def produce(thread):
    number = 0
    while True:
        items = [f"{run}.{thread}.{number + i:06d}" for i in range(1 if number % 5 else 3)]
        number += len(items)
        say("putting", *items)
        store.commit(*(Put("q", item.encode() + b"x" * (number % 300)) for item in items))
        say("put", *items)

def consume():
    turn = 0
    while True:
        (claim,) = store.claim("q", timeout=None)
        item = claim.payload.split(b"x")[0].decode()
        turn += 1
        if turn % 7 == 0:
            store.commit(Nack(claim))
            continue
        say("acking", item)
        store.commit(Ack(claim, lazy=turn % 2 == 0))
        say("acked", item)

threads = [threading.Thread(target=produce, args=(n,), daemon=True) for n in range(2)]
threads += [threading.Thread(target=consume, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


class Truth:
    """What the program has said, over all of its runs."""

    def __init__(self) -> None:
        self.said: dict[str, set[str]] = defaultdict(set)

    def hear(self, line: str) -> None:
        word, *items = line.split()
        self.said[word].update(items)

    def check(self, left: list[str]) -> None:
        assert len(set(left)) == len(left), "an item is there twice"
        assert set(left) <= self.said["putting"], "an item is there that was never put"
        assert not self.said["put"] - self.said["acking"] - set(left), "I1: an acknowledged put is lost"
        assert not self.said["acked"] & set(left), "I1: what was acked is back after a SIGKILL"
        for one in {item.rpartition(".")[0] for item in left}:
            of_one = [item for item in left if item.rpartition(".")[0] == one]
            assert of_one == sorted(of_one), "I4: items of one thread changed places"


class Setup(NamedTuple):
    durability: str
    segment_bytes: int


@pytest.mark.parametrize(
    "setup",
    [Setup("process", 4096), Setup("process", 2 << 20), Setup("power", 4096), Setup("power", 2 << 20)],
    ids=lambda setup: f"{setup.durability}-{setup.segment_bytes}",
)
def test_i1_sigkill_at_random_moments(tmp_path: Path, setup: Setup) -> None:
    chance, truth = random.Random(f"{setup}"), Truth()
    for run in range(KILLS):
        for line in _killed(tmp_path / "q", run, setup, words=chance.randrange(1, 600)):
            truth.hear(line)
        if run % 4 == 3:
            truth.check(_left(tmp_path / "q"))
    assert truth.said["acked"], "no run got anywhere"


def _killed(path: Path, run: int, setup: Setup, words: int) -> Iterator[str]:
    """What a run says: SIGKILL comes after so many words, and what was said until then is still heard."""
    with running(PROGRAM, path, run, *setup) as child:
        assert child.stdout is not None
        for heard, line in enumerate(child.stdout):
            if heard == words:
                os.kill(child.pid, signal.SIGKILL)
            if line.endswith("\n"):
                yield line


def _left(path: Path) -> list[str]:
    with SegmentStore(path) as store:
        assert store.damage == (), "a SIGKILL is no damage"
        return [record.payload.split(b"x")[0].decode() for record in store.browse("q")]


def test_the_truth_tells_a_loss(tmp_path: Path) -> None:
    """The check itself has teeth."""
    truth = Truth()
    for line in ("putting a.0.1 a.0.2", "put a.0.1 a.0.2", "acking a.0.1", "acked a.0.1"):
        truth.hear(line)
    truth.check(["a.0.2"])
    for wrong in ([], ["a.0.1", "a.0.2"], ["a.0.2", "a.0.2"], ["a.0.2", "b.0.1"]):
        with pytest.raises(AssertionError):
            truth.check(wrong)
    with SegmentStore(tmp_path / "q") as store:
        store.commit(Put("q", b"a.0.2xx"))
    truth.check(_left(tmp_path / "q"))
