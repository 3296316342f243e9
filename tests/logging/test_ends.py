"""The end of a process: quick, whatever the sinks do; what isn't delivered stays on the disk. No thread begins then."""

from __future__ import annotations

from pathlib import Path

import pytest

from .programs import ran, running
from .sinks import PATIENCE
from .test_processes import delivered, place

__all__ = ["place"]


def test_a_short_script_delivers_what_it_logs(place: str) -> None:
    said = ran(
        """
from pqadapters.logging._delivery import listener
listener._EXIT = 30  # seconds that a busy machine may take to deliver it

class Slow(Telling):
    def emit(self, record):
        threading.Event().wait(0.3)  # else it may be through before an end that doesn't wait for it
        super().emit(record)

logger.addHandler(QueueHandler(place, handlers=[Slow()]))
logger.info("all there is")
""",
        place,
    )
    assert said == ["got all there is"]


@pytest.mark.parametrize("sinks", ["Down()", "Down(), Telling()", "Hanging()", "Hanging(), Down(), Hanging()"])
def test_an_exit_with_ten_thousand_records_and_a_dead_sink_is_quick(tmp_path: Path, sinks: str) -> None:
    """From the last record on: under half a second on a machine that isn't busy. Who waited for a sink that hangs, or
    for the backlog of one that is down, would wait for ever."""
    said = ran(
        f"""
import atexit, time
class Hanging(logging.Handler):
    def emit(self, record):
        threading.Event().wait()
Telling.emit = lambda self, record: None
sinks = [Sink(handler, name=str(number)) for number, handler in enumerate([{sinks}])]
logger.addHandler(QueueHandler(place, handlers=sinks))
begun = []
atexit.register(lambda: say("took", time.monotonic() - begun[0]))
import pqadapters.ending as ending
atexit.unregister(ending._end)
atexit.register(ending._end)
for number in range(10_000):
    logger.info("m %d", number)
begun.append(time.monotonic())
""",
        tmp_path / "spool",
    )
    assert float(said[-1].split()[1]) < PATIENCE / 2
    found = delivered(str(tmp_path / "spool"), *map(str, range(3)))
    assert set(found) == {f"m {number}" for number in range(10_000)}


def test_a_record_at_the_very_end_starts_no_thread_and_is_kept(place: str) -> None:
    said = ran(
        """
import atexit
from pqadapters.logging._delivery import listener
listener._EXIT = listener._JOIN = 30  # seconds that its thread has to end: with it there, less is torn down in order
handler = QueueHandler(place, handlers=[Telling()])
logger.addHandler(handler)

class Late:
    def __del__(self):
        before = threading.active_count()
        logger.info("late")
        say("started", threading.active_count() - before)

late = Late()
atexit.register(lambda: logger.info("at the end"))
""",
        place,
    )
    assert "started 0" in said
    found = {*said, *(f"got {message}" for message in delivered(place))}
    assert "got at the end" in found
    assert "got late" in found or place.startswith("sqlite")  # which is closed, and can't be opened again that late


def test_a_spool_in_memory_ends_without_a_traceback() -> None:
    """The store had let go of all claims by then, that of the turn too, and the thread that delivers told of it."""
    body = """
from pqadapters.logging._delivery import listener
listener._EXIT = 30  # seconds that it has to deliver it
logger.addHandler(QueueHandler(place, handlers=[Telling()]))
logger.info("it")
"""
    with running(body, "memory:") as process:
        said, errors = process.communicate(timeout=PATIENCE)
    assert "got it" in said
    assert not errors


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_a_listener_that_nobody_stops_ends_before_its_queue_lets_go_of_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It met a store that was closed, and a line on stderr said of each such program that log records wait."""
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path))
    body = f"""
from pqadapters.stdlib.queue import {kind}
queue = {kind}()
logger.addHandler(QueueHandler(queue))
listener = QueueListener(queue, Telling())
listener.start()
logger.info("it")
listener.flush()
"""
    with running(body, tmp_path) as process:
        said, errors = process.communicate(timeout=PATIENCE)
    assert said.split("\n") == ["got it", ""]
    assert not errors


def test_logging_shutdown_with_a_store_that_cannot_be_opened(tmp_path: Path) -> None:
    """It is said once, as logging says what goes wrong in a handler; the program ends well."""
    (tmp_path / "spool").write_text("no directory")
    said = ran(
        """
class Counting(QueueHandler):
    def handleError(self, record):
        say("can't keep", record.getMessage(), sys.exc_info()[1])
logging.getLogger().addHandler(Counting(place, handlers=[Telling()]))
logging.getLogger("app").error("it")
say(logging.getLogger().handlers[0].flush(0.1))
""",
        tmp_path / "spool",
    )
    assert [line for line in said if line.startswith(("can't keep it", "False"))] == [said[0], "False"]
    assert "is a file, where a directory of stores is to be" in said[0]


def test_what_was_stored_is_delivered_where_files_may_not_grow(tmp_path: Path) -> None:
    """`ulimit -f`: no acknowledgement of a batch found room, so that all of it was delivered again, twice a second."""
    said = ran(
        """
import resource
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
down, got, refused = [True], [], []

class Sometimes(logging.Handler):
    def emit(self, record):
        if down:
            raise ConnectionRefusedError
        got.append(record.getMessage())

class Handler(QueueHandler):
    def handleError(self, record):
        refused.append(str(sys.exc_info()[1]))

handler = Handler(place, handlers=[Sink(Sometimes(), backoff=(0.01, 0.01))])
logger.addHandler(handler)
for number in range(400):
    logger.info("%d %s", number, "x" * 1000)
down.clear()
assert handler.flush(20)
assert 0 < len(got) == 400 - len(refused), (len(got), len(refused))
say(refused[0])
logger.info("room again")
assert handler.flush(20) and got[-1] == "room again"
""",
        tmp_path / "spool",
    )
    assert "ulimit -f" in said[0]


def test_a_process_without_a_descriptor_to_spare_logs_on_with_a_limit(tmp_path: Path) -> None:
    """Its records were refused, since the directory couldn't be listed, though the open file had room."""
    ran(
        """
import resource
refused = []

class Handler(QueueHandler):
    def handleError(self, record):
        refused.append(sys.exc_info()[1])

logger.addHandler(Handler(place, max_bytes=1 << 20))
logger.info("0 %s", "x" * 1000)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for number in range(1, 50):
    logger.info("%d %s", number, "x" * 1000)
for descriptor in taken:
    os.close(descriptor)
assert not refused, (len(refused), refused[0])
with QueueListener(place, Telling()) as listener:
    assert listener.flush(30)
""",
        tmp_path / "spool",
    )
