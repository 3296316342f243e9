"""What a database is filled with where it is to be damaged, copied or brought out, and what is left of it."""

from __future__ import annotations

import threading
from pathlib import Path

from pqadapters.store import Ack, Nack, Put, Set
from pqadapters.stores.sqlite import SqliteStore
from tests.segment.programs import PATIENCE


def fill(database: Path, records: int = 400) -> set[bytes]:
    """Records of all sizes in two queues, keys in a table, some of it acknowledged: the payloads that are left."""
    payloads = [b"payload %04d " % n + bytes([65 + n % 26]) * (n % 9 * 300) for n in range(records)]
    with SqliteStore(database) as store:
        for n, payload in enumerate(payloads):
            store.commit(Put("qr"[n % 2], payload, rank=b"%d" % (n % 5) if n % 4 == 0 else b""))
        store.commit(*[Set("t", b"key %d" % n, b"value" * n) for n in range(40)])
        done = store.claim("q", limit=30)
        store.commit(*map(Ack, done[:-1]), Nack(done[-1], dead="no use"))
        gone = {claim.payload for claim in done[:-1]}
    return set(payloads) - gone


def left(store: SqliteStore) -> set[bytes]:
    return {record.payload for queue in ("q", "r", "q.dead") for record in store.browse(queue, state=None)}


def await_looks() -> None:
    """What a database's opening looks at beside the work."""
    for thread in threading.enumerate():
        if thread.name == "pqadapters-index":
            thread.join(PATIENCE)
