"""What handles on shared stores have in common: records that are claimed ahead of being asked for (`prefetch`), tables,
the end. A store's own part is `_attempt_now`, and what its core offers.

Any thread may call anything. What survives is the store's word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

from ..durability import Durability
from ..errors import StoreClosed, StoreError
from ..store import Ack, Claim, Op, Order, Stop, acknowledge, unless_stopped
from ._ahead import Ahead
from ._bells import Bells
from ._trouble import afresh

Self = TypeVar("Self", bound="Handle")


class Wish(NamedTuple):
    """What a claim asks for, as `Store.claim` has it."""

    queue: str
    order: Order
    ids: Sequence[int] | None
    limit: int
    stop: Stop | None
    counted: bool
    patience: float | None

    @property
    def is_for_the_oldest(self) -> bool:
        return self.order is Order.OLDEST and self.limit == 1 and self.ids is None and not self.counted


class Core(Protocol):
    """What the handles of a process share."""

    process: int

    @property
    def place(self) -> str: ...

    @property
    def bells(self) -> Bells: ...

    @property
    def writer(self) -> Writer: ...

    def give_back_claims(self, claims: list[Claim], handle: int) -> None: ...

    def release(self, token: Token, ahead: Ahead) -> None: ...


class Writer(Protocol):
    """What carries out its transactions."""

    trouble: StoreError | None  #: why nothing goes any more


class Tables(Protocol):
    """Looking at tables."""

    def value(self, table: str, key: bytes) -> bytes | None: ...

    def scan(self, table: str, after: bytes | None, reverse: bool) -> Iterator[tuple[bytes, bytes]]: ...

    def keys(self, table: str, after: bytes | None, reverse: bool) -> Iterator[bytes]: ...

    def snapshot(self, table: str, keys: Sequence[bytes] | None) -> dict[bytes, bytes]: ...

    def count(self, table: str) -> int: ...


def check_prefetch(prefetch: int) -> None:
    """Raises TypeError and ValueError for what `prefetch` can't be."""
    if not isinstance(prefetch, int):
        raise TypeError(f"prefetch is how many records a claim takes, a whole number, not {type(prefetch).__name__}")
    if not 1 <= prefetch <= 10_000:
        raise ValueError(f"prefetch is how many records a claim takes, from 1 to 10,000, not {prefetch}")


class Token:
    """Stands for a handle in its core, which counts those that live: whoever is interrupted while it opens a store is
    none."""

    __slots__ = ("__weakref__", "claims", "number")
    claims: bool  #: whether it has asked for a record: else nothing is to be given back at its end
    number: int

    def __init__(self) -> None:
        self.claims = False


class Handle:
    """One handle. `_begin` comes first."""

    _core: Core
    _tables: Tables
    _handle: int  #: its number among those of the process
    _release: Any  #: the finalizer
    _token: Token  #: is what the core knows us by
    _ahead: Ahead
    _goes_ahead: bool  #: whether a claim may take more than it is asked for
    _limited: set[str]  #: queues that were put into with a limit: there somebody may wait for room

    def _begin(self, durability: Durability, prefetch: int) -> None:
        """Raises TypeError and ValueError for what `prefetch` can't be."""
        check_prefetch(prefetch)
        self._durability, self._prefetch = durability, prefetch
        self._goes_ahead = prefetch > 1
        self._closed = False
        self._ahead = Ahead()
        self._limited = set()
        self._token = Token()

    @property
    def durability(self) -> Durability:
        return self._durability

    @property
    def place(self) -> str:
        return self._core.place

    def commit(self, *ops: Op, stop: Stop | None = None, timeout: float | None = None) -> tuple[int, ...]:
        raise NotImplementedError

    def _attempt_now(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        """What can be claimed now, and in the same transaction these acknowledgements; None where that is nothing; []
        where `stop` says so, or it can't be known."""
        raise NotImplementedError

    def _check(self) -> None:
        """Raises StoreClosed, and what the writer ran into."""
        if self._closed:
            raise StoreClosed(f"this handle on the store in {self.place} was closed; open it again")
        if self._core.writer.trouble is not None:
            raise afresh(self._core.writer.trouble)

    def _may_go_on(self, stop: Stop | None) -> None:
        if self._closed:
            self._check()
        unless_stopped(stop)

    # Ahead

    def _attempt(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        """As `_attempt_now`, of what is ahead if the wish is for that."""
        if self._goes_ahead:
            if wish.is_for_the_oldest:
                return self._attempt_ahead(wish, acks)
            self._give_back_ahead()
        return self._attempt_now(wish, acks)

    def _attempt_ahead(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        core, ahead = self._core, self._ahead
        if acks and ahead.put_off(acks, core.process):
            self._settle_ahead()
        if ahead.claims.get(wish.queue):
            if wish.stop is not None and wish.stop():
                self._settle_ahead()
                return []
            claim = ahead.pop(wish.queue, core.process)
            if claim is not None:
                try:
                    if wish.queue in self._limited:
                        core.bells.ring(wish.queue, 0)
                except BaseException:  # of a signal handler: nobody would have it
                    ahead.put_back([claim])
                    raise
                return [claim]
        waiting = ahead.take_waiting(core.process)
        try:
            return self._fetch(wish, waiting)
        except BaseException:
            ahead.put_off(waiting, core.process)  # what was carried out is passed over when it comes again
            raise

    def _fetch(self, wish: Wish, acks: Sequence[Ack]) -> list[Claim] | None:
        """As `_attempt_now`, of as many as may lie ahead; they do, but for the first one."""
        claims = self._attempt_now(wish._replace(limit=self._prefetch), acks)
        try:
            return self._keep_rest(wish.queue, claims) if claims else claims
        except BaseException:  # of a signal handler: those that aren't ahead yet nobody would have
            self._core.give_back_claims(claims or [], self._handle)
            raise

    def _keep_rest(self, queue: str, claims: list[Claim]) -> list[Claim]:
        more = len(claims) - 1
        self._ahead.keep_rest(queue, claims)
        if more:
            self._core.bells.ring(queue)  # for other threads of this handle that wait, and no others
        return claims

    def _settle_ahead(self) -> None:
        """Carry out the acknowledgements that were put off."""
        acks = self._ahead.take_waiting(self._core.process)
        try:
            if acks:
                acknowledge(self, acks)
        except BaseException:
            self._ahead.put_off(acks, self._core.process)
            raise

    def _lying_ahead(self, queue: str) -> int:
        """How many records of a queue are ready for this handle's users, and claimed in the store: for a put with a
        limit, which may wait for room from now on."""
        self._limited.add(queue)
        return self._ahead.of(queue, self._core.process)

    def _give_back_ahead(self) -> None:
        """What lies ahead is ready again. Raises StoreError: then it is there still."""
        raise NotImplementedError

    def wake(self, queue: str) -> None:
        self._core.bells.ring(queue)

    # Tables

    def get(self, table: str, key: bytes) -> bytes | None:
        if self._closed or self._core.writer.trouble is not None:
            self._check()
        return self._tables.value(table, key)

    def scan(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        self._check()
        return self._tables.scan(table, after, reverse)

    def keys(self, table: str, *, after: bytes | None = None, reverse: bool = False) -> Iterator[bytes]:
        self._check()
        return self._tables.keys(table, after, reverse)

    def snapshot(self, table: str, keys: Sequence[bytes] | None = None) -> dict[bytes, bytes]:
        self._check()
        return self._tables.snapshot(table, keys)

    def count(self, table: str) -> int:
        self._check()
        return self._tables.count(table)

    # The end

    def close(self) -> None:
        if self._ahead.waiting and not self._closed:
            with suppress(StoreError):  # they come again
                self._settle_ahead()
        self._closed = True
        self._core.bells.ring_all()
        if self._release.alive:  # to call it would do nothing at the interpreter's end
            self._core.release(self._token, self._ahead)
            self._release.detach()  # behind it: what is interrupted is done by who closes it again, or drops it

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a handle on {self.place} can't be copied or pickled: open the store again")

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
