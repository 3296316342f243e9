"""A store that nobody has told how much to fetch: as much as its consumer uses up in a moment, and to no one's harm.

The clock that the code asks stands still until a test moves it on: a consumer is quick, or it is busy for a second.
Handles of another lease have another core, and stand for other processes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from time import time
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters import interrupts
from pqadapters.clock import Clock
from pqadapters.errors import LeaseLost, LimitReached, StoreUnreachable
from pqadapters.store import Ack, Claim, Depth, Nack, Order, Put, State
from pqadapters.stores._bells import Bells
from pqadapters.stores._handle import Wish
from pqadapters.stores.mysql import MysqlStore, fetched, keeper
from pqadapters.stores.mysql.fetched import MOST, WINDOW, Pace
from pqadapters.stores.mysql.schema import LARGE
from pqadapters.stores.mysql.wire import Wire
from tests.contract.threads import Task
from tests.segment.programs import PATIENCE, run

from .proxy import How, Proxy
from .server import Server


class _Ticks:
    """Monotonic seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> _Ticks:
    found = _Ticks()
    monkeypatch.setattr(fetched, "SYSTEM", SimpleNamespace(monotonic=found))
    monkeypatch.setattr(fetched, "_GROWTH", 2)  # fetches of 1, 2, 4, 8
    return found


@pytest.fixture
def nobody_tidies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies ahead stays there: the keeper doesn't come."""
    monkeypatch.setattr(keeper.Keeper, "watch", lambda self: None)


def _numbers(store: MysqlStore, count: int, queue: str = "q") -> None:
    store.commit(*(Put(queue, b"%d" % n) for n in range(count)))


def _get(store: MysqlStore, acks: Sequence[Ack] = (), queue: str = "q") -> Claim:
    (claim,) = store.claim(queue, timeout=PATIENCE, acks=acks)
    return claim


def _quick(store: MysqlStore, count: int) -> list[bytes]:
    """What a consumer gets that does nothing with it."""
    found, done = list[bytes](), list[Ack]()
    for _ in range(count):
        claim = _get(store, done)
        found.append(claim.payload)
        done = [Ack(claim, lazy=True)]
    store.commit(*done)
    return found


def test_a_fetch_takes_what_was_used_up_in_a_moment(ticks: _Ticks) -> None:
    pace = Pace()
    sizes = []
    for _ in range(12):
        sizes.append(most := pace.wanted())
        pace.begin(most)
        pace.handed = most
        ticks.now += most * 0.001
    assert sizes[:6] == [1, 2, 4, 8, 16, 32]
    assert all(abs(size - WINDOW / 0.001) <= 1 for size in sizes[6:])
    ticks.now += 3600
    assert pace.wanted() == 1, "it was busy"
    pace.begin(1)
    ticks.now += WINDOW * 0.6
    assert pace.wanted() == 1, "what takes longer than half of that isn't fetched ahead"
    pace.begin(1)
    for _ in range(12):
        pace.begin(pace.wanted())
        pace.handed = 10_000
    assert pace.wanted() == MOST


@pytest.mark.usefixtures("nobody_tidies")
def test_a_quick_consumer_needs_few_transactions_and_gets_what_came_first(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        _numbers(store, 300)
        store.commit()
        before = other._core.seqs()[store._core.owners.number]
        assert _quick(store, 300) == [b"%d" % n for n in range(300)]
        taken = other._core.seqs()[store._core.owners.number] - before
        assert taken <= 20, "transactions"
        assert not other.depth("q").unfinished


@pytest.mark.usefixtures("nobody_tidies")
def test_a_busy_consumer_takes_one_at_a_time(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        _numbers(store, 20)
        done: list[Ack] = []
        for n in range(10):
            claim = _get(store, done)
            done = [Ack(claim)]
            assert other.depth("q")[:3] == (19 - n, 0, 1)
            ticks.now += 0.5


def test_what_nobody_asks_for_goes_to_a_consumer_elsewhere_as_if_never_claimed(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        _numbers(store, 20)
        assert _quick(store, 8)[-1] == b"7"
        assert other.depth("q")[:3] == (5, 0, 7), "15 were taken, and 8 are done"
        ticks.now += 2 * fetched.IDLE
        assert other.wait("q", lambda depth: depth.ready == 12, PATIENCE)
        assert [(claim.payload, claim.attempt) for claim in other.claim("q", limit=99)] == [
            (b"%d" % n, 1) for n in range(8, 20)
        ]


def test_acknowledgements_that_were_put_off_dont_wait_for_a_busy_consumer(url: str, ticks: _Ticks) -> None:
    """It does an item of an hour behind seven quick ones: those are done for everybody."""
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        _numbers(store, 20)
        done: list[Ack] = []
        for _ in range(7):
            done = [Ack(_get(store, done), lazy=True)]
        ticks.now += 2 * fetched.IDLE
        assert other.wait("q", lambda depth: depth.unfinished == 14, PATIENCE)
        assert other.depth("q")[:3] == (13, 0, 1)


@pytest.mark.usefixtures("nobody_tidies")
def test_within_the_process_nobody_sees_any_of_it(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store, MysqlStore(url) as beside:
        _numbers(store, 30)
        assert _quick(store, 8)[-1] == b"7"
        assert store._ahead.of("q", os.getpid()) == 7
        for handle in (store, beside):
            assert handle.depth("q")[:3] == (22, 0, 0)
        assert [record.payload for record in beside.browse("q")] == [b"%d" % n for n in range(8, 30)]
        assert list(beside.browse("q", state=State.CLAIMED)) == []
        assert _quick(store, 7)[-1] == b"14"
        assert [(claim.payload, claim.attempt) for claim in beside.claim("q", limit=2)] == [(b"15", 1), (b"16", 1)]
        assert _get(store).payload == b"17"
        _quick(store, 4)
        assert store._ahead.of("q", os.getpid()) == 0, "two of the process claim from it"


def _meanwhile(store: MysqlStore, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Once, behind the next look at a depth: what another thread does just then."""
    look, changes = store._looks.depth, [change]

    def depth(queue: str, *, age: bool) -> Depth:
        found = look(queue, age=age)
        if changes:
            changes.pop()()
        return found

    monkeypatch.setattr(store._looks, "depth", depth)


def _is_given_back(store: MysqlStore) -> None:
    """As the keeper does it, by itself."""
    store._give_back_ahead()


def _is_being_given_back(store: MysqlStore) -> None:
    """In a transaction that isn't committed yet."""
    claims = store._ahead.claims["q"]
    for _ in range(7):
        store._ahead._orphans.append(claims.pop())


@pytest.mark.usefixtures("nobody_tidies")
@pytest.mark.parametrize("change", [_is_given_back, _is_being_given_back])
def test_a_depth_counts_what_lay_ahead(
    url: str, ticks: _Ticks, monkeypatch: pytest.MonkeyPatch, change: Callable[[MysqlStore], None]
) -> None:
    """`while not q.empty()` would have ended too early."""
    with MysqlStore(url) as store:
        _numbers(store, 15)
        _quick(store, 8)
        assert store._ahead.of("q", os.getpid()) == 7
        _meanwhile(store, monkeypatch, lambda: change(store))
        assert store.depth("q")[:3] == (7, 0, 0)


@pytest.mark.usefixtures("nobody_tidies")
@pytest.mark.parametrize("prefetch", [None, 8])
def test_a_depth_counts_once_what_is_fetched_meanwhile(
    url: str, ticks: _Ticks, monkeypatch: pytest.MonkeyPatch, prefetch: int | None
) -> None:
    with MysqlStore(url, prefetch=prefetch) as store:
        _numbers(store, 15)
        if prefetch is None:
            _quick(store, 7)
        ready = store.depth("q").ready
        _meanwhile(store, monkeypatch, lambda: _get(store))
        assert store.depth("q")[:3] == (ready - 1, 0, 1)
        assert store._ahead.of("q", os.getpid()) == 7


@pytest.mark.usefixtures("nobody_tidies")
def test_a_getter_of_the_process_doesnt_wait_for_what_lies_ahead_of_another(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store, MysqlStore(url) as beside:
        _numbers(store, 15)
        assert beside.claim("empty") == []
        _quick(store, 8)
        assert store._ahead.of("q", os.getpid()) == 7
        assert beside.claim("q")[0].payload == b"8"
        beside.close()
        assert [claim.payload for claim in store.claim("q", limit=99)] == [b"%d" % n for n in range(8, 15)]


@pytest.mark.usefixtures("nobody_tidies")
def test_i4_an_item_that_is_given_back_comes_before_what_lies_ahead(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store:
        _numbers(store, 30)
        _quick(store, 7)
        claim = _get(store)
        store.commit(Nack(claim))
        assert (_get(store).payload, _get(store).payload) == (b"7", b"8")


class _Hands(Clock):
    """Wall time that a test moves."""

    def __init__(self) -> None:
        self.now = time()

    def wall(self) -> float:
        return self.now


@pytest.mark.usefixtures("nobody_tidies")
def test_i4_a_delay_that_is_over_comes_before_what_lies_ahead(url: str, ticks: _Ticks) -> None:
    hands = _Hands()
    with MysqlStore(url, clock=hands) as store:
        _numbers(store, 30)
        late = _get(store)
        store.commit(Nack(late, not_before=hands.now + 5))
        _quick(store, 8)
        assert store._ahead.of("q", os.getpid())
        hands.now += 6
        assert (_get(store).payload, _get(store).payload) == (b"0", b"9")


@pytest.mark.usefixtures("nobody_tidies")
def test_a_limit_counts_everything_that_is_ready(url: str, ticks: _Ticks) -> None:
    """Of a queue that somebody puts into with a limit nothing lies ahead, in no process."""
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        other.commit(Put("q", b"0", limit=9))
        _numbers(store, 8)
        with pytest.raises(LimitReached):
            other.commit(Put("q", b"x", limit=9))
        for _ in range(5):
            store.commit(Ack(_get(store)))
        assert other.depth("q").ready == 4
        for _ in range(5):
            other.commit(Put("q", b"x", limit=9))
        with pytest.raises(LimitReached):
            other.commit(Put("q", b"x", limit=9))


@pytest.mark.parametrize("others", [[], [Put("r", b"a")]], ids=["alone", "not alone"])
@pytest.mark.usefixtures("nobody_tidies")
def test_the_first_limit_counts_what_lies_ahead_here(url: str, ticks: _Ticks, others: list[Put]) -> None:
    """What was fetched before anybody had put with a limit wasn't counted: as many came into the queue beyond it."""
    with MysqlStore(url) as store:
        _numbers(store, 20)
        assert _quick(store, 8) == [b"%d" % n for n in range(8)]
        assert store._ahead.of("q", os.getpid())
        with pytest.raises(LimitReached):
            store.commit(*others, Put("q", b"x", limit=12))
        assert store.depth("q")[:3] == (12, 0, 0)
        assert store.depth("r").ready == 0
        store.commit(*others, Put("q", b"x", limit=13))
        assert [_get(store).payload for _ in range(13)] == [*(b"%d" % n for n in range(8, 20)), b"x"]


@pytest.mark.usefixtures("nobody_tidies")
def test_large_items_are_not_fetched_ahead(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store:
        _numbers(store, 9)
        large = [b"%d" % n + bytes(LARGE) for n in range(3)]
        store.commit(*(Put("q", payload) for payload in large), Put("q", b"small"))
        assert _quick(store, 8)[-1] == b"7"
        assert store._ahead.of("q", os.getpid()) == 1
        assert [_get(store).payload for _ in range(5)] == [b"8", *large, b"small"]
        assert store._ahead.of("q", os.getpid()) == 0


@pytest.mark.usefixtures("nobody_tidies")
def test_i5_a_process_that_was_stopped_trusts_nothing_that_lies_ahead(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        _numbers(store, 15)
        _quick(store, 8)
        core = other._core
        other.commit()
        number = store._core.owners.number
        with core.owners.lock:
            core.reader.change(core.reader.sql.SET_ALIVE, 0, number)  # its lease was over
        core._bury(number)
        taken = [claim.payload for claim in other.claim("q", limit=5)]
        ticks.now += 40
        assert _get(store).payload == b"13"
        assert taken == [b"%d" % n for n in range(8, 13)]


@pytest.mark.parametrize("how", [How.CUT_BEFORE, How.CUT_AFTER])
@pytest.mark.usefixtures("nobody_tidies")
def test_i5_giving_back_over_a_lost_connection_is_done_once(url: str, proxy: Proxy, ticks: _Ticks, how: How) -> None:
    """Told twice, it would make ready what the handle has claimed again meanwhile."""
    through = url.replace(f":{url.rsplit(':', 1)[1].split('/')[0]}/", f":{proxy.port}/")
    with MysqlStore(through) as store, MysqlStore(url, lease=31) as other:
        _numbers(store, 15)
        _quick(store, 8)
        proxy.at(b"attempts - 1", how)
        assert len(list(store.browse("q"))) == 7
        assert proxy.came.is_set()
        claims = [_get(store) for _ in range(7)]
        assert [(claim.payload, claim.attempt) for claim in claims] == [(b"%d" % n, 1) for n in range(8, 15)]
        assert other.claim("q") == []
        store.commit(*map(Ack, claims))


@pytest.mark.parametrize("given_back", ["orphan", "ahead"])
@pytest.mark.usefixtures("nobody_tidies")
def test_i5_what_is_given_back_and_claimed_anew_in_one_transaction_has_one_consumer(
    url: str, ticks: _Ticks, given_back: str
) -> None:
    """Each claim of a transaction gave it back once more: all the threads that shared it were handed the same item."""
    with MysqlStore(url) as store:
        _numbers(store, 20)
        _quick(store, 8)
        held = [_get(store) for _ in range(7 if given_back == "orphan" else 1)]
        parts = [store._claiming(Wish("q", Order.OLDEST, None, 1, None, False, None), (), False) for _ in range(3)]
        if given_back == "orphan":
            store._orphan(held[:2])
        else:
            parts.insert(0, store._part((Nack(held[0]),), None, None))
        with store._core.writer.lock:
            store._core.writer.carry_out(list(parts))
        found = [claim for part in parts[-3:] for claim in part.result]
        last = 15 if given_back == "orphan" else 10
        assert [claim.payload for claim in found] == [b"8", b"9", b"%d" % last]
        store.commit(*map(Ack, found))


@pytest.mark.usefixtures("nobody_tidies")
def test_i4_what_could_not_be_given_back_is_before_what_comes_later(
    url: str, ticks: _Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And isn't handed out meanwhile: the server may have given it to others."""
    with MysqlStore(url) as store:
        _numbers(store, 30)
        _quick(store, 8)
        send = Wire.send

        def refuse(self: Wire, texts: Sequence[str]) -> Any:
            if any("attempts - 1" in text for text in texts):
                raise StoreUnreachable("a bad day")
            return send(self, texts)

        with monkeypatch.context() as patch:
            patch.setattr(Wire, "send", refuse)
            with pytest.raises(StoreUnreachable):
                store.browse("q")
            assert store._ahead.of("q", os.getpid()) == 0
        assert _quick(store, 22) == [b"%d" % n for n in range(8, 30)]


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.usefixtures("nobody_tidies")
def test_an_interrupt_behind_a_fetch_leaves_no_record_claimed_by_nobody(
    url: str, ticks: _Ticks, monkeypatch: pytest.MonkeyPatch, looks: bool
) -> None:
    with MysqlStore(url) as store:
        _numbers(store, 20)
        assert _quick(store, 3)[-1] == b"2"

        def interrupt(self: Bells, queue: str, ready: int = 0) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Bells, "ring", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.claim("q")
        assert not looks or store.depth("q")[:3] == (17, 0, 0)
        claims = [_get(store) for _ in range(17)]
        assert [(claim.payload, claim.attempt) for claim in claims] == [(b"%d" % n, 1) for n in range(3, 20)]


@pytest.mark.usefixtures("nobody_tidies")
def test_an_interrupt_leaves_no_record_unseen_where_nothing_was(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with MysqlStore(url) as store, MysqlStore(url, lease=31) as other:
        store.commit(Put("q", b"first"))
        store.commit(Ack(_get(store)))
        assert store.claim("q") == []
        other.commit(Put("q", b"a"))

        def interrupt(here: int = threading.get_ident()) -> None:
            if threading.get_ident() == here:  # and not in the lookout's
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store._core.keeper, "ensure", interrupt)
            with pytest.raises(KeyboardInterrupt):
                store.claim("q")
        assert [(claim.payload, claim.attempt) for claim in store.claim("q")] == [(b"a", 1)]


@pytest.mark.usefixtures("nobody_tidies")
def test_i4_who_asks_while_something_is_given_back_gets_what_was_first(
    url: str, ticks: _Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MysqlStore(url) as store:
        _numbers(store, 20)
        _quick(store, 8)
        meanwhile: list[Claim | None] = []

        def keep(*arguments: Any) -> None:
            interrupts.keep(*arguments)
            if not meanwhile:
                meanwhile.append(store._ahead.pop("q", os.getpid()))

        monkeypatch.setattr(fetched, "keep", keep)
        assert [record.payload for record in store.browse("q")] == [b"%d" % n for n in range(9, 20)]
        assert [claim.payload for claim in meanwhile if claim] == [b"8"]


@pytest.mark.parametrize("prefetch", [None, 12])
def test_what_lies_ahead_at_a_normal_exit_is_as_if_never_claimed(url: str, prefetch: int | None) -> None:
    """Nobody closes the store, and the keeper doesn't come any more."""
    with MysqlStore(url) as store:
        _numbers(store, 30)
        run(
            f"""
import sys
from pqadapters.store import Ack
from pqadapters.stores.mysql import MysqlStore, fetched
fetched.IDLE, fetched._GROWTH, fetched.WINDOW = 3600, 2, 3600
store = MysqlStore(sys.argv[1], prefetch={prefetch})
for n in range(9):
    store.commit(*map(Ack, store.claim("q")))
assert store._ahead.lies_ahead(store._core.process)
""",
            url,
        )
        claims: list[Claim] = []
        while len(claims) < 21:
            claims += store.claim("q", timeout=PATIENCE)
        assert {claim.attempt for claim in claims} == {1}
        assert sorted(int(claim.payload) for claim in claims) == list(range(9, 30))


@pytest.mark.usefixtures("nobody_tidies")
def test_threads_fetch_for_each_other_and_one_at_a_time(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store:
        _numbers(store, 200)
        found: list[bytes] = []

        def work() -> None:
            while claims := store.claim("q"):
                found.append(claims[0].payload)
                store.commit(Ack(claims[0]))

        for task in [Task(work, patience=PATIENCE) for _ in range(4)]:
            task.result()
        assert sorted(found, key=int) == [b"%d" % n for n in range(200)]


@pytest.mark.usefixtures("nobody_tidies")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_i5_a_forked_child_has_nothing_of_what_lies_ahead_of_its_parent(url: str, ticks: _Ticks) -> None:
    with MysqlStore(url) as store:
        _numbers(store, 17)
        claim = _get(store)
        done = [Ack(claim)]
        for _ in range(7):
            done = [Ack(claim := _get(store, done))]
        assert store._ahead.of("q", os.getpid()) == 7
        pid = os.fork()
        if not pid:
            status = 1
            try:
                mine = [each.payload for _ in range(9) for each in store.claim("q")]
                with pytest.raises(LeaseLost):
                    store.commit(Ack(claim))
                status = int(mine != [b"15", b"16"])
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert _get(store, done).payload == b"8"
        assert store.depth("q").unfinished == 9


def test_the_keeper_comes_while_something_lies_ahead_and_no_longer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Semaphore(0)
    tidy = keeper.Keeper.tidy

    def look(self: keeper.Keeper, core: Any, pause: float) -> float:
        left = tidy(self, core, pause)
        if not self.watches:
            looked.release()
        return left

    monkeypatch.setattr(keeper.Keeper, "tidy", look)
    with MysqlStore(url) as store:
        _numbers(store, 64)
        _quick(store, 20)
        keeping = store._core.keeper
        while keeping.watches or not store._ahead.is_empty(os.getpid()):
            assert looked.acquire(timeout=PATIENCE)
        assert _quick(store, 44)[0] == b"20"


def test_prefetch_1_takes_each_record_when_it_is_asked_for(url: str, server: Server) -> None:
    with MysqlStore(url, prefetch=1) as store, MysqlStore(url, lease=31) as other:
        _numbers(store, 20)
        for n in range(10):
            claim = _get(store)
            assert other.depth("q")[:3] == (19 - n, 0, 1)
            store.commit(Ack(claim))
