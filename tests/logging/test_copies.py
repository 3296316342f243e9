"""A large record for several sinks that don't take it, and no room for a copy for each: it stays in the inbox, is tried
from there, and the limit holds.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pqadapters.logging._delivery import diverting
from pqadapters.logging.handlers import QueueListener, Sink
from pqadapters.store import State, dead_queue

from .sinks import PATIENCE, Batching, Hanging, Noting, eventually, spool
from .test_limits import LIMIT, MANY, Limited, _sizes_of, closing, place
from .test_room import FAST, _numbers

__all__ = ["closing", "place"]
LARGE = "0 " + "x" * (LIMIT * 3 // 10)
QUICK: dict[str, Any] = {"backoff": (0.001, 0.01), "retries": 3}


@pytest.fixture
def full(place: Path, closing: list[Limited], monkeypatch: pytest.MonkeyPatch) -> Limited:
    """A large record, and so many behind it that there is no room for more."""
    monkeypatch.setattr(diverting, "_SLOW", 0.1)
    limited = Limited(place, "raise")
    closing.append(limited)
    limited.logger.info(LARGE)
    limited.log(MANY, first=1)
    assert limited.failed
    return limited


@pytest.fixture
def up() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def _count(full: Limited) -> int:
    """How many records wait."""
    return MANY + 1 - len(full.failed)


def _is_large(message: str) -> bool:
    return len(message) == len(LARGE)


def _dead(full: Limited) -> list[tuple[str, str]]:
    """The dead letters: queue and reason."""
    names, store = spool(full.handler).names, spool(full.handler).store
    queues = [names.inbox, *map(names.sink, ("a", "b", "c"))]
    return [(queue, each.note) for queue in queues for each in store.browse(dead_queue(queue), state=State.READY)]


def test_sinks_that_hang_or_fail_take_no_more_room_than_there_is(
    full: Limited, up: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each had a copy, whatever the limit: with five sinks the files took 4.9 times as much."""
    sizes = _sizes_of(full, monkeypatch)
    hanging, healthy = Hanging(), Noting()
    down = Noting(lambda message: None if up.is_set() else ConnectionRefusedError())
    sinks = [Sink(hanging, name="a", **FAST), Sink(down, name="b", **FAST), Sink(healthy, name="c", **FAST)]
    with QueueListener(full.place, *sinks) as listener:
        assert hanging.hangs.wait(PATIENCE)
        down.until(lambda: len(down.tries) > 10)
        assert full.size() <= full.most
        up.set()
        down.until_count(1)
        hanging.go_on.set()
        assert listener.flush(PATIENCE)
    assert max([0, *sizes]) <= full.most
    for sink in (hanging, down, healthy):
        assert _numbers(sink) == list(range(_count(full)))


def test_one_that_comes_back_gets_it_while_the_other_hangs(full: Limited, up: threading.Event) -> None:
    hanging = Hanging()
    down = Noting(lambda message: None if up.is_set() else ConnectionRefusedError())
    with QueueListener(full.place, Sink(hanging, name="a"), Sink(down, name="b", **FAST)) as listener:
        assert hanging.hangs.wait(PATIENCE)
        down.until(lambda: len(down.tries) > 10)
        up.set()
        down.until_count(1)
        assert not hanging.records
        hanging.go_on.set()
        assert listener.flush(PATIENCE)
    assert _numbers(down) == _numbers(hanging) == list(range(_count(full)))


@pytest.mark.parametrize("kind", [Noting, Batching])
def test_what_they_refuse_is_one_dead_letter(full: Limited, kind: type[Any]) -> None:
    refusing = [kind(lambda message: ValueError("too large") if _is_large(message) else None) for _ in "ab"]
    healthy = Noting()
    sinks = [Sink(each, name=name, **QUICK) for name, each in zip("ab", refusing, strict=True)]
    with QueueListener(full.place, *sinks, Sink(healthy, name="c")) as listener:
        assert listener.flush(PATIENCE)
        found = listener.stats()["sinks"]
    assert _dead(full) == [("inbox", "a: ValueError: too large; b: ValueError: too large")]
    assert [found[name]["dead"] for name in "abc"] == [1, 1, 0]
    assert _numbers(healthy) == list(range(_count(full)))
    for each in refusing:
        messages = each.messages if isinstance(each, Noting) else []
        assert sorted(int(message.split()[0]) for message in messages) == list(range(1, _count(full)))


def test_the_one_of_a_batch_that_they_refuse_is_found(
    place: Path, closing: list[Limited], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(diverting, "_SLOW", 0.1)
    limited = Limited(place, "raise")
    closing.append(limited)
    limited.logger.info("1")  # so short that the large one is of the same batch
    limited.logger.info(LARGE)
    limited.log(MANY, first=2)
    assert limited.failed
    refusing = [Batching(lambda message: ValueError("too large") if _is_large(message) else None) for _ in "ab"]
    sinks = [Sink(each, name=name, **QUICK) for name, each in zip("ab", refusing, strict=True)]
    with QueueListener(limited.place, *sinks, Sink(Noting(), name="c")) as listener:
        assert listener.flush(PATIENCE)
    assert _dead(limited) == [("inbox", "a: ValueError: too large; b: ValueError: too large")]
    told = [message for message in caplog.messages if "is a dead letter now" in message]
    assert ["('0 xx" in message for message in told] == [True, True]
    for each in refusing:
        assert sorted(_numbers(each)) == list(range(1, 2 + MANY - len(limited.failed)))


def test_one_that_fails_alone_is_refused_whatever_it_raises(full: Limited) -> None:
    """As of a datagram that is too long: the sink takes the record behind it, once."""
    picky = Noting(lambda message: OSError("too long") if _is_large(message) else None)
    hanging = Hanging()
    with QueueListener(full.place, Sink(picky, name="a", **QUICK), Sink(hanging, name="b")) as listener:
        picky.until(lambda: sum(map(_is_large, picky.tries)) > 3)
        hanging.go_on.set()
        assert listener.flush(PATIENCE)
    assert _dead(full) == [("inbox", "a: OSError: too long")]
    assert _numbers(picky) == list(range(1, _count(full)))
    assert _numbers(hanging) == list(range(_count(full)))


def test_who_is_down_buries_nothing(full: Limited, up: threading.Event) -> None:
    down = [Noting(lambda message: None if up.is_set() else ConnectionRefusedError()) for _ in "ab"]
    sinks = [Sink(each, name=name, **QUICK) for name, each in zip("ab", down, strict=True)]
    with QueueListener(full.place, *sinks) as listener:
        for each in down:
            each.until(lambda: len(set(each.tries)) > 1)  # noqa: B023  # it is called here
        up.set()
        assert listener.flush(PATIENCE)
    assert not _dead(full)
    for each in down:
        assert sorted(_numbers(each)) == list(range(_count(full)))


def test_a_listener_that_ends_meanwhile_leaves_it_in_the_inbox(full: Limited) -> None:
    down = [Noting(lambda message: ConnectionRefusedError()) for _ in "ab"]
    listener = QueueListener(full.place, *[Sink(each, **FAST, name=str(id(each))) for each in down])
    listener.start()
    for each in down:
        each.until(lambda: len(each.tries) > 10)  # noqa: B023  # it is called here
    listener.stop(drain_timeout=0.0)
    assert full.size() <= full.most
    assert eventually(lambda: not spool(full.handler).store.depth("inbox").claimed)
    assert full.delivered() == list(range(_count(full)))


def test_room_that_comes_meanwhile_is_used(full: Limited, up: threading.Event) -> None:
    """The one that hangs is given the rest in its own queue, and the others go on."""
    hanging, down, healthy = Hanging(), Noting(lambda message: ConnectionRefusedError()), Noting()
    sinks = [Sink(hanging, name="a"), Sink(down, name="b", **FAST), Sink(healthy, name="c")]
    with QueueListener(full.place, *sinks) as listener:
        down.until(lambda: len(down.tries) > 10)
        limit = spool(full.handler).limit
        limit.max_bytes = 16 * LIMIT
        healthy.until_count(_count(full))
        down.fails = lambda message: None
        down.until_count(_count(full))
        assert not hanging.records
        hanging.go_on.set()
        assert listener.flush(PATIENCE)
    for sink in (hanging, down, healthy):
        assert _numbers(sink) == list(range(_count(full)))


def test_copies_that_there_is_room_for_have_a_file_each(
    place: Path, closing: list[Limited], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one for all, what one sink had not confirmed was written again while the others' part took its room yet."""
    monkeypatch.setattr(diverting, "_SLOW", 0.1)
    limited = Limited(place, "raise")
    closing.append(limited)
    hanging, healthy = [Hanging(), Hanging()], Noting()
    sinks = [Sink(each, name=name) for name, each in zip("abc", [*hanging, healthy], strict=True)]
    with QueueListener(place, *sinks) as listener:
        limited.logger.info("0 %s", "x" * (LIMIT // 5))
        store, names = spool(limited.handler).store, spool(limited.handler).names
        assert eventually(lambda: all(store.depth(names.sink(name)).ready for name in "ab"))
        limited.log(20, first=1)
        healthy.until_count(21)
        assert max(os.path.getsize(file) for file in place.glob("*/*.seg")) < LIMIT // 4
        for each in hanging:
            each.go_on.set()
        assert listener.flush(PATIENCE)
    for sink in (*hanging, healthy):
        assert _numbers(sink) == list(range(21))
