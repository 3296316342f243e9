"""Stores that are broken on purpose, each with the test that must find it out, and why.

They stand on `KeptStore`. Each breaks one promise of the contract and keeps the others as well as it can.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from pqadapters.errors import LimitReached
from pqadapters.store import (
    DEAD,
    Ack,
    Claim,
    Clear,
    Expect,
    Nack,
    Op,
    Order,
    Put,
    Record,
    Set,
    State,
    Stop,
)
from pqadapters.stores.memory import MemoryData

from .kept import KeptStore
from .maker import PATIENCE


class Broken(NamedTuple):
    """`reason` is looked for in the line of the test that failed, and in the error."""

    store: type[KeptStore]
    test: str
    reason: str


BROKEN: list[Broken] = []


def caught_by(test: str, reason: str) -> Callable[[type[KeptStore]], type[KeptStore]]:
    def register(store: type[KeptStore]) -> type[KeptStore]:
        BROKEN.append(Broken(store, test, reason))
        return store

    return register


# I1, I2: commits


@caught_by("test_i1_every_put_of_many_is_there", r"assert payloads\(store\) == expected")
class LosesAPut(KeptStore):
    def _insert(self, row: Any) -> None:
        super()._insert(row)
        if row.id % 10 == 0:
            self._remove(row, [])


@caught_by("test_i2_a_failed_commit_leaves_nothing", "left something")
class KeepsHalfOfAFailedCommit(KeptStore):
    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        return tuple(super(KeepsHalfOfAFailedCommit, self).commit(op, stop=stop)[0] for op in ops)


@caught_by("test_i2_a_failed_commit_leaves_nothing", "left something")
class KeepsTheTablesOfAFailedCommit(KeptStore):
    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        super()._table(op, [])


@caught_by("test_i1_everything_is_there_again", "Left contains 2 more items")
class BringsAckedRecordsBack(KeptStore):
    def _remove(self, row: Any, undo: list[Callable[[], object]]) -> None:
        super()._remove(row, undo)
        self._data.__dict__.setdefault("removed", {})[row.id] = row

    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        old.rows = {**old.__dict__.get("removed", {}), **old.rows}
        return super().reborn(old)


# I3 to I5: claims


@caught_by("test_i5_a_claimed_record_is_not_claimed_again", "assert")
class ClaimsTwice(KeptStore):
    def _take(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[Claim]:
        for row in self._data.rows.values():
            row.owner = None
        return super()._take(queue, order, ids, limit)


class _TornClock(MemoryData):
    def in_state(self, name: str, state: State, now: float, *, newest: bool = False) -> list[Any]:
        return list(super().in_state(name, state, self.clock.wall(), newest=newest))


@caught_by("test_i3_a_delay_that_runs_out_while_it_is_counted_hides_nothing", "a record was in no state")
class ReadsTheClockForEachState(KeptStore):
    Data = _TornClock


@caught_by("test_i5_the_attempt_grows_by_one", "claim.attempt == attempt")
class CountsNoAttempts(KeptStore):
    def _take(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[Claim]:
        claims = super()._take(queue, order, ids, limit)
        for claim in claims:
            self._data.rows[claim.id].attempts = 1
        return [claim._replace(attempt=1) for claim in claims]


@caught_by("test_i5_counted_attempts_survive", "record.attempts for record")
class ForgetsCountedAttempts(KeptStore):
    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        data = super().reborn(old)
        for row in data.rows.values():
            row.attempts = 0
        return data


class _KeepsClaims(MemoryData):
    def release(self, token: object) -> None:
        pass


@caught_by("test_i5_closing_gives_back_this_handles_claims", "record.state for record")
class KeepsTheClaimsOfClosedHandles(KeptStore):
    Data = _KeepsClaims


@caught_by("test_i5_forgetting_a_handle_gives_back_its_claims", "something keeps the handle alive")
class KeepsForgottenHandles(KeptStore):
    def __init__(self, data: MemoryData | None = None) -> None:
        super().__init__(data)
        self._data.__dict__.setdefault("handles", []).append(self)


@caught_by("test_i4_claimed_records_are_ready_again_in_place", "assert")
class PutsRedeliveredRecordsLast(KeptStore):
    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        data = super().reborn(old)
        for row in [row for row in old.rows.values() if row.attempts]:
            moved = data.rows.pop(row.id)
            data.last_id += 1
            moved.id = data.last_id
            data.rows[moved.id] = moved
            data.queue(moved.queue).ids.remove(row.id)
            data.queue(moved.queue).ids.append(moved.id)
        return data


@caught_by("test_i4_a_nacked_record_keeps_its_place", r"_drain\(store, order\)")
class PutsNackedRecordsLast(KeptStore):
    def _nack(self, row: Any, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        super()._nack(row, op, touched, undo)
        ids = self._data.queue(row.queue).ids
        ids.remove(row.id)
        ids.append(row.id)


@caught_by("test_i4_equal_ranks_leave_by_id", r"_drain\(store, Order.RANK\)")
class BreaksTiesBackwards(KeptStore):
    def _take(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[Claim]:
        if order is Order.RANK and ids is None:
            rows = self._data.in_state(queue, State.READY, self._data.clock.wall())
            ids = [row.id for row in sorted(rows, key=lambda row: (row.rank, -row.id))[:limit]]
        return super()._take(queue, order, ids, limit)


@caught_by("test_i4_oldest_newest_and_rank", r"_drain\(store, order, limit\)")
class KnowsOneOrder(KeptStore):
    def _take(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[Claim]:
        return super()._take(queue, Order.OLDEST, ids, limit)


@caught_by("test_a_claim_by_ids_takes_those_that_are_ready", "assert")
class TakesAnyIds(KeptStore):
    def _take(self, queue: str, order: Order, ids: Sequence[int] | None, limit: int) -> list[Claim]:
        return super()._take(queue, order, None, limit)


# I6: fencing and ids


@caught_by("test_i6_a_claim_that_was_given_back_is_stale", "DID NOT RAISE")
class ForgetsAttempts(KeptStore):
    def _held(self, claim: Claim) -> Any:
        row = self._data.rows.get(claim.id)
        return super()._held(claim if row is None else claim._replace(attempt=row.attempts))


@caught_by("test_i6_another_handles_claim_is_not_ours", "DID NOT RAISE")
class ForgetsOwners(KeptStore):
    def _held(self, claim: Claim) -> Any:
        row = self._data.rows.get(claim.id)
        if row is not None and row.owner is not None:
            row.owner = self._token
        return super()._held(claim)


@caught_by("test_i6_a_claim_that_is_held_can_be_used", "LeaseLost")
class EndsExtendedClaims(KeptStore):
    def _apply(self, op: Op, undo: list[Callable[[], object]], touched: set[str]) -> int:
        result = super()._apply(op, undo, touched)
        if type(op).__name__ == "Extend":
            self._data.rows[op.claim.id].attempts += 1  # type: ignore[union-attr]
        return result


@caught_by("test_i6_ids_are_never_reused", "an id was used again")
class ReusesIds(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        self._data.last_id = max(self._data.rows, default=0)
        return super()._put(op, undo)


@caught_by("test_i6_ids_are_not_reused_after_reopening", "an id was used again")
class ReusesIdsAfterReopening(KeptStore):
    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        data = super().reborn(old)
        data.last_id = max(data.rows, default=0)
        return data


# I7: waiting


class _NeverWakes(MemoryData):
    def changed(self, name: str) -> None:
        pass


@caught_by("test_i7_a_put_wakes_a_claim", "Hung: no result")
class NeverWakesAWaiter(KeptStore):
    Data = _NeverWakes


class _WakesOne(MemoryData):
    def changed(self, name: str) -> None:
        self.queue(name).takers.wake_one()
        self.queue(name).watchers.wake_all()


@caught_by("test_i7_a_stopped_waiter_passes_its_wake_up_on", "Hung: no result")
@caught_by("test_i7_a_waiter_for_other_ids_passes_its_wake_up_on", "Hung: no result")
@caught_by("test_i7_one_commit_of_many_puts_wakes_as_many", "Hung: no result")
@caught_by("test_i7_every_change_of_depth_wakes_a_wait", "Hung: no result")
class WakesOneAndForgetsIt(KeptStore):
    Data = _WakesOne


@caught_by("test_i7_a_claim_waits_for_a_delay_to_run_out", "Hung: no result")
class SleepsOverDelays(KeptStore):
    def _due(self, queue: str) -> float | None:
        return None


@caught_by("test_a_wait_gives_up_after_its_timeout", "is False")
class WaitsWithoutLooking(KeptStore):
    def wait(self, queue: str, until: Callable[[Any], bool], timeout: float | None = None) -> bool:
        return super().wait(queue, until, timeout) or True


# I9: conditions


@caught_by("test_i9_a_limit_counts_ready_records", "assert")
class IgnoresALimit(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(limit=None), undo)


@caught_by("test_i9_limit_bytes_counts_payloads", "assert not _accepted")
class IgnoresALimitOfBytes(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(limit_bytes=None), undo)


@caught_by("test_i9_a_limit_that_was_lowered_refuses", "assert not _accepted")
class RefusesAtTheLimitAlone(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        ready = self._data.depth(op.queue).ready
        return super()._put(op if ready == op.limit else op._replace(limit=None), undo)


@caught_by("test_i9_threads_never_pass_a_limit", "== 5")
class ChecksFirstAndActsLater(KeptStore):
    _meeting = threading.Barrier(12)

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        op = ops[0]
        if isinstance(op, Put) and op.limit is not None:
            if self.depth(op.queue).ready >= op.limit:
                raise LimitReached("full")
            with contextlib.suppress(threading.BrokenBarrierError):
                self._meeting.wait(PATIENCE)
            ops = (op._replace(limit=None),)
        return super().commit(*ops, stop=stop)


@caught_by("test_i9_what_a_set_expects", "went ahead")
class IgnoresWhatASetExpects(KeptStore):
    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        super()._table(op if isinstance(op, Clear) else op._replace(expect=Expect.ANY), undo)


@caught_by("test_i9_a_stopped_commit_stores_nothing", "DID NOT RAISE")
class IgnoresStop(KeptStore):
    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        return super().commit(*ops)


@caught_by("test_i9_stop_is_looked_at_before_anything_is_claimed", "assert")
class LooksAtStopAfterwards(KeptStore):
    def claim(self, queue: str, *, stop: Stop | None = None, **options: Any) -> list[Claim]:
        found = super().claim(queue, **{**options, "timeout": 0})
        return [] if stop is not None and stop() else found


@caught_by("test_a_claim_carries_out_acknowledgements_first", "assert")
class ForgetsTheAcknowledgementsOfAClaim(KeptStore):
    def claim(self, queue: str, *, acks: Sequence[Ack] = (), **options: Any) -> list[Claim]:
        return super().claim(queue, **options)


@caught_by("test_acknowledgements_are_carried_out_where_nothing_can_be_claimed", "assert")
class AcknowledgesOnlyWithAClaim(KeptStore):
    def claim(self, queue: str, *, acks: Sequence[Ack] = (), **options: Any) -> list[Claim]:
        found = super().claim(queue, **options)
        if found and acks:
            self.commit(*acks)
        return found


@caught_by("test_of_a_claims_acknowledgements_those_of_lost_leases_are_passed_over", "LeaseLost")
class FailsForALostLease(KeptStore):
    def claim(self, queue: str, *, acks: Sequence[Ack] = (), **options: Any) -> list[Claim]:
        if acks:
            self.commit(*acks)
        return super().claim(queue, **options)


# What is shown and kept


@caught_by("test_a_delayed_record_is_not_claimed_early", "assert store.claim")
class ForgetsDelays(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(not_before=0.0), undo)


@caught_by("test_a_dead_record_lies_in_the_dead_queue_with_its_reason", "store.browse")
class LosesDeadLetters(KeptStore):
    def _nack(self, row: Any, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        super()._nack(row, op, touched, undo)
        if op.dead is not None:
            self._remove(row, undo)


@caught_by("test_a_record_that_dies_again_stays_where_it_is", "assert")
class KeepsTheFirstReason(KeptStore):
    def _nack(self, row: Any, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        super()._nack(row, op if not row.queue.endswith(DEAD) else op._replace(dead=row.note), touched, undo)


@caught_by("test_an_update_stays_with_the_record", "assert")
class ForgetsUpdates(KeptStore):
    def _nack(self, row: Any, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        super()._nack(row, op, touched, undo)
        row.payload = op.claim.payload


@caught_by("test_browse_claims_nothing", "before")
class ClaimsWhatItShows(KeptStore):
    def browse(self, queue: str, **options: Any) -> Iterator[Record]:
        for record in super().browse(queue, **options):
            self._data.rows[record.id].attempts += 1
            yield record


@caught_by("test_an_existing_key_keeps_its_place", "assert")
class MovesKeysThatAreSetAgain(KeptStore):
    def _table(self, op: Any, undo: list[Callable[[], object]]) -> None:
        super()._table(op, undo)
        if isinstance(op, Set):
            table = self._data.tables[op.table]
            table[op.key] = table.pop(op.key)


@caught_by("test_a_scan_while_the_table_changes", "a key that stayed was not seen|a key was seen twice")
class ScansWhatIsThereNow(KeptStore):
    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        if after is not None or reverse:
            yield from super().scan(table, after=after, reverse=reverse)
            return
        place = 0
        while place < len(items := list(self._data.tables.get(table, {}).items())):
            yield items[place][0], items[place][1][1]
            place += 1


@caught_by("test_a_cleared_table_is_empty_and_goes_on", "assert")
class ClearsWhatIsSetBehind(KeptStore):
    def commit(self, *ops: Op, **options: Any) -> tuple[int, ...]:
        return super().commit(*sorted(ops, key=lambda op: isinstance(op, Clear)), **options)


@caught_by("test_a_snapshot_is_of_one_moment", "assert")
class LooksAtKeysOneByOne(KeptStore):
    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        found = {}
        for key in self.keys(table) if keys is None else keys:
            time.sleep(0)  # somebody else may come
            if (value := self.get(table, key)) is not None:
                found[key] = value
        return found


@caught_by("test_empty_keys_and_values_are_keys_and_values", "assert")
class TakesEmptyForMissing(KeptStore):
    def get(self, table: str, key: bytes) -> bytes | None:
        return super().get(table, key) or None


@caught_by("test_an_empty_payload_is_a_record", "assert")
class SkipsEmptyPayloads(KeptStore):
    def _insert(self, row: Any) -> None:
        super()._insert(row)
        if not row.payload:
            self._remove(row, [])


# Finalizers


class _NoTurns(MemoryData):
    def in_turn(self, change: Callable[[], object]) -> bool:
        return False


@caught_by("test_i6_a_put_is_interrupted_anywhere", "late|Error")
class LetsFinalizersIn(KeptStore):
    """It was how the memory store began: the put in the middle of a put got the same id."""

    Data = _NoTurns


class _Drops(MemoryData):
    def in_turn(self, change: Callable[[], object]) -> bool:
        return self._busy


@caught_by("test_a_finalizer_commits_in_the_middle_of_a_commit", "from a finalizer")
class DropsWhatFinalizersCommit(KeptStore):
    Data = _Drops


@caught_by("test_i1_an_acknowledged_record_is_gone", "assert")
class ForgetsLazyAcks(KeptStore):
    def _apply(self, op: Op, undo: list[Callable[[], object]], touched: set[str]) -> int:
        return 0 if isinstance(op, Ack) and op.lazy else super()._apply(op, undo, touched)
