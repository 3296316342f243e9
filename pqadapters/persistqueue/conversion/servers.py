"""persist-queue's queues on a MySQL server: looked at, converted, or moved into another store.

The table `queue_NAME` gets the name `kept_queue_NAME` in one step, from which moment on persist-queue has none there;
then its rows are copied into the store's tables of the same database, some hundred in a transaction, each of which says
how far it has come. Who converts has a lock of the server's, and whoever opens the queue waits for it. What was broken
off goes on at the next opening, where it was: no item is there twice, and the original is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from ...errors import StoreError, StoreRefused
from ...opening import visit_server
from ...store import Damage, Set, Store
from .databases import quiet
from .moving import Mover, goes_on
from .report import Part, Progress, Report
from .rows import WAITING, Item
from .tables import Table, named

if TYPE_CHECKING:
    from ...stores.mysql.guest import Guest

_TABLES = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = DATABASE() "
    "ORDER BY table_name, ordinal_position"
)
_FOLDS = "SELECT @@lower_case_table_names"
_LOCK = "conversion"
_PATIENCE = 60.0  #: seconds that another process may take
_AT_ONCE = 500
_KEPT = "kept_"
_BEGUN = "pqadapters.converted/"  #: and a queue's name: table of the originals of it, each done or not
_DONE = b"done"
_LONGEST = 64  #: characters of a table's name


class Queues:
    """What a database has: persist-queue's tables, and originals that were kept."""

    def __init__(self, guest: Guest) -> None:
        self.columns: dict[str, tuple[str, ...]] = {}
        for table, column in guest.ask(_TABLES):
            self.columns[_text(table)] = (*self.columns.get(_text(table), ()), _text(column))
        self._folds = bool(int(guest.ask(_FOLDS)[0][0]))

    def theirs(self, name: str | None) -> list[Table]:
        """The queues, or the one of that name. A server that doesn't tell names apart by their case may have stored
        another one than was asked for, by which its program knows the queue."""
        tables = [table for each in self.columns if (table := self._queue(each)) is not None]
        if name is None:
            return tables
        return [table._replace(name=name) for table in tables if self._folded(table.name) == self._folded(name)]

    def has(self, table: str) -> bool:
        """Whether there is a table of that name."""
        return self._folded(table) in map(self._folded, self.columns)

    def _folded(self, name: str) -> str:
        return name.lower() if self._folds else name

    def _queue(self, table: str) -> Table | None:
        found = named(table)
        if found is None or found.kind != "queue" or table == found.kind:
            return None
        return found if self.columns[table] == found.columns else None

    def free_name(self, table: Table) -> str:
        """What the original is to be called."""
        taken, wanted, number = {each.lower() for each in self.columns}, _KEPT + table.table, 1
        while wanted.lower() in taken:
            number += 1
            wanted = f"{_KEPT}{table.table}#{number}"
        if len(wanted) > _LONGEST:
            raise StoreRefused(
                f"the table {table.table} is to be kept as {wanted}, which is longer than a server takes: rename it"
            )
        return wanted


def is_to_be_converted(url: str, store: Store, name: str) -> bool:
    """Whether persist-queue has a queue of that name, or one was begun with. Raises StoreError."""
    with closing(visit_server(url)) as guest:
        return bool(Queues(guest).theirs(name) or _begun(store, name))


def names(url: str, store: Store, name: str | None) -> list[str]:
    """The queues that are to be converted, or the one of that name. Raises StoreError."""
    with closing(visit_server(url)) as guest:
        queues = Queues(guest)
        found = {table.name for table in queues.theirs(name)}
        kept = {each.removeprefix(_KEPT + "queue_").partition("#")[0] for each in queues.columns}
        asked = kept if name is None else {name}
        return sorted(found | {each for each in asked if _begun(store, each)})


def convert_queue(url: str, store: Store, name: str, *, progress: Progress = quiet) -> Report | None:
    """Move what persist-queue has in the queue of that name into the store, which is of the same database; None where
    it has nothing there. Raises StoreLocked, StoreError, ValueError for pickles that would have to be signed."""
    table = Table(f"queue_{name}", "queue", name)
    report = Report(store.place)
    with closing(visit_server(url)) as guest:
        guest.lock(_LOCK, _PATIENCE)
        queues, counts, originals = Queues(guest), Counter[str](), list[str]()
        with goes_on(guest.place):
            for kept in _originals(guest, queues, table, store):
                counts.update(_moved(guest, table, kept, Mover(store, kept, progress), report.damage))
                store.commit(Set(_BEGUN + name, kept.encode(), _DONE))
                originals.append(f"table {kept}")
    if not originals:
        return None
    report.kept = f"{' and '.join(originals)} of {guest.place}"
    report.parts.append(Part(table.target, table.table, dict(counts)))
    report.tell()
    return report


def _originals(guest: Guest, queues: Queues, table: Table, store: Store) -> Iterator[str]:
    """Those whose rows are to be copied, each under the name that it keeps: what was begun with, then what is new."""
    for kept in _begun(store, table.name):
        if queues.has(kept):
            yield kept
    if queues.theirs(table.name):
        for (data,) in guest.ask(f"SELECT data FROM {_quoted(table.table)} LIMIT 1"):
            Mover(store, "").check(data)  # while nothing was changed
        kept = queues.free_name(table)
        store.commit(Set(_BEGUN + table.name, kept.encode(), b""))  # first: so a kept one is told from a user's own
        guest.ask(f"RENAME TABLE {_quoted(table.table)} TO {_quoted(kept)}")
        yield kept


def _begun(store: Store, name: str) -> list[str]:
    return [kept.decode() for kept, how in store.scan(_BEGUN + name) if how != _DONE]


def _moved(guest: Guest, table: Table, source: str, mover: Mover, damage: list[Damage]) -> dict[str, int]:
    (expected,) = guest.ask(f"SELECT COUNT(*) FROM {_quoted(source)}")[0]
    lost = len(damage)
    counts = mover.move(table, _rows(guest, source, damage))
    if sum(counts.values()) + len(damage) - lost != expected:
        raise StoreError(
            f"{guest.place}: table {source} has {expected} rows, and {sum(counts.values())} arrived in {mover.place}"
        )
    return counts


def _rows(guest: Guest, table: str, damage: list[Damage]) -> Iterator[Item]:
    last = -1
    statement = f"SELECT _id, data, timestamp + 0e0 FROM {_quoted(table)} WHERE _id > %s ORDER BY _id LIMIT {_AT_ONCE}"
    while rows := guest.ask(statement, last):
        for last, data, when in rows:
            if isinstance(data, bytes):
                yield Item(last, data, float(when or 0.0))
            else:
                reason = f"row {last} of table {table}: its data is {type(data).__name__}, no bytes"
                damage.append(Damage(guest.place, 0, 0, reason))


def look_at_server(url: str, name: str | None) -> Report:
    """What persist-queue has there; nothing is changed. Raises StoreError."""
    with closing(visit_server(url)) as guest:
        report = Report(guest.place)
        for table in Queues(guest).theirs(name):
            (count,) = guest.ask(f"SELECT COUNT(*) FROM {_quoted(table.table)}")[0]
            report.parts.append(Part(table.target, table.table, {WAITING: count} if count else {}))
        return report


def move_server(url: str, store: Store, name: str | None, *, progress: Progress) -> Report:
    """Put the queues, or the one of that name, into another store; the tables stay as they are. What was broken off
    goes on where it was. Raises StoreError, ValueError for pickles that would have to be signed."""
    with closing(visit_server(url)) as guest:
        report, tables = Report(guest.place), Queues(guest).theirs(name)
        with goes_on(guest.place):
            guest.one_moment()
            for table in tables:
                mover = Mover(store, guest.place, progress)
                counts = _moved(guest, table, table.table, mover, report.damage)
                report.parts.append(Part(table.target, table.table, counts))
        return report


def _quoted(table: str) -> str:
    return "`" + table.replace("`", "``").replace("%", "%%") + "`"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
