"""Many claims and many acknowledgements at a time: what they share beside those of one record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pqadapters.errors import LeaseLost
from pqadapters.store import Ack, Claim, Nack, Put, Update
from pqadapters.stores._disk import ScratchDisk
from pqadapters.stores.segment import SegmentStore, places, reader

MANY = 700  # more than stands in what is read at a time


def open_store(directory: Path, **options: Any) -> SegmentStore:
    return SegmentStore(directory, durability="process", max_lag=1000.0, disk=ScratchDisk(), **options)


def _payloads(numbers: Any) -> list[bytes]:
    return [b"%05d" % number + b"." * 200 for number in numbers]


def _fill(directory: Path, **options: Any) -> None:
    with open_store(directory, **options) as store:
        for payload in _payloads(range(MANY)):
            store.commit(Put("q", payload))


def _taken(store: SegmentStore, limit: int) -> list[Claim]:
    claims = []
    while batch := store.claim("q", limit=limit):
        claims += batch
    return claims


@pytest.mark.parametrize("limit", [7, 200, 5000])
@pytest.mark.parametrize("segment_bytes", [4096, 1 << 20])
def test_all_come_in_their_order_from_memory_and_from_disk(tmp_path: Path, limit: int, segment_bytes: int) -> None:
    _fill(tmp_path, segment_bytes=segment_bytes)
    with open_store(tmp_path, segment_bytes=segment_bytes) as store:
        for payload in _payloads(range(MANY, 2 * MANY)):
            store.commit(Put("q", payload))
        claims = _taken(store, limit)
        assert [claim.payload for claim in claims] == _payloads(range(2 * MANY))
        assert {claim.attempt for claim in claims} == {1}
        assert store._core.recent == {}
        for first in range(0, len(claims), 50):
            store.commit(*map(Ack, claims[first : first + 50]))
        assert _nothing_left(store)


def test_those_of_a_large_commit_are_read_as_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them was read by itself."""
    with open_store(tmp_path) as store:
        for first in range(0, MANY, 50):
            store.commit(*(Put("q", payload) for payload in _payloads(range(first, first + 50))))
    alone: list[int] = []
    read = reader.Reader.record
    monkeypatch.setattr(reader.Reader, "record", lambda self, id: alone.append(id) or read(self, id))
    with open_store(tmp_path) as store:
        assert [claim.payload for claim in _taken(store, 200)] == _payloads(range(MANY))
    assert len(alone) < 10


def test_those_with_a_note_come_among_others(tmp_path: Path) -> None:
    notes = ["why" if number % 5 in (1, 2) else "" for number in range(MANY)]
    with open_store(tmp_path) as store:
        for note, payload in zip(notes, _payloads(range(MANY)), strict=True):
            store.commit(Put("q", payload, note=note))
    with open_store(tmp_path) as store:
        claims = _taken(store, 200)
        assert [claim.payload for claim in claims] == _payloads(range(MANY))
        assert [claim.note for claim in claims] == notes


def _nothing_left(store: SegmentStore) -> bool:
    core = store._core
    queue = core.catalog.queues["q"]
    return (queue.total, queue.bytes, core.log.live, core.log.more_bytes) == (0, 0, 0, 0) and not core.catalog.extra


def test_those_of_another_queue_between_them_stay_there(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for payload in _payloads(range(MANY)):
            store.commit(Put("q", payload))
            store.commit(Put("r", payload))
    with open_store(tmp_path) as store:
        claims = _taken(store, 200)
        assert [claim.payload for claim in claims] == _payloads(range(MANY))
        store.commit(*map(Ack, claims))
        assert [claim.payload for claim in store.claim("r", limit=MANY)] == _payloads(range(MANY))
        assert store._core.log.live == MANY


def test_a_damaged_one_in_the_middle_is_passed_over(tmp_path: Path) -> None:
    _fill(tmp_path)
    (segment,) = tmp_path.glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[data.index(b"00300.") + 100] ^= 1
    segment.write_bytes(data)
    with open_store(tmp_path) as store:
        claims = _taken(store, 200)
        assert [claim.payload for claim in claims] == _payloads(n for n in range(MANY) if n != 300)
        assert len(store.damage) == 1


def test_those_that_have_changed_come_as_they_are_now(tmp_path: Path) -> None:
    _fill(tmp_path)
    with open_store(tmp_path) as store:
        first = store.claim("q", limit=400)
        store.commit(Nack(first[399]), Nack(first[398]))  # in the row of those behind them, and at hand
        claims = store.claim("q", limit=MANY)
        assert [claim.payload for claim in claims] == _payloads(range(398, MANY))
        assert [claim.attempt for claim in claims[:3]] == [2, 2, 1]
        store.commit(*map(Ack, [*first[:398], *claims]))
        assert _nothing_left(store)


def test_claims_that_are_equal_are_the_same(tmp_path: Path) -> None:
    """Payloads count as they are in the store: the claims may have been made anew, or updated since."""
    _fill(tmp_path)
    with open_store(tmp_path) as store:
        claims = _taken(store, 200)
        store.commit(Update(claims[3], b"short"))
        store.commit(*(Ack(claim._replace(payload=claim.payload + b"!")) for claim in claims[:10]))
        store.commit(*(Ack(Claim(*claim)) for claim in claims[10:]))
        assert _nothing_left(store)


def test_ranks_and_notes_leave_with_their_records(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for number in range(20):
            store.commit(Put("q", b"x", rank=b"%02d" % number, note="why"))
        store.commit(*map(Ack, store.claim("q", limit=20)))
        assert _nothing_left(store)


def test_i6_another_handles_claims_are_not_ours_to_acknowledge(tmp_path: Path) -> None:
    _fill(tmp_path)
    with open_store(tmp_path) as store, open_store(tmp_path) as other:
        claims = other.claim("q", limit=9)
        with pytest.raises(LeaseLost):
            store.commit(*map(Ack, claims))
        assert store.depth("q").claimed == 9


class _Interrupted(deque[int]):
    """Raises once, at the fifth that is taken out."""

    left = 5

    def popleft(self) -> int:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return super().popleft()


def test_an_interrupt_in_the_middle_of_a_claim_claims_nothing(tmp_path: Path) -> None:
    _fill(tmp_path)
    with open_store(tmp_path) as store:
        store.claim("q", limit=2)  # what comes is at hand then
        queue = store._core.catalog.queues["q"]
        queue.ready = _Interrupted(queue.ready)
        with pytest.raises(KeyboardInterrupt):
            store.claim("q", limit=100)
        assert store.depth("q")[:3] == (MANY - 2, 0, 2)
        claims = _taken(store, 200)
        assert [claim.payload for claim in claims] == _payloads(range(2, MANY))


@pytest.mark.parametrize("before", [True, False])
def test_an_interrupt_behind_many_acknowledgements_changes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """They are on the disk: the call raises, and they are done."""
    whole = places.Places.displace_all

    def interrupted(self: places.Places, ids: Any) -> None:
        monkeypatch.setattr(places.Places, "displace_all", whole)
        if not before:
            whole(self, ids)
        raise KeyboardInterrupt

    _fill(tmp_path)
    with open_store(tmp_path) as store:
        claims = _taken(store, MANY)
        monkeypatch.setattr(places.Places, "displace_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.commit(*map(Ack, claims))
        assert _nothing_left(store)


@pytest.mark.parametrize("chosen", [lambda n: True, lambda n: n % 3, lambda n: n < 10 or n > 20])
def test_what_was_acknowledged_is_gone_when_it_is_opened_again(tmp_path: Path, chosen: Callable[[int], object]) -> None:
    _fill(tmp_path)
    with open_store(tmp_path) as store:
        claims = _taken(store, 200)
        store.commit(*(Ack(claim) for number, claim in enumerate(claims) if chosen(number)))
        assert store._core.log.live == sum(not chosen(number) for number in range(MANY))
    with open_store(tmp_path) as store:
        left = [claim.payload for claim in _taken(store, 200)]
        assert left == _payloads(number for number in range(MANY) if not chosen(number))
