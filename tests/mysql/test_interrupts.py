"""Exceptions of signal handlers in the middle of a call: what was claimed comes back, and no connection is left with an
answer that nobody has read."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import pymysql
import pytest

from pqadapters.errors import LeaseLost
from pqadapters.store import Ack, Claim, Order, Put, Set
from pqadapters.stores import _ahead, _handle, _lookout
from pqadapters.stores._bells import Bells
from pqadapters.stores._handle import Wish
from pqadapters.stores.mysql import MysqlStore, fetched, keeper, lookout, reader
from pqadapters.stores.mysql.fetched import Pace
from pqadapters.stores.mysql.transactions import Part
from pqadapters.stores.mysql.wire import Answer, Failed, Wire
from tests.contract.interrupting import ItFailed, TimeIsUp, interrupted
from tests.contract.threads import InterruptedStart
from tests.segment.programs import PATIENCE

from .server import Server

_HERE = (os.path.dirname(str(fetched.__file__)), str(_ahead.__file__), str(_handle.__file__))


@pytest.fixture
def behind_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Wire], object]], threading.Event]:
    """Have something called, once, when the server has committed and its answer is there. The event says it was."""

    def arrange(call: Callable[[Wire], object]) -> threading.Event:
        send, came = Wire.send, threading.Event()

        def hit(self: Wire, texts: Sequence[str]) -> list[Answer]:
            found = send(self, texts)
            if texts[-1] == self.sql.COMMIT and len(texts) > 1 and not came.is_set():
                came.set()
                call(self)
            return found

        monkeypatch.setattr(Wire, "send", hit)
        return came

    return arrange


def _claim(store: MysqlStore, got: list[Claim], *acks: Ack) -> None:
    got.extend(store.claim("q", acks=acks))


@pytest.mark.parametrize("prefetch", [None, 1])
def test_i5_a_claim_is_interrupted_anywhere(url: str, monkeypatch: pytest.MonkeyPatch, prefetch: int | None) -> None:
    """On its way out it had records that nobody had until the process ended. Before its COMMIT it left them locked in
    an open transaction: others passed over them until the process had another one, or its lease was over."""
    monkeypatch.setattr(Pace, "wanted", lambda self: 3)
    with MysqlStore(url, prefetch=prefetch, lease=3600) as store, MysqlStore(url, lease=31) as other:
        nth, going = 0, True
        while going:
            nth += 1
            other.commit(*(Put("q", payload) for payload in (b"a", b"b", b"c", b"d")))
            (done,) = store.claim("q", order=Order.NEWEST)
            got = list[Claim]()
            call = partial(_claim, store, got, Ack(done))
            going = interrupted(call, nth, _HERE, exits=True, locks=True)
            assert store._core.patience.end is None, f"at place {nth}: calls to come would have its time"
            left = 3 - len(got)
            while left:
                claims = other.claim("q", limit=left, timeout=PATIENCE)
                assert claims, f"at place {nth}"
                left -= len(claims)
                other.commit(*map(Ack, claims))
            store.commit(*map(Ack, got))
            with suppress(LeaseLost):
                store.commit(Ack(done))
            assert not other.depth("q").unfinished, f"at place {nth}"
        assert nth > 50


_OPS: dict[str, Callable[[MysqlStore, bytes], object]] = {
    "put": lambda store, payload: store.commit(Put("q", payload)),
    "claim": lambda store, payload: store.commit(*map(Ack, store.claim("q"))),
    "look": lambda store, payload: store.get("t", b"k"),
}


@pytest.mark.parametrize("raised", [TimeIsUp, ItFailed])
@pytest.mark.parametrize("op", _OPS)
def test_what_a_handler_raises_is_no_word_of_the_server(
    url: str, op: str, raised: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an alarm's TimeoutError while an answer is waited for, which is most of a call's time: the driver says then
    that the connection is lost, and all was done again on another one, as if there had been no alarm."""
    left, read = 0, socket.SocketIO.readinto

    def handle(number: int, frame: FrameType | None) -> None:
        raise raised

    def readinto(self: socket.SocketIO, buffer: Any) -> int | None:
        nonlocal left
        found = read(self, buffer)
        if threading.current_thread() is threading.main_thread():
            left -= 1
            if not left:
                signal.raise_signal(signal.SIGUSR2)
        return found

    monkeypatch.setattr(socket.SocketIO, "readinto", readinto)
    outer = signal.signal(signal.SIGUSR2, handle)
    try:
        with MysqlStore(url, prefetch=1, lease=3600) as store:
            nth, left = 0, 0
            while left <= 0:
                nth += 1
                store.commit(Put("q", b"a%d" % nth), Set("t", b"k", b"v"))
                left = nth
                with suppress(raised):
                    _OPS[op](store, b"b%d" % nth)
                    assert left > 0, f"at place {nth}: nobody was told"
            left = 0
            there = [record.payload for record in store.browse("q", state=None)]
    finally:
        signal.signal(signal.SIGUSR2, outer)
    assert nth > 1
    assert len(there) == len({*there})


@pytest.mark.parametrize("prefetch", [None, 3])
def test_i5_a_claim_of_what_lies_ahead_is_interrupted_anywhere(url: str, prefetch: int | None) -> None:
    """The record was in nobody's hands until the process ended."""
    with MysqlStore(url, prefetch=prefetch) as store:
        store._ahead.adaptive = False  # the keeper leaves what lies ahead
        nth, going = 0, True
        while going:
            nth += 1
            store.commit(*(Put("q", payload) for payload in (b"a", b"b", b"c")))
            claims = store._attempt_now(Wish("q", Order.OLDEST, None, 3, None, False, None), ())
            assert claims is not None
            store._keep_rest("q", claims)
            got = list[Claim]()
            going = interrupted(partial(_claim, store, got), nth, _HERE, exits=True, locks=True)
            assert store._core.patience.end is None, f"at place {nth}"
            while len(got) < 2:
                found = store.claim("q", timeout=PATIENCE)
                assert found, f"at place {nth}"
                got += found
            store.commit(*map(Ack, claims + got))
            assert not store.depth("q").unfinished, f"at place {nth}"
        assert nth > 3


def test_i5_what_lies_ahead_is_given_back_though_that_is_interrupted_anywhere(url: str) -> None:
    """A record that was just taken from there was in nobody's hands until the process ended."""
    with MysqlStore(url, prefetch=3) as store, MysqlStore(url, lease=31) as other:
        nth, going = 0, True
        while going:
            nth += 1
            other.commit(*(Put("q", payload) for payload in (b"a", b"b", b"c")))
            claims = store.claim("q")
            going = interrupted(store._give_back_ahead, nth, _HERE, exits=True, locks=True)
            store._give_back_ahead()
            store.commit(*map(Ack, claims))
            found = other.claim("q", limit=3)
            assert [claim.payload for claim in found] == [b"b", b"c"], f"at place {nth}"
            other.commit(*map(Ack, found))
        assert nth > 30


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("prefetch", [None, 1, 5])
def test_what_an_interrupted_claim_has_is_ready_though_the_keeper_comes_first(
    url: str, monkeypatch: pytest.MonkeyPatch, prefetch: int | None, limit: int
) -> None:
    """The keeper took a handle that had nothing yet for a parent process's, and forgot what it was to give back."""

    def interrupt(self: Bells, queue: str, ready: int = 0) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keeper.Keeper, "watch", lambda self: None)
    with MysqlStore(url, prefetch=prefetch) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"a"))
        with monkeypatch.context() as patch:
            patch.setattr(Bells, "ring", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.claim("q", limit=limit)
        store._core.aheads.tidy()
        assert [(claim.payload, claim.attempt) for claim in other.claim("q")] == [(b"a", 1)]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("prefetch", [None, 1, 5])
def test_i5_a_claim_whose_caller_is_gone_when_it_is_found_out_comes_back(
    url: str, behind_commit: Any, prefetch: int | None, cut: bool
) -> None:
    """Ctrl-C while a claim waits for the answer to its COMMIT: it was committed, and nobody had the record."""

    def interrupt(wire: Wire) -> None:
        if cut:
            wire.drop()
        raise KeyboardInterrupt

    with MysqlStore(url, prefetch=prefetch) as store:
        store.commit(Put("q", b"a"))
        came = behind_commit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.claim("q")
        assert came.is_set()
        assert [(claim.payload, claim.attempt) for claim in store.claim("q", timeout=PATIENCE)] == [(b"a", 1)]


def _taken_for_dead(store: MysqlStore, server: Server, url: str) -> Callable[[Wire], object]:
    """The answer is lost, and before there is a connection again others have given back what we had claimed."""

    def away(wire: Wire) -> None:
        owners = store._core.owners
        server.run(
            f"UPDATE pqa_owners SET alive = 2 WHERE number = {owners.number}",
            "UPDATE pqa_items SET state = 0, place = '' WHERE state = 2",
            database=url.rpartition("/")[2],
        )
        owners.is_lost = True  # the keeper has heard of it first
        wire.drop()
        raise Failed(pymysql.err.OperationalError(2013, "lost"))

    return away


def test_i2_a_put_is_there_once_though_its_process_was_taken_for_dead_meanwhile(
    url: str, server: Server, behind_commit: Any
) -> None:
    """It was looked up under the new number, not found there, and put a second time."""
    with MysqlStore(url) as store:
        (first,) = store.commit(Put("q", b"before"))
        came = behind_commit(_taken_for_dead(store, server, url))
        assert store.commit(Put("q", b"a"), timeout=PATIENCE) == (first + 1,)
        assert came.is_set()
        store.commit(Put("q", b"b"))
        assert [record.payload for record in store.browse("q")] == [b"before", b"a", b"b"]


def test_i5_a_claim_that_others_have_given_back_meanwhile_is_nobodys(
    url: str, server: Server, behind_commit: Any
) -> None:
    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        came = behind_commit(_taken_for_dead(store, server, url))
        (claim,) = store.claim("q", timeout=PATIENCE)
        assert came.is_set()
        store.commit(Ack(claim))
        assert not store.depth("q").unfinished


def test_a_look_gets_no_answer_to_an_interrupted_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question was sent when a signal handler raised, and its answer was there for whoever came next."""
    with MysqlStore(url) as store:
        store.commit(Set("t", b"k", b"K"), Set("t", b"l", b"L"))
        assert store.get("t", b"k") == b"K"
        write = pymysql.connections.Connection._write_bytes

        def interrupt(self: Any, data: bytes) -> None:
            write(self, data)
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(pymysql.connections.Connection, "_write_bytes", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.get("t", b"k")
        assert (store.get("t", b"l"), store.get("t", b"k")) == (b"L", b"K")


def test_a_look_at_one_moment_that_is_interrupted_leaves_no_connection_in_the_past(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction stayed open on a connection of the pool, on which nothing new was ever seen."""
    many = [b"%d" % n for n in range(600)]
    with MysqlStore(url) as store:
        store.commit(*(Set("t", key, b"old") for key in many))
        rows, asked = reader._rows, list[str]()

        def interrupt(cursor: Any, question: str) -> Any:
            found = rows(cursor, question)
            if threading.current_thread() is not threading.main_thread():  # the keeper looks, too
                return found
            asked.append(question)
            if len(asked) == 2:  # who it is, and the first of two pages
                raise KeyboardInterrupt
            return found

        with monkeypatch.context() as patch:
            patch.setattr(reader, "_rows", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.snapshot("t", many)
        store.commit(Set("t", b"1", b"new"))
        assert store.get("t", b"1") == b"new"


def test_a_handle_whose_close_is_interrupted_keeps_no_record(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another handle of the process kept the process alive, and with it claims that nobody had."""
    with MysqlStore(url) as store:
        handle = MysqlStore(url)
        store.commit(Put("q", b"a"))
        assert handle.claim("q")

        def interrupt(number: int) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store._core.aheads, "end", interrupt)
            with pytest.raises(KeyboardInterrupt):
                handle.close()
        assert [claim.payload for claim in store.claim("q", timeout=PATIENCE)] == [b"a"]
        assert len(store._core.handles) == 1


def test_the_lookout_goes_on_behind_an_exception_of_a_signal_handler(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the keeper does: nobody here heard of other processes any more, nor gave back what the dead had claimed."""
    failed, again = threading.Event(), threading.Event()
    monkeypatch.setattr(lookout, "_PER_BURIAL", 0.0)
    with MysqlStore(url) as store:

        def look() -> dict[int, int]:
            (again if failed.is_set() else failed).set()
            raise ValueError

        monkeypatch.setattr(store._core, "look_for_dead", look)
        assert store.claim("q") == []
        assert failed.wait(PATIENCE)
        assert again.wait(PATIENCE)


def test_a_keeper_that_had_no_thread_gets_one_later(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system had no room for one more thread, once: the process was heard of no more, and lost what it held."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with MysqlStore(url) as store:
        with monkeypatch.context() as patch:
            patch.setattr(keeper, "start_thread", refuse)
            store.commit(Put("q", b"a"))
        thread = store._core.keeper._thread
        assert thread is None
        assert store.claim("q")
        thread = store._core.keeper._thread
        assert thread is not None
        assert thread.is_alive()


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("module", [keeper, _lookout])
def test_a_thread_is_begun_again_behind_an_interrupt_of_its_start(
    url: str, module: Any, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it runs then. It was taken for one that does, and the process wasn't heard of any more."""
    interrupted = InterruptedStart(runs=runs)
    begun = interrupted.begun
    with MysqlStore(url) as store, MysqlStore(url) as other:
        whose = getattr(store._core, module.__name__.rpartition(".")[2].lstrip("_"))
        with monkeypatch.context() as patch, suppress(TimeoutError):
            patch.setattr(module, "start_thread", interrupted)
            store.commit(Put("q", b"a"))
            assert store.claim("q")
            store.claim("q", timeout=None)
        store.commit(Put("q", b"a"))
        while store.claim("q", timeout=0.001):
            pass
        while (thread := whose._thread) is None:  # a slow machine's claim doesn't come to waiting
            store.claim("q", timeout=0.01)
        if module is keeper and runs:
            whose.call()
        if runs:
            begun[0].join(PATIENCE)
        assert not begun[0].is_alive()
        assert thread.is_alive()
        if module is keeper:
            os.fstat(whose._called)  # was closed by the one that ended
        other.commit(Put("q", b"b"))
        assert store.claim("q", timeout=PATIENCE)


def test_a_keeper_whose_making_was_interrupted_ends_without_a_word() -> None:
    """Its finalizer printed a traceback to stderr."""
    keeper.Keeper.__new__(keeper.Keeper).__del__()


def test_the_keeper_goes_on_where_another_thread_has_read_its_call(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose start was interrupted, and that still runs, reads from the same pipe: the other one waited there until
    it was called again, and the process wasn't heard of."""
    monkeypatch.setattr(keeper, "readable", lambda descriptors, seconds: descriptors[:1])
    again, times = threading.Event(), list[bool]()
    with MysqlStore(url) as store:
        renew = store._core.owners.renew

        def counted() -> None:
            renew()
            times.append(True)
            if len(times) > 1:
                again.set()

        monkeypatch.setattr(store._core.owners, "renew", counted)
        store.commit(Put("q", b"a"))
        assert again.wait(PATIENCE)


class _Alarm(Exception):
    """What many a handler of SIGALRM raises: no BaseException."""


def _shared(store: MysqlStore, *parts: Part) -> None:
    """In one transaction."""
    with store._core.writer.lock:
        store._core.writer.carry_out(list(parts))


def test_i2_an_exception_in_the_middle_of_a_commit_leaves_no_half_of_it(url: str) -> None:
    """A signal handler's, in a thread that had the commits of others in hand: the puts of one were stored, its
    acknowledgements weren't, and its caller was told that it had failed."""

    class Acks(list[Any]):
        def __iter__(self) -> Any:
            raise _Alarm

    with MysqlStore(url) as store:
        store.commit(Put("q", b"a"))
        (claim,) = store.claim("q")
        mine = store._part((Put("p", b"mine"),), None, None)
        other = store._part((Put("p", b"b"), Ack(claim)), None, None)
        for part in (mine, other):
            assert part.prepare is not None
            part.prepare()
            part.prepare = None
        assert other.plan is not None
        plan, other.plan = other.plan, other.plan._replace(acks=Acks(other.plan.acks))
        with pytest.raises(_Alarm):
            _shared(store, mine, other)
        assert not mine.done
        assert not other.done
        other.plan = plan
        _shared(store, mine, other)
        assert store.depth("p").ready == 2
        assert not store.depth("q").unfinished


def test_i5_an_exception_in_the_middle_of_a_claim_leaves_no_record_claimed_by_nobody(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MysqlStore(url, prefetch=1) as store:
        store.commit(Put("q", b"a"))
        claiming = store._claiming(Wish("q", Order.OLDEST, None, 1, None, False, None), (), False)
        run = claiming.run

        def alarm(session: Any) -> Any:
            run(session)
            raise _Alarm

        monkeypatch.setattr(claiming, "run", alarm)
        other = store._part((Put("q", b"b"),), None, None)
        _shared(store, claiming, other)
        assert isinstance(claiming.error, _Alarm)
        assert other.done
        assert store.depth("q")[:3] == (2, 0, 0)


def test_i2_an_exception_in_the_middle_of_an_answer_is_as_any_interrupt(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the transaction was given the answer that nobody had read, and took it for that to its COMMIT."""
    with MysqlStore(url) as store:
        (first,) = store.commit(Put("q", b"a", limit=9))
        mine, other = store._part((Put("q", b"b", limit=9),), None, None), store._part((Put("q", b"c"),), None, None)
        write = pymysql.connections.Connection._write_bytes

        def alarm(self: Any, data: bytes) -> None:
            write(self, data)
            if threading.current_thread() is threading.main_thread() and b"FOR UPDATE" in data:
                raise _Alarm

        with monkeypatch.context() as patch:
            patch.setattr(pymysql.connections.Connection, "_write_bytes", alarm)
            with pytest.raises(_Alarm):
                _shared(store, mine, other)
        assert not other.done
        _shared(store, other)
        assert other.result[0] > first
        assert [record.payload for record in store.browse("q")] == [b"a", b"c"]


def test_i5_who_is_interrupted_as_it_looks_for_a_lost_answer_takes_nobody_his_claim(
    url: str, behind_commit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was looked for a second time, and what others had claimed there by then taken for left behind: the
    edits of other threads ended in an error, and a queue's item was handed out twice."""

    def interrupt(wire: Wire) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keeper.Keeper, "ensure", lambda self: None)  # nobody else looks
    with MysqlStore(url, prefetch=1) as store:
        store.commit(Put("q", b"a"))
        claiming = store._claiming(Wish("q", Order.OLDEST, None, 1, None, False, None), (), False)
        behind_commit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            _shared(store, claiming)
        send = Wire.send

        def look(self: Wire, texts: Sequence[str]) -> list[Answer]:
            found = send(self, texts)
            if texts == [self.sql.COMMIT]:
                raise KeyboardInterrupt
            return found

        with monkeypatch.context() as patch:
            patch.setattr(Wire, "send", look)
            with pytest.raises(KeyboardInterrupt):
                _shared(store, Part(lambda session: None))
        assert claiming.done
        store.commit(Put("q", b"b"))
        store._core.aheads.tidy()
        store.commit(*map(Ack, claiming.result))
        assert store.depth("q")[:3] == (1, 0, 0)
