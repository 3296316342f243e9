"""Where threads are greenlets, one that waits in a queue lets the others go on, and holds its own items."""

from __future__ import annotations

import pytest

from tests.segment.programs import run

pytest.importorskip("gevent")

_PROGRAM = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
import pqadapters.persistqueue as persistqueue

kind = getattr(persistqueue, sys.argv[2])
q = kind(sys.argv[1], **eval(sys.argv[3]))
got = []

def consume():
    for _ in range(3):
        item = q.get()
        got.append(item)
        getattr(q, "ack", lambda item: None)(item)
        q.task_done()

waiting = [gevent.spawn(consume) for _ in range(2)]
gevent.sleep(0)
for n in range(6):
    q.put(n)
gevent.joinall(waiting, timeout=30, raise_error=True)
gevent.spawn(q.join).get(timeout=30)
print(sorted(got), q.qsize())
"""


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Queue", {}),
        ("Queue", {"maxsize": 1, "autosave": True}),
        ("SQLiteQueue", {}),
        ("SQLiteQueue", {"maxsize": 1, "auto_commit": False}),
        ("UniqueQ", {}),
        ("PriorityQueue", {}),
        ("SQLiteAckQueue", {"maxsize": 1}),
        ("FILOSQLiteAckQueue", {}),
    ],
)
def test_greenlets(kind: str, options: dict[str, object], path: str) -> None:
    assert run(_PROGRAM, path, kind, options) == "[0, 1, 2, 3, 4, 5] 0"
