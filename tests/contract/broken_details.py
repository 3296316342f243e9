"""More stores that are broken on purpose: each gets one detail wrong that is easy to get wrong. See `broken.py`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from pqadapters.errors import FormatError, LeaseLost, StoreError
from pqadapters.store import DEAD, Claim, Delete, Depth, Expect, Nack, Op, Order, Put, Record, Set, State, Stop
from pqadapters.stores.memory import MemoryData

from .broken import caught_by
from .kept import KeptStore
from .maker import PATIENCE


class _Four(threading.local):
    """Threads that are in the middle of the same call at once: each in its first one, and none waits in vain."""

    _met, _meeting = False, threading.Barrier(4)

    def meet_once(self) -> None:
        if not self._met and threading.current_thread() is not threading.main_thread():
            self._met = True
            self._meeting.wait(PATIENCE)

# Names and values


@caught_by("test_a_claim_of_an_empty_queue_is_empty", "assert store.claim")
@caught_by("test_browse_of_nothing", "assert list")
@caught_by("test_i2_queues_and_tables_change_together", "assert")
@caught_by("test_the_depth_of_one_queue_says_nothing_of_another", "assert store.depth")
class KnowsOneQueue(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(queue="q"), undo)


@caught_by("test_tables_and_queues_of_one_name_are_apart", "assert")
@caught_by("test_tables_of_every_name", "table")
class KnowsOneTable(KeptStore):
    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        super()._table(op._replace(table="t"), undo)

    def get(self, table: str, key: bytes) -> bytes | None:
        return super().get("t", key)

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return super().scan("t", after=after, reverse=reverse)


@caught_by("test_keys_are_bytes_and_nothing_less", "assert list")
class FoldsKeys(KeptStore):
    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        super()._table(op._replace(key=op.key.lower()), undo)


@caught_by("test_payloads_of_a_megabyte", "assert")
@caught_by("test_payloads_of_a_megabyte_survive", "assert")
class CutsAt64KiB(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(payload=op.payload[:65535]), undo)


@caught_by("test_i1_a_claim_carries_what_was_put", "put_at")
class ForgetsWhen(KeptStore):
    def _insert(self, row: Any) -> None:
        row.put_at = 0.0
        super()._insert(row)


@caught_by("test_a_store_says_what_it_is", "place")
class IsNowhere(KeptStore):
    place = ""


@caught_by("test_a_lost_lease_is_told_with_the_queue", "jobs")
class SaysLittle(KeptStore):
    def _held(self, claim: Claim) -> Any:
        try:
            return super()._held(claim)
        except LeaseLost:
            raise LeaseLost("lost") from None


# Ids, attempts, states


@caught_by("test_i6_ids_grow", "assert ids == sorted")
class NumbersBackwards(KeptStore):
    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        return super().commit(*ops, stop=stop)[::-1]


@caught_by("test_i5_attempts_begin_no_lower_than_one", "claim.attempt in")
class CountsFromZero(KeptStore):
    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        data = super().reborn(old)
        for row in data.rows.values():
            row.attempts = -1
        return data


@caught_by("test_a_plain_nack_ends_a_delay", "assert store.depth")
class KeepsOldDelays(KeptStore):
    def _nack(self, row: Any, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        super()._nack(row, op._replace(not_before=op.not_before or row.not_before), touched, undo)


@caught_by("test_a_delay_that_is_over_delays_nothing", "assert")
class DelaysWhatIsDue(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(not_before=op.not_before and op.not_before + 60), undo)


class _ByTheClock(MemoryData):
    def in_state(self, name: str, state: State, now: float, *, newest: bool = False) -> list[Any]:
        rows = [self.rows[id] for id in self.queue(name).ids]
        late = [row for row in rows if row.not_before > now]
        found = super().in_state(name, state, now, newest=newest)
        return late if state is State.DELAYED else [row for row in found if row not in late]


@caught_by("test_a_claimed_record_stays_claimed_whatever_the_clock_says", "assert store.depth")
class DelaysClaimedRecords(KeptStore):
    Data = _ByTheClock


@caught_by("test_a_record_may_be_put_among_the_dead", "assert")
class RefusesTheDead(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return 0 if op.queue.endswith(DEAD) else super()._put(op, undo)


# Depth and browse


@caught_by("test_the_oldest_age_is_never_negative", "oldest_age")
class AgesBackwards(KeptStore):
    def depth(self, queue: str, *, age: bool = True) -> Depth:
        depth = super().depth(queue, age=age)
        put_at = [record.put_at for record in self.browse(queue)]
        return depth._replace(oldest_age=self._data.clock.wall() - min(put_at)) if put_at else depth


@caught_by("test_unfinished_counts_all_but_the_dead", "unfinished")
class CountsTheDeadTwice(KeptStore):
    def depth(self, queue: str, *, age: bool = True) -> Depth:
        depth = super().depth(queue, age=age)
        return depth._replace(claimed=depth.claimed + depth.dead)


@caught_by("test_the_depth_of_a_queue_that_never_was", "assert")
class AgesWithoutARecord(KeptStore):
    def depth(self, queue: str, *, age: bool = True) -> Depth:
        depth = super().depth(queue, age=age)
        return depth._replace(oldest_age=depth.oldest_age or 0.0)


@caught_by("test_the_oldest_age_is_that_of_a_ready_record", "age=False")
class AgesUnasked(KeptStore):
    def depth(self, queue: str, *, age: bool = True) -> Depth:
        return super().depth(queue)


@caught_by("test_the_depth_follows_a_record_through_its_life", "any_ready")
class ReadyWhereAnyIs(KeptStore):
    def any_ready(self, queue: str) -> bool:
        return self.depth(queue).unfinished > 0


@caught_by("test_browse_by_several_threads_and_handles", "zip")
class ShowsEachRecordToOne(KeptStore):
    def browse(self, queue: str, **options: Any) -> Iterator[Record]:
        iterators: dict[str, Iterator[Record]] = self._data.__dict__.setdefault("iterators", {})
        return iterators.setdefault(queue, super().browse(queue, **options))


@caught_by("test_browse_while_records_come_and_go", "len\\(set\\(found\\)\\)")
class ShowsTheFirstOneAgain(KeptStore):
    def browse(self, queue: str, **options: Any) -> Iterator[Record]:
        yield from islice(super().browse(queue, **options), 1)
        yield from super().browse(queue, **options)


@caught_by("test_browse_of_many_that_are_ready", "found\\[order\\]")
class ShowsNoRanks(KeptStore):
    def browse(self, queue: str, *, order: Order = Order.OLDEST, **options: Any) -> Iterator[Record]:
        return super().browse(queue, order=Order.OLDEST if order is Order.RANK else order, **options)


# Tables


@caught_by("test_a_scan_is_in_the_order_of_the_first_setting", "assert")
@caught_by("test_a_scan_from_the_one_behind", "assert")
@caught_by("test_a_table_is_scanned_page_by_page", "assert")
class ScansByKey(KeptStore):
    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        items = sorted(super().scan(table), reverse=reverse)
        behind = [(key, value) for key, value in items if after is None or (key < after if reverse else key > after)]
        return iter(behind)


@caught_by("test_a_key_set_after_its_deletion_goes_to_the_end", "assert")
class RemembersDeletedPlaces(KeptStore):
    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        places: list[bytes] = self._data.__dict__.setdefault("places", [])
        return iter(sorted(super().scan(table, after=after, reverse=reverse), key=lambda item: places.index(item[0])))

    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        places: list[bytes] = self._data.__dict__.setdefault("places", [])
        if isinstance(op, Set) and op.key not in places:
            places.append(op.key)
        super()._table(op, undo)


@caught_by("test_a_key_has_the_value_it_was_set_to", "count")
class CountsSettings(KeptStore):
    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        super()._table(op, undo)
        self._data.__dict__["settings"] = self._data.__dict__.get("settings", 0) + isinstance(op, Set)

    def count(self, table: str) -> int:
        return int(self._data.__dict__.get("settings", 0))


@caught_by("test_a_table_that_never_was_is_empty", "Delete")
class MissesMissingKeys(KeptStore):
    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        if isinstance(op, Delete):
            del self._data.tables[op.table][op.key]
        else:
            super()._table(op, undo)


@caught_by("test_i9_threads_count_by_compare_and_set", '== b"80"')
class LosesUpdates(KeptStore):
    _four = _Four()

    def get(self, table: str, key: bytes) -> bytes | None:
        value = super().get(table, key)
        self._four.meet_once()
        return value

    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        super()._table(op._replace(expect=Expect.ANY), undo)


# Handles and calls


@caught_by("test_handles_share_the_data", "assert")
class KeepsToItself(KeptStore):
    def __init__(self, data: MemoryData | None = None) -> None:
        super().__init__(data and MemoryData(data.clock))


@caught_by("test_the_first_handle_may_close_before_the_others", "assert|StoreClosed")
class ClosesForAll(KeptStore):
    def close(self) -> None:
        super().close()
        self._data.rows.clear()
        for queue in self._data.queues.values():
            queue.ids.clear()


@caught_by("test_a_second_close_does_nothing", "claimed == 1")
class ReleasesAllAtClose(KeptStore):
    def close(self) -> None:
        super().close()
        for row in self._data.rows.values():
            row.owner = None


@caught_by("test_checkpoint_changes_nothing_that_is_seen", "before")
class ReleasesAllAtCheckpoint(KeptStore):
    def checkpoint(self) -> None:
        super().checkpoint()
        for row in self._data.rows.values():
            row.owner = None


@caught_by("test_an_empty_store_is_opened_again", "FormatError")
class CantOpenNothing(KeptStore):
    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        if not old.rows and not old.tables:
            raise FormatError("there is nothing in it")
        return super().reborn(old)


@caught_by("test_a_commit_takes_a_timeout", "StoreError")
class TakesZeroForNever(KeptStore):
    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        if timeout == 0:
            raise StoreError("timed out")
        return super().commit(*ops, stop=stop)


@caught_by("test_a_wait_returns_at_once_where_it_holds", "is True")
@caught_by("test_a_wait_hands_on_what_its_predicate_raises", "DID NOT RAISE")
class WaitsBeforeItLooks(KeptStore):
    def wait(self, queue: str, until: Callable[[Depth], bool], timeout: float | None = None) -> bool:
        return False if timeout == 0 else self._swallowing(queue, until, timeout)

    def _swallowing(self, queue: str, until: Callable[[Depth], bool], timeout: float | None) -> bool:
        with contextlib.suppress(ZeroDivisionError):
            return super().wait(queue, until, timeout)
        return False


@caught_by("test_i5_two_consumers_never_share_a_claim", "LeaseLost|two consumers")
class LooksFirstAndClaimsLater(KeptStore):
    _before, _behind = _Four(), _Four()

    def claim(self, queue: str, *, limit: int = 1, **options: Any) -> list[Claim]:
        ids = [record.id for record in self.browse(queue)][:limit]
        self._before.meet_once()
        claims = super().claim(queue, ids=ids, limit=limit, **options)
        self._behind.meet_once()
        return claims

    def _take(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[Claim]:
        for row in [self._data.rows[id] for id in ids or () if id in self._data.rows]:
            row.owner = None  # under the lock, so that each of those who have met takes them from the one before
        return super()._take(queue, order, ids, limit)
