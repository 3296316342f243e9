"""A transaction that is open: what is asked now, what may go with the next packet, and what goes with the COMMIT.

Puts, acknowledgements and keys that are set without a condition need no answer before the COMMIT: those of all callers
go in one packet with it, a statement for many of them. An acknowledgement that finds nothing keeps that packet from
being committed (`TOKEN_IF`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .._work import Outcome
from .schema import Statements, bound
from .wire import Answer, Wire

Held = tuple[int, bytes, int]  #: queue's number, place, attempt


class Plan(NamedTuple):
    """A commit without conditions: what it adds to a packet."""

    puts: list[tuple[int, str]]  #: which op, and the row's values
    acks: list[tuple[Held, int]]  #: what is acknowledged, and its id
    told: list[str]  #: statements on tables, in their order
    size: int  #: how many ops


class Session:
    """Of one transaction on one connection."""

    def __init__(self, wire: Wire, owner: int, outcome: Outcome) -> None:
        self._wire = wire
        self.owner = owner  #: our number
        self.outcome = outcome  #: done when it is known to be committed
        self.sql: Statements = wire.sql
        self._told: list[str] = []
        self._length = 0
        self.changes = False  #: there is something to commit
        self.changed = 0  #: how often something was changed, or told to be, that isn't with the COMMIT
        self.asked = False  #: something was sent
        self.is_short = False  #: what was to change so many rows has changed fewer
        self._counts: dict[int, int] = {}  # rows that those of what was told are to change
        self._repeats: dict[int, tuple[int, str]] = {}  # the same, of what is told once more else
        self._puts: list[tuple[list[int], int, str]] = []  # whose results, which of them, the row's values
        self._acks: dict[Held, list[int]] = {}

    @property
    def wire(self) -> Wire:
        return self._wire

    def mark(self, statement: str) -> None:
        """As `tell`, for what changes nothing by itself."""
        self._told.append(statement)
        self._length += len(statement) + 2

    def tell(self, statement: str, *values: Any) -> None:
        """A statement that is carried out before whatever is asked next, and whose answer nobody needs."""
        self._tell(bound(statement, values))

    def tell_of(self, rows: int, statement: str, *values: Any) -> None:
        """As `tell`, of what is to change so many rows. A server that is told to kill a query may end it half way, or
        before its first row, and say that all is well."""
        self._tell(bound(statement, values))
        self._counts[len(self._told) - 1] = rows

    def tell_surely(self, rows: int, statement: str, *values: Any) -> None:
        """As `tell_of`, of what is told once more where it has changed fewer: some may be somebody else's by now."""
        text = bound(statement, values)
        self._tell(text)
        self._repeats[len(self._told) - 1] = rows, text

    def _hear(self, answers: Sequence[Answer]) -> Sequence[Answer]:
        """The answers to what was told, and to what stood behind it."""
        counts, self._counts = self._counts, {}
        repeats, self._repeats = self._repeats, {}
        if any(answers[nth].affected != rows for nth, rows in counts.items()):
            self.is_short = True
        for nth, (rows, text) in repeats.items():
            if answers[nth].affected != rows:
                self._tell(text)
        return answers

    def _tell(self, text: str) -> None:
        self.changes = True
        self.changed += 1
        if self._length + len(text) > self._wire.largest and self._told:
            self.flush()
        self._told.append(text)
        self._length += len(text) + 2

    def change_many(self, statement: str, *values: Any) -> None:
        """As `change`, of what may be about many rows."""
        self.flush()
        self.changes = self.asked = True
        self.changed += 1
        self._wire.ask_patiently(statement, *values)

    def attempt(self, statement: str, *values: Any) -> int:
        """As `change`, of what may fail while the transaction goes on: what was told is heard of before."""
        if self._counts or self._repeats:
            self.flush()
        return self.change(statement, *values)

    def flush(self) -> None:
        """What was told goes now."""
        if self._told:
            told, self._told, self._length = self._told, [], 0
            self.asked = True
            self._hear(self._wire.send(told))

    def ask(self, statement: str, *values: Any) -> Answer:
        return self.ask_all([(statement, values)])[0]

    def ask_all(self, questions: Sequence[tuple[str, Sequence[Any]]]) -> Sequence[Answer]:
        """The answers to several questions of one packet, behind what was told."""
        texts = [bound(statement, values) for statement, values in questions]
        if self._length + sum(map(len, texts)) > self._wire.largest:
            self.flush()
        told, self._told, self._length = self._told, [], 0
        self.asked = True
        return self._hear(self._wire.send([*told, *texts]))[len(told) :]

    def change(self, statement: str, *values: Any) -> int:
        """How many rows it has changed, or found to be so already."""
        self.changes = True
        affected = self.ask(statement, *values).affected
        self.changed += bool(affected)
        return affected

    def put(self, rows: Sequence[str]) -> list[int]:
        """Add records now: their ids."""
        self.changes = True
        self.changed += 1
        found: list[int] = []
        for some in self._packets(rows):
            first = self.ask(self.sql.PUT + ",".join(some)).first_id
            found += [first + nth * self._wire.step for nth in range(len(some))]
        return found

    def _packets(self, rows: Sequence[str]) -> list[list[str]]:
        """The rows, in as many statements as they need. One that is too large is the server's to refuse."""
        found: list[list[str]] = []
        length = 0
        for row in rows:
            length += len(row) + 1
            if not found or length > self._wire.largest - len(self.sql.PUT):
                found.append([])
                length = len(row)
            found[-1].append(row)
        return found

    def add(self, plan: Plan, results: list[int]) -> None:
        """What goes with the COMMIT. `results` gets the ids, by then."""
        self.changes = self.changes or bool(plan.size)
        for text in plan.told:
            self._tell(text)
        self._puts += [(results, op, row) for op, row in plan.puts]
        for held, id in plan.acks:
            self._acks.setdefault(held, []).append(id)

    def commit(self, seq: int, finish: Finish) -> None:
        """Send what is left, and COMMIT as transaction `seq`. `finish` is what becomes of the last packet's ids."""
        packets = self._packets([row for _, _, row in self._puts])
        taken = 0
        for some in packets[:-1]:
            Finish(self._puts[taken : taken + len(some)], self._wire.step).ids(
                self.ask(self.sql.PUT + ",".join(some)).first_id
            )
            taken += len(some)
        finish.puts, finish.step = self._puts[taken:], self._wire.step
        texts = self._last_texts(packets[-1] if packets else [], seq)
        if self._repeats:  # behind the COMMIT it would be too late
            self.flush()
        if self._length + sum(map(len, texts)) > self._wire.largest:
            self.flush()
        told, self._told = self._told, []
        answers = self._hear(self._wire.send([*told, *texts]))
        if packets:
            finish.ids(answers[len(told)].first_id)

    def _last_texts(self, rows: list[str], seq: int) -> list[str]:
        sql, owner, texts = self.sql, self.owner, list[str]()
        if rows:
            texts.append(sql.PUT + ",".join(rows))
        if not self._acks:
            return [*texts, bound(sql.TOKEN, (seq - 1, seq, owner)), sql.ONE_ROW, sql.COMMIT]
        texts.append(sql.NO_ROWS)
        for (queue, place, attempt), ids in self._acks.items():
            texts += [bound(sql.ACK_SOME, (queue, place, attempt, sorted(ids))), sql.COUNT_ROWS]
        wanted = sum(map(len, self._acks.values()))
        return [*texts, bound(sql.TOKEN_IF, (seq - 1, wanted, seq, owner)), sql.ONE_ROW, sql.COMMIT]


class Finish:
    """Who gets the ids of the last puts of a transaction."""

    def __init__(self, puts: Sequence[tuple[list[int], int, str]] = (), step: int = 1) -> None:
        self.puts = puts
        self.step = step

    def ids(self, first: int) -> None:
        for nth, (results, op, _) in enumerate(self.puts):
            results[op] = first + nth * self.step
