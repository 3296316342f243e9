"""`logging.config.dictConfig` drives all of it. From Python 3.12 on it resolves queues and listeners itself, before
that the handler does. The listener starts at the first record."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from .programs import ran

SINK = """
import gc, logging.config
KEY = "class"
class Telling(logging.Handler):
    def emit(self, record):
        say("got", record.levelname, self.format(record))
def making():
    from pqadapters.logging.handlers import QueueListener
    return QueueListener
def configure(**durable):
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"short": {"format": "%(name)s %(message)s"}},
        "handlers": {
            "telling": {"()": Telling, "formatter": "short", "level": "WARNING"},
            "durable": {KEY: "pqadapters.logging.handlers.QueueHandler", **durable},
        },
        "root": {"level": "DEBUG", "handlers": ["durable"]},
    })
    gc.collect()
def log():
    logging.getLogger("app").info("quiet")
    logging.getLogger("app").error("loud %d", 1)
"""
END = """
log()
handler = logging.getHandlerByName("durable") if hasattr(logging, "getHandlerByName") else logging._handlers["durable"]
say(handler.flush(30), type(handler.listener).__name__, type(handler.queue).__name__)
"""
CONFIGURATIONS: dict[str, str] = {
    "path": "path=place",
    "a factory of queues": 'queue={"()": "pqadapters.logging.SpoolQueue", "path": place}',
    "a listener's class": 'path=place, listener="pqadapters.logging.handlers.QueueListener"',
    "what makes a listener": 'path=place, listener={"()": making}',
    "the standard library's listener": 'path=place, listener="logging.handlers.QueueListener"',
    "options": 'path=place, durability="power", max_bytes=1 << 20, when_full="drop_oldest"',
}


@pytest.mark.parametrize("key", ["class", "()"])
@pytest.mark.parametrize("given", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_a_handler_and_its_listener(tmp_path: Any, given: str, key: str) -> None:
    said = ran(f"{SINK}KEY = {key!r}\nconfigure(handlers=['telling'], {given}){END}", tmp_path / "spool")
    assert said == ["got INFO app quiet", "got ERROR app loud 1", "True QueueListener SpoolQueue"]


@pytest.mark.parametrize("key", ["class", "()"])
def test_neither_path_nor_queue(tmp_path: Any, key: str) -> None:
    """From Python 3.12 on dictConfig makes a queue in memory then, which was taken without a word."""
    said = ran(
        f"""{SINK}
import warnings
KEY = {key!r}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        configure(handlers=["telling"])
    except ValueError as error:
        say("refused", error.__cause__)
    say(*(each.category.__name__ for each in caught))
""",
        tmp_path / "spool",
    )
    if key == "class" and sys.version_info >= (3, 12):
        assert said == ["NotDurableWarning"]
    else:
        assert said == ["refused queue is a directory, a URL or a queue", ""]


def test_a_queue_whose_options_are_elsewhere(tmp_path: Any) -> None:
    """cfg:// and ext:// were taken for the URL of a store, which each record found out."""
    queue = '{"()": "pqadapters.logging.SpoolQueue", "path": "ext://__main__.place", "durability": "cfg://words.safe"}'
    words = SINK.replace('"version": 1,', '"version": 1, "words": {"safe": "power"},')
    said = ran(f"{words}KEY = '()'\nconfigure(handlers=['telling'], queue={queue}){END}", tmp_path / "spool")
    assert said == ["got INFO app quiet", "got ERROR app loud 1", "True QueueListener SpoolQueue"]


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("key", ["class", "()"])
def test_a_queue_that_is_a_directory_or_a_url(tmp_path: Any, key: str, url: bool) -> None:
    """From Python 3.12 on not beside "class": logging.config looks for a class of that name, and asks nobody else."""
    place = f"sqlite:///{tmp_path}/spool.db" if url else tmp_path / "spool"
    said = ran(
        f"""{SINK}KEY = {key!r}
try:
    configure(handlers=['telling'], queue=place)
except ValueError as error:
    say("refused", error.__cause__)
else:{END.replace(chr(10), chr(10) + "    ")}""",
        place,
    )
    if key == "class" and sys.version_info >= (3, 12):
        assert said[0].startswith(f"refused Cannot resolve {str(place)!r}")
    else:
        assert said == ["got INFO app quiet", "got ERROR app loud 1", "True QueueListener SpoolQueue"]


@pytest.mark.parametrize("key", ["class", "()"])
def test_a_queue_that_is_the_name_of_what_makes_it(tmp_path: Any, key: str) -> None:
    said = ran(
        f"""{SINK}KEY = {key!r}
import types
from pqadapters.logging import SpoolQueue
sys.modules["app"] = types.ModuleType("app")
sys.modules["app"].make_queue = lambda: SpoolQueue(place)
configure(handlers=["telling"], queue="app.make_queue"){END}""",
        tmp_path / "spool",
    )
    assert said[-1] == "True QueueListener SpoolQueue"


def test_a_directory_with_a_dot_in_its_name(tmp_path: Any) -> None:
    """Python 3.10 and 3.11 took it for the name of a class wherever it was given; a configuration still does."""
    said = ran(
        f"""{SINK}KEY = "()"
os.chdir(place)
logger.addHandler(QueueHandler("logs.d", handlers=[Telling()]))
logger.info("there")
say(logger.handlers[0].flush(30), os.listdir())
try:
    configure(handlers=["telling"], queue="more.logs")
except ValueError as error:
    say(error.__cause__)
configure(handlers=["telling"], queue="./more.logs"){END}""",
        tmp_path,
    )
    assert said[:2] == ["got INFO there", "True ['logs.d']"]
    assert said[2] == "Cannot resolve 'more.logs': No module named 'more'; the directory of that name is ./more.logs"
    assert said[-1] == "True QueueListener SpoolQueue"


def test_levels_of_the_sinks(tmp_path: Any) -> None:
    given = "handlers=['telling'], respect_handler_level=True, path=place"
    said = ran(f"{SINK}configure({given}){END}", tmp_path / "spool")
    assert said == ["got ERROR app loud 1", "True QueueListener SpoolQueue"]


def test_several_sinks_and_one_with_options(tmp_path: Any) -> None:
    said = ran(
        f"""{SINK}
from pqadapters.logging.handlers import Sink
logging.config.dictConfig({{
    "version": 1,
    "handlers": {{
        "a": {{"()": Telling}},
        "plain": {{"()": Telling}},
        "b": {{"()": Sink, "handler": "plain", "retries": 3}},
        "durable": {{
            "class": "pqadapters.logging.handlers.QueueHandler", "path": place, "handlers": ["a", "b"],
        }},
    }},
    "root": {{"level": "DEBUG", "handlers": ["durable"]}},
}}){END.replace("say(", "handler.flush(30); say(sorted(handler.stats()['sinks']), ")}""",
        tmp_path / "spool",
    )
    assert sorted(said[:-1]) == sorted(["got INFO quiet", "got ERROR loud 1"] * 2)
    assert said[-1].startswith("['a', 'b'] True")


def test_configured_again(tmp_path: Any) -> None:
    """The first handler is closed; what it hadn't delivered yet the second one does."""
    said = ran(
        f"""{SINK}
class Down(logging.Handler):
    def emit(self, record):
        raise ConnectionRefusedError
plain = Telling
Telling = Down
configure(handlers=["telling"], path=place)
logging.getLogger("app").error("first")
Telling = plain
configure(handlers=["telling"], path=place){END}""",
        tmp_path / "spool",
    )
    assert said[:-1] == ["got ERROR app first", "got INFO app quiet", "got ERROR app loud 1"]


@pytest.mark.parametrize("close", ["logging.config.dictConfig({'version': 1})", "logging.shutdown()"])
def test_a_handler_that_is_closed_and_used_delivers_on(tmp_path: Any, close: str) -> None:
    """As a file is opened again. What uvicorn or Django configures closed the root's handler, and until the process
    ended nothing was delivered any more."""
    said = ran(
        f"""{SINK}
from pqadapters.logging._delivery import listener as _listener
_listener._EXIT = 30
handler = QueueHandler(place, handlers=[Telling()])
logging.getLogger().addHandler(handler)
logging.error("before")
{close}
say("closed")
logging.error("behind")
say(handler.flush(30))
handler.listener.stop()
{close}
logging.error("behind a stop on purpose")
say(handler.flush(0.1))
""",
        tmp_path / "spool",
    )
    assert said == ["got ERROR before", "closed", "got ERROR behind", "True", "False"]


@pytest.mark.parametrize("kind", ["a directory", "a shared store", "a queue"])
def test_a_forked_child_uses_one_that_was_closed(tmp_path: Any, kind: str) -> None:
    """The parent's listener, which isn't the child's, kept it from starting its own."""
    said = ran(
        """
from pqadapters.stdlib.queue import Queue
kind = sys.argv[2]
queue = {"a directory": place, "a shared store": f"sqlite:///{place}.db"}.get(kind) or Queue(path=place)
handler = QueueHandler(queue, handlers=[Telling()])
logger.addHandler(handler)
logger.info("1")
handler.close()
logger.info("2")
assert handler.flush(30)
if not (child := os.fork()):
    logger.info("3")
    os._exit(handler.listener.sinks() is None)
say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
        tmp_path / "spool",
        kind,
    )
    assert "0" in said


def test_a_handler_that_a_logger_keeps_makes_way_to_the_one_that_is_configured_next(tmp_path: Any) -> None:
    said = ran(
        f"""{SINK}
old = logging.getLogger("old")
old.propagate = False
configure(handlers=["telling"], path=place)
first = logging.getLogger().handlers[0]
old.addHandler(first)
class Telling(Telling):
    def emit(self, record):
        say("next got", self.format(record))
configure(handlers=["telling"], path=place)
second = logging.getLogger().handlers[0]
old.error("1")
assert first.flush(30)
logging.getLogger("app").error("2")
assert second.flush(30)
old.error("3")
assert second.flush(30)
""",
        tmp_path / "spool",
    )
    assert said == ["got ERROR old 1", "next got app 2", "next got old 3"]


def test_a_handler_is_closed_while_a_thread_in_its_store_waits_for_logging(tmp_path: Any) -> None:
    """`dictConfig` closes handlers with the lock of `logging` held, which the garbage collector takes where it finds a
    handler, in any thread, the store's lock held or not: each waited for the other, for ever."""
    said = ran(
        """
lock = logging._lock
handler = QueueHandler(place, handlers=[Telling()])
logger.addHandler(handler)
logger.info("1")
assert handler.flush(30)
store = handler.queue.spool.store
inside, closing = threading.Event(), threading.Event()

def collect(depth):
    inside.set()
    closing.wait()
    with lock:
        return True

thread = threading.Thread(target=store.wait, args=("inbox", collect))
thread.start()
inside.wait()
with lock:
    closing.set()
    handler.flush()
    handler.close()
thread.join()
for each in threading.enumerate():
    if each.name == "pqadapters-logging-closing":
        each.join()
logger.info("2")
say(handler.flush(30))
""",
        tmp_path / "spool",
    )
    assert said == ["got 1", "got 2", "True"]


def test_a_queue_of_the_programs_own_keeps_working(tmp_path: Any) -> None:
    said = ran(
        f"""{SINK}
import queue
configure(handlers=["telling"], queue={{"()": "queue.Queue"}})
log()
handler = logging.getLogger().handlers[0]
handler.listener.stop()
say(type(handler.queue))""",
        tmp_path,
    )
    assert said == ["got INFO app quiet", "got ERROR app loud 1", "<class 'queue.Queue'>"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("path=place, max_bytes=1", "at least"),
        ("path=place, nonsense=1", "nonsense"),
        ("queue={'path': place}", "path"),
        ("path=place, listener=3", "listener"),
        ("path=place, listener='nowhere.Listener'", "nowhere"),
    ],
)
def test_mistakes_are_errors_of_the_configuration(tmp_path: Any, given: str, message: str) -> None:
    said = ran(
        f"""{SINK}
try:
    configure(handlers=["telling"], {given})
except ValueError as error:
    parts = []
    while error is not None:
        parts.append(str(error))
        error = error.__cause__ or error.__context__
    say(*parts)
else:
    say("no error")
""",
        tmp_path / "spool",
    )
    assert "Unable to configure handler 'durable'" in said[0]
    assert message in " ".join(said)


def test_a_sinks_own_formatter_level_and_filters(tmp_path: Any) -> None:
    """They were nobody's, in silence. The sink is configured before its handler."""
    said = ran(
        SINK
        + """
from pqadapters.logging import Sink
logging.config.dictConfig({
    "version": 1,
    "formatters": {"short": {"format": "short %(message)s"}},
    "filters": {"odd": {"()": lambda: lambda record: record.args[0] % 2}},
    "handlers": {
        "a": {"()": Sink, "handler": "b", "formatter": "short", "level": "WARNING", "filters": ["odd"]},
        "b": {"()": Telling},
        "durable": {"()": "pqadapters.logging.handlers.QueueHandler", "path": place, "handlers": ["a"],
                    "respect_handler_level": True},
    },
    "root": {"level": "DEBUG", "handlers": ["durable"]},
})
for number in range(4):
    (logging.info, logging.error)[number > 1]("%d", number)
say(logging.root.handlers[0].flush(30))
""",
        tmp_path / "spool",
    )
    assert said == ["got ERROR short 3", "True"]
