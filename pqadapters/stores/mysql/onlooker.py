"""Looking at a store on a server without taking part: over one connection, in one transaction that only reads.

So all of it is of one moment, nobody waits for it, and nothing is made where there are no tables. No owner is entered:
for those that use the store nobody has been there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, TypeVar

from ...errors import FormatError, StoreRefused
from ...sight import Sight
from ...store import LOCK_TIMEOUT, Damage, Depth, Order, Record, State
from .._pages import PAGE
from . import schema
from .address import PREFIX, address_of
from .core import ServerClock, moved, rest
from .driver import ERRORS
from .errors import is_missing, newer, translated
from .looks import Looks
from .names import Names
from .owners import Owners
from .reader import Reader
from .tables import Tables
from .wire import Dialer, Failed, Wire

T = TypeVar("T")
_LEASE = 30.0  #: seconds, of an owner that never enters


class Moment(Reader):
    """One connection, on which it stays the same moment. For one thread; nothing is tried again."""

    def __init__(self, dialer: Dialer, wire: Wire) -> None:
        super().__init__(dialer, rest)
        self._cursor = wire.raw.cursor()
        for statement in (self.sql.REPEATABLE, self.sql.ONE_MOMENT_TO_READ):
            self.rows(statement)

    def _patiently(self, ask: Callable[[Any], T], patience: float | None = None) -> T:
        place = self._dialer.address.place
        try:
            return ask(self._cursor)
        except ERRORS as error:
            raise translated(error, place) from error


class MysqlSight:
    """What there is at one moment."""

    kind = "MySQL store"
    version = schema.VERSION
    damage: Sequence[Damage] = ()

    def __init__(self, dialer: Dialer, wire: Wire) -> None:
        self.place = dialer.address.place
        self._wire = wire
        _check_version(wire, self.place)
        self._owners = Owners(dialer, _LEASE)
        self._owners.learn_names(wire)
        self._reader = reader = Moment(dialer, wire)
        self._clock, names = ServerClock(wire), Names(reader)
        self._looks = Looks(reader, names, self._clock.wall, PAGE)
        self._tables = Tables(reader, names)
        self._holders = reader.rows(reader.sql.HOLDERS, self._owners.base.encode())

    @property
    def pids(self) -> Sequence[int]:
        """Those that have put or claimed something and are connected."""
        return [int(pid) for _, pid in self._holders]

    @property
    def hosts(self) -> Sequence[str]:
        return [host.decode("utf-8", "replace") for host, _ in self._holders]

    def queues(self) -> list[str]:
        return self._listed(self._reader.sql.QUEUES)

    def tables(self) -> list[str]:
        return self._listed(self._reader.sql.KINDS)

    def _listed(self, question: str) -> list[str]:
        try:
            return [schema.name_text(name) for (name,) in self._reader.rows(question)]
        except UnicodeDecodeError:
            raise FormatError(f"{self.place}: the name of a queue or table there is none of ours") from None

    def depth(self, queue: str) -> Depth:
        return self._looks.depth(queue)

    def browse(self, queue: str, *, state: State | None) -> Iterator[Record]:
        """With their times by this host's clock, where the server's is another."""
        records = self._looks.browse(queue, Order.OLDEST, state, 0)
        return map(partial(moved, seconds=-beside), records) if (beside := self._clock.beside()) else records

    def count(self, table: str) -> int:
        return self._tables.count(table)

    def close(self) -> None:
        self._wire.close()


def see(url: str, look: Callable[[Sight], T], *, prefix: str = PREFIX, **where: Any) -> T:
    """What `look` makes of the store; the URL has no query, and options are those that say where a store is.

    Raises StoreRefused where there is none, FormatError, StoreError, ValueError for options that make no sense.
    """
    address = address_of(url, prefix=schema.check_prefix(prefix), **where)
    dialer = Dialer(address, schema.Statements(prefix))
    try:
        with closing(dialer.dial(LOCK_TIMEOUT, LOCK_TIMEOUT, autocommit=True)) as wire:
            return look(MysqlSight(dialer, wire))
    except Failed as error:
        raise translated(error, address.place) from error.error


def _check_version(wire: Wire, place: str) -> None:
    """Raises StoreRefused where nobody has made our tables, FormatError for newer ones, Failed."""
    try:
        rows = wire.ask(wire.sql.VERSION).rows
    except Failed as error:
        if not is_missing(error):
            raise
        rows = ()
    if not rows:
        raise StoreRefused(f"{place} has no store: no tables with names that begin with {wire.sql.prefix!r} (prefix=)")
    if int(rows[0][0]) != schema.VERSION:
        raise newer(place, int(rows[0][0]), schema.VERSION)
