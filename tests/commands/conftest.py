"""Stores to look at: in a directory and in a database, left by programs that ended well, or were killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.segment.programs import run, running, said

FILL = """
import sys
from pqadapters import PDict
from pqadapters.stdlib.queue import Queue

place = sys.argv[1]
q = Queue(store=place, ack="task_done")
q.put_many(["one", {"two": 2}, "three", "four", "five"])
third = [record.id for record in q._line.store.browse("default")][2]
q.get()
q.nack(q.get(), delay=100_000)
q.nack("one")
for claim in q._line.store.claim("default", ids=[third]):
    from pqadapters.store import Nack
    q._line.store.commit(Nack(claim, dead="it is broken"))
Queue(store=place, name="other").put("else")
mapping = PDict(store=place, name="settings")
mapping["a"] = 1
"""


@pytest.fixture(params=["directory", "database"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a store that isn't there yet."""
    return f"file://{tmp_path}/q" if request.param == "directory" else f"sqlite:///{tmp_path}/q.db"


def path_of(url: str) -> Path:
    return Path(url.partition("://")[2].removeprefix("/") if url.startswith("sqlite") else url.partition("://")[2])


@pytest.fixture
def place(url: str) -> Path:
    """A store with records in each state, from a process that ended well."""
    run(FILL, url)
    return path_of(url)


@pytest.fixture
def killed(url: str) -> Path:
    """The same, from a process that was killed."""
    with running(FILL + "print('there', flush=True)\nsys.stdin.read()", url) as child:
        assert said(child) == "there"
        child.kill()
    return path_of(url)
