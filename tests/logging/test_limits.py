"""Bounded disk: `max_bytes`, and what becomes of a record that comes when they are used up."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Full
from typing import Any

import pytest

from pqadapters.clock import SYSTEM
from pqadapters.errors import StoreError
from pqadapters.logging._spools import limits
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue, WhenFull
from pqadapters.store import Ack, Claim, Expect, Nack, Put, Set, Store, dead_queue
from pqadapters.stores._disk import Disk
from pqadapters.stores.memory import MemoryStore

from .sinks import PATIENCE, Hanging, Noting, logger_of, spool

LIMIT = 1 << 20
SEGMENT = LIMIT // 16
TEXT = "x" * 1000
MANY = 3000  #: more records than there is room for


class _Tidying(MemoryStore):
    """Gives back a file at its first checkpoint."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    def checkpoint(self) -> None:
        super().checkpoint()
        self._file.unlink(missing_ok=True)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "spool"


class Limited:
    """A logger whose handler has a limit."""

    def __init__(self, place: Path, when_full: str, max_bytes: int = LIMIT, **options: Any) -> None:
        self.place = place
        self.most = max_bytes + max_bytes // 16
        self.failed: list[str] = []
        failed = self.failed

        class Handler(QueueHandler):
            def handleError(self, record: logging.LogRecord) -> None:
                failed.append(record.getMessage())

        self.handler = Handler(place, max_bytes=max_bytes, when_full=when_full, **options)
        self.logger = logger_of(self.handler)

    def log(self, count: int, level: int = logging.INFO, first: int = 0) -> None:
        for number in range(first, first + count):
            self.logger.log(level, "%d %s", number, TEXT)
            assert self.size() <= self.most

    def size(self) -> int:
        files = [os.path.join(each, name) for each, _, names in os.walk(self.place) for name in names]
        return sum(_size(file) for file in files if ".seg" in file)

    def delivered(self) -> list[int]:
        """What a listener gets, as numbers."""
        sink = Noting()
        with QueueListener(self.place, sink) as listener:
            assert listener.flush(PATIENCE)
        return [int(message.split()[0]) for message in sink.messages]

    def close(self) -> None:
        spool(self.handler).close()


def _size(file: str) -> int:
    try:
        return os.path.getsize(file)
    except FileNotFoundError:  # it has just gone
        return 0


@pytest.fixture
def closing() -> Iterator[list[Limited]]:
    made: list[Limited] = []
    yield made
    for each in made:
        each.close()


def _limited(closing: list[Limited], place: Path, when_full: str, **options: Any) -> Limited:
    closing.append(Limited(place, when_full, **options))
    return closing[-1]


def test_the_newest_are_dropped_and_counted(place: Path, closing: list[Limited]) -> None:
    limited = _limited(closing, place, "drop_newest")
    limited.log(MANY)
    dropped = limited.handler.stats()["dropped"]["drop_newest"]
    assert limited.delivered() == list(range(MANY - dropped))
    assert 0 < dropped < MANY


@pytest.mark.parametrize("when_full", ["drop_newest", "raise"])
def test_a_record_that_is_refused_costs_one_look_at_the_files(
    place: Path, closing: list[Limited], when_full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two, of which the second found what the first had: eight times as much as a record that is put."""
    limited = _limited(closing, place, when_full)
    limited.handler.handleError = lambda record: None  # type: ignore[method-assign]
    limited.log(MANY)
    looks: list[object] = []
    files = limits.Limit._files
    monkeypatch.setattr(limits, "_PAUSE", 1e9)  # so that nothing is tidied away in between
    monkeypatch.setattr(limits.Limit, "_files", lambda limit: [looks.append(limit), files(limit)][1])
    limited.log(100, first=MANY)
    assert len(looks) == 100


def test_the_oldest_are_dropped_and_counted(place: Path, closing: list[Limited]) -> None:
    limited = _limited(closing, place, "drop_oldest")
    limited.log(MANY)
    dropped = limited.handler.stats()["dropped"]["drop_oldest"]
    assert limited.delivered() == list(range(dropped, MANY))
    assert 0 < dropped < MANY


def test_below_a_level_they_are_dropped_above_it_the_oldest_go(place: Path, closing: list[Limited]) -> None:
    limited = _limited(closing, place, "drop_below_level", drop_level="ERROR")
    limited.log(MANY)
    kept = MANY - limited.handler.stats()["dropped"]["drop_below_level"]
    limited.log(500, logging.ERROR, first=MANY)
    found = limited.delivered()
    assert found[-500:] == list(range(MANY, MANY + 500))
    assert set(found[:-500]) <= set(range(kept))


def test_where_both_come_those_below_the_level_make_room(place: Path, closing: list[Limited]) -> None:
    """The room that the oldest left went to whatever came next: of mixed records as many were kept below the level as
    above it."""
    limited = _limited(closing, place, "drop_below_level", drop_level="ERROR")
    for number in range(MANY):
        limited.log(1, logging.INFO if number % 3 else logging.ERROR, first=number)
    found = limited.delivered()
    important = [number for number in found if number % 3 == 0]
    assert important == list(range(important[0], MANY, 3))
    assert len(important) > len(found) * 0.9


def test_below_the_level_they_are_kept_again_when_there_is_room(place: Path, closing: list[Limited]) -> None:
    limited = _limited(closing, place, "drop_below_level", drop_level="ERROR")
    limited.log(MANY)
    assert limited.delivered()
    before = limited.handler.stats()["dropped"]["drop_below_level"]
    limited.log(100, first=MANY)
    assert limited.delivered() == list(range(MANY, MANY + 100))
    assert limited.handler.stats()["dropped"]["drop_below_level"] == before


def test_raise(place: Path, closing: list[Limited]) -> None:
    """As logging reports whatever goes wrong in a handler; a queue raises it."""
    limited = _limited(closing, place, "raise")
    limited.log(MANY)
    assert limited.delivered() == list(range(MANY - len(limited.failed)))
    assert limited.failed[-1].startswith(f"{MANY - 1} ")
    assert limited.handler.stats()["dropped"] == {"raise": len(limited.failed)}
    record = logging.makeLogRecord({"msg": TEXT})
    with pytest.raises(Full, match="which is the limit"):
        while True:
            limited.handler.queue.put_nowait(record)


def test_block_waits_for_a_sink(place: Path, closing: list[Limited]) -> None:
    limited = _limited(closing, place, "block")
    thread = threading.Thread(target=limited.log, args=(MANY,))
    thread.start()
    thread.join(1)
    assert thread.is_alive()
    sink = Noting()
    with QueueListener(place, sink) as listener:
        sink.until_count(MANY)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert listener.flush(PATIENCE)
    assert [int(message.split()[0]) for message in sink.messages] == list(range(MANY))


@pytest.mark.parametrize("max_bytes", [1 << 18, 300_000, 700_000])
def test_small_limits_hold(
    place: Path, closing: list[Limited], max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file is larger than a small segment, and is there before the last one has given back its room: files of a
    limit of 300000 bytes took 417653."""
    limited = _limited(closing, place, "drop_oldest", max_bytes=max_bytes)
    sizes = _sizes_of(limited, monkeypatch)
    limited.log(MANY)
    assert max(sizes) <= limited.most
    assert not limited.failed
    assert len(limited.delivered()) > 20


def _sizes_of(limited: Limited, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What its files take whenever there is a new one, which may be about to take another one's place."""
    sizes: list[int] = []
    allocate = Disk.allocate

    def allocated(self: Disk, fd: int, size: int) -> None:
        allocate(self, fd, size)
        sizes.append(limited.size())

    monkeypatch.setattr(Disk, "allocate", allocated)
    return sizes


@pytest.mark.parametrize(
    ("when_full", "share"),
    [*(("drop_oldest", each / 20) for each in range(2, 15)), *(("raise", each / 10) for each in range(1, 8))],
)
def test_a_large_record_that_stays(
    place: Path, closing: list[Limited], when_full: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink has it in hand. It is written again once most behind it is gone, and took its room twice then."""
    limited = _limited(closing, place, when_full)
    sizes = _sizes_of(limited, monkeypatch)
    limited.logger.info("0 %s", "x" * int(LIMIT * share))
    store = spool(limited.handler).store
    (claim,) = store.claim("inbox")
    for first in range(1, 2001, 100):
        limited.log(100, first=first)
        if when_full == "raise":
            store.commit(*map(Ack, store.claim("inbox", limit=MANY)))
    assert max(sizes) <= limited.most
    store.commit(Nack(claim))
    found = limited.delivered()
    assert found[0] == 0
    if when_full == "drop_oldest":
        assert found[1:] == list(range(found[1], found[-1] + 1))
        assert len(found) > 20
        assert found[-1] == 2000 or found[1] <= 51  # it can't be written again: all that is behind it stays as well
    limited.log(100, first=5000)
    assert limited.delivered() == list(range(5000, 5100))


def test_where_all_is_in_hand_what_comes_takes_the_last_of_the_limit(place: Path, closing: list[Limited]) -> None:
    """And no more than that, however much comes: there is nothing to drop for it."""
    limited = _limited(closing, place, "drop_oldest")
    store, claims = spool(limited.handler).store, list[Claim]()
    for number in range(MANY // 2):
        limited.log(1, first=number)
        claims += store.claim("inbox", limit=MANY)
    used = sum(len(claim.payload) for claim in claims)
    assert used > LIMIT - 4 * SEGMENT  # without the last of it: 5.5; with it 2, or 3 where a file was allocated early
    assert limited.handler.stats()["dropped"]["drop_oldest"] == MANY // 2 - len(claims) > 0
    store.commit(*map(Nack, claims))
    assert limited.delivered() == list(range(len(claims)))


@pytest.mark.parametrize("when_full", ["block", "drop_newest", "drop_oldest", "drop_below_level", "raise"])
@pytest.mark.parametrize("size", [LIMIT // 2, 5 * LIMIT])
def test_a_record_that_is_larger_than_a_segment(
    place: Path, closing: list[Limited], when_full: str, size: int
) -> None:
    """It was put whenever there was any room, and took what it wanted."""
    limited = _limited(closing, place, when_full)
    for number in range(3):
        limited.log(100, first=200 * number)
        if when_full != "block" or size > LIMIT:
            limited.logger.info("%d %s", 200 * number + 100, "x" * size)
        assert limited.size() <= limited.most
    found = limited.delivered()
    dropped = sum(limited.handler.stats()["dropped"].values())
    assert found == sorted(found)
    assert dropped + len(found) == 303 - 3 * (when_full == "block" and size < LIMIT)
    if size > LIMIT:
        assert found == [number for number in range(500) if number % 200 < 100]


@pytest.mark.parametrize("max_bytes", [1 << 18, 400_000, LIMIT])
@pytest.mark.parametrize("count", [1, 30, 60])
def test_a_record_takes_the_place_of_others_or_is_dropped_alone(
    tmp_path: Path, closing: list[Limited], max_bytes: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was no room for it where all others had been dropped for it: the store kept what it had allocated ahead."""
    for share in range(50, 100, 4):
        limited = _limited(closing, tmp_path / f"{share}", "drop_oldest", max_bytes=max_bytes)
        sizes = _sizes_of(limited, monkeypatch)
        store = spool(limited.handler).store
        store.commit(Set("sinks", b"one that has fallen behind", b"", Expect.ANY))
        limited.log(count)
        limited.logger.info("%d %s", count, "x" * (max_bytes * share // 100))
        found = limited.delivered()
        is_dropped = found == list(range(count))
        assert is_dropped or found == list(range(found[0], count + 1))
        assert is_dropped <= (share > 60)
        assert is_dropped >= (share > 84)
        assert max(sizes) <= limited.most


@pytest.mark.parametrize("max_bytes", [1 << 18, 400_000, LIMIT])
def test_a_large_record_that_comes_when_nothing_waits(
    tmp_path: Path, closing: list[Limited], max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file has what the store allocates ahead until there is another, which has that, too: those of 400000 bytes
    took 430388."""
    taken = 0
    for share in range(55, 85):
        limited = _limited(closing, tmp_path / f"{share}", "raise", max_bytes=max_bytes)
        sizes = _sizes_of(limited, monkeypatch)
        limited.log(1)
        assert limited.delivered() == [0]
        spool(limited.handler).store.checkpoint()  # as when it rests
        limited.logger.info("1 %s", "x" * (max_bytes * share // 100))
        taken += len(limited.delivered())
        assert max(sizes) <= limited.most
    assert 0 < taken < 30


def test_large_records_of_two_threads(place: Path, closing: list[Limited], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each found the room that there was for one of them."""
    limited = _limited(closing, place, "drop_newest")
    limited.log(1)
    let_through, go_on = threading.Event(), threading.Event()
    admits = limits.Limit.admits

    def pause(limit: limits.Limit, *arguments: Any) -> bool:
        found = admits(limit, *arguments)
        if threading.current_thread() is other:
            let_through.set()
            assert go_on.wait(PATIENCE)
        return found

    monkeypatch.setattr(limits.Limit, "admits", pause)
    large = "x" * (LIMIT // 2)
    other = threading.Thread(target=limited.logger.info, args=("1 %s", large))
    other.start()
    assert let_through.wait(PATIENCE)
    limited.logger.info("2 %s", large)
    go_on.set()
    other.join(PATIENCE)
    limited.logger.info("3 %s", large)
    assert limited.size() <= limited.most
    assert limited.delivered() == [0, 1]
    assert limited.handler.stats()["dropped"] == {"drop_newest": 2}
    limited.logger.info("4 %s", large)
    assert limited.delivered() == [4]


def test_the_first_record_of_a_program_finds_its_spool_full(place: Path, closing: list[Limited]) -> None:
    """It waited for ever for a listener that was to start behind it."""
    limited = _limited(closing, place, "drop_newest")
    limited.log(MANY)
    kept = MANY - limited.handler.stats()["dropped"]["drop_newest"]
    limited.close()
    spool(limited.handler).limit.when_full = WhenFull.BLOCK
    sink = Noting()
    limited.handler.listener = QueueListener(place, sink)
    thread = threading.Thread(target=limited.log, args=(100,), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert limited.handler.flush(PATIENCE)
    limited.handler.close()
    assert [int(message.split()[0]) for message in sink.messages] == [*range(kept), *range(100)]


@pytest.mark.parametrize("waits", [False, True], ids=["later", "while it waits"])
def test_block_waits_for_no_listener_that_has_ended(place: Path, closing: list[Limited], waits: bool) -> None:
    """Nobody made room any more: a log call behind `stop()` never returned, and neither did one that waited then."""
    limited = _limited(closing, place, "block")
    listener = QueueListener(place, Noting(lambda message: ConnectionRefusedError()))
    listener.start()
    full = threading.Event()
    spool(limited.handler).limit._tidy = lambda store: full.set()
    thread = threading.Thread(target=limited.log, args=(MANY,), daemon=True)
    if waits:
        thread.start()
        assert full.wait(PATIENCE)
    listener.stop(drain_timeout=0.0)
    if not waits:
        thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert limited.handler.stats()["dropped"]["block"] == len(limited.failed) > 0
    assert limited.delivered() == list(range(MANY - len(limited.failed)))


def test_block_waits_for_a_listener_that_comes_behind_another(place: Path, closing: list[Limited]) -> None:
    limited = _limited(closing, place, "block")
    with QueueListener(place, Noting()):
        pass
    hanging, full = Hanging(), threading.Event()
    limit: Any = spool(limited.handler).limit
    tidy = limit._tidy

    def noted(store: Store) -> None:
        full.set()
        tidy(store)

    limit._tidy = noted
    thread = threading.Thread(target=limited.log, args=(MANY,), daemon=True)
    with QueueListener(place, hanging) as listener:
        thread.start()
        assert full.wait(PATIENCE)
        hanging.go_on.set()
        thread.join(PATIENCE)
        assert listener.flush(PATIENCE)
    assert not limited.failed


def test_a_full_disk_of_one_sink_that_is_down(place: Path, closing: list[Limited]) -> None:
    """What waits for it is what takes the room, and what is dropped; the others get everything."""
    limited = _limited(closing, place, "drop_oldest")
    down, healthy = Noting(lambda message: ConnectionRefusedError()), Noting()
    with QueueListener(place, down, healthy) as listener:
        for first in range(0, MANY, 100):
            limited.log(100, first=first)
            healthy.until_count(first + 100)
        assert [int(message.split()[0]) for message in healthy.messages] == list(range(MANY))
        assert listener.stats()["dropped"]["drop_oldest"] > 0
        listener.stop(drain_timeout=0.0)


@pytest.mark.parametrize("when_full", ["block", "drop_newest", "drop_oldest", "drop_below_level", "raise"])
def test_a_disk_full_of_dead_letters(place: Path, closing: list[Limited], when_full: str) -> None:
    """With "block" a log call never returned, though nothing waited, and with "drop_oldest" there was no limit: what a
    sink had refused was never dropped."""
    limited = _limited(closing, place, when_full, max_bytes=1 << 18, drop_level="INFO")
    refusing = Sink(Noting(lambda message: ValueError()), retries=1)
    with QueueListener(place, refusing) as listener:
        thread = threading.Thread(target=limited.log, args=(500,), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert listener.flush(PATIENCE)
        stats = listener.stats()
    assert limited.size() <= limited.most
    drops_dead = when_full in ("drop_oldest", "drop_below_level")  # many at a time, and the last time at any moment
    assert (0 if drops_dead else 20) < stats["dead"] < 500
    assert 500 - refusing.dead <= stats["dropped"][when_full] == 500 - stats["dead"]
    store = spool(limited.handler).store
    store.commit(*map(Ack, store.claim(dead_queue("inbox"), limit=500)))
    limited.log(20, first=500)
    assert limited.delivered() == list(range(500, 520))


def test_a_spool_that_is_let_go_of_while_its_files_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a dictConfig while others log: the record was lost, with a TypeError."""
    limit, listdir = limits.Limit(LIMIT), os.listdir
    (tmp_path / "file").write_bytes(b"abc")
    limit.watch(str(tmp_path), lambda store: [])

    def listing(path: str) -> list[str]:
        found = listdir(path)
        limit.begin_again()
        return found

    monkeypatch.setattr(os, "listdir", listing)
    assert limit.used() == 3
    assert limit.used() == 0


def test_a_spool_that_is_let_go_of_while_room_is_made(tmp_path: Path) -> None:
    """The same, with a RuntimeError of a lock that was another one by then."""
    limit = limits.Limit(LIMIT, "drop_oldest")
    (tmp_path / "file").write_bytes(b"x" * LIMIT)

    def queues(store: Store) -> list[str]:
        limit.begin_again()
        return ["q"]

    limit.watch(str(tmp_path), queues)
    assert limit.admits(100, logging.INFO, MemoryStore())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreError("no disk")], ids=type)
def test_what_was_to_be_dropped_goes_back_where_that_fails(
    tmp_path: Path, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in nobody's reach from then on, and waited for the end of the process: no flush came to an end."""
    limit, store = limits.Limit(LIMIT, "drop_oldest"), MemoryStore()
    (tmp_path / "1").write_bytes(b"")
    (tmp_path / "2").write_bytes(b"x" * LIMIT)
    limit.watch(str(tmp_path), lambda store: ["q"])
    store.commit(*[Put("q", b"%d" % number) for number in range(100)])
    commit = store.commit

    def failing(*ops: Any, **options: Any) -> Any:
        if isinstance(ops[0], Ack):
            raise error
        return commit(*ops, **options)

    monkeypatch.setattr(store, "commit", failing)
    with pytest.raises(type(error)):
        limit.admits(100, logging.INFO, store)
    assert store.depth("q").ready == 100
    assert not limit.dropped


@pytest.mark.parametrize("oldest", ["a", "b", dead_queue("c")])
def test_what_is_dropped_is_the_oldest_wherever_it_waits(tmp_path: Path, oldest: str) -> None:
    limit, store, queues = limits.Limit(LIMIT, "drop_oldest"), MemoryStore(), ["a", "b", dead_queue("c")]
    limit.watch(str(tmp_path), lambda store: ["c"])
    store.commit(*(Put(queue, b"", put_at=1.0 if queue == oldest else 2.0) for queue in queues))
    assert limit._drop_oldest(store, ["a", "b"])
    assert [queue for queue in queues if not store.depth(queue).ready] == [oldest]


def test_block_waits_for_the_listener_that_goes_on(tmp_path: Path) -> None:
    limit, one, other = limits.Limit(LIMIT), object(), object()
    (tmp_path / "file").write_bytes(b"x" * LIMIT)
    limit.watch(str(tmp_path), lambda store: [])
    limit.delivers(one)
    limit.delivers(other)
    limit.delivers_no_more(one)
    assert limit.is_delivered
    assert limit.admits(100, logging.INFO, _Tidying(tmp_path / "file"))


def test_block_waits_for_what_was_put_while_room_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waited before: then another thread took what room there was."""
    limit, store = limits.Limit(LIMIT, "block"), _Tidying(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"x" * LIMIT)
    limit.watch(str(tmp_path), lambda store: ["q"])
    limit.delivers(limit)
    give_back = limit._give_back

    def put(store: Store) -> None:
        monkeypatch.setattr(limit, "_give_back", give_back)
        store.commit(Put("q", b"x"))

    monkeypatch.setattr(limit, "_tidied", SYSTEM.monotonic() + 0.1)
    monkeypatch.setattr(limit, "_give_back", put)
    assert limit.admits(100, logging.INFO, store)
    assert store.depth("q").ready


def test_of_two_handlers_on_one_spool_the_stricter_limit_holds() -> None:
    limit = limits.Limit()
    seen = []
    for other in (limits.Limit(LIMIT, "raise"), limits.Limit(LIMIT // 2, "drop_newest", "ERROR"), limits.Limit(LIMIT)):
        limit.tighten(other)
        limit.tighten(limits.Limit())
        seen.append((limit.max_bytes, limit.when_full.value, limit.drop_level))
    stricter = (LIMIT // 2, "drop_newest", logging.ERROR)
    assert seen == [(LIMIT, "raise", logging.WARNING), stricter, stricter]


@pytest.mark.parametrize("when", ["block", "raise", "drop_newest", "drop_oldest", "drop_below_level"])
def test_for_a_record_that_never_fits_nobody_waits_and_none_makes_room(when: str, tmp_path: Path) -> None:
    limit, store = limits.Limit(LIMIT, when), MemoryStore()
    store.commit(Put("q", b"x"))
    limit.watch(str(tmp_path), lambda store: ["q"])
    limit.delivers(limit)
    if when in ("block", "raise"):
        with pytest.raises(Full, match=f"{LIMIT} bytes, which is the limit"):
            limit.admits(LIMIT, logging.INFO, store)
    else:
        assert not limit.admits(LIMIT, logging.INFO, store)
    assert limit.dropped.total() == (when not in ("block", "raise"))
    assert store.depth("q").ready == 1


@pytest.mark.parametrize("when_full", ["block", "drop_newest", "drop_oldest", "drop_below_level", "raise"])
def test_a_limit_that_comes_when_the_spool_is_open(place: Path, closing: list[Limited], when_full: str) -> None:
    """Its segments stayed as large as they were without one: it was passed, and where one was larger than the limit
    "drop_oldest" dropped all that came, though nothing waited."""
    unlimited = QueueHandler(place)
    for number in range(MANY):
        logger_of(unlimited).info("%d %s", number, TEXT)
    with QueueListener(place, Noting()) as listener:
        assert listener.flush(PATIENCE)
    limited = _limited(closing, place, when_full)
    for first in range(0, 2 * MANY, 200):
        limited.log(200, first=first)
        assert limited.delivered() == list(range(first, first + 200))
    assert not limited.failed
    assert not limited.handler.stats()["dropped"]


@pytest.mark.parametrize("when_full", ["block", "drop_newest", "drop_oldest", "drop_below_level", "raise"])
def test_files_that_are_removed(place: Path, closing: list[Limited], when_full: str) -> None:
    """The spool was never opened again: with a limit each record was lost at the look at its files."""
    limited = _limited(closing, place, when_full)
    limited.log(1)
    removed = spool(limited.handler).store
    shutil.rmtree(place)
    limited.log(200)
    assert spool(limited.handler).store is not removed
    assert not limited.failed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_bytes": 1000}, "at least 262144"),
        ({"max_bytes": "1M"}, "at least 262144"),
        ({"when_full": "explode"}, "'block', 'drop_newest', 'drop_oldest', 'drop_below_level', 'raise', not 'explode'"),
        ({"drop_level": "LOUD"}, "Unknown level"),
    ],
)
def test_options_that_make_no_sense(place: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpoolQueue(place, **options)
    assert not place.exists()
