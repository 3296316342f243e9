"""The limits of one commit."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.store import Put
from pqadapters.stores.segment import SegmentStore, draft


def test_a_commit_beyond_what_a_segment_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MAX_COMMIT", 1000)
    with SegmentStore(tmp_path / "q") as store:
        with pytest.raises(ValueError, match=r"too large: at most 1000. Commit in parts"):
            store.commit(Put("q", bytes(600)), Put("q", bytes(600)))
        store.commit(Put("q", bytes(400)), Put("q", bytes(400)))
        assert store.depth("q").ready == 2


def test_a_payload_beyond_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MAX_PAYLOAD", 70_000)
    with SegmentStore(tmp_path / "q") as store:
        for put in (Put("q", bytes(70_001)), Put("q", bytes(70_001), rank=b"r")):
            with pytest.raises(ValueError, match="a payload of 70001 bytes is too large"):
                store.commit(put)
        store.commit(Put("q", bytes(70_000)))
        assert store.depth("q").ready == 1
