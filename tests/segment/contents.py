"""What a store on a path has, and stores that have something."""

from __future__ import annotations

from pathlib import Path

from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore


def payloads(path: Path) -> list[bytes]:
    with SegmentStore(path) as store:
        return [record.payload for record in store.browse("q")]


def filled(path: Path, *items: bytes) -> Path:
    with SegmentStore(path) as store:
        store.commit(*(Put("q", item) for item in items))
    return path
