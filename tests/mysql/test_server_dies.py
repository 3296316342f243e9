"""The server is killed, started again, and silent: nothing acknowledged is lost, nothing is done twice."""

from __future__ import annotations

import math
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pymysql
import pytest

from pqadapters.errors import OutcomeUnknown, PqadaptersError, StoreUnreachable
from pqadapters.stdlib.queue import Queue
from pqadapters.store import LOCK_TIMEOUT, Ack, Claim, Clear, Op, Put, Set
from pqadapters.stores._handle import Wish
from pqadapters.stores.mysql import MysqlStore, reader, wire
from pqadapters.stores.mysql.address import address_of
from pqadapters.stores.mysql.schema import Statements
from pqadapters.stores.mysql.wire import Dialer, Failed
from tests.contract.snapshot import payloads
from tests.contract.threads import Task, together
from tests.segment.programs import PATIENCE

from .server import Server
from .test_queues import KEY


@pytest.fixture
def on_mortal(mortal: Server) -> Iterator[str]:
    """A database on the server that may be killed."""
    with mortal.database() as url:
        yield url
        if not mortal.runs:
            mortal.start()


def test_i1_what_was_committed_is_there_after_sigkill_and_claims_go_on(mortal: Server, on_mortal: str) -> None:
    with MysqlStore(on_mortal) as store:
        ids = store.commit(Put("q", b"a"), Put("q", b"b"), Set("t", b"k", b"v"))
        (claim,) = store.claim("q")
        mortal.kill()
        mortal.start()
        assert [record.id for record in store.browse("q", state=None)] == list(ids[:2])
        assert store.get("t", b"k") == b"v"
        store.commit(Ack(claim), timeout=PATIENCE)
        (new,) = store.commit(Put("q", b"c"))
        assert new > ids[1]
        assert payloads(store) == [b"b", b"c"]


def test_calls_wait_for_a_server_that_comes_back(mortal: Server, on_mortal: str) -> None:
    with MysqlStore(on_mortal) as store:
        store.commit(Put("q", b"a"))
        mortal.kill()
        put = Task(lambda: store.commit(Put("q", b"b"), timeout=PATIENCE), patience=PATIENCE)
        taken = Task(lambda: store.claim("r", timeout=None), patience=PATIENCE)
        joined = Task(lambda: store.wait("q", lambda depth: depth.ready == 2), patience=PATIENCE)
        mortal.start()
        assert put.result()
        assert joined.result()
        store.commit(Put("r", b"c"))
        assert [claim.payload for claim in taken.result()] == [b"c"]


def test_calls_give_up_in_their_time_and_say_why(mortal: Server, on_mortal: str) -> None:
    with MysqlStore(on_mortal) as store:
        store.commit(Put("q", b"a"))
        mortal.stop()
        for call in (
            lambda: store.commit(Put("q", b"lost"), timeout=0.5),
            lambda: store.claim("q", timeout=0.0, patience=0.5),
            lambda: store.wait("q", lambda depth: False, timeout=0.5),
            lambda: store.get("t", b"k"),  # "can't be reached: . ", with the pool's own word for a reason
        ):
            with pytest.raises(StoreUnreachable, match=rf"127\.0\.0\.1:{mortal.port}.*can't be reached: .*refused"):
                Task(call, patience=PATIENCE).result()
        mortal.start()
        assert payloads(store) == [b"a"]


def test_an_opening_says_that_there_is_no_server(mortal: Server, on_mortal: str) -> None:
    mortal.stop()
    with pytest.raises(ConnectionError, match="can't be reached"):
        Task(lambda: MysqlStore(on_mortal), patience=PATIENCE).result()
    mortal.start()


def test_a_read_only_server_is_waited_for_and_told_of_without_doubt(mortal: Server, on_mortal: str) -> None:
    """Its refusal was taken for a lost answer, so that callers heard that nobody knows (OutcomeUnknown)."""
    grants = "CREATE, ALTER, SELECT, INSERT, UPDATE, DELETE"  # whoever has SUPER isn't refused
    mortal.run("CREATE OR REPLACE USER app@'%'", f"GRANT {grants} ON *.* TO app@'%'")
    with MysqlStore(on_mortal.replace("root@", "app@")) as store:
        store.commit(Put("q", b"a"))
        mortal.run("SET GLOBAL read_only = 1")
        try:
            for ops in ([Put("q", b"lost")], [Set("t", b"k", b"lost")], [Put("r", b""), Put("q", b"lost")]):
                with pytest.raises(StoreUnreachable, match=r"takes no changes now.*read-only.*Nothing") as told:
                    Task(partial(store.commit, *ops, timeout=0.5), patience=PATIENCE).result()
                assert not isinstance(told.value, OutcomeUnknown)
            assert payloads(store) == [b"a"]
            waiting = Task(lambda: store.commit(Put("q", b"b"), timeout=PATIENCE), patience=PATIENCE)
        finally:
            mortal.run("SET GLOBAL read_only = 0")
        assert waiting.result()
        assert payloads(store) == [b"a", b"b"]


def test_i5_a_process_lives_for_others_while_its_server_is_read_only(mortal: Server, on_mortal: str) -> None:
    """It let go of its lock with each try to renew its lease, and whoever came first behind that had its claims."""
    grants = "CREATE, ALTER, SELECT, INSERT, UPDATE, DELETE"
    mortal.run("CREATE OR REPLACE USER app@'%'", f"GRANT {grants} ON *.* TO app@'%'")
    with MysqlStore(on_mortal.replace("root@", "app@")) as store:
        store.commit(Put("q", b"a"))
        owners = store._core.owners
        mortal.run("SET GLOBAL read_only = 1")
        try:
            with pytest.raises(Failed, match="read-only"):
                owners.renew()
            ((is_free,),) = mortal.run(f"SELECT IS_FREE_LOCK('{owners.base}{owners.number}')")
        finally:
            mortal.run("SET GLOBAL read_only = 0")
        assert not is_free
        owners.renew()


def test_a_server_that_takes_no_more_connections_is_told_of(mortal: Server, on_mortal: str) -> None:
    mortal.run("CREATE OR REPLACE USER few@'%' WITH MAX_USER_CONNECTIONS 1", "GRANT ALL ON *.* TO few@'%'")
    with (
        MysqlStore(on_mortal.replace("root@", "few@")) as store,
        pytest.raises(StoreUnreachable, match=r"no more connections.*max_user_connections"),
    ):
        Task(lambda: store.commit(Put("q", b"a"), timeout=0.5), patience=PATIENCE).result()


def test_a_server_that_is_silent_for_a_moment_is_waited_for(mortal: Server, on_mortal: str) -> None:
    with MysqlStore(on_mortal) as store:
        store.commit(Put("q", b"a"))
        mortal.freeze()
        put = Task(lambda: store.commit(Put("q", b"b"), timeout=PATIENCE), patience=PATIENCE)
        timer = threading.Timer(1.0, mortal.resume)
        timer.start()
        assert put.result()
        timer.join()
        assert payloads(store) == [b"a", b"b"]


def test_looks_at_a_silent_server_end_in_their_time(mortal: Server, on_mortal: str) -> None:
    """Each of them was waited for a minute, a get for two, and an opening as well."""
    with MysqlStore(on_mortal) as store:
        store.commit(Put("q", b"a"), Set("t", b"k", b"v"))
        assert payloads(store) == [b"a"]
        looks: list[Callable[[], object]] = [
            lambda: store.depth("q"),
            lambda: list(store.claim("r", timeout=0.5, patience=0.5)),
            lambda: store.get("t", b"k"),
            lambda: store.count("t"),
            lambda: MysqlStore(on_mortal),
        ]
        mortal.freeze()
        try:
            tasks = [Task(look, patience=PATIENCE / 2) for look in looks]
            for task in tasks:
                with pytest.raises(StoreUnreachable, match="can't be reached"):
                    task.result()
        finally:
            mortal.resume()
        assert payloads(store) == [b"a"]
        assert store.snapshot("t") == {b"k": b"v"}


def test_a_server_that_falls_silent_while_it_counts_is_waited_for_no_longer(
    mortal: Server, on_mortal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A minute: a `put(timeout=1)` into a full queue took as long."""
    rows = reader._rows

    def freezing(cursor: Any, question: str) -> Any:
        if "GROUP BY" in question and threading.current_thread().name == "looks":
            mortal.freeze()
        return rows(cursor, question)

    def look() -> object:
        threading.current_thread().name = "looks"
        return store.depth("q")

    with MysqlStore(on_mortal) as store:
        store.commit(Put("q", b"a"))
        monkeypatch.setattr(reader, "_rows", freezing)
        try:
            with pytest.raises(StoreUnreachable, match="can't be reached"):
                Task(look, patience=PATIENCE / 2).result()
        finally:
            mortal.resume()
            monkeypatch.undo()
        assert payloads(store) == [b"a"]


@pytest.mark.parametrize("crowded", [False, True])
def test_what_looks_at_many_rows_is_waited_for_as_long_as_the_server_answers(
    url: str, monkeypatch: pytest.MonkeyPatch, crowded: bool
) -> None:
    monkeypatch.setattr(wire, "_QUIET", 0.2)
    with MysqlStore(url) as store:
        dial, asked = store._core.dialer.dial, list[float]()

        def answer(seconds: float, *more: Any, **options: Any) -> Any:
            if seconds == 0.2:
                asked.append(seconds)
                if crowded:
                    raise Failed(pymysql.err.OperationalError(1040, "Too many connections"))
            return dial(max(seconds, 1.0), *more, **options)

        monkeypatch.setattr(store._core.dialer, "dial", answer)
        assert store._core.reader.scan("SELECT SLEEP(1), 7") == ((0, 7),)
        assert asked
        assert store._core.reader.scan("SELECT 8") == ((8,),)


def test_a_table_is_cleared_though_it_takes_longer_than_an_answer_may(url: str, server: Server) -> None:
    """As of a million keys: nobody knew what had become of it, and it was undone, each time."""
    slowly = f"CREATE TRIGGER slow BEFORE DELETE ON pqa_entries FOR EACH ROW DO SLEEP({LOCK_TIMEOUT + 2})"
    with MysqlStore(url) as store:
        store.commit(Set("t", b"k", b"v"), Set("u", b"k", b"v"))
        server.run(slowly, database=url.rpartition("/")[2])
        task = Task(lambda: store.commit(Put("q", b"a"), Clear("t"), Set("t", b"l", b"w")), patience=2 * PATIENCE)
        assert task.result()[0] > 0
        assert store.snapshot("t") == {b"l": b"w"}
        assert store.count("u") == 1
        assert payloads(store) == [b"a"]


@pytest.mark.parametrize("queue", ["q", "r"])  # one that has something, and one where a look says that there is nothing
def test_the_last_try_of_a_claim_is_over_when_its_time_is(
    mortal: Server, on_mortal: str, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    """It began behind 5 seconds, and was given 5 more."""
    with MysqlStore(on_mortal) as store:
        store.commit(Put("q", b"a"), Put("r", b"b"))
        store.claim("r")
        assert not store.claim("r")
        ends: list[float | None] = []
        attempt = store._attempt_now

        def noting(wish: Wish, *more: Any) -> list[Claim] | None:
            ends.append(store._core.patience.end)
            return attempt(wish._replace(patience=0.0), *more)

        monkeypatch.setattr(store, "_attempt_now", noting)
        mortal.kill()
        while len(ends) < 2:  # in three seconds a slow machine may come to the first try alone
            ends.clear()
            task = Task(lambda: store.claim(queue, timeout=3.0), patience=PATIENCE)
            with pytest.raises(StoreUnreachable):
                task.result()
        mortal.start()  # else the handle's end waits for it
    assert len(set(ends)) == 1


def test_a_server_that_greets_nobody_is_waited_for_as_long_as_a_connection_may_take(url: str) -> None:
    """As long as an answer may take."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"mysql://u@127.0.0.1:{silent.getsockname()[1]}/d"
        dialer = Dialer(address_of(address), Statements("pqa_"))
        with pytest.raises(Failed):
            Task(lambda: dialer.dial(0.1, 100 * PATIENCE), patience=PATIENCE).result()
    with MysqlStore(url) as store, closing(store._core.dialer.dial(PATIENCE, 100 * PATIENCE)) as wire:
        assert wire.raw._read_timeout == wire.raw._write_timeout == 100 * PATIENCE


def test_an_answer_is_waited_for_as_long_as_the_call_that_asks_has_time(url: str) -> None:
    """Not as long as the one for which the connection was made."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"), timeout=100 * PATIENCE)
        store.commit(Put("q", b"b"))
        wire = store._core.writer._wire
        assert wire is not None
        assert wire.raw._read_timeout <= LOCK_TIMEOUT


def test_a_look_is_waited_for_no_longer_than_its_caller_can(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with MysqlStore(url) as store:
        given: list[float] = []
        rows = reader._rows

        def noting(cursor: Any, question: str) -> Any:
            if question == "SELECT 1":  # threads of the store look, too
                given.append(cursor.connection._read_timeout)
            return rows(cursor, question)

        monkeypatch.setattr(reader, "_rows", noting)
        for patience in (0.0, 3.0, 1000.0):
            store._core.reader.within(patience, "SELECT 1")
        store._core.reader.rows("SELECT 1")
    assert given[0] == 1.0 <= given[1] <= 3.0
    assert given[2:] == [LOCK_TIMEOUT, LOCK_TIMEOUT]


def test_no_look_waits_for_another_ones_connection(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DBUtils' pool connects with its lock held: while a server was silent each look took its 5 seconds behind the
    others."""
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        reader, depth = store._core.reader, lambda: store.depth("q").ready
        dials, go_on, got = threading.Event(), threading.Event(), threading.Event()
        dial = store._core.dialer.dial

        def late(*arguments: Any, **options: Any) -> Any:
            if not dials.is_set():  # another thread of the store may have the connection that a look would be given
                dials.set()
                assert go_on.wait(PATIENCE)
            return dial(*arguments, **options)

        def hold(_: Any) -> int:
            got.set()
            return int(dials.wait(PATIENCE))

        def meanwhile(_: Any) -> int:
            monkeypatch.setattr(store._core.dialer, "dial", late)
            while not dials.is_set():  # the pool may have more than one connection: the store's threads look, too
                got.clear()
                tasks.append(Task(lambda: reader._patiently(hold), patience=PATIENCE))
                while not got.is_set() and not dials.wait(0.01):
                    pass
            return 1

        tasks: list[Task[int]] = []
        try:
            looks = [lambda: reader._patiently(meanwhile), depth]
            assert [Task(look, patience=PATIENCE / 2).result() for look in looks] == [1, 1]
        finally:
            go_on.set()
        assert all(task.result() for task in tasks)


@pytest.mark.parametrize("maxsize", [0, 5])
def test_a_put_waits_for_its_server_as_long_as_its_timeout_says(
    on_mortal: str, monkeypatch: pytest.MonkeyPatch, maxsize: int
) -> None:
    """Whatever its timeout, it gave up after 5 seconds."""
    with Queue[str](maxsize, store=on_mortal, signing_key=KEY) as queue:
        patience: list[float | None] = []
        commit = queue._line.store.commit

        def noting(*ops: Op, stop: Any = None, timeout: float | None = None) -> tuple[int, ...]:
            patience.append(timeout)
            return commit(*ops, stop=stop, timeout=timeout)

        monkeypatch.setattr(queue._line, "commit", noting)
        queue.put("a", timeout=PATIENCE)
        queue.put("b", timeout=0.5)
        queue.put("c", False, PATIENCE)
        queue.put("d")
    assert patience[0] == pytest.approx(PATIENCE, abs=PATIENCE / 4)
    assert patience[1:] == [None, None, None]


@pytest.mark.parametrize("timeout", [math.inf, 10**30])
def test_timeouts_may_be_longer_than_sockets_take(url: str, timeout: float) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"), timeout=timeout)
        assert [claim.payload for claim in store.claim("q", timeout=timeout)] == [b"a"]


def test_i1_a_closing_handle_doesnt_wait_for_ever(mortal: Server, on_mortal: str) -> None:
    store = MysqlStore(on_mortal)
    store.commit(Put("q", b"a"))
    store.claim("q")
    mortal.kill()
    Task(store.close, patience=PATIENCE).result()
    mortal.start()
    with MysqlStore(on_mortal) as again:
        (claim,) = Task(lambda: again.claim("q", timeout=None), patience=PATIENCE).result()
        assert claim.attempt == 2


def test_i1_i2_kills_in_the_middle_lose_and_double_nothing(mortal: Server, on_mortal: str) -> None:
    """Producers and consumers go on all the time. What they were told is the truth that the store is held against."""
    rng, over = random.Random(7), threading.Event()
    put, acked, again = Counter[bytes](), Counter[bytes](), list[bytes]()
    lock = threading.Lock()
    with MysqlStore(on_mortal) as producing, MysqlStore(on_mortal, prefix="pqa_") as consuming:

        def produce(name: int) -> None:
            number = 0
            while not over.is_set():
                number += 1
                item = b"%d.%d" % (name, number)
                producing.commit(Put("q", item), timeout=PATIENCE)
                with lock:
                    put[item] += 1

        def consume() -> None:
            while not over.is_set():
                for claim in consuming.claim("q", limit=3, timeout=0.2, patience=PATIENCE):
                    with lock:
                        if claim.payload in acked:
                            again.append(claim.payload)
                    try:
                        consuming.commit(Ack(claim, lazy=True), timeout=PATIENCE)
                    except PqadaptersError:
                        continue  # the lease is lost: another one gets it
                    with lock:
                        acked[claim.payload] += 1

        def kill() -> None:
            for _ in range(4):
                with lock:
                    enough = len(put) + rng.randrange(5, 60)
                producing.wait("nothing", lambda _, enough=enough: len(put) > enough, PATIENCE)  # type: ignore[misc]
                mortal.kill()
                mortal.start()
            over.set()
            producing.wake("nothing")

        def nudge() -> None:
            while not over.wait(0.02):
                producing.wake("nothing")

        jobs = [lambda: produce(0), lambda: produce(1), lambda: produce(2), consume, consume, kill, nudge]
        together(jobs, patience=2 * PATIENCE)
        left = Counter[bytes]()
        deadline = time.monotonic() + PATIENCE
        while (claims := consuming.claim("q", limit=1000, timeout=0.5)) or consuming.depth("q").claimed > left.total():
            left.update(claim.payload for claim in claims)
            assert time.monotonic() < deadline
        assert again == []
        assert max(put.values()) == max(acked.values()) == 1
        assert max(left.values(), default=1) == 1
        assert set(put) == set(acked) | set(left)
        assert not set(acked) & set(left)
        assert len(acked) > 20
