"""What is whole in a damaged database: every row whose checksum holds, put into a new one.

    python -m pqadapters.stores.sqlite damaged.db new.db

No process may use the damaged one meanwhile. It is only read. Records keep their order, ranks, notes and attempts; what
was claimed is ready. A record that was acknowledged right before the damage may be there again. Of a WAL that was put
aside (`wal.py`), the records that were lost come out as well, and keys that the database doesn't have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from zlib import crc32

from ....durability import Survives
from ....errors import DiskError, StoreError, StoreRefused
from ....portions import portions
from ....store import Op, Put, Set
from ..beside import check_apart, check_free
from ..schema import DELAYED, IDS, is_whole, is_whole_entry, name_text
from ..store import SqliteStore
from ..takeover.probe import move, remove
from .pages import Cell, Pages, Row
from .salvaged import Salvaged
from .wal import Aside, those_aside

_AT_ONCE = 500
_QUEUE, _KIND, _RECORD, _ENTRY, _BODY, _PART = 9, 3, 12, 7, 2, 4  #: how many columns


class _Found:
    """Where the rows of a database stand, by what they are. Later versions of a row take the place of earlier ones."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.queues: dict[int, str] = {}
        self.kinds: dict[int, str] = {}
        self.records: dict[int, Cell] = {}  # by id
        self.entries: dict[int, Cell] = {}  # by place
        self.bodies: dict[int, Cell] = {}  # by id
        self.parts: dict[int, dict[int, Cell]] = {}  # of long values, by place
        self.lost: set[tuple[str, int]] = set()
        for cell in pages.cells():
            row = pages.row(cell)
            if row is not None and row.columns and row.columns[0] is None:
                self._sort_in(cell, row)
        self.is_ours = pages.is_ours or bool(self.queues or self.kinds or self.records or self.entries)
        for id in list(self.records):  # bodies may stand behind the records that they belong to
            if self.put(id) is None:
                del self.records[id]
                self.lost.add(("record", id))
        for place in list(self.entries):
            if self.set(place) is None:
                del self.entries[place]
                self.lost.add(("key", place))

    def _sort_in(self, cell: Cell, row: Row) -> None:
        columns = row.columns
        if len(columns) == _RECORD:
            self._add(self.records, abs(row.key) & (IDS - 1), cell)
        elif len(columns) == _BODY and isinstance(columns[1], bytes):
            self._add(self.bodies, row.key, cell)
        elif len(columns) == _ENTRY and isinstance(columns[5], bytes):
            self._add(self.entries, row.key, cell)
        elif len(columns) == _PART and list(map(type, columns[1:])) == [int, int, bytes]:
            self._add(self.parts.setdefault(columns[1], {}), columns[2], cell)
        elif len(columns) in (_QUEUE, _KIND) and isinstance(columns[1], bytes) and crc32(columns[1]) == columns[2]:
            names = self.queues if len(columns) == _QUEUE else self.kinds
            names[row.key] = name_text(columns[1])

    @staticmethod
    def _add(cells: dict[int, Cell], key: int, cell: Cell) -> None:
        if key not in cells or not cell.behind:
            cells[key] = cell

    def put(self, id: int) -> Put | None:
        """What puts the record of that id again; None where it isn't whole."""
        row = self.pages.row(self.records[id])
        assert row is not None
        _, queue, crc, _, put_at, attempts, _, _, not_before, rank, note, payload = row.columns
        fields = (row.key, queue, crc, put_at, attempts, not_before, rank, note)
        if payload is None and id in self.bodies:
            body = self.pages.row(self.bodies[id])
            payload = body.columns[1] if body is not None else None
        if not is_whole(fields, payload):
            return None
        name = self.queues.get(queue, f"queue-{queue}")
        due, tries = float(not_before or 0.0) if row.key > DELAYED else 0.0, max(0, attempts)
        return Put(name, payload, rank or b"", due, attempts=tries, put_at=float(put_at), note=name_text(note))

    def set(self, place: int) -> Set | None:
        """What sets the key of that place again; None where it isn't whole."""
        row = self.pages.row(self.entries[place])
        assert row is not None
        _, number, crc, _, _, key, value = row.columns
        value = self._joined(place) if value is None else value
        if not isinstance(number, int) or not is_whole_entry(number, key, crc, value):
            return None
        return Set(self.kinds.get(number, f"table-{number}"), key, value)

    def _joined(self, place: int) -> bytes:
        parts = self.parts.get(place, {})
        rows = [self.pages.row(parts[nth]) for nth in sorted(parts)]
        return b"".join(row.columns[3] for row in rows if row is not None)

    def keep_behind(self, aside: Aside, main: _Found) -> None:
        """What the database itself didn't know of when that WAL was put aside: what came later isn't there twice, and
        what is done by now doesn't come again."""
        ids = range(aside.first, aside.last + 1)
        self.records = {id: cell for id, cell in self.records.items() if id in ids and cell.behind}
        self.lost = {(kind, id) for kind, id in self.lost if kind == "record" and id in ids}
        self.queues, self.kinds = {**main.queues, **self.queues}, {**main.kinds, **self.kinds}
        known = {(op.table, op.key) for op in map(main.set, main.entries) if op is not None}
        found = ((place, self.set(place)) for place, cell in self.entries.items() if cell.behind)
        keys = {place for place, op in found if op is not None and (op.table, op.key) not in known}
        self.entries = {place: self.entries[place] for place in keys}


class _All:
    """What is whole in a database, and in WALs of it that were put aside."""

    def __init__(self, source: str) -> None:
        main = _Found(_fitting(source))
        self._found = [main]
        self.is_ours = main.is_ours
        try:
            for aside in those_aside(source):
                self._found.append(_Found(Pages(source, wal=aside.path)))
                self._found[-1].keep_behind(aside, main)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for each in self._found:
            each.pages.close()

    def ops(self) -> Iterator[Op]:
        """All of it, in its order."""
        records = {id: each for each in reversed(self._found) for id in each.records}
        for id in sorted(records):
            put = records[id].put(id)
            if put is not None:
                yield put
        for each in self._found:
            for place in sorted(each.entries):
                found = each.set(place)
                if found is not None:
                    yield found

    @property
    def counts(self) -> Salvaged:
        records = {id for each in self._found for id in each.records}
        lost = {what for each in self._found for what in each.lost}
        return Salvaged(len(records), sum(len(each.entries) for each in self._found), len(lost))


def salvage(path: str | os.PathLike[str], *, to: str | os.PathLike[str]) -> Salvaged:
    """Put what is whole in the database `path` into a new one, `to`, which is whole or not there, and on the disk when
    this returns.

    Raises StoreRefused where `to` exists already, nothing in `path` is of a database of ours, or somebody writes to it
    meanwhile; DiskError where one of them can't be read or written.
    """
    source, target = os.path.realpath(path), os.path.realpath(to)
    check_apart(source, target)
    check_free(target)
    part = f"{target}.{os.urandom(4).hex()}.part"
    with _readable(source), _left_alone(source) as check_left_alone, closing(_All(source)) as found:
        try:
            if not found.is_ours:
                raise StoreRefused(
                    f"{source} has nothing in it of a database of pqadapters: give the damaged one's name"
                )
            _put(found, part)
            check_left_alone()
            check_free(target)  # whoever has opened it meanwhile would go on with a file that has no name
            move(part, target)
            return found.counts
        finally:
            with suppress(DiskError):
                remove(part)


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Raises DiskError where the system doesn't let it be read."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        name = error.filename or source
        raise DiskError(error.errno, f"can't be read: {os.strerror(error.errno or 0)}", name) from error


@contextmanager
def _left_alone(source: str) -> Iterator[Callable[[], None]]:
    """Gives what raises StoreRefused where the database was written to since: pages of two moments lack records, and
    nothing in them says so."""
    before = _written(source)

    def check() -> None:
        if _written(source) != before:
            raise StoreRefused(
                f"{source} was written to while it was read: end the processes that use it, and try again (of one that "
                "isn't damaged SqliteStore(path).backup(to=...) makes a copy while it is used)"
            )

    try:
        yield check
    except (StoreError, OSError):
        raise
    except Exception:  # where rows of two moments have met
        check()
        raise


def _written(source: str) -> tuple[int, ...]:
    """What changes with each commit: of the WAL, and where there is none, of the file. The WAL may be copied into the
    file meanwhile; that changes nothing of what there is to read."""
    for path in (f"{source}-wal", source):
        with suppress(FileNotFoundError):
            told = os.stat(path)
            return told.st_ino, told.st_size, told.st_mtime_ns
    return ()


def _size(op: Op) -> int:
    return len(op.payload) if isinstance(op, Put) else len(op.value) if isinstance(op, Set) else 0


def _put(found: _All, new: str) -> None:
    with SqliteStore(new, durability=Survives.PROCESS) as store:
        for ops in portions(found.ops(), _size, count=_AT_ONCE):
            store.commit(*ops)
        store.checkpoint()


def _fitting(path: str) -> Pages:
    """The pages as the file's head says that they are, or as ours are, whichever has more to show."""
    counts = {}
    for trusting in (True, False):
        pages = Pages(path, trusting=trusting)
        try:
            counts[trusting] = sum(pages.row(cell) is not None for cell in pages.cells())
        finally:
            pages.close()
    return Pages(path, trusting=counts[True] >= counts[False])
