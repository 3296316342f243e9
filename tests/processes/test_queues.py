"""What `multiprocessing`'s queues do, in one process and with pools, executors and logging."""

from __future__ import annotations

import multiprocessing as stdlib
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import pool, resource_sharer
from pathlib import Path
from queue import Empty, Full
from typing import Any

import pytest

from pqadapters.errors import DiskError, NotSerializable, StoreError, StorePoisoned
from pqadapters.home import families
from pqadapters.opening import open_store
from pqadapters.stdlib import multiprocessing
from pqadapters.stdlib.multiprocessing import JoinableQueue, Queue, SimpleQueue, _shared_line
from pqadapters.stdlib.multiprocessing._family_line import FamilyLine
from pqadapters.store import Put
from pqadapters.stores.memory import MemoryStore

from ..contract.descriptors import open_below
from .harness import PATIENCE

pytestmark = pytest.mark.usefixtures("home")


def test_they_are_the_standard_librarys_classes() -> None:
    assert isinstance(Queue(), multiprocessing.queues.Queue)
    assert isinstance(Queue(), stdlib.queues.Queue)
    assert isinstance(JoinableQueue(), stdlib.queues.JoinableQueue)
    assert isinstance(SimpleQueue(), stdlib.queues.SimpleQueue)
    for kind in (Queue, JoinableQueue, SimpleQueue):
        theirs = {name for name in dir(getattr(stdlib.queues, kind.__name__)) if not name.startswith("_")}
        assert theirs <= set(dir(kind))
    assert set(stdlib.__all__) <= set(multiprocessing.__all__)
    assert multiprocessing.Process is stdlib.Process
    assert multiprocessing.pool is pool


@pytest.mark.parametrize("maxsize", [-1, 0, 3])
def test_the_most_that_programs_find_in_maxsize(maxsize: int) -> None:
    """Of a queue without a limit a large number: one that asked whether `q.qsize() < q._maxsize` never put."""
    theirs: Any = stdlib.Queue(maxsize)
    q: Queue[int] = Queue(maxsize)
    assert q._maxsize == theirs._maxsize
    assert not q.full()
    q.put(1)
    assert q.qsize() < q._maxsize
    assert not pickle.loads(pickle.dumps(q)).full()


def test_put_and_get(options: dict[str, Any]) -> None:
    q: Queue[Any] = Queue(2, **options)
    q.put(None)
    q.put({"a": (1, b"2")}, True, 5)
    assert (q.qsize(), q.empty(), q.full()) == (2, False, True)
    puts: list[Callable[[], object]] = [lambda: q.put_nowait(3), lambda: q.put(3, False), lambda: q.put(3, True, -1.0)]
    for refused in puts:
        with pytest.raises(Full):
            refused()
    assert q.get(timeout=-1.0) is None  # one is there
    assert q.get_nowait() == {"a": (1, b"2")}
    gets: list[Callable[[], object]] = [q.get_nowait, lambda: q.get(True, 0.01), lambda: q.get(True, -1.0)]
    for refused_get in gets:
        with pytest.raises(Empty):
            refused_get()


class Named(Queue[int]):
    def __init__(self, **options: Any) -> None:
        self.name = "mine"
        super().__init__(**options)


def test_attributes_of_a_subclass_take_the_place_of_ours(options: dict[str, Any]) -> None:
    """To set a `name` was an AttributeError."""
    q = Named(**options)
    q.put(1)
    assert (q.name, q.get()) == ("mine", 1)


def test_many_at_a_time(options: dict[str, Any]) -> None:
    q: Queue[int] = Queue(5, **options)
    q.put_many(range(5))
    with pytest.raises(Full):
        q.put_many([5], block=False)
    with pytest.raises(ValueError, match="never fit"):
        q.put_many(range(6))
    assert q.get_many(3) == [0, 1, 2]
    assert q.get_many(9, timeout=PATIENCE) == [3, 4]
    with pytest.raises(ValueError, match="none"):
        q.get_many(0)
    with pytest.raises(TypeError, match="a whole number"):
        q.get_many(1.5)  # type: ignore[arg-type]  # as a program without types has it
    with pytest.raises(Empty):
        q.get_many(1, timeout=0.0)


def test_prefetch(options: dict[str, Any]) -> None:
    q: Queue[int] = Queue(prefetch=8, **options)
    q.put_many(range(20))
    assert [q.get() for _ in range(20)] == list(range(20))
    q.close()
    assert q.stats()["unfinished"] == 0


@pytest.mark.parametrize("kind", [Queue, JoinableQueue, SimpleQueue])
def test_what_was_fetched_ahead_is_the_others_behind_close(kind: Any, options: dict[str, Any]) -> None:
    """Nobody had it as long as the process lived: whoever waited for it waited on."""
    q = kind(prefetch=8, **options)
    other = pickle.loads(pickle.dumps(q))
    for item in range(3):
        q.put(item)
    assert q.get() == 0
    q.close()
    assert other._reader.poll(PATIENCE)
    assert [other.get(), other.get()] == [1, 2]


def _puts_in_the_middle(q: Any, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a signal handler, say, while the queue is opened."""
    plain = getattr(_shared_line, step)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(_shared_line, step, plain)
        q.put("before")
        found = plain(*arguments, **options)
        q.put(None)
        return found

    monkeypatch.setattr(_shared_line, step, interrupted)


@pytest.mark.parametrize("kind", [Queue, JoinableQueue, SimpleQueue])
@pytest.mark.parametrize("step", ["found_family", "FamilyLine", "finish_at_exit"])
def test_what_is_put_in_the_middle_of_the_first_use_is_in_the_same_queue(
    kind: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in one of its own, which nobody looked at before the next run."""
    q = kind()
    _puts_in_the_middle(q, step, monkeypatch)
    q.put("own")
    assert q.stats()["ready"] == 3
    assert [q.get() for _ in range(3)] == ["before", None, "own"]


def test_what_is_put_while_a_queue_is_given_away_is_there_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there is less room."""
    q: Queue[Any] = Queue(1)
    _puts_in_the_middle(q, "found_family", monkeypatch)
    copy = pickle.loads(pickle.dumps(q))
    assert [copy.get(timeout=PATIENCE), q.get(timeout=PATIENCE)] == ["before", None]


def test_several_that_are_put_in_the_middle_of_the_first_use_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    q: Queue[int] = Queue()
    found_family = families.found_family

    def interrupted(*arguments: Any, **options: Any) -> Any:
        q.put_many([1, 2])
        return found_family(*arguments, **options)

    monkeypatch.setattr(_shared_line, "found_family", interrupted)
    q.put(3)
    assert [q.get(timeout=PATIENCE) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("forked", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, DiskError])
def test_what_was_put_in_the_middle_of_a_first_use_that_fails_is_there_behind_the_next_one(
    error: type[BaseException], forked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that is forked meanwhile doesn't put it as well."""
    q: Queue[str] = Queue()
    _puts_in_the_middle(q, "FamilyLine", monkeypatch)

    def fail(self: FamilyLine, *arguments: object, **options: object) -> None:
        patched.undo()
        raise error

    with monkeypatch.context() as patched:
        if error is KeyboardInterrupt:
            patched.setattr(FamilyLine, "put_within", fail)
        else:
            patched.setattr(FamilyLine, "__init__", fail)
        with pytest.raises(error):
            q.put("new")
    if forked:
        _shared_line._renew_all()
    q.put("again")
    expected = ["before"] if error is DiskError else ["before", None]
    assert [q.get() for _ in range(q.qsize())] == [*([] if forked else expected), "again"]


def test_what_was_put_in_the_middle_and_cannot_be_stored_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    q: Queue[Any] = Queue()
    found_family = families.found_family

    def interrupted(*arguments: Any, **options: Any) -> Any:
        q.put(lambda: None)
        return found_family(*arguments, **options)

    monkeypatch.setattr(_shared_line, "found_family", interrupted)
    q.put("own")
    assert "a put that interrupted the opening of queue '" in caplog.text
    assert (q.get(), q.empty()) == ("own", True)


def test_a_queue_has_loaded_its_store_before_anybody_uses_it(options: dict[str, Any]) -> None:
    """A signal handler that put in the middle of that import had half a module, and its put an ImportError."""
    head = "import pickle, sys; from pqadapters.stdlib.multiprocessing import Queue; q = "
    given = pickle.dumps(Queue(**options))
    for made in (f"Queue(**{options!r})", f"pickle.loads({given!r})"):
        program = f"{head}{made}; print('pqadapters.stores.sqlite' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE).stdout == b"True\n"


def test_what_is_put_as_the_opening_ends_is_in_the_same_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    q: Queue[str] = Queue()
    plain = _shared_line.SharedLine.__setattr__

    def puts(self: Any, name: str, value: object) -> None:
        if name == "line":
            monkeypatch.setattr(_shared_line.SharedLine, "__setattr__", plain)
            q.put("late")
        plain(self, name, value)

    monkeypatch.setattr(_shared_line.SharedLine, "__setattr__", puts)
    q._shared.open()
    assert q.qsize() == 1
    assert q.get() == "late"


@pytest.mark.parametrize("kind", [Queue, JoinableQueue, SimpleQueue])
def test_a_store_that_was_taken_away_works_again_behind_close(kind: Any, tmp_path: Path) -> None:
    """It was refused to every new queue until the old object was gone, though that was closed as the message says."""
    database = tmp_path / "queue.db"
    q = kind(store=f"sqlite:///{database}")
    q.put(1)
    q.put(2)
    assert q.get() == 1
    database.rename(tmp_path / "elsewhere")
    with pytest.raises(StorePoisoned, match="was removed, moved or replaced"):
        q.put(3)
    (tmp_path / "elsewhere").rename(database)
    with suppress(StorePoisoned):  # what it had in hand can't be acknowledged
        q.close()
    again = kind(store=f"sqlite:///{database}")
    again.put(4)
    assert [again.get() for _ in range(4)] == [1, 2, 3, 4]  # the refused one may have happened
    q.close()


def test_what_a_child_has_done_with_prefetch_is_done_at_its_end(context: Any, options: dict[str, Any]) -> None:
    q = context.Queue(prefetch=8, **options)
    q.put_many(range(20))
    process = context.Process(target=_take, args=(q, 18))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert [q.get(timeout=PATIENCE) for _ in range(2)] == [18, 19]
    q.close()
    assert q.stats()["unfinished"] == 0


def _take(queue: Any, count: int) -> None:
    assert [queue.get() for _ in range(count)] == list(range(count))


def test_close(options: dict[str, Any]) -> None:
    q: Queue[int] = Queue(**options)
    q.put(1)
    q.put(2)
    assert q.get() == 1
    with pytest.raises(AssertionError, match="not closed"):
        q.join_thread()
    q.cancel_join_thread()
    q.close()
    q.close()
    q.join_thread()
    uses: list[Callable[[], object]] = [lambda: q.put(3), q.get, q.get_nowait]
    for use in uses:
        with pytest.raises(ValueError, match="is closed"):
            use()
    with pytest.raises(OSError, match="is closed"):
        q.empty()
    assert q.stats()["unfinished"] == 1  # 1 is done, 2 stays


@pytest.mark.parametrize("put", [lambda q: q.put(1), lambda q: q.put_many([1])])
def test_one_that_was_written_to_and_closed_isnt_asked_any_more(put: Callable[[Any], object]) -> None:
    q: Queue[int] = Queue()
    put(q)
    q.close()
    with pytest.raises(OSError, match="is closed"):
        q.empty()


def test_closing_a_simple_queue_acknowledges_what_was_in_hand(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    q: SimpleQueue[int] = SimpleQueue(store=url)
    q.put(1)
    q.put(2)
    assert q.get() == 1
    q.close()
    other: SimpleQueue[int] = SimpleQueue(store=url)
    assert other.get() == 2
    assert other.stats()["unfinished"] == 1


def test_a_store_that_one_process_has_for_itself_is_closed_again_where_we_opened_it(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/jobs"
    with pytest.raises(ValueError, match="for one process") as kept:
        Queue(store=url)
    assert kept.value.__traceback__ is not None  # which keeps what isn't closed
    assert open_below(tmp_path) == []
    with open_store(url) as store:
        with pytest.raises(ValueError, match="for one process"):
            Queue(store=store)
        store.commit(Put("q", b""))


def test_a_simple_queue(options: dict[str, Any]) -> None:
    q: SimpleQueue[int] = SimpleQueue(**options)
    assert q.empty()
    q.put(1)
    q.put(2)
    assert not q.empty()
    assert [q.get(), q.get()] == [1, 2]
    q.close()
    uses: list[Callable[[], object]] = [lambda: q.put(3), q.get, q.empty]
    for use in uses:
        with pytest.raises(OSError, match="is closed"):
            use()


def test_what_cannot_be_serialised_is_refused(options: dict[str, Any]) -> None:
    q: Queue[Any] = Queue(**options)
    puts: list[Callable[[], object]] = [lambda: q.put(lambda: 0), lambda: q.put_many([1, threading.Lock()])]
    for refused in puts:
        with pytest.raises(NotSerializable, match="Nothing was stored") as refusal:
            refused()
        assert "volatile" not in str(refusal.value)  # was advised, and isn't there for queues that processes share
    assert q.empty()


def test_a_subclass_may_deal_with_it() -> None:
    seen = []

    class Safe(Queue[Any]):
        @staticmethod
        def _on_queue_feeder_error(error: Exception, item: object) -> None:
            seen.append((type(error), item))

    q, lock = Safe(), threading.Lock()
    q.put(lock)
    q.put(1)
    assert seen == [(TypeError, lock)]
    assert q.get() == 1


def test_task_done_and_join(options: dict[str, Any]) -> None:
    q: JoinableQueue[int] = JoinableQueue(**options)
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    for item in range(3):
        q.put(item)
    for _ in range(3):
        q.get()
        q.task_done()
    q.join()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


@pytest.mark.parametrize("ack", [None, "next", "task_done"])
def test_task_done_behind_close(ack: str | None) -> None:
    """close() had taken what was in hand for done, so the calls were counted for what is still there: join() ended."""
    q: JoinableQueue[int] = JoinableQueue(ack=ack)
    q.put_many(range(5))
    assert [q.get() for _ in range(3)] == [0, 1, 2]
    q.close()
    for unfinished in (4, 3, 2):
        q.task_done()
        assert q.stats()["unfinished"] == unfinished


def test_items_given_back_and_dead_letters(options: dict[str, Any]) -> None:
    q: Queue[str] = Queue(max_attempts=2, **options)
    q.put("a")
    for _ in range(2):
        assert q.get() == "a"
        q.nack()
    with pytest.raises(Empty):
        q.get_nowait()
    assert [(letter.item, letter.attempts) for letter in q.dead_letters()] == [("a", 3)]
    assert q.requeue() == 1
    assert q.get() == "a"
    with pytest.raises(ValueError, match="delay"):
        q.nack(delay=-1.0)


def test_a_queue_without_task_done_counts_no_calls_of_it() -> None:
    """With ack="get" all that was ever handed out was unfinished, in `stats()`."""
    q: Queue[int] = Queue(ack="get")
    q.put(1)
    assert q.get() == 1
    assert q.stats()["unfinished"] == 0


def test_a_joinable_queue_knows_its_items_however_they_are_done() -> None:
    """With ack="next" nobody held what `nack(item)` named, and `stats()` counted no `task_done()`."""
    q: JoinableQueue[str] = JoinableQueue(ack="next")
    q.put_many(["a", "b"])
    assert q.get() == "a"
    q.nack("a")
    assert [q.get(), q.get()] == ["a", "b"]
    assert q.stats()["unfinished"] == 2
    for unfinished in (1, 0):
        q.task_done()
        assert q.stats()["unfinished"] == unfinished


def test_the_ends_of_a_pipe_that_is_not_there() -> None:
    q: Any = Queue()
    assert not q._reader.poll()
    q.put(1)
    assert q._reader.poll(5.0)
    assert q._poll()
    assert not q._writer.closed
    with pytest.raises(OSError, match="no pipe"):
        q._reader.fileno()
    q.close()
    assert q._reader.closed


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"store": "memory:"}, ValueError, "one process"),
        ({"store": MemoryStore()}, ValueError, "one process"),
        ({"store": 5}, TypeError, "store is"),
        ({"store": "nowhere:///x"}, ValueError, "names no store"),
        ({"store": "jobs.db"}, ValueError, "^'jobs.db' names no store"),  # not a path that nobody has written
        ({"store": "sqlite:jobs.db"}, ValueError, "^'sqlite:jobs.db': write sqlite:///"),
        ({"store": ""}, ValueError, "^'' names no store"),
        ({"store": "sqlite:///:memory:"}, ValueError, "memory:"),  # was a file of that name
        ({"store": "sqlite:///"}, ValueError, "^'sqlite:///': write sqlite:///"),
        ({"name": ""}, ValueError, "empty"),
        ({"name": 5}, TypeError, "str"),
        ({"maxsize": None}, TypeError, "integer"),  # at once, as the standard library's; was found by the first put
        ({"maxsize": "5"}, TypeError, "integer"),
        ({"ack": "task_done"}, ValueError, "JoinableQueue"),
        ({"ack": "never"}, ValueError, "ack is one of"),
        ({"serializer": "yaml"}, ValueError, "no serializer"),
        ({"max_attempts": 0}, ValueError, "too few"),
        ({"durability": "wishful"}, ValueError, "durability"),
        ({"name": "x", "prefetch": 0}, ValueError, "prefetch"),
        ({"prefetch": 0}, ValueError, "prefetch"),  # was found by the first put
        ({"name": "x", "prefetch": 1.5}, TypeError, "prefetch"),  # was found by the first get
        ({"max_lag": "x"}, TypeError, "max_lag"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Queue(**arguments)


@pytest.mark.parametrize("variable", ["PQADAPTERS_ACK", "PQADAPTERS_DURABILITY", "PQADAPTERS_URL"])
def test_a_wrong_word_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "somewhere")
    with pytest.raises(ValueError, match=f"{variable}.*somewhere"):
        Queue(name="jobs")


def test_a_segment_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one process"):
        Queue(store=f"file://{tmp_path}/directory")


@pytest.mark.parametrize("home", ["file/home", "x" * 300, "/".join(["x" * 100] * 5)])
def test_a_home_that_cannot_be_used(home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PQADAPTERS_HOME", str(tmp_path / home))
    q: Queue[int] = Queue()
    with pytest.raises(StoreError, match="PQADAPTERS_HOME"):
        q.put(1)


def test_sockets_do_not_outlive_their_run() -> None:
    """What can't come back is a dead letter, and the next one is served."""
    q: Queue[Any] = Queue()
    with socket.socket() as one:
        q.put(one)
    resource_sharer.stop()
    q.put("next")
    assert q.get(timeout=PATIENCE) == "next"
    (letter,) = q.dead_letters()
    assert "can't be decoded" in letter.reason


def test_the_environment_says_when_an_item_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a queue without task_done(), what goes for it."""
    for word, unfinished in (("get", 0), ("next", 1), ("task_done", 1)):
        monkeypatch.setenv("PQADAPTERS_ACK", word)
        q: Queue[int] = Queue()
        q.put(1)
        assert q.get() == 1
        assert q.stats()["unfinished"] == unfinished
    monkeypatch.setenv("PQADAPTERS_ACK", "never")
    for kind in (Queue, JoinableQueue):
        with pytest.raises(ValueError, match="PQADAPTERS_ACK"):
            kind()
    with pytest.raises(ValueError, match=r"^ack"):
        JoinableQueue(ack="never")


def test_a_queue_that_was_closed_and_never_written_to_is_still_asked() -> None:
    """As the standard library's, which closes its pipe in the thread that writes to it."""
    q: Queue[int] = Queue()
    end = q._reader
    q.close()
    assert q.empty()
    with pytest.raises(OSError, match="handle is closed"):
        end.poll()


def test_a_subclass_without_qsize_can_be_asked_whether_it_is_empty_or_full() -> None:
    class Sizeless(Queue[int]):
        def qsize(self) -> int:
            raise NotImplementedError

    q = Sizeless(1)
    assert (q.empty(), q.full()) == (True, False)
    q.put(1)
    assert (q.empty(), q.full()) == (False, True)


def test_a_negative_timeout_is_none() -> None:
    q: Queue[int] = Queue()
    with pytest.raises(Empty):
        q.get(True, -1.0)
    with pytest.raises(Empty):
        q.get_many(1, timeout=-1.0)
    q.put(1)
    assert q.get(timeout=-1.0) == 1
