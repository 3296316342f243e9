"""Where a spool may be, and what is said of places that are none."""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.errors import StoreError, StorePoisoned, StoreRefused
from pqadapters.logging._delivery.post import Post
from pqadapters.logging._spools import spool as _spool
from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink, SpoolQueue
from pqadapters.stdlib.queue import Queue

from .programs import ran
from .sinks import PATIENCE, Noting, logger_of, spool


def test_a_directory_by_its_url_is_that_directory(tmp_path: Path) -> None:
    """As a store it was for one process: what a second one logged, or a forked child, was lost."""
    url = f"file://{tmp_path}/a%20spool"
    handler = QueueHandler(url)
    logger_of(handler).info("mine")
    ran(
        """
logger.addHandler(QueueHandler(place))
logger.info("another process")
if not os.fork():
    logger.info("its child")
    os._exit(0)
os.wait()
""",
        url,
    )
    noting = Noting()
    with QueueListener(tmp_path / "a spool", noting) as listener:
        assert listener.flush(PATIENCE)
    assert sorted(noting.messages) == ["another process", "its child", "mine"]
    spool(handler).close()


@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o1777])
def test_the_directory_that_a_spool_is_in_is_left_as_it_is(tmp_path: Path, mode: int) -> None:
    """It is the program's own, or its working directory, and was made private (0700), or refused (/tmp)."""
    tmp_path.chmod(mode)
    handler = QueueHandler(tmp_path / "spool")
    logger_of(handler).info("x")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    spool(handler).close()


def test_a_directory_that_has_other_files_as_well_is_left_as_it_is(tmp_path: Path) -> None:
    """It was made private: who reads the log files there couldn't any more, and of root it was even /var/log."""
    (tmp_path / "app.log").touch()
    tmp_path.chmod(0o2750)
    handler = QueueHandler(tmp_path)
    logger_of(handler).info("x")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o2750
    assert {stat.S_IMODE(each.stat().st_mode) & 0o077 for each in tmp_path.iterdir() if each.name != "app.log"} == {0}
    spool(handler).close()


def test_the_directory_that_a_spool_is_in_may_be_somebody_else_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a container's, in which a directory is given to the program's user: each record was refused."""
    real = os.stat

    def theirs(path: Any, *rest: Any, **options: Any) -> os.stat_result:
        info = real(path, *rest, **options)
        return os.stat_result((*info[:4], 12345, *info[5:])) if str(path) == str(tmp_path) else info

    monkeypatch.setattr("pqadapters.stores._directory.os.stat", theirs)
    handler = QueueHandler(tmp_path / "spool")
    logger_of(handler).info("x")
    noting = Noting()
    with QueueListener(tmp_path / "spool", noting) as listener:
        assert listener.flush(PATIENCE)
    assert noting.messages == ["x"]
    spool(handler).close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file://host/spool", "file:/// and an absolute path"),
        ("file:spool", "file:/// and an absolute path"),
        ("file:///", "file:/// and an absolute path"),
        ("sqlite:logs.db", "slashes"),
        (Path("sqlite:///logs.db"), "slashes"),
        ("mysql:/host/logs", "slashes"),
        (" mysql:/host/logs", "slashes"),
        ("file:///spool?durability=power", "the handler's arguments, as in durability='power'"),
        ("sqlite://logs.db", "write sqlite:///"),
        ("sqlite:///logs.db?max_byte=1", "no option of this store"),
        ("ftp://host/logs", "names no store"),
    ],
)
def test_urls_of_directories_that_are_none(url: str | Path, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QueueHandler(url)


def test_a_url_is_known_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a space before it a directory was a store for one process, and MEMORY: was a directory of that name."""
    monkeypatch.chdir(tmp_path)
    for url in (f" FILE://{tmp_path}/spool", "MEMORY:"):
        logger_of(handler := QueueHandler(url)).info("x")
        spool(handler).close()
    assert os.listdir(tmp_path) == ["spool"]
    assert [path.name for path in (tmp_path / "spool").iterdir() if path.name.isdecimal()] == ["0"]


def test_a_wrong_word_in_the_environment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PQADAPTERS_DURABILITY", "somewhere")
    with pytest.raises(ValueError, match=r"PQADAPTERS_DURABILITY.*somewhere"):
        SpoolQueue(tmp_path)


def test_a_limit_that_a_database_doesnt_have_is_refused(tmp_path: Path) -> None:
    """It was ignored, and the disk filled up."""
    with pytest.raises(ValueError, match="has no limit"):
        QueueHandler(f"sqlite:///{tmp_path}/logs.db", max_bytes=1_000_000, when_full="drop_oldest")


def test_a_relative_url_is_in_the_directory_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon goes to another directory behind its configuration: the records were in a database there, or, of a
    handler that dictConfig had closed between two records, in two of them."""
    (tmp_path / "daemon").mkdir()
    monkeypatch.chdir(tmp_path)
    handler = QueueHandler("sqlite:///logs.db")
    monkeypatch.chdir(tmp_path / "daemon")
    logger_of(handler).info("here")
    other = QueueHandler("sqlite:///logs.db")
    logger_of(other).info("there")
    monkeypatch.chdir(tmp_path)
    assert [each.stats()["depth"] for each in (handler, other)] == [1, 1]
    for each in (handler, other):
        spool(each).close()
    assert (tmp_path / "logs.db").exists()
    assert (tmp_path / "daemon" / "logs.db").exists()


def test_the_directory_of_a_queue_is_none(tmp_path: Path) -> None:
    """The queue was refused from then on, for what the log records' slots had put beside its files."""
    place = tmp_path / "jobs"
    with Queue[str](path=place) as jobs:
        jobs.put("a job")
    with pytest.raises(StoreRefused, match="the directory of a queue or a mapping"):
        SpoolQueue(place).put(logging.makeLogRecord({"msg": "x"}))
    with Queue[str](path=place) as jobs:
        assert jobs.get(timeout=PATIENCE) == "a job"


def test_what_is_wrong_with_a_place_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Twice a second it was said that records wait, for as long as the program ran; and `close` raised it."""
    tries, many = [], threading.Event()

    handler = QueueHandler(f"sqlite:///{tmp_path}", handlers=[Sink(Noting())])
    opened = spool(handler)._opened

    def opening() -> Any:
        tries.append(threading.current_thread().name)
        if tries.count("pqadapters-logging") > 4:
            many.set()
        return opened()

    monkeypatch.setattr(spool(handler), "_opened", opening)
    monkeypatch.setattr("pqadapters.logging._delivery.delivery.AGAIN", 0.001)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger_of(handler).info("lost")
    assert many.wait(PATIENCE)
    assert not handler.flush()
    handler.close()
    said = [record.getMessage() for record in caplog.records if "log records in" in record.getMessage()]
    assert len(said) == 1
    assert "is a directory" in said[0]


@pytest.mark.parametrize("url", [False, True])
def test_a_store_that_refuses_all_work_until_it_is_opened_again_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: bool
) -> None:
    """Where a sync had failed, or the files were removed, each record was lost until the program was started again."""
    noting, refused = Noting(), []
    handler = QueueHandler(f"sqlite:///{tmp_path}/spool.db" if url else tmp_path / "spool", handlers=[noting])
    monkeypatch.setattr(handler, "handleError", lambda record: refused.append(record.getMessage()))
    logger = logger_of(handler)
    logger.info("before")
    assert handler.flush(PATIENCE)

    def fail(*operations: object, **options: object) -> Any:
        raise StorePoisoned("its files were removed")

    failing = spool(handler).store
    monkeypatch.setattr(failing, "commit", fail)
    logger.info("then")
    assert spool(handler).store is not failing
    assert handler.flush(PATIENCE)
    assert noting.messages == ["before", "then"]
    assert "opened again for log records: its files were removed" in caplog.text
    for message in ("opens", "too soon"):
        monkeypatch.setattr(spool(handler), "_may_reopen", 0.0 if message == "opens" else 1e12)
        monkeypatch.setattr(spool(handler).store, "commit", fail)
        logger.info(message)
    assert refused == ["too soon"]
    tries = []

    def opened() -> Any:
        tries.append(threading.current_thread())
        raise StoreError("no disk")

    monkeypatch.setattr(spool(handler), "_opened", opened)
    monkeypatch.setattr(_spool, "_AGAIN", 1000.0)
    monkeypatch.setattr(spool(handler), "_may_reopen", 0.0)
    for number in range(10):
        logger.info("m %d", number)
    assert len(refused) == 11
    assert tries.count(threading.current_thread()) == 1
    monkeypatch.undo()
    spool(handler).close()
    handler.close()


def test_a_handler_that_fails_as_it_is_told_of_that_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, noting, refused = Noting(lambda message: RuntimeError("gone")), Noting(), list[str]()
    monkeypatch.setattr(logging.getLogger("pqadapters.logging"), "handlers", [failing])
    handler = QueueHandler(tmp_path / "spool", handlers=[noting])
    monkeypatch.setattr(handler, "handleError", lambda record: refused.append(record.getMessage()))

    def fail(*operations: object, **options: object) -> Any:
        raise StorePoisoned("its files were removed")

    monkeypatch.setattr(spool(handler).store, "commit", fail)
    logger_of(handler).info("then")
    assert handler.flush(PATIENCE)
    assert noting.messages == ["then"]
    assert not refused
    assert "is opened again" in failing.tries[0]
    handler.close()


@pytest.mark.parametrize("max_bytes", [None, 1 << 20])
def test_a_handler_that_fails_as_it_is_told_why_no_listener_starts_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int | None
) -> None:
    failing = Noting(lambda message: RuntimeError("gone"))
    monkeypatch.setattr(logging.getLogger("pqadapters.logging"), "handlers", [failing])
    handlers = [Sink(Noting(), name="one"), Sink(Noting(), name="one")]
    handler = QueueHandler(tmp_path / "spool", handlers=handlers, max_bytes=max_bytes)
    logger_of(handler).info("then")
    assert handler.stats()["depth"] == 1
    assert len(failing.tries) == 1
    handler.close()


def test_of_two_threads_that_find_such_a_store_the_second_one_goes_on_in_what_the_first_has_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, refused = QueueHandler(tmp_path / "spool"), list[str]()
    monkeypatch.setattr(handler, "handleError", lambda record: refused.append(record.getMessage()))
    kept, anew = spool(handler), list[Any]()

    def fail(*operations: object, **options: object) -> Any:
        kept.close()
        anew.append(kept.store)
        monkeypatch.setattr(kept, "_may_reopen", 1e12)  # it was just now
        raise StorePoisoned("its disk failed")

    monkeypatch.setattr(kept.store, "commit", fail)
    logger_of(handler).info("one")
    assert not refused
    assert kept.store is anew[0]
    assert kept.store.depth("inbox").ready == 1
    kept.close()
    handler.close()


@pytest.mark.parametrize("own", [False, True], ids=["spool", "queue"])
def test_what_one_of_several_sinks_waits_for_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, own: bool
) -> None:
    """Twice a second it was said that the store of its records was gone, for as long as the program ran."""
    tries = {"down": threading.Semaphore(0), **({"up": threading.Semaphore(0)} if own else {})}

    def failing(post: Post, *arguments: object) -> bool:
        tries[post.name].release()
        raise StoreError("its files were removed")

    for module in ("couriers", "sharing"):
        monkeypatch.setattr(f"pqadapters.logging._delivery.{module}.AGAIN", 0.001)
    monkeypatch.setattr(Post, "work_off", failing)
    down = Noting(lambda message: ConnectionRefusedError("down"))
    queue: Any = Queue(path=tmp_path / "jobs") if own else tmp_path / "spool"
    handler = QueueHandler(queue, handlers=[Sink(down, name="down"), Sink(Noting(), name="up")])
    logger_of(handler).info("waits")
    for each in tries.values():
        for _ in range(4):
            assert each.acquire(timeout=PATIENCE)
    handler.close()
    said = [record.getMessage() for record in caplog.records if "files were removed" in record.getMessage()]
    assert sorted(said) == [f"records for {name} wait: its files were removed" for name in tries]
    queue.close() if own else spool(handler).close()


@pytest.mark.parametrize("locks", [True, False])
def test_a_slot_that_is_none_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, locks: bool) -> None:
    """It was at each look for what dead processes had left: every two seconds."""
    place = tmp_path / "spool"
    (place / "0").mkdir(parents=True)
    (place / "0" / "notes.txt").write_text("somebody's own")
    if not locks:  # as if it were another user's
        (place / "0" / "LOCK").mkdir()
    noting = Noting()
    handler = QueueHandler(place, handlers=[noting])
    logger = logger_of(handler)
    for number in range(3):
        logger.info("m %d", number)
        assert handler.flush(PATIENCE)
    handler.close()
    spool(handler).close()
    assert noting.messages == ["m 0", "m 1", "m 2"]
    assert caplog.text.count("passed over") == 1
    assert (place / "0" / "notes.txt").read_text() == "somebody's own"


@pytest.mark.parametrize("url", [False, True])
def test_a_log_call_in_the_middle_of_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: bool) -> None:
    """From a signal handler or a finalizer: it opened the spool once more, and what went into that slot was delivered
    when the process had ended; or it waited five seconds for the lock that its own thread held, and was lost."""
    place = f"sqlite:///{tmp_path}/spool.db" if url else str(tmp_path / "spool")
    noting = Noting()
    handler = QueueHandler(place, handlers=[noting])
    logger = logger_of(handler)
    opened = spool(handler)._opened
    opens: list[int] = []

    def interrupted() -> Any:
        opens.append(len(opens))
        store = opened()
        if len(opens) == 1:
            logger.info("inner %d", 1)
            logger.info("inner %d", 2)
        return store

    monkeypatch.setattr(spool(handler), "_opened", interrupted)
    logger.info("outer")
    assert handler.flush(PATIENCE)
    assert noting.messages == ["inner 1", "inner 2", "outer"]
    assert opens == [0]
    handler.close()
    spool(handler).close()


def test_a_log_call_on_the_way_to_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opened the spool, and the call that it had interrupted did so again, in another slot: who delivered from the
    first one learnt that two seconds later."""
    noting = Noting()
    handler = QueueHandler(tmp_path / "spool", handlers=[noting])
    logger = logger_of(handler)
    asked: list[int] = []

    def get_ident() -> int:
        asked.append(threading.get_ident())
        if len(asked) == 2:
            logger.info("inner")
        return asked[0]

    own = SimpleNamespace(get_ident=get_ident, RLock=threading.RLock, Lock=threading.Lock)
    monkeypatch.setattr(_spool, "threading", own)
    logger.info("outer")
    monkeypatch.undo()
    assert len(asked) > 2
    assert handler.flush(PATIENCE)
    assert noting.messages == ["inner", "outer"]
    assert sorted(each.name for each in (tmp_path / "spool").iterdir() if each.name.isdecimal()) == ["0"]
    handler.close()
    spool(handler).close()


def test_a_log_call_in_the_middle_of_opening_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stored by whoever opens it next."""
    noting = Noting()
    handler = QueueHandler(tmp_path / "spool")
    logger = logger_of(handler)
    opened = spool(handler)._opened

    def failing() -> Any:
        logger.info("inner")
        raise StoreRefused("not now")

    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(spool(handler), "_opened", failing)
    logger.info("lost")
    monkeypatch.setattr(spool(handler), "_opened", opened)
    with QueueListener(tmp_path / "spool", noting) as listener:
        assert listener.flush(PATIENCE)
    assert noting.messages == ["inner"]
    spool(handler).close()


@pytest.mark.parametrize("query", ["durability=fast", "max_lag=0", "max_lag=soon", "prefetch=x"])
def test_a_url_with_an_option_that_makes_no_sense_is_refused_at_once(query: str, tmp_path: Path) -> None:
    """By the constructor: with the first two each record was an error of the handler's."""
    with pytest.raises(ValueError, match=rf"is no value for {query.partition('=')[0]}"):
        QueueHandler(f"sqlite:///{tmp_path}/spool.db?{query}")
