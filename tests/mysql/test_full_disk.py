"""The server's disk is full: puts and claims are refused and say what to do, what is in hand is acknowledged, and
nothing is lost.

Where tests may mount (root), the disk is a small tmpfs filled by another file. Elsewhere the server's words are put
into its mouth; that test runs everywhere. Items go one by one: to undo a statement of several rows that had no room
takes InnoDB many seconds, in which it says nothing. Large items, which it keeps beside their rows, take what it needs
to undo: it may end itself ("Out of disk space in rollback").
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest

from pqadapters.errors import OutcomeUnknown, StoreError, StoreUnreachable
from pqadapters.stdlib.queue import Queue
from pqadapters.store import Ack, Put
from pqadapters.stores.mysql import MysqlStore
from pqadapters.stores.mysql.wire import Answer, Failed, Wire
from tests.segment.programs import PATIENCE

from .server import Server, need_server

_SMALL, _LARGE = 3000, 60_000  #: bytes of an item: InnoDB keeps it in its row, and beside it
CAPACITY = 120 << 20  #: with the server's own files, which take half of it
_LEFT = 10 << 20  #: bytes for the store
_TOLD = r"no room: .*nothing was stored. Free some space on the server's disk"


@pytest.fixture
def crowded(small: Path) -> Iterator[Server]:
    """A server on a disk that another program's file takes nearly all of."""
    need_server()
    server = Server(data=small / "data")
    try:
        server.start()
        server.run("CREATE DATABASE jobs")
        yield server
    finally:
        server.close()


def _fill(mount: Path, left: int) -> Path:
    found = os.statvfs(mount)
    ballast = mount / "ballast"
    ballast.write_bytes(bytes(found.f_bavail * found.f_frsize - left))
    return ballast


def _put_until_full(store: MysqlStore, size: int, number: int) -> int:
    """How many items there are then."""
    with pytest.raises(StoreError, match=_TOLD) as caught:
        while True:
            store.commit(Put("q", b"%08d" % number + bytes(size)), timeout=PATIENCE)
            number += 1
    assert not isinstance(caught.value, StoreUnreachable)
    return number


def _claim_until_full(store: MysqlStore) -> int:
    """The first record that couldn't be had."""
    number = 10
    with pytest.raises(StoreError, match=_TOLD):
        while True:
            (claim,) = store.claim("q", patience=PATIENCE)
            assert int(claim.payload[:8]) == number
            number += 1
    return number


def _numbers(store: MysqlStore) -> list[int]:
    return [int(record.payload[:8]) for record in store.browse("q", state=None)]


def _make_room(server: Server, ballast: Path) -> None:
    ballast.unlink()
    if server.has_ended:
        server.start()


def test_i1_i2_puts_are_refused_acknowledgements_go_on_and_nothing_is_lost(crowded: Server, small: Path) -> None:
    with MysqlStore(crowded.url("jobs"), prefetch=1) as store:
        store.commit(*(Put("q", b"%08d" % n + bytes(_SMALL)) for n in range(20)))
        held = store.claim("q", limit=10)
        ballast = _fill(small, _LEFT)
        count = _put_until_full(store, _SMALL, 20)
        store.commit(*map(Ack, held[:5]), timeout=PATIENCE)
        assert _numbers(store) == list(range(5, count))
        first = _claim_until_full(store)
        crowded.kill()
        _make_room(crowded, ballast)
        assert _numbers(store) == list(range(5, count))
        store.commit(*map(Ack, held[5:]), timeout=PATIENCE)
        found = [int(claim.payload[:8]) for claim in store.claim("q", limit=10_000)]
        assert found == list(range(first, count))
        store.commit(Put("q", b"after"))


def test_i1_i2_a_large_put_is_refused_or_ends_the_server_and_nothing_is_lost(crowded: Server, small: Path) -> None:
    with MysqlStore(crowded.url("jobs"), prefetch=1) as store:
        store.commit(*(Put("q", b"%08d" % n + bytes(_LARGE)) for n in range(20)))
        held = store.claim("q", limit=10)
        ballast, count = _fill(small, _LEFT), 20
        with pytest.raises(StoreError) as caught:
            while True:
                store.commit(Put("q", b"%08d" % count + bytes(_LARGE)), timeout=PATIENCE / 4)
                count += 1
        _make_room(crowded, ballast)
        store.commit(*map(Ack, held[:5]), timeout=PATIENCE)
        may_be_there = [count] if isinstance(caught.value, OutcomeUnknown) else []
        assert _numbers(store) in (list(range(5, count)), [*range(5, count), *may_be_there])
        store.commit(Put("q", b"after"))


def test_i2_a_batch_that_has_no_room_is_there_whole_or_not_at_all(crowded: Server, small: Path) -> None:
    """The caller may be told that nobody knows. When there is room the store finds out, and goes on."""
    with MysqlStore(crowded.url("jobs"), prefetch=1) as store:
        store.commit(Put("q", b"%08d" % 0 + bytes(_LARGE)))
        ballast = _fill(small, _LEFT)
        count = 1
        with pytest.raises(StoreError):
            while True:
                store.commit(*(Put("q", b"%08d" % (count + nth) + bytes(_LARGE)) for nth in range(5)))
                count += 5
        crowded.kill()  # it may be about to end itself
        _make_room(crowded, ballast)
        store.commit(Put("q", b"%08d after" % 99_999), timeout=PATIENCE)
        found = _numbers(store)
        assert found[:count] == list(range(count))
        assert len(found) in (count + 1, count + 6)
        assert found[-1] == 99_999


def test_the_servers_words_for_it_say_what_to_do(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = {
        1114: "The table 'pqa_items' is full",
        1021: "Disk full (/tmp/#sql); waiting for someone to free some space...",
        1026: "Error writing file 'binlog' (errno: 28 \"No space left on device\")",
        3: "Error writing file './jobs' (Errcode: 28 \"No space left on device\")",
    }
    send, left = Wire.send, dict(words)

    def refuse(self: Wire, texts: Sequence[str]) -> Any:
        if left and any("INSERT" in text for text in texts):
            raise Failed(pymysql.err.OperationalError(*left.popitem()))
        return send(self, texts)

    queue: Queue[int] = Queue(store=url, serializer="json")
    try:
        monkeypatch.setattr(Wire, "send", refuse)
        for _ in words:
            with pytest.raises(StoreError, match=_TOLD):
                queue.put(1)
        queue.put(2)
        assert (queue.qsize(), queue.get()) == (1, 2)
    finally:
        queue.close()


def test_a_server_that_waits_for_room_is_what_a_call_is_told_whose_time_is_over(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a binary log on the full disk a server refuses nothing, and waits. What its threads hold meanwhile was said
    to be locked by others, and the server not to be reached."""
    send, waits, commits = Wire.send, [True], list[str]()

    def wait(self: Wire, texts: Sequence[str]) -> Any:
        if waits and any("processlist" in text for text in texts):
            return [Answer(((1,),), 1, 0)]
        if waits and any("INSERT" in text for text in texts):
            commits.append(texts[-1])
            if len(commits) == 1:
                raise Failed(pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query"))
            raise Failed(pymysql.err.OperationalError(1205, "Lock wait timeout exceeded"))
        return send(self, texts)

    with MysqlStore(url) as store:
        store.commit(Put("q", b"0"))
        monkeypatch.setattr(Wire, "send", wait)
        with pytest.raises(StoreUnreachable, match=r"waits for space on its disk.*Nothing of this call was stored"):
            store.commit(Put("q", b"1"), timeout=0.5)
        with pytest.raises(StoreUnreachable, match="waits for space on its disk"):
            store.commit(Put("q", b"2"), timeout=0.0)
        waits.clear()
        store.commit(Put("q", b"3"))
        assert [record.payload for record in store.browse("q")] == [b"0", b"3"]
