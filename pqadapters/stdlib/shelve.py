"""Durable `shelve`: the standard library's names, over a database that survives the process.

    import pqadapters.stdlib.shelve as shelve        # was: import shelve

    with shelve.open("settings") as d:
        d["colour"] = "blue"                         # on disk when this returns

Any number of threads and processes may have a shelf open. What was set is on disk when the call returns, as far as the
durability says ("power": a power cut; "process": SIGKILL); each method is one step for all others, `pop`, `setdefault`,
`update` and `sync` too. Loading a pickle runs what it says: open only what you trust.

A dbm file of the standard library that is there under the name given to `open` is used as it is, by its own module and
without these promises, until `migrate` has moved it over.
"""

from __future__ import annotations

import io
import os
import pickle
import shelve as stdlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from typing import Any, TypeVar, cast, overload

from ..durability import Durability, Survives
from ..errors import StoreError
from ..opening import begin_conversion, given, move_database, remove_database
from ..portions import portions
from ..serializers.connections import without_connections
from ..serializers.signed import GIVE, Key, Seal, hint, seal_for, unsigned
from ..store import Capabilities, Damage, Set, Store
from ..wording import shown
from ._mappings import dbm as _dbm
from ._mappings.blocks import BatchBlock
from ._mappings.database import Database, closed
from ._mappings.dbm import ShelfError
from ._mappings.edit import MISSING, Edit
from ._mappings.mapping import DurableMapping, pairs_of
from ._mappings.shelf_place import as_dbm_errors, as_it_is, foreign, letter_of, open_table
from ._mappings.table import ClosedTable, Table
from ._where import is_url

__all__ = ["BsdDbShelf", "DbfilenameShelf", "Shelf", "ShelfError", "migrate", "open"]

T = TypeVar("T")
V = TypeVar("V")
Pickler, Unpickler = pickle.Pickler, pickle.Unpickler  # programs put others in their place
_PICKLER, _UNPICKLER = Pickler, Unpickler


class Shelf(stdlib.Shelf[V]):
    """A shelf over any mapping with bytes for keys and values, as the standard library's: as durable as that one."""

    _protocol: int
    writeback: bool
    keyencoding: str
    cache: Any
    dict: Any

    def __init__(
        self, dict: Any, protocol: int | None = None, writeback: bool = False, keyencoding: str = "utf-8"
    ) -> None:
        if isinstance(self, DbfilenameShelf) and not isinstance(dict, Database):
            raise TypeError(
                f"{type(self).__qualname__} is a DbfilenameShelf, which keeps its keys in a database of its own: "
                f"derive it from Shelf, to keep them in a {type(dict).__name__}"
            )
        stdlib.Shelf.__init__(self, dict, protocol, writeback, keyencoding)

    def _pickled(self, value: object) -> bytes:
        if Pickler is _PICKLER:
            return without_connections(pickle.dumps(value, self._protocol))
        file = io.BytesIO()
        Pickler(file, self._protocol).dump(value)
        return file.getvalue()

    def _unpickled(self, data: bytes) -> V:
        try:
            value: V = pickle.loads(data) if Unpickler is _UNPICKLER else Unpickler(io.BytesIO(data)).load()
        except Exception as error:
            hint(data, error)
            raise
        return value

    def __getitem__(self, key: str) -> V:
        value: V = self.cache.get(key, MISSING)
        if value is MISSING:
            value = self._unpickled(self.dict[key.encode(self.keyencoding)])
            if self.writeback:
                self.cache[key] = value
        return value

    def __setitem__(self, key: str, value: V) -> None:
        if self.writeback:
            self.cache[key] = value
        self.dict[key.encode(self.keyencoding)] = self._pickled(value)


class BsdDbShelf(Shelf[V], stdlib.BsdDbShelf[V]):
    """For a database with `first`, `next`, `previous`, `last` and `set_location`, as the standard library's."""


class DbfilenameShelf(Shelf[V], DurableMapping[str, V], stdlib.DbfilenameShelf[V]):
    """The shelf of that name, as `open` has it; one that is a dbm file of the standard library is refused."""

    def __init__(
        self,
        filename: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        flag: str = "c",
        protocol: int | None = None,
        writeback: bool = False,
        *,
        store: Store | str | None = None,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        trust_directory: bool = False,
        signing_key: Key | Sequence[Key] | None = None,
    ) -> None:
        options = given(durability=durability, max_lag=max_lag, trust_directory=trust_directory or None)
        mode = letter_of(flag)
        with as_dbm_errors():
            self._table = open_table(filename, mode, store, options)
        self._seal = self._seal_of(signing_key)
        Shelf.__init__(self, Database(self._table), protocol, writeback)
        if mode == "n":
            self.clear()
        self._table.writable = mode != "r"

    def _seal_of(self, key: Any) -> Seal | None:
        """What values are signed by. Raises ValueError where they must be, and there is no key."""
        try:
            store = self._table.store
            hosts = getattr(store, "capabilities", Capabilities()).hosts  # a frozen table has none
            seal = seal_for(key, hosts=hosts)
            if seal is None and hosts:
                raise ValueError(unsigned(store.place, GIVE))
        except BaseException:
            self._table.close()
            raise
        if seal is not None:
            seal.of = f"something in {self._table.label} was refused: "
        return seal

    # How keys and values are stored

    def _pickled(self, value: object) -> bytes:
        data = super()._pickled(value)
        return data if self._seal is None else self._seal.sign(data)

    def _unpickled(self, data: bytes) -> V:
        return super()._unpickled(data if self._seal is None else self._seal.check(data))

    def _key_to_bytes(self, key: str) -> bytes:
        return key.encode(self.keyencoding)

    def _key_from_bytes(self, data: bytes) -> str:
        return data.decode(self.keyencoding)

    def _value_to_bytes(self, value: Any) -> bytes:
        return self._pickled(value)

    def _value_from_bytes(self, data: bytes) -> V:
        return self._unpickled(data)

    def _no_such_key(self, key: str) -> KeyError:
        return KeyError(key.encode(self.keyencoding))  # as the standard library's, whose dbm has the key in bytes

    # What `writeback` has in its cache is newer than what is stored

    def __getitem__(self, key: str) -> V:
        cached: V = self.cache.get(key, MISSING)
        if cached is not MISSING:
            return cached
        data = self._table.get(key.encode(self.keyencoding))
        if data is None:
            raise self._no_such_key(key)
        value = self._unpickled(data)
        if self.writeback:
            self.cache[key] = value
        return value

    def __setitem__(self, key: str, value: V) -> None:
        if self.writeback:
            self._set_all({key: value})
        else:
            self._table.set(key.encode(self.keyencoding), self._pickled(value))

    def _set_all(self, pairs: dict[str, Any]) -> None:
        """With `writeback`. They come into the cache first: what an interrupt left in there that is older would be
        stored by the next sync(), beside new values of other keys."""
        data = [(self._key_to_bytes(key), self._pickled(value)) for key, value in pairs.items()]
        before = {key: self.cache[key] for key in pairs if key in self.cache}
        self.cache.update(pairs)
        try:
            self._table.set_all(data)
        except StoreError:
            for key in pairs:
                del self.cache[key]
            self.cache.update(before)
            raise

    def __delitem__(self, key: str) -> None:
        DurableMapping.__delitem__(self, key)
        self.cache.pop(key, None)

    @overload
    def get(self, key: str, default: None = None) -> V | None: ...

    @overload
    def get(self, key: str, default: V | T) -> V | T: ...

    def get(self, key: str, default: Any = None) -> Any:
        if self._direct and not self.writeback:
            data = self._table.get(key.encode(self.keyencoding))
            return default if data is None else self._unpickled(data)
        if not self._direct and DurableMapping._find_bytes(self, key) is None:
            return default  # as the standard library's, which doesn't ask a subclass for what isn't there
        try:
            return self[key]
        except KeyError:
            return default

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        if not (self.writeback and self._direct):
            return DurableMapping.get_many(self, keys)
        wanted = list(keys)
        for key, value in DurableMapping.get_many(self, [key for key in wanted if key not in self.cache]).items():
            self.cache.setdefault(key, value)
        return {key: self.cache[key] for key in wanted if key in self.cache}

    get_many.__doc__ = DurableMapping.get_many.__doc__

    @overload
    def pop(self, key: str) -> V: ...

    @overload
    def pop(self, key: str, default: V | T) -> V | T: ...

    def pop(self, key: str, default: Any = MISSING) -> Any:
        hash(key)  # as the standard library's, which asks its cache first
        self._store_cache()
        value = DurableMapping.pop(self, key, default)
        self.cache.pop(key, None)
        return value

    def popitem(self) -> tuple[str, Any]:
        self._store_cache()
        key, value = DurableMapping.popitem(self)
        self.cache.pop(key, None)
        return key, value

    @overload
    def setdefault(self: DbfilenameShelf[T | None], key: str, default: None = None) -> T | None: ...

    @overload
    def setdefault(self, key: str, default: V) -> V: ...

    def setdefault(self, key: str, default: Any = None) -> Any:
        hash(key)  # as the standard library's, which asks its cache first
        value = DurableMapping.setdefault(self, key, default)
        return self.cache.setdefault(key, value) if self.writeback and self._direct else value

    def update(self, other: Any = (), /, **more: Any) -> None:
        pairs = dict([*pairs_of(other), *more.items()])
        if self.writeback and self._direct:
            self._set_all(pairs)
        else:
            DurableMapping.update(self, pairs)

    def _pairs(self, reverse: bool = False) -> Iterator[tuple[str, Any]]:
        for key, value in DurableMapping._pairs(self, reverse):
            yield key, self.cache.setdefault(key, value) if self.writeback and self._direct else value

    def copy(self) -> dict[str, Any]:
        found = DurableMapping.copy(self)
        return {**found, **self.cache} if self._direct else found

    def batch(self) -> AbstractContextManager[None]:
        return _ShelfBlock(self)

    batch.__doc__ = DurableMapping.batch.__doc__

    def edit(self, key: str, default: Any = MISSING, *, timeout: float | None = None) -> AbstractContextManager[Any]:
        return _ShelfEdit(self, key, default, timeout)

    edit.__doc__ = DurableMapping.edit.__doc__

    def clear(self) -> None:
        """Remove all items."""
        cache, self.cache = self.cache, {}  # first, as in `_set_all`
        try:
            self._table.clear()
        except StoreError:
            self.cache = cache
            raise

    # The whole

    def _store_cache(self) -> None:
        """Store what is in the cache of `writeback`: all of it, or nothing."""
        if self.writeback and self.cache:
            self._table.set_all([(self._key_to_bytes(key), self._pickled(value)) for key, value in self.cache.items()])
            self.cache.clear()

    def sync(self) -> None:
        """What was set, and with `writeback` what was changed in place, is on the disk when this returns.

        On a closed shelf it does nothing, as the standard library's."""
        if isinstance(self._table, ClosedTable):
            return
        self._store_cache()
        self._table.sync()

    def close(self) -> None:
        """Store what `writeback` has in its cache, and let go of the store. A second call does nothing."""
        if isinstance(self._table, ClosedTable):
            return
        try:
            if type(self).sync is DbfilenameShelf.sync:
                self._store_cache()
            else:
                self.sync()  # as the standard library's: a subclass has a say
        finally:
            self.dict.close()
            self._table = closed()

    def __del__(self) -> None:
        kind, own = type(self), DbfilenameShelf
        asked = getattr(self, "cache", None) or kind.close is not own.close or kind.sync is not own.sync
        if asked and hasattr(self, "writeback") and isinstance(self._table, Table):
            with suppress(StoreError):  # at the interpreter's end its store may be closed already
                self.close()

    __iter__ = DurableMapping.__iter__
    __len__ = DurableMapping.__len__
    __contains__ = DurableMapping.__contains__
    __eq__ = DurableMapping.__eq__
    __hash__ = None  # type: ignore[assignment]  # as the standard library's shelves


class _ShelfBlock(BatchBlock):
    """What `writeback` holds goes with the batch: what was changed before it is stored, what in it is a part of it."""

    def __init__(self, shelf: DbfilenameShelf[Any]) -> None:
        super().__init__(shelf._table)
        self._shelf = shelf

    def __enter__(self) -> None:
        self._shelf._store_cache()
        super().__enter__()

    def _end(self, *, failed: bool) -> None:
        try:
            if not failed:
                self._shelf._store_cache()
        except BaseException:
            failed = True
            raise
        finally:
            self._leave(failed=failed)

    def _leave(self, *, failed: bool) -> None:
        self._shelf.cache.clear()
        super()._leave(failed=failed)


class _ShelfEdit(Edit[Any]):
    """As with a batch; and what `writeback` has read of the key inside of the block is older than what that stores,
    unless the block has set the key."""

    _mapping: DbfilenameShelf[Any]

    def __enter__(self) -> Any:
        self._mapping._store_cache()
        return super().__enter__()

    def _store(self) -> None:
        if not self.batch.edited[self._data]:
            self._mapping.cache.pop(self._key, None)
        self._mapping._store_cache()
        super()._store()

    def _leave(self, *, failed: bool) -> None:
        self._mapping.cache.clear()
        super()._leave(failed=failed)


def open(
    filename: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    flag: str = "c",
    protocol: int | None = None,
    writeback: bool = False,
    *,
    store: Store | str | None = None,
    durability: str | Survives | Durability | None = None,
    max_lag: float | None = None,
    trust_directory: bool = False,
    signing_key: Key | Sequence[Key] | None = None,
) -> DbfilenameShelf[Any]:
    """Open a shelf: the file `filename`, or the URL of a store; with `store=` (a store or its URL) the shelf of that
    name in it. `flag`: "r" to read, "w" to read and write, "c" to make it if it is missing (the default), "n" for a
    new, empty one. `protocol` is pickle's. With `writeback` values may be changed in place, and are stored by `sync`
    and `close`; all that was read is kept in memory for that.

    `signing_key=` (a secret, or several, of which the first one signs): values are signed, and those that aren't are
    refused (ValueError). A store of several hosts needs one, or PQADAPTERS_SIGNING_KEY.

    A dbm file of the standard library under that name is used as it is, by a `Shelf` without `batch` and `edit`: a
    NotDurableWarning says so.

    Raises ValueError for another flag, `dbm.error` (ShelfError, StoreError) where there is no such shelf or it can't be
    used: a directory, a file that is none, a dbm file whose module this Python hasn't got, a damaged one, no space.
    """
    if store is None and not is_url(filename):
        with as_dbm_errors():
            found = foreign(filename, letter_of(flag))
        if found is not None:
            return cast("DbfilenameShelf[Any]", Shelf(as_it_is(*found, flag), protocol, writeback))
    return DbfilenameShelf(
        filename,
        flag,
        protocol,
        writeback,
        store=store,
        durability=durability,
        max_lag=max_lag,
        trust_directory=trust_directory,
        signing_key=signing_key,
    )


def migrate(
    filename: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    *,
    progress: Callable[[int], None] | None = None,
    damage: list[Damage] | None = None,
) -> int:
    """Move a dbm file of the standard library over into a shelf of that name; how many keys were.

    The shelf is there with all of them, or not at all. The old one is kept under the name with ".old" behind it. No
    program may use it meanwhile; another call of this waits. `progress` is called with how many more keys have been
    moved. With a list `damage` of a damaged one everything readable is moved, and the list has then what isn't, with
    file (by its old name), offset and reason. Raises ShelfError where there is none (any more), or it is another
    user's, or this Python can't read it, or it is damaged and there is no such list, or not all keys have arrived;
    StoreLocked where another call has been moving it for a minute.
    """
    if is_url(name := os.fsdecode(filename)):
        raise ShelfError(f"{shown(name)} is the URL of a store: give the name of a dbm file")
    path = os.path.realpath(name)
    _dbm.check_own(path, _dbm.dbm_kind(path))  # nothing is made beside what is none
    with closing(begin_conversion(path)) as conversion:
        try:
            return _move_over(path, progress or (lambda more: None), damage)
        except BaseException:
            with suppress(StoreError):
                if _dbm.kind_of(path):  # else what is beside it belongs to the shelf
                    conversion.withdraw()
            raise


def _move_over(path: str, progress: Callable[[int], None], damage: list[Damage] | None) -> int:
    if _dbm.kind_of(path) == "":
        raise ShelfError(f"{path} was moved over by another process or thread meanwhile: there is nothing left to do")
    from ._mappings.readable import pairs_in  # here: few programs need it

    kind = _dbm.dbm_kind(path)
    _dbm.check_aside(path, kind)
    _dbm.settle(path, kind)
    new = f"{path}.new-shelf"
    try:
        with DbfilenameShelf[Any](new, "n") as shelf, closing(pairs_in(path, kind, damage)) as pairs:
            count = _copy(pairs, shelf._table, progress)
            if len(shelf) != count:
                raise ShelfError(f"{path} has {count} keys, and {len(shelf)} arrived: it was left as it is")
            shelf.sync()
        _dbm.put_aside(path, kind, lambda: move_database(new, path))
    except BaseException:
        with suppress(StoreError):  # the next call begins anew
            remove_database(new)
        raise
    return count


def _copy(pairs: Iterator[tuple[bytes, bytes]], table: Table, progress: Callable[[int], None]) -> int:
    count = 0
    for some in portions(pairs, lambda pair: len(pair[1])):
        table.store.commit(*[Set(table.name, key, value) for key, value in some])
        progress(len(some))
        count += len(some)
    return count
