"""A Hypothesis state machine that does the same to a store and to the memory store, and compares all that they show.

Ids are a store's own and are compared through a map that must keep their order. Claims that aren't counted may lose
their attempts over a reopening: there, and only there, the model follows the store.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Union

import hypothesis.strategies as st
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pqadapters.errors import PqadaptersError
from pqadapters.store import (
    Ack,
    Claim,
    Clear,
    Delete,
    Expect,
    Extend,
    Nack,
    Op,
    Order,
    Put,
    Record,
    Set,
    State,
    Store,
    Update,
)
from pqadapters.stores.memory import MemoryStore

from .maker import START, ManualClock
from .stores import Kind

#: HYPOTHESIS_PROFILE=deep looks longer than CI has time for.
_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
SETTINGS = settings(
    max_examples=400 if _DEEP else 20,
    stateful_step_count=100 if _DEEP else 40,
    deadline=None,
    derandomize=not _DEEP,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # not "explain": it runs a failure hundreds of times
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
#: Finds a failure and shows it as it is.
QUICK = settings(SETTINGS, max_examples=200, phases=[Phase.generate], report_multiple_bugs=False)

QUEUES = ("q", "r", "q.dead")
TABLES = ("t", "u")


class Pair(NamedTuple):
    """A handle, or a claim with the number of the handle that took it, on both sides."""

    real: Store
    model: Store


class Held(NamedTuple):
    real: Claim
    model: Claim


class Use(NamedTuple):
    """An op on a claim out of those taken so far, to be made for each side."""

    which: int
    make: Callable[[Claim], Op]


Sketch = Union[Put, Set, Delete, Clear, Use]

_payloads = st.binary(max_size=12) | st.binary(min_size=900, max_size=1100)
_moments = st.sampled_from([0.0, 0.0, 0.0, START, START + 5, START + 50])
_queues = st.sampled_from(["q", "q", "q", "q", *QUEUES])
_keys = st.sampled_from([b"", b"a", b"b", b"c"])
_values = st.sampled_from([b"", b"1", b"2"])
_expects = st.just(Expect.ANY) | st.just(Expect.ANY) | st.just(Expect.ANY) | st.sampled_from(Expect) | _values
_puts = st.builds(
    Put,
    _queues,
    _payloads,
    rank=st.sampled_from([b"", b"", b"\x00", b"a", b"ab", b"b"]),
    not_before=_moments,
    limit=st.sampled_from([None] * 12 + [0, 3, 8, 12]),
    limit_bytes=st.sampled_from([None] * 12 + [0, 20, 1000, 4000]),
    attempts=st.sampled_from([0, 0, 0, 1, 7]),
    put_at=st.sampled_from([0.0, 0.0, 0.0, START - 1000.5, START + 20]),
    note=st.sampled_from(["", "", "", "moved", "n\xf6 " * 300]),
)
_makes: st.SearchStrategy[Callable[[Claim], Op]] = st.one_of(
    st.builds(lambda lazy: lambda claim: Ack(claim, lazy), st.booleans()),
    st.builds(
        lambda not_before, dead: lambda claim: Nack(claim, not_before, dead),
        _moments,
        st.sampled_from([None, None, "", "reason"]),
    ),
    st.builds(lambda payload: lambda claim: Update(claim, payload), _payloads),
    st.just(Extend),
)
_uses = st.builds(Use, st.integers(0, 5), _makes)
_sets = st.builds(Set, st.sampled_from(TABLES), _keys, _values, _expects)
_deletes = st.builds(Delete, st.sampled_from(TABLES), _keys, _expects)
_clears = st.builds(Clear, st.sampled_from(TABLES))
_sketches = st.one_of(_puts, _uses, _uses, _sets, _deletes)
_which = st.integers(0, 3)


class StoreMachine(RuleBasedStateMachine):
    """`make_kind` is set by `machine`."""

    make_kind: Callable[[Path], Kind]

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="pqadapters-machine-"))
        self.clock = ManualClock()
        self.kind = self.make_kind(self.directory / "store")
        real, model = self.kind.open(self.clock), MemoryStore(clock=self.clock)
        self.data = model._data
        self.handles = [Pair(real, model)]
        self.claims: list[Held] = []
        self.ids: dict[int, int] = {}  # the model's to the store's
        self.counted: dict[int, int] = {}  # the model's id: the last attempt that was counted, or came along

    def handle(self, which: int) -> Pair:
        return self.handles[which % len(self.handles)]

    @initialize(ranks=st.lists(st.sampled_from([b"", b"", b"a", b"b"]), min_size=2, max_size=8))
    def begin(self, ranks: list[bytes]) -> None:
        moved: list[Any] = [{}, {"attempts": 2, "note": "moved"}, {"put_at": START - 7, "note": "old"}]
        self._commit(0, [Put("q", b"%d" % n, rank, **moved[n % 3]) for n, rank in enumerate(ranks)])
        self._commit(0, [Set("t", b"a", b"1"), Set("t", b"b", b"2")])

    @rule(which=_which, ops=st.lists(_puts, min_size=1, max_size=4))
    def put(self, which: int, ops: list[Put]) -> None:
        self._commit(which, list(ops))

    @rule(which=_which, ops=st.lists(_sets | _sets | _sets | _deletes | _deletes | _clears, min_size=1, max_size=3))
    def change_a_table(self, which: int, ops: list[Sketch]) -> None:
        self._commit(which, ops)

    @rule(which=_which, use=_uses)
    def use_a_claim(self, which: int, use: Use) -> None:
        self._commit(which, [use])

    @rule(which=_which, ops=st.lists(_sketches, max_size=6))
    def commit(self, which: int, ops: list[Sketch]) -> None:
        self._commit(which, ops)

    def _commit(self, which: int, sketches: list[Sketch]) -> None:
        handle = self.handle(which)
        ops = [self._ops(sketch) for sketch in sketches if self.claims or not isinstance(sketch, Use)]
        real = _outcome(lambda: handle.real.commit(*(op for op, _ in ops)))
        model = _outcome(lambda: handle.model.commit(*(op for _, op in ops)))
        if isinstance(model, tuple) and isinstance(real, tuple):
            assert [bool(id) for id in real] == [bool(id) for id in model]
            self._learn([id for id in model if id], [id for id in real if id])
            puts = ((op, id) for (_, op), id in zip(ops, model, strict=True) if isinstance(op, Put))
            self.counted.update({id: op.attempts for op, id in puts})
        else:
            assert real == model, f"the store: {real!r}, the model: {model!r}"

    def _ops(self, sketch: Sketch) -> tuple[Op, Op]:
        if not isinstance(sketch, Use):
            return sketch, sketch
        held = self.claims[-1 - sketch.which % len(self.claims)]
        return sketch.make(held.real), sketch.make(held.model)

    def _learn(self, model: list[int], real: list[int]) -> None:
        for mine, theirs in zip(model, real, strict=True):
            assert not self.ids or theirs > self.ids[max(self.ids)], "an id didn't grow"
            self.ids[mine] = theirs

    @rule(
        which=_which,
        queue=_queues,
        order=st.sampled_from(Order),
        limit=st.integers(1, 4),
        counted=st.booleans(),
        some=st.none() | st.none() | st.none() | st.sets(st.integers(0, 7), max_size=4),
    )
    def claim(self, which: int, queue: str, order: Order, limit: int, counted: bool, some: set[int] | None) -> None:
        self._claim(which, queue, order, limit, counted, some)

    @rule(which=_which, order=st.sampled_from(Order), limit=st.integers(1, 4), make=_makes)
    def consume(self, which: int, order: Order, limit: int, make: Callable[[Claim], Op]) -> None:
        before = len(self.claims)
        self._claim(which, "q", order, limit)
        self._commit(which, [Use(n, make) for n in range(len(self.claims) - before)])

    def _claim(
        self, which: int, queue: str, order: Order, limit: int, counted: bool = False, some: set[int] | None = None
    ) -> None:
        handle = self.handle(which)
        known = sorted(self.ids)[-8:]
        ids = None if some is None else [known[n] for n in some if n < len(known)]
        mapped = None if ids is None else [self.ids[id] for id in ids]
        real = handle.real.claim(queue, order=order, ids=mapped, limit=limit, counted=counted)
        model = handle.model.claim(queue, order=order, ids=ids, limit=limit, counted=counted)
        assert real == [claim._replace(id=self.ids[claim.id]) for claim in model]
        self.claims += [Held(*pair) for pair in zip(real, model, strict=True)]
        if counted:
            self.counted.update({claim.id: claim.attempt for claim in model})

    @rule(seconds=st.sampled_from([0.5, 5.0, 50.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def checkpoint(self) -> None:
        for handle in self.handles[0]:
            handle.checkpoint()

    @rule(which=_which)
    def sync(self, which: int) -> None:
        for handle in self.handle(which):
            handle.sync()

    @precondition(lambda self: len(self.handles) < 3)
    @rule()
    def open_another(self) -> None:
        real = self.kind.another(self.handles[0].real, self.clock)
        self.handles.append(Pair(real, MemoryStore(self.data)))

    @precondition(lambda self: len(self.handles) > 1)
    @rule(which=_which)
    def close(self, which: int) -> None:
        for handle in self.handles.pop(which % len(self.handles)):
            handle.close()

    @precondition(lambda self: self.handles[0].real.capabilities.persistent)
    @rule(checkpoint=st.booleans())
    def reopen(self, checkpoint: bool) -> None:
        if checkpoint:
            self.checkpoint()
        for pair in self.handles:
            pair.real.close()
            pair.model.close()
        self.handles = [Pair(self.kind.open(self.clock), MemoryStore(self.data))]
        self._follow_the_attempts()

    def _follow_the_attempts(self) -> None:
        attempts = {r.id: r.attempts for queue in QUEUES for r in self.handles[0].real.browse(queue, state=None)}
        for row in self.data.rows.values():
            known = attempts.get(self.ids[row.id], row.attempts)
            assert self.counted.get(row.id, 0) <= known <= row.attempts, "attempts don't add up"
            row.attempts = known

    @invariant()
    def they_show_the_same(self) -> None:
        real, model = self.handles[-1]
        for queue in QUEUES:
            assert real.depth(queue) == model.depth(queue)
            assert real.any_ready(queue) == model.any_ready(queue)
            for order in Order:
                expected = [self._theirs(record) for record in model.browse(queue, order=order, state=None)]
                assert [_due(record) for record in real.browse(queue, order=order, state=None)] == expected
            for state in State:
                expected = [self._theirs(record) for record in model.browse(queue, state=state)]
                assert [_due(record) for record in real.browse(queue, state=state)] == expected
        for table in TABLES:
            assert list(real.scan(table)) == list(model.scan(table))
            assert list(real.scan(table, reverse=True)) == list(model.scan(table, reverse=True))
            assert real.count(table) == model.count(table)

    def _theirs(self, record: Record) -> Record:
        return _due(record._replace(id=self.ids[record.id]))

    def teardown(self) -> None:
        for pair in self.handles:
            pair.real.close()
        shutil.rmtree(self.directory, ignore_errors=True)


def _due(record: Record) -> Record:
    """A delay that is over may be shown or not."""
    return record if record.state is State.DELAYED else record._replace(not_before=0.0)


def _outcome(call: Callable[[], tuple[int, ...]]) -> tuple[int, ...] | type[PqadaptersError]:
    try:
        return call()
    except PqadaptersError as error:
        return type(error)


def machine(kind: Callable[[Path], Kind]) -> type[StoreMachine]:
    """The machine for one kind of store."""
    return type("Machine", (StoreMachine,), {"make_kind": staticmethod(kind)})
