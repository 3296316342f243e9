"""Records that can't be decoded, or were tried too often: out of the way, with the reason, and back again."""

from __future__ import annotations

import logging
import pickle
import sys
import types
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.errors import DiskError, NotSerializable
from pqadapters.stdlib._lines import aside, stock
from pqadapters.stdlib.queue import Empty, Queue
from pqadapters.store import Capabilities, Claim, Put, Store, dead_queue
from pqadapters.stores.memory import MemoryData, MemoryStore

from .background import Background, Watched
from .conftest import Place


class Explodes:
    """An item whose bytes can't become an item again."""

    def __reduce__(self) -> Any:
        return (int, ("not a number",))


class Wordless(Exception):
    """Whoever asks for its text gets another exception."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Exits(Exception):
    """Whoever asks for its text ends the program."""

    def __str__(self) -> str:
        sys.exit(3)


def wordless() -> None:
    raise Wordless


def exits() -> None:
    raise Exits


class Spoils:
    """An item whose bytes call this when they are to become an item again."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def __reduce__(self) -> Any:
        return self._function, ()


def newer(name: str = "newer_version") -> bytes:
    """What a newer version of this program put: its module isn't here."""
    module = types.ModuleType(name)
    kind = type("Job", (), {"__module__": name})
    module.Job = kind  # type: ignore[attr-defined]
    sys.modules[name] = module
    try:
        return pickle.dumps(kind())
    finally:
        del sys.modules[name]


@pytest.fixture
def shared() -> MemoryStore:
    """A store that other processes share, as far as its word goes."""

    class Shared(MemoryStore):
        capabilities = Capabilities(processes=True)

    return Shared(MemoryData())


def test_a_poison_item_goes_to_the_dead_letters_and_the_next_one_is_served(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    q: Queue[Any] = Queue(store=store)
    q.put_many([Explodes(), 1, Explodes(), 2])
    with caplog.at_level(logging.ERROR, "pqadapters.queue"):
        assert q.get_nowait() == 1
    assert q.get_many(5) == [2]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "ValueError" in caplog.text
    (first, _) = q.dead_letters()
    assert isinstance(first.item, bytes)
    assert "invalid literal for int()" in first.reason
    assert first.attempts == 1
    assert (q.stats()["dead"], q.stats()["buried"], q.unfinished_tasks) == (2, 2, 2)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(wordless, "Wordless, whose text can't be"), (exits, "Exits, whose text can't be"), (sys.exit, "SystemExit")],
)
def test_what_an_item_ends_with_does_not_stand_in_the_way(store: Store, spoil: Any, reason: str) -> None:
    """An error without a text, or the exit of a module that is a script as well, came back from every get for ever."""
    q: Queue[Any] = Queue(store=store)
    q.put_many([Spoils(spoil), 1])
    assert q.get_nowait() == 1
    (letter,) = q.dead_letters()
    assert reason in letter.reason
    assert isinstance(letter.item, bytes)


def wordy() -> None:
    raise ValueError("\udcff" * 1_000_000)


def test_what_an_error_says_is_kept_as_far_as_any_store_takes_it(store: Store) -> None:
    q: Queue[Any] = Queue(store=store)
    q.put(Spoils(wordy))
    with pytest.raises(Empty):
        q.get_nowait()
    (letter,) = q.dead_letters()
    assert letter.reason.startswith(r"can't be decoded: ValueError: \udcff")
    assert len(letter.reason) < 20_000


def _exits_once(codec: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """As where SIGTERM comes in the middle of the first call."""
    signals = [SystemExit()]

    def interrupted(payload: bytes) -> Any:
        if signals:
            raise signals.pop()
        return codec(payload)

    return interrupted


def test_an_exit_in_the_middle_of_a_codec_is_no_fault_of_the_item(store: Store) -> None:
    """SIGTERM's handler may call sys.exit()."""
    q: Queue[int] = Queue(store=store)
    q.put(1)
    q._line.loads = _exits_once(q._line.loads)
    with pytest.raises(SystemExit):
        q.get()
    assert q.get() == 1
    assert q.dead_letters() == []


def test_an_exit_as_the_dead_letters_are_looked_at_is_raised(store: Store) -> None:
    """SIGTERM's was swallowed, and the letter shown as its bytes."""
    store.commit(Put(dead_queue("default"), pickle.dumps("a")))
    q: Queue[Any] = Queue(store=store)
    q._line.decode = _exits_once(q._line.decode)
    with pytest.raises(SystemExit):
        q.dead_letters()
    assert [letter.item for letter in q.dead_letters()] == ["a"]


@pytest.mark.parametrize("error", [Wordless, Exits])
def test_an_error_without_a_text_is_said_to_be_one(store: Store, error: type[Exception]) -> None:
    class Unwilling:
        def __reduce__(self) -> Any:
            raise error

    with pytest.raises(NotSerializable, match=f"{error.__name__}, whose text"):
        Queue[Any](store=store).put(Unwilling())


def test_a_queue_of_poison_is_empty(store: Store) -> None:
    q: Queue[Any] = Queue(store=store)
    q.put_many([Explodes(), Explodes()])
    with pytest.raises(Empty):
        q.get_nowait()
    q.put(Explodes())
    with pytest.raises(Empty):
        q.get(timeout=0.01)
    assert len(q.dead_letters()) == 3
    q.join()


@pytest.mark.exclusive
def test_a_missing_class_is_set_aside_and_the_next_version_finds_it_at_once_in_its_place(place: Place) -> None:
    store = place.open()
    store.commit(Put("default", newer()), Put("default", pickle.dumps("ours")))
    q: Queue[Any] = Queue(store=store)
    assert q.get() == "ours"
    with pytest.raises(Empty):
        q.get_nowait()
    assert (q.dead_letters(), q.stats()["set_aside"], q.unfinished_tasks) == ([], 1, 2)
    again: Queue[Any] = Queue(store=place.restart())
    module = types.ModuleType("newer_version")
    module.Job = type("Job", (), {"__module__": "newer_version"})  # type: ignore[attr-defined]
    sys.modules["newer_version"] = module
    try:
        assert type(again.get_nowait()).__name__ == "Job"
    finally:
        del sys.modules["newer_version"]


@pytest.mark.exclusive
def test_what_is_set_aside_is_given_back_when_the_queue_is_closed_and_its_store_is_not(store: Store) -> None:
    store.commit(Put("default", newer()))
    with Queue[Any](store=store) as q, pytest.raises(Empty):
        q.get_nowait()
    assert store.depth("default").ready == 1


def test_after_an_hour_a_missing_class_is_a_dead_letter(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit(Put("default", newer()))
    q: Queue[Any] = Queue(store=store)
    monkeypatch.setattr(aside, "PATIENCE", 0.0)
    with pytest.raises(Empty):
        q.get_nowait()
    with pytest.raises(Empty):
        q.get_nowait()
    (letter,) = q.dead_letters()
    assert "No module named 'newer_version'" in letter.reason
    q.join()


@pytest.mark.exclusive
def test_a_burial_that_fails_is_tried_again(store: Store) -> None:
    class Fails(Watched):
        broken = False

        def commit(self, *ops: Any, **options: Any) -> Any:
            if self.broken:
                raise DiskError(28, "disk full")
            return super().commit(*ops, **options)

    store.commit(Put("default", newer()))
    failing = Fails(store)
    q: Queue[Any] = Queue(store=failing)
    with pytest.raises(Empty):
        q.get_nowait()
    ((id, waiting),) = q._line.aside.claims.items()
    q._line.aside.claims[id] = waiting._replace(due=0.0)
    failing.broken = True
    with pytest.raises(OSError, match="disk full"):
        q.get_nowait()
    failing.broken = False
    with pytest.raises(Empty):
        q.get_nowait()
    assert (len(q.dead_letters()), q.stats()["set_aside"], q.stats()["buried"]) == (1, 0, 1)


def test_a_waiting_get_looks_after_what_is_set_aside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit(Put("default", newer()))
    monkeypatch.setattr(aside, "PATIENCE", 0.01)
    q: Queue[Any] = Queue(store=store)
    getter = Background(q.get)
    q.join()
    q.put(1)
    assert getter.result() == 1
    assert len(q.dead_letters()) == 1


def test_on_a_shared_store_a_missing_class_is_left_to_others_for_an_hour(shared: MemoryStore) -> None:
    shared.commit(Put("default", newer()))
    q: Queue[Any] = Queue(store=shared)
    with pytest.raises(Empty):
        q.get_nowait()
    (record,) = shared.browse("default", state=None)
    assert record.not_before - record.put_at > 3590
    assert shared.depth("default").claimed == 0
    assert q.dead_letters() == []


def test_on_a_shared_store_the_second_meeting_is_the_last(shared: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "PATIENCE", -1.0)
    shared.commit(Put("default", newer()))
    q: Queue[Any] = Queue(store=shared)
    with pytest.raises(Empty):
        q.get_nowait()
    (letter,) = q.dead_letters()
    assert letter.attempts == 2


def test_too_many_attempts_make_a_dead_letter(place: Place) -> None:
    for _ in range(2):
        q: Queue[str] = Queue(store=place.restart(), max_attempts=2)
        if q.empty():
            q.put("kills")
        assert q.get_nowait() == "kills"
    q = Queue(store=place.restart(), max_attempts=2)
    with pytest.raises(Empty):
        q.get_nowait()
    (letter,) = q.dead_letters()
    assert letter.item == "kills"
    assert letter.reason == "claimed 2 times and never done (max_attempts=2)"


def test_attempts_are_counted_in_the_store_only_where_they_are_limited(store: Store) -> None:
    seen: list[bool] = []

    class Counting(Watched):
        def claim(self, queue: str, **options: Any) -> Any:
            seen.append(options["counted"])
            return super().claim(queue, **options)

    for attempts in (None, 3):
        q: Queue[int] = Queue(store=Counting(store), max_attempts=attempts)
        q.put(1)
        q.get()
    assert seen == [False, True]


def test_requeued_letters_are_items_again_in_one_commit(store: Store) -> None:
    watched = Watched(store)
    q: Queue[int] = Queue(store=watched, max_attempts=1)
    q.put_many(range(3))
    q.get_many(3)
    for _ in range(3):
        q.nack()
    with pytest.raises(Empty):
        q.get_nowait()
    letters = q.dead_letters()
    assert [each.item for each in letters] == [0, 1, 2]
    watched.calls.clear()
    assert q.requeue([letters[1].id]) == 1
    assert q.requeue() == 2
    assert q.requeue() == 0
    assert watched.calls[:2] == ["Ack,Put", "Ack,Put,Ack,Put"]
    assert q.get_many(5) == [1, 0, 2]
    assert q.dead_letters() == []


def test_a_requeue_that_fails_leaves_the_letters(store: Store) -> None:
    class Fails(Watched):
        def commit(self, *ops: Any, **options: Any) -> Any:
            if any(isinstance(op, Put) for op in ops) and len(ops) > 1:
                raise DiskError(28, "disk full")
            return super().commit(*ops, **options)

    q: Queue[Any] = Queue(store=Fails(store))
    q.put(Explodes())
    with pytest.raises(Empty):
        q.get_nowait()
    with pytest.raises(OSError, match="disk full"):
        q.requeue()
    assert len(q.dead_letters()) == 1
    assert store.depth("default.dead").ready == 1


def test_memory_running_out_is_no_poison(store: Store) -> None:
    q: Queue[int] = Queue(store=store)
    q.put(1)
    loads = q._line.loads

    def full(_: bytes) -> Any:
        raise MemoryError

    q._line.loads = full
    with pytest.raises(MemoryError):
        q.get()
    q._line.loads = loads
    assert q.get() == 1
    assert q.dead_letters() == []


class _Counted:
    """A store that notes how long each claim may wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.timeouts: list[float | None] = []

    def claim(self, queue: str, **options: Any) -> Any:
        self.timeouts.append(options["timeout"])
        return self._store.claim(queue, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_what_a_get_passes_over_gives_it_no_more_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(stock, "SYSTEM", SimpleNamespace(monotonic=lambda: now))
    counted: Any = _Counted(store)
    q: Queue[object] = Queue(store=counted)
    store.commit(Put(q.name, b"no pickle"), Put(q.name, b"none either"))

    def take_time(claim: Claim, reason: str) -> None:
        nonlocal now
        now += 20.0
        bury(claim, reason)

    bury = q._line.bury
    monkeypatch.setattr(q._line, "bury", take_time)
    with pytest.raises(Empty):
        q.get(timeout=40)
    assert counted.timeouts == [40.0, 20.0, 0.0]
