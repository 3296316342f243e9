"""More stores that are broken on purpose: they forget what is known of a record that moves here. See `broken.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pqadapters.store import DEAD, Depth, Nack, Op, Put, State, Update
from pqadapters.stores.memory import MemoryData

from .broken import caught_by
from .kept import KeptStore

_CHANGES = "test_a_moved_record_keeps_what_is_known_of_it"


@caught_by("test_a_moved_record_is_shown_as_it_was", "_known")
@caught_by("test_i5_the_attempts_of_a_moved_record_go_on", "_told")
@caught_by("test_moved_records_among_others_keep_what_is_theirs", "_told")
class CountsFromZeroAgain(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(attempts=0), undo)


@caught_by("test_a_moved_record_is_shown_as_it_was", "_known")
@caught_by("test_i4_moved_records_leave_by_rank", "claim.put_at")
@caught_by("test_the_age_of_a_record_from_a_clock_that_is_ahead_is_not_negative", "claim.put_at")
class TakesEveryRecordForNew(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(put_at=0.0), undo)


@caught_by("test_a_moved_record_is_shown_as_it_was", "_known")
@caught_by("test_a_moved_dead_letter_lies_among_the_dead", "_told")
@caught_by("test_notes_of_every_kind", "assert found")
class DropsNotes(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(note=""), undo)


@caught_by("test_a_moved_dead_letter_lies_among_the_dead", "_told")
class DropsReasonsOfThoseWhoComeDead(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(note="") if op.queue.endswith(DEAD) else op, undo)


@caught_by("test_a_moved_record_goes_on_being_late", "store.claim")
class MovesWithoutTheDelay(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(not_before=0.0) if op.attempts else op, undo)


@caught_by("test_i9_limits_hold_for_moved_records", "LimitReached")
class LetsMovedRecordsPass(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(limit=None, limit_bytes=None) if op.attempts else op, undo)


@caught_by("test_negative_attempts_are_refused", "DID NOT RAISE")
class TakesNegativeAttempts(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        return super()._put(op._replace(attempts=max(op.attempts, 0)), undo)


@caught_by("test_negative_attempts_are_refused", "something was stored")
class RefusesTooLate(KeptStore):
    def _put(self, op: Put, undo: list[Callable[[], object]]) -> int:
        id = super()._put(op._replace(attempts=max(op.attempts, 0)), [] if op.attempts < 0 else undo)
        if op.attempts < 0:
            raise ValueError(f"{op.attempts}")
        return id


class _AgesByTheLeast(MemoryData):
    def depth(self, name: str) -> Depth:
        depth, now = super().depth(name), self.clock.wall()
        oldest = min((row.put_at for row in self.in_state(name, State.READY, now)), default=None)
        return depth._replace(oldest_age=None if oldest is None else max(0.0, now - oldest))


@caught_by("test_the_oldest_is_who_came_first", "oldest_age == 0")
class AgesByTheLeast(KeptStore):
    Data = _AgesByTheLeast


class _AgesHere(MemoryData):
    def depth(self, name: str) -> Depth:
        depth = super().depth(name)
        return depth._replace(oldest_age=depth.oldest_age and depth.oldest_age % 1000)


@caught_by("test_the_oldest_age_follows_a_moved_record", "oldest_age == START - THEN")
class AgesShort(KeptStore):
    Data = _AgesHere


# What becomes of it later


@caught_by(_CHANGES, "_known|_told")
@caught_by("test_a_moved_dead_letter_lies_among_the_dead", "record.note for record")
class DropsNotesOverANack(KeptStore):
    def _nack(self, row: Any, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        super()._nack(row, op, touched, undo)
        row.note = op.dead or ""


@caught_by("test_a_moved_record_dies_of_a_reason_of_its_own", "r.note")
class KeepsTheReasonItCameWith(KeptStore):
    def _nack(self, row: Any, op: Nack, touched: set[str], undo: list[Callable[[], object]]) -> None:
        super()._nack(row, op if op.dead is None else op._replace(dead=row.note or op.dead), touched, undo)


@caught_by(_CHANGES, "_known|_told")
class DropsNotesOverAnUpdate(KeptStore):
    def _apply(self, op: Op, undo: list[Callable[[], object]], touched: set[str]) -> int:
        if isinstance(op, Update):
            self._data.rows[op.claim.id].note = ""
        return super()._apply(op, undo, touched)


class _DropsNotesWithTheHandle(MemoryData):
    def release(self, token: object) -> None:
        for row in self.rows.values():
            row.note = "" if row.owner is token else row.note
        super().release(token)


@caught_by(_CHANGES, "_known|_told")
class DropsNotesWithTheHandle(KeptStore):
    Data = _DropsNotesWithTheHandle


@caught_by("test_i1_what_is_known_of_a_moved_record_survives", "snapshot|_told")
@caught_by("test_i1_a_moved_record_is_known_after_a_long_time", "records|_told")
@caught_by("test_i1_a_changed_record_keeps_what_is_known_of_it", "may be lost")
class ForgetsWhatWasKnown(KeptStore):
    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        data = super().reborn(old)
        data.rows = {id: replace(row, attempts=0, put_at=old.clock.wall(), note="") for id, row in data.rows.items()}
        return data


@caught_by("test_i1_a_changed_record_keeps_what_is_known_of_it", "record.note")
class ForgetsWhyOverAReopening(KeptStore):
    @classmethod
    def reborn(cls, old: MemoryData) -> MemoryData:
        data = super().reborn(old)
        data.rows = {id: replace(row, note="") for id, row in data.rows.items()}
        return data
