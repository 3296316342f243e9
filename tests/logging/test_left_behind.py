"""What several dead processes have left in their slots: whoever flushes or stops has delivered it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pqadapters.errors import StorePoisoned
from pqadapters.logging._delivery.delivery import Delivery
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink
from pqadapters.store import Store

from .programs import ran
from .sinks import PATIENCE, Noting, logger_of, spool

ALL = {"parent", *(f"child {child} {number}" for child in range(4) for number in range(50))}
#: each child still lives when the next one takes a slot, so that there are several
FORKS = """
logger.addHandler(QueueHandler(place))
logger.info("parent")
children = []
for child in range(4):
    done, go_on = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        for number in range(50):
            logger.info("child %d %d", child, number)
        os.write(done[1], b"x")
        os.read(go_on[0], 1)
        os._exit(0)
    os.read(done[0], 1)
    children.append((pid, go_on[1]))
for pid, pipe in children:
    os.write(pipe, b"x")
    os.waitpid(pid, 0)
"""

#: the one sink has a record in a queue of its own, the other one has got it
BEHIND = """
handler = QueueHandler(place, handlers=[Sink(Down(), name="old"), Sink(Telling(), name="other")])
logger.addHandler(handler)
logger.info("theirs")
while handler.stats()["sinks"].get("other", {"depth": 1})["depth"]:
    pass
os._exit(0)
"""


def _flush(listener: QueueListener) -> None:
    assert listener.flush(PATIENCE)
    listener.stop(drain_timeout=0.0)


def _stop(listener: QueueListener) -> None:
    listener.stop()


def _stop_in_time(listener: QueueListener) -> None:
    listener.stop(drain_timeout=PATIENCE)


@pytest.mark.parametrize("sinks", [1, 2])
@pytest.mark.parametrize("end", [_flush, _stop, _stop_in_time])
def test_the_next_listener_delivers_all_of_it(tmp_path: Path, end: Callable[[QueueListener], None], sinks: int) -> None:
    """A flush was true, and a listener stopped, when its own slot was empty: what was in the others waited for a start
    that took one of them, or a listener that lived for longer."""
    place = tmp_path / "spool"
    ran(FORKS, place)
    noting = [Noting() for _ in range(sinks)]
    listener = QueueListener(place, *noting)
    listener.start()
    end(listener)
    spool(listener).close()
    for sink in noting:
        assert set(sink.messages) == ALL


def test_a_flush_right_behind_the_listeners_start_waits_for_it(tmp_path: Path) -> None:
    """The listener's thread hadn't opened the spool yet, and nothing was known to wait."""
    place = tmp_path / "spool"
    ran(FORKS, place)
    noting = Noting()
    handler = QueueHandler(place, handlers=[noting])
    handler.listener.start()
    assert handler.flush(PATIENCE)
    assert set(noting.messages) == ALL
    handler.close()


def test_what_died_while_a_listener_listens_is_flushed(tmp_path: Path) -> None:
    """Between two looks."""
    place = tmp_path / "spool"
    noting = Noting()
    handler = QueueHandler(place, handlers=[noting])
    logger_of(handler).info("mine")
    assert handler.flush(PATIENCE)
    ran(FORKS, place)
    assert handler.flush(PATIENCE)
    assert set(noting.messages) == {"mine"} | ALL
    handler.close()
    spool(handler).close()


def test_a_sink_that_is_down_makes_it_false_and_stops_at_once(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    down = Noting(lambda message: ConnectionRefusedError("down") if "child" in message else None)
    handler = QueueHandler(place, handlers=[Sink(down, backoff=(0.01, 0.01))])
    logger_of(handler).info("mine")
    assert handler.flush(PATIENCE)
    ran(FORKS, place)
    assert not handler.flush(0.2)
    assert not handler.flush()
    handler.listener.stop()
    assert [message for message in down.messages if message != "parent"] == ["mine"]
    spool(handler).close()
    noting = Noting()
    with QueueListener(place, noting) as listener:
        assert listener.flush(PATIENCE)
    assert set(noting.messages) == ALL - set(down.messages)
    spool(listener).close()


def test_a_slot_that_refuses_all_work_keeps_nothing_from_the_next_listener(tmp_path: Path) -> None:
    """The thread that delivered ended with an error when it was to let go of a dead process's slot whose disk had
    failed, kept the turn, and no listener of the process delivered any more."""
    place = tmp_path / "spool"
    down = Noting(lambda message: ConnectionRefusedError("down") if "child" in message else None)
    handler = QueueHandler(place)
    logger_of(handler).info("mine")
    ran(FORKS, place)
    listener = QueueListener(place, Sink(down, backoff=(0.01, 0.01)))
    listener.start()
    delivery = listener._delivery
    assert delivery is not None
    down.until(lambda: any("child" in message for message in down.tries))
    for left in delivery._left:
        left.store._core.log.trouble = StorePoisoned("its disk failed")  # type: ignore[attr-defined]
    listener.stop()
    delivery.thread.join(PATIENCE)
    noting = Noting()
    with QueueListener(place, noting):
        logger_of(handler).info("later")
        noting.until(lambda: "later" in noting.messages)
    handler.close()
    spool(handler).close()


def test_two_listeners_of_one_process(tmp_path: Path) -> None:
    """One delivers; the other one needn't wait for a look of its own."""
    place = tmp_path / "spool"
    noting, other = Noting(), Noting()
    with QueueListener(place, noting) as first:
        logger_of(QueueHandler(place)).info("mine")
        assert first.flush(PATIENCE)
        with QueueListener(place, other) as second:
            assert second.flush(PATIENCE)
    assert noting.messages == ["mine"]
    spool(first).close()


def test_what_waits_for_a_sink_that_is_configured_no_more_holds_up_no_flush(tmp_path: Path) -> None:
    place = tmp_path / "spool"
    noting = Noting()
    handler = QueueHandler(place, handlers=[Sink(noting, name="new")])
    logger_of(handler).info("mine")
    assert handler.flush(PATIENCE)
    ran(BEHIND, place)
    logger_of(handler).info("mine again")
    assert handler.flush(PATIENCE)
    assert handler.flush()
    assert handler.listener.unknown() == {"old": 1}
    assert noting.messages == ["mine", "mine again"]
    handler.close()
    spool(handler).close()


@pytest.mark.parametrize("takes_its_slot", [True, False])
def test_a_record_of_a_backlog_that_is_refused_once_is_tried_again(tmp_path: Path, takes_its_slot: bool) -> None:
    """A single sink reads the inbox itself, and looked at its old queue only as it began: the record lay there, no
    flush was true, and a listener that nobody had any more never ended."""
    place, refused = tmp_path / "spool", []  # type: ignore[var-annotated]

    def refuses(message: str) -> Exception | None:
        if message == "theirs" and not refused:
            refused.append(message)
            return ValueError("not now")
        return None

    handler = QueueHandler(place)
    if not takes_its_slot:
        logger_of(handler).info("mine")
    ran(BEHIND, place)
    noting = Noting(refuses)
    with QueueListener(place, Sink(noting, name="old", backoff=(0.01, 0.01))) as listener:
        assert listener.flush(PATIENCE)
    assert (refused, noting.messages[-1]) == (["theirs"], "theirs")
    handler.close()
    spool(listener).close()


@pytest.mark.parametrize("sinks", [1, 2])
def test_a_slot_that_could_not_be_begun_with_is_begun_with_later(
    tmp_path: Path, sinks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waited in it for a sink that had fallen behind was looked for once: where memory was lacking just then,
    it lay there for as long as the listener lived."""
    place, noting, failed = tmp_path / "spool", Noting(), []  # type: ignore[var-annotated]
    handler = QueueHandler(place)
    logger_of(handler).info("mine")
    ran(BEHIND, place)
    begin_with = Delivery._begin_with

    def once_in_vain(self: Delivery, store: Store) -> None:
        if store is not self.spool.store and not failed:
            failed.append(store)
            raise MemoryError
        begin_with(self, store)

    monkeypatch.setattr(Delivery, "_begin_with", once_in_vain)
    names = ["old", "other"][:sinks]
    with QueueListener(place, *(Sink(noting, name=name) for name in names)) as listener:
        assert listener.flush(PATIENCE)
    assert failed
    assert "theirs" in noting.messages
    handler.close()
    spool(listener).close()
