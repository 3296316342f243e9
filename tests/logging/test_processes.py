"""Several processes on one spool: killed, forked, ended without a word; every record arrives, and none hangs."""

from __future__ import annotations

import random
import signal
from collections import defaultdict
from pathlib import Path

import pytest

from pqadapters.logging.handlers import QueueHandler, QueueListener, Sink
from pqadapters.opening import open_path

from .programs import ran, running
from .sinks import PATIENCE, Noting, logger_of, spool


@pytest.fixture(params=["directory", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "spool") if request.param == "directory" else f"sqlite:///{tmp_path}/spool.db"


def delivered(place: str, *names: str) -> list[str]:
    """What a listener of this process is still given, by one sink or by several."""
    sinks = [Sink(Noting(), name=name) for name in names or ("sink",)]
    with QueueListener(place, *sinks) as listener:
        assert listener.drain(PATIENCE)
    spool(listener).close()
    return [message for sink in sinks for message in sink.handler.messages]  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "sys.exit()", "pass"])
@pytest.mark.parametrize(
    "sink", ["", "Sink(Down(), name='sink')", "Sink(Down(), name='sink'), Sink(Telling(), name='x')"]
)
def test_what_a_process_could_not_deliver_is_delivered_by_the_next_one(place: str, end: str, sink: str) -> None:
    with running(
        f"""
logger.addHandler(QueueHandler(place, handlers=[{sink}]))
for number in range(100):
    logger.info("m %d", number)
say("logged")
{end}
""",
        place,
    ) as process:
        said, errors = process.communicate(timeout=PATIENCE)
        assert "logged" in said, errors
    with running("", place):
        pass
    found = delivered(place)
    if "Telling" in sink and place.startswith("sqlite"):  # one inbox, of which both sinks are this one's now
        assert set(found) == {f"m {number}" for number in range(100)}
    else:
        assert found == [f"m {number}" for number in range(100)]


def test_forked_children_log_on(place: str) -> None:
    """Each on a slot of its own, or all in one inbox; what they can't deliver themselves the parent does."""
    said = ran(
        """
handler = QueueHandler(place, handlers=[Telling()])
logger.addHandler(handler)
logger.info("parent 0")
children = []
for child in range(4):
    pid = os.fork()
    if not pid:
        for number in range(50):
            logger.info("child %d %d", child, number)
        if child % 2:
            handler.flush(30)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
logger.info("parent 1")
handler.listener.stop()
handler.listener.start()
assert handler.listener.drain(60)
""",
        place,
    )
    expected = {f"got child {child} {number}" for child in range(4) for number in range(50)} | {
        "got parent 0",
        "got parent 1",
    }
    assert set(said) == expected


def test_a_process_without_a_listener_leaves_its_records_to_one_that_has_one(place: str) -> None:
    ran("""
logger.addHandler(QueueHandler(place))
for number in range(10):
    logger.info("m %d", number)
""", place)
    assert delivered(place) == [f"m {number}" for number in range(10)]


def test_a_slot_in_which_only_dead_letters_are_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It stays, and nobody is kept from anything by it: there is nothing in it to be delivered, and nothing is said
    of it, however often it is looked at."""
    place = tmp_path / "spool"
    handler = QueueHandler(place)
    logger_of(handler).info("mine")  # so that the other process has a slot of its own
    body = """
class Refusing(logging.Handler):
    def emit(self, record):
        raise ValueError("no")
logger.addHandler(QueueHandler(place, handlers=[Sink(Refusing(), name="sink", retries=1)]))
logger.info("m")
say(logger.handlers[0].flush(30), logger.handlers[0].stats()["dead"])
os._exit(0)
"""
    assert ran(body, place) == ["True 1"]
    assert sorted(each.name for each in place.iterdir() if each.name.isdecimal()) == ["0", "1"]
    caplog.set_level("INFO", "pqadapters.logging")
    for _ in range(2):
        sink = Noting()
        with QueueListener(place, Sink(sink, name="sink")) as listener:
            assert listener.drain(PATIENCE)
        assert sink.messages in (["mine"], [])
    assert "dead process" not in caplog.text
    spool(handler).close()
    with open_path(place / "1") as store:
        (letter,) = store.browse("inbox.dead")
        assert "ValueError: no" in letter.note


WRITING = """
class Writing(logging.Handler):
    def __init__(self, path, is_down):
        super().__init__()
        self.out, self.is_down = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), is_down
    def emit(self, record):
        if self.is_down:
            raise ConnectionRefusedError
        os.write(self.out, (record.getMessage() + "\\n").encode())

run, outs = int(sys.argv[2]), sys.argv[3:]
options = {"backoff": (0.001, 0.01), "retries": 1_000_000}
sinks = [Sink(Writing(out, at > 0 and run % 2), name=str(at), **options) for at, out in enumerate(outs)]
logger.addHandler(QueueHandler(place, handlers=sinks))

def work(thread):
    for number in range(100_000):
        logger.info("%d %d %d", run, thread, number)
        say(run, thread, number)

for thread in range(2):
    threading.Thread(target=work, args=(thread,)).start()
"""


@pytest.mark.parametrize("sinks", [1, 2])
def test_random_kills_lose_nothing_and_repeat_a_batch_at_most(place: str, tmp_path: Path, sinks: int) -> None:
    """Two threads log, sinks write what they get, one of two is down in every other run; the process is killed again
    and again. In order for each thread."""
    kills = 15
    chance = random.Random(5)
    outs = [tmp_path / f"out {sink}" for sink in range(sinks)]
    said: dict[tuple[str, str], int] = {}
    for run in range(kills):
        with running(WRITING, place, run, *outs) as process:
            assert process.stdout is not None
            lines = chance.randrange(1, 1500)
            for line in process.stdout:
                first, thread, number = line.split()
                said[first, thread] = int(number)
                lines -= 1
                if not lines:
                    process.send_signal(signal.SIGKILL)
    last = [Noting() for _ in outs]
    with QueueListener(place, *[Sink(sink, name=str(at)) for at, sink in enumerate(last)]) as listener:
        assert listener.drain(PATIENCE)
    spool(listener).close()
    for out, sink in zip(outs, last, strict=True):
        _check([*out.read_text().splitlines(), *sink.messages], said, 200 * kills)


def _check(lines: list[str], said: dict[tuple[str, str], int], most: int) -> None:
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    for line in lines:
        run, thread, number = line.split()
        numbers[run, thread].append(int(number))
    for key, last in said.items():
        first_times = list(dict.fromkeys(numbers[key]))
        assert first_times == list(range(len(first_times)))
        assert len(first_times) > last
    assert len(lines) - len(set(lines)) <= most


def test_two_listeners_on_a_shared_store_take_turns(tmp_path: Path) -> None:
    """One delivers; when its process is killed the other goes on."""
    place = f"sqlite:///{tmp_path}/spool.db"
    body = """
handler = QueueHandler(place, handlers=[Telling()])
logger.addHandler(handler)
logger.info("first")
sys.stdin.readline()
logger.info("later")
sys.stdin.readline()
"""
    with running(body, place) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "got first\n"
        sink = Noting()
        logger = logger_of(QueueHandler(place, handlers=[sink]))
        logger.info("from the other one")
        assert process.stdout.readline() == "got from the other one\n"
        process.kill()
        process.wait()
        logger.info("alone")
        sink.until(lambda: "alone" in sink.messages)  # what was killed may not have acknowledged the one before
        assert sink.messages[-1] == "alone"
        logger.handlers[0].close()
        spool(logger.handlers[0]).close()
