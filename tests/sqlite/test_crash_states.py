"""Every crash state of the database and its WAL: after each system call that changes them, what could be on the disk.

A program's calls are traced; `tests/crash/states.py` works out what a SIGKILL and a power cut could leave behind each
of them, down to torn sectors; on each of these states a store is opened and held against what the program was told.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pqadapters.store import Ack, Put
from pqadapters.stores.sqlite import SqliteStore
from tests.crash.states import Snapshot, State, cut_writes, distinct

from .traced import Trace, put, trace

PROGRAM = """
import os, sys
from pqadapters.store import Ack, Nack, Put, Set, Update
from pqadapters.stores.sqlite import SqliteStore
from pqadapters.stores.sqlite.space import runway

runway.FIRST = 1 << 16
store = SqliteStore("q.db", durability=sys.argv[1])

def do(words, *ops):
    os.write(1, f"begin {words}\\n".encode())
    store.commit(*ops)
    os.write(1, f"end {words}\\n".encode())

def put(*names):
    do("put " + " ".join(names), *(Put("q", name.encode() + b"x" * (900 * (n % 3))) for n, name in enumerate(names)))

put("a")
put("b", "c", "d", "e")
store._core.room.extend_wal()
claims = store.claim("q", limit=3)
do("ack a", Ack(claims[0]))
do("lazy b", Ack(claims[1], lazy=True))
do("set 1", Set("t", b"k", b"1"))
store.checkpoint()
put("f", "g")
store._core.room.extend_wal()
do("done c set 2", Ack(claims[2]), Set("t", b"k", b"2"), Put("q", b"h"))
put("i")
store.close()
store = SqliteStore("q.db", durability=sys.argv[1])
put("j")
"""


class _Truth(NamedTuple):
    """What the program was told by a moment."""

    there: set[bytes]  #: must be there
    gone: set[bytes]  #: must not
    lazily: set[bytes]  #: acknowledged lazily
    value: bytes | None
    begun: list[str]  #: what it was about, and may have happened or not


def _truth(marks: list[str]) -> _Truth:
    found = _Truth(set(), set(), set(), None, [])
    value, begun = None, ""
    for mark in marks:
        side, words = mark.split(maxsplit=1)
        begun = words if side == "begin" else ""
        if side == "end":
            kind, *names = words.split()
            items = {name.encode() for name in names}
            if kind == "put":
                found.there.update(items)
            elif kind in ("ack", "lazy"):
                found.there.difference_update(items)
                (found.gone if kind == "ack" else found.lazily).update(items)
            elif kind == "set":
                value = names[0].encode()
            else:
                found.there.discard(b"c")
                found.gone.add(b"c")
                found.there.add(b"h")
                value = b"2"
    return found._replace(value=value, begun=begun.split())


def _check(directory: Path, state: State, truth: _Truth, *, power_cut: bool) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    put(directory, state)
    with SqliteStore(directory / "q.db", durability="process") as store:
        found = [record.payload.rstrip(b"x") for record in store.browse("q", state=None)]
        value = store.get("t", b"k")
        _compare(found, value, truth, power_cut=power_cut)
        (last,) = store.commit(Put("q", b"and on"))
        claims = store.claim("q", limit=100)
        assert [claim.payload.rstrip(b"x") for claim in claims] == [*found, b"and on"]
        assert claims[-1].id == last
        store.commit(*map(Ack, claims))
        assert store.depth("q")[:5] == (0, 0, 0, 0, 0)
        assert store.damage == ()


def _compare(found: list[bytes], value: bytes | None, truth: _Truth, *, power_cut: bool) -> None:
    there, gone, values = set(truth.there), set(truth.gone), {truth.value}
    maybe = set(truth.lazily) if power_cut else set()
    if not power_cut:
        gone |= truth.lazily
    kind, *names = truth.begun or [""]
    items = {name.encode() for name in names}
    if kind == "put":
        assert items <= set(found) or not items & set(found), "half of a commit"
        maybe |= items
    elif kind in ("ack", "lazy"):
        maybe |= items
        there -= items
    elif kind == "set":
        values.add(names[0].encode())
    elif kind == "done":
        assert (b"c" in found, b"h" in found, value) in {(True, False, b"1"), (False, True, b"2")}, "half of a commit"
        there.discard(b"c")
        maybe |= {b"c", b"h"}
        values.add(b"2")
    assert there <= set(found), "acknowledged, and lost"
    assert not gone & set(found), "done, and there again"
    assert set(found) <= there | maybe, "what was never put"
    assert found == sorted(found), "out of order"
    assert value in values


def _moments(traced: Trace) -> Iterator[tuple[int, _Truth]]:
    for count in range(len(traced.actions) + 1):
        yield count, _truth([text.strip() for at, text in traced.marks if at <= count])


@pytest.fixture(scope="module", params=["power", "process"])
def traced(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Trace]:
    directory = tmp_path_factory.mktemp("traced") / "store"
    directory.mkdir()
    found = trace(PROGRAM, directory, request.param)
    assert len(found.marks) == 18
    kinds = {action.kind for action in found.actions}
    assert kinds >= {"create", "write", "sync", "rename", "unlink", "truncate", "sync_directory"}
    return request.param, found


def test_i1_i2_a_killed_process_loses_nothing(traced: tuple[str, Trace], in_memory: Path) -> None:
    _, found = traced
    rng = random.Random(1)
    for count, truth in _moments(found):
        disk: Any = found
        for state in (Snapshot(disk, count).killed(), *cut_writes(disk, count, rng)):
            _check(in_memory / "store", state, truth, power_cut=False)


def test_i1_i2_a_power_cut_loses_nothing_that_was_synced(traced: tuple[str, Trace], in_memory: Path) -> None:
    durability, found = traced
    if durability != "power":
        return  # what may be missing there is the last second's, as the test of the kept order below shows
    rng = random.Random(2)
    disk: Any = found
    for count, truth in _moments(found):
        for state in distinct(Snapshot(disk, count).power_cut(rng, samples=6)):
            if truth.there or truth.begun or "q.db" in state:
                _check(in_memory / "store", state, truth, power_cut=True)


_SYNCED = """
import os
from pqadapters.store import Ack, Put
from pqadapters.stores.sqlite import SqliteStore

store = SqliteStore("q.db", durability="process", max_lag=1000.0)
store.commit(*(Put("q", name) for name in (b"a", b"b", b"c")))
store.commit(*map(Ack, store.claim("q")))
store.sync()
os.write(1, b"synced\\n")
store.commit(Put("q", b"d"))
"""


def test_what_was_synced_on_demand_outlasts_a_power_cut(tmp_path: Path, in_memory: Path) -> None:
    """At durability "process", where nobody has waited for a commit."""
    (tmp_path / "traced").mkdir()
    found = trace(_SYNCED, tmp_path / "traced")
    ((synced, _),) = found.marks
    rng = random.Random(3)
    disk: Any = found
    for count in range(synced, len(found.actions) + 1):
        for state in distinct(Snapshot(disk, count).power_cut(rng, samples=4)):
            directory = in_memory / "store"
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            put(directory, state)
            with SqliteStore(directory / "q.db") as store:
                assert [record.payload for record in store.browse("q")][:2] == [b"b", b"c"]
