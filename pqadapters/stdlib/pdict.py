"""`PDict`: a dict in a file, whose keys and values survive the process. Any thread and any process may use it.

What was set is on disk when the call returns, as far as the durability says ("power": a power cut; "process": SIGKILL).
Every method is one step for all others; iterators follow the order in which keys were first set, and mind no changes.
Values come back as copies: change one in place with `edit`. Loading a pickle runs what it says: open only what you
trust, or choose another serializer.

A stored value is one letter for its serializer (p, j, m, c, or u for a user's own), then its bytes; see
_mappings/expiry.py for one whose time runs out, and _mappings/keys.py for keys.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, TypeVar, overload

from ..clock import SYSTEM
from ..durability import Durability, Survives
from ..errors import ConditionFailed, NotSerializable, StoreClosed, StoreError
from ..interrupts import works
from ..opening import absolute_url, given, is_memory, open_database
from ..overriding import Yielding
from ..serializers import NAMES, Serializer, in_bytes
from ..serializers import serializer as choose_serializer
from ..serializers.signed import Key, Signed, hint, protected
from ..store import Op, Set, Store
from ..wording import text_of
from ._mappings.edit import MISSING
from ._mappings.expiry import Expiry, ends, is_over, with_end, without_end
from ._mappings.keys import Keys
from ._mappings.mapping import DurableMapping, pairs_of
from ._mappings.table import ClosedTable, Table
from ._mappings.views import excerpt
from ._where import absolute, check_name, is_url, open_where

__all__ = ["PDict"]

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")


def _store_of(mapping: Any) -> Store:
    """The store that it is in."""
    store: Store = mapping._table.store
    return store


class PDict(DurableMapping[K, V]):
    """A mapping with any hashable keys that can be serialised (1 and "1" are two), and any such values, up to 1 GiB.
    An object of a plain class of your own is found by its pickle: what is kept in an attribute later on, by
    `cached_property` say, makes another key of it, though it is equal. Frozen dataclasses are found by value.

    `path` is the file of a SQLite database, made if it is missing, which any number of processes and threads use; or
    the URL of a store, as `store=` is (a store, or `sqlite:////abs/file.db`, `file:///abs/dir` ...). Several mappings
    share one by `name` ("default"). A `name` alone is one of the application's, in its home, as a queue's name is.

    `durability=` ("power", "process") and `max_lag=` (seconds) are the store's; PQADAPTERS_DURABILITY stands for them
    where they aren't given. `serializer=`: "pickle", "json", "msgpack", "cbor2", or an object with their functions, for
    values and for keys that aren't made of text and numbers. `signing_key=` (a secret, or several, of which the first
    one signs): both are signed, and those that aren't are refused; a store of several hosts takes
    PQADAPTERS_SIGNING_KEY for it, and no pickles without one. `expire=`: seconds after which a key that is set is gone,
    unless `set` says otherwise. `trust_directory=True` takes a file that somebody else owns.

    Raises TypeError and ValueError for arguments, and StoreError where the store can't be opened: StoreRefused (a
    directory, another program's database), FormatError (damaged, newer), StoreLocked, DiskError.
    """

    _takes_serializer = True  #: for errors: whether whoever makes one may choose another

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes] | None = None,
        name: str | None = None,
        *,
        store: Store | str | None = None,
        serializer: str | ModuleType | Serializer = "pickle",
        signing_key: Key | Sequence[Key] | None = None,
        expire: float | None = None,
        durability: str | Survives | Durability | None = None,
        max_lag: float | None = None,
        trust_directory: bool = False,
    ) -> None:
        theirs = set(vars(self))
        check_name(name)
        if path is None and store is None and name is None:
            raise ValueError("say where the mapping lives: PDict(path), PDict(name='settings') or PDict(store=URL)")
        self._expire = None if expire is None else _seconds(expire)
        codec: Serializer = choose_serializer(serializer)
        self._mark = _mark(serializer)
        self._code = self._mark[0]
        path, store = absolute(path), absolute_url(store) if isinstance(store, str) else store
        options = given(durability=durability, max_lag=max_lag, trust_directory=trust_directory or None)
        if is_url(path) and store is None:
            path, store = None, str(path)
        opened, owned = open_where(path, store, options, what="the mapping's file", open_path=open_database)
        if path is None and store is None and not (opened.capabilities.persistent and os.environ.get("PQADAPTERS_URL")):
            path = opened.place  # the home is another one for another program, and a temporary one for each process
        self._again = (path, name, store, serializer, expire, durability, max_lag, trust_directory, signing_key)
        try:
            codec = protected(codec, signing_key, hosts=opened.capabilities.hosts, place=opened.place)
        except BaseException:
            if owned:
                opened.close()
            raise
        self._codec, self._loads = codec, codec.loads
        self.name = "default" if name is None else name
        label = f"mapping {self.name!r} in {opened.place}"
        if isinstance(codec, Signed):
            codec.tell_of(label)
        self._table = Table(opened, f"dict/{self.name}", label=label, owned=owned)
        self._keys = Keys(self._codec, label)
        self._expiry = Expiry(self._table)
        self._earlier = [Keys(each) for each in codec.others()] if isinstance(codec, Signed) else []
        if not self._earlier:
            self._key_to_bytes = self._keys.encode  # type: ignore[method-assign]  # without a step in between
        self._key_from_bytes = self._keys.decode  # type: ignore[method-assign]
        self._ours = {"_ours", *vars(self)} - theirs  #: names of attributes

    @classmethod
    def fromkeys(cls, keys: Iterable[K], value: Any = None, *where: Any, **options: Any) -> PDict[K, Any]:
        """A mapping with these keys, all with that value: `PDict.fromkeys(keys, value, path, name)`."""
        made: PDict[K, Any] = cls(*where, **options)
        if type(made).__setitem__ is PDict.__setitem__:
            made.update((key, value) for key in keys)
        else:  # a subclass that has a say in what is set
            for key in keys:
                made[key] = value
        return made

    # How keys and values are stored

    def _key_to_bytes(self, key: Any) -> bytes:
        """Where keys have signatures in them: as it is there, signed by an earlier signing key; or by the first one."""
        data = self._keys.encode(key)
        for keys in self._earlier:
            other = keys.encode(key)
            if other != data and self._table.get(other) is not None:
                return other
        return data

    def _value_to_bytes(self, value: V) -> bytes:
        try:
            data = self._codec.dumps(value)
        except MemoryError:
            raise
        except Exception as error:
            if works(self._codec.dumps, value):
                raise  # a signal handler's exception, and no fault of the value
            raise self._refused(value, error) from error
        try:
            return self._mark + in_bytes(data)
        except TypeError as error:
            raise self._refused(value, error) from None

    def _refused(self, value: object, error: Exception) -> NotSerializable:
        other = ", or choose another serializer=" if self._takes_serializer else ""
        return NotSerializable(
            f"a value of type {type(value).__qualname__} can't be stored in {self._table.label}: {text_of(error)}. "
            f"Nothing was stored; give what can be serialised{other}"
        )

    def _value_from_bytes(self, data: bytes) -> V:
        data = without_end(data)
        mark = data[:1]
        if mark != self._mark:
            if mark not in _NAMES:
                raise StoreError(
                    f"a value in {self._table.label} isn't one that a mapping has stored: something else has changed "
                    "it there. Set its key again, or delete it"
                )
            theirs, ours = _NAMES[mark], _NAMES[self._mark]
            raise StoreError(
                f"a value in {self._table.label} was written by the serializer {theirs}, and is to be read by the "
                f"serializer {ours}: open the mapping with the former"
            )
        return self._decoded(data[1:])

    def _decoded(self, data: bytes) -> V:
        try:
            return self._loads(data)  # type: ignore[return-value]
        except Exception as error:
            hint(data, error)
            raise

    def _alive(self, data: bytes | None) -> bytes | None:
        return None if data is None or is_over(data) else data

    def _tidy(self) -> bool:
        return self._expiry.sweep()

    def _hidden(self) -> Collection[bytes]:
        return self._expiry.hidden()

    def _dump_again(self, key: bytes, value: V, before: bytes | None) -> tuple[bytes, list[Op]]:
        data, end = self._value_to_bytes(value), None
        if before is not None:
            end = ends(before)
        elif self._expire is not None:
            end = SYSTEM.wall() + self._expire
        return (data, []) if end is None else (with_end(data, end), self._expiry.note(key, end))

    def batch(self) -> AbstractContextManager[None]:
        self._expiry.sweep_some()
        return super().batch()

    batch.__doc__ = DurableMapping.batch.__doc__

    def edit(self, key: K, default: Any = MISSING, *, timeout: float | None = None) -> AbstractContextManager[V]:
        self._expiry.sweep_some()
        return super().edit(key, default, timeout=timeout)

    edit.__doc__ = DurableMapping.edit.__doc__

    # What a dict has

    def __getitem__(self, key: K) -> V:
        table = self._table
        try:
            data = table.get(self._key_to_bytes(key)) if table.batches else table.read(self._key_to_bytes(key))
        except NotSerializable:
            raise KeyError(key) from None
        if data and data[0] == self._code:  # the common case: ours, and for ever
            return self._decoded(data[1:])
        data = self._alive(data)
        if data is None:
            raise KeyError(key)
        return self._value_from_bytes(data)

    def __setitem__(self, key: K, value: V) -> None:
        if self._expire is None:
            self._table.set(self._key_to_bytes(key), self._value_to_bytes(value))
        else:
            self.set(key, value)

    @overload
    def setdefault(self: PDict[K, T | None], key: K, default: None = None) -> T | None: ...

    @overload
    def setdefault(self, key: K, default: V) -> V: ...

    def setdefault(self, key: K, default: Any = None) -> Any:
        if self._expire is None or not self._direct:
            return super().setdefault(key, default)
        data, end = self._key_to_bytes(key), SYSTEM.wall() + self._expire
        self._expiry.sweep_some()

        def decide(found: bytes | None) -> list[Op] | None:
            return None if self._alive(found) is not None else self._setting(data, self._value_to_bytes(default), end)

        found = self._alive(self._table.change(data, decide))
        return default if found is None else self._value_from_bytes(found)

    def update(self, other: Any = (), /, **more: Any) -> None:
        if self._expire is None or not self._direct:
            super().update(other, **more)
        else:
            given = (*pairs_of(other), *more.items())
            pairs = [(self._key_to_bytes(key), self._value_to_bytes(value)) for key, value in given]
            self._set_until(pairs, self._expire)

    def __repr__(self) -> str:
        try:
            items = excerpt(self.items(), lambda item: f"{item[0]!r}: {item[1]!r}")
        except StoreClosed:  # debuggers and log lines show it at any time
            return f"<{type(self).__qualname__} {self.name!r}, closed>"
        return "{" + items + "}"

    # Beyond it

    def set(self, key: K, value: V, *, expire: float | None = None) -> None:
        """Set the key, which is gone `expire` seconds from now (None: as the mapping's `expire=` says)."""
        seconds = self._expire if expire is None else _seconds(expire)
        if seconds is None:
            self._table.set(self._key_to_bytes(key), self._value_to_bytes(value))
        else:
            self._set_until([(self._key_to_bytes(key), self._value_to_bytes(value))], seconds)

    def _set_until(self, pairs: list[tuple[bytes, bytes]], seconds: float) -> None:
        """All of them, or none."""
        self._expiry.sweep_some()
        end = SYSTEM.wall() + seconds
        timed = [(key, with_end(data, end)) for key, data in pairs]
        while True:
            notes = [op for key in dict(pairs) for op in self._expiry.note(key, end)]
            try:
                return self._table.set_all(timed, notes)
            except ConditionFailed:  # a record came to its time just now
                continue

    def _setting(self, key: bytes, content: bytes, end: float) -> list[Op]:
        return [Set(self._table.name, key, with_end(content, end)), *self._expiry.note(key, end)]

    def touch(self, key: K, *, expire: float | None) -> None:
        """The key's time ends `expire` seconds from now, or never. Raises KeyError where there is none."""
        data = self._key_to_bytes(key)
        end = None if expire is None else SYSTEM.wall() + _seconds(expire)
        self._expiry.sweep_some()

        def decide(found: bytes | None) -> list[Op]:
            if found is None or is_over(found):
                raise KeyError(key)
            return [Set(self._table.name, data, without_end(found))] if end is None else self._setting(data, found, end)

        self._table.change(data, decide, same=True)

    def expires_in(self, key: K) -> float | None:
        """Seconds until the key is gone; None where it stays. Raises KeyError where there is none."""
        data = self._find_bytes(key)
        if data is None:
            raise KeyError(key)
        end = ends(data)
        return None if end is None else end - SYSTEM.wall()

    store = Yielding(_store_of)

    def close(self) -> None:
        """Let go of the store, unless it was given as an object. A second call does nothing."""
        table, self._table = self._table, _closed(self.name)
        if isinstance(table, Table):
            table.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """In another process, or as a copy: the same mapping, opened there."""
        path, _, store, *_ = self._again
        if store is not None and not isinstance(store, str):
            raise TypeError("a PDict on a store that was given as an object can't be pickled: give the store's URL")
        if any(isinstance(place, str) and is_memory(place) for place in (path, store)):
            raise TypeError("a PDict in memory can't be pickled: copy() gives a dict with all of it")
        kind: Any = type(self)
        own = getattr(kind, "__getstate__", None) is not getattr(object, "__getstate__", None)
        more = kind.__getstate__(self) if own else vars(self)
        if isinstance(more, dict):
            more = {name: value for name, value in more.items() if name not in self._ours}  # of a subclass
        return _open_again, (kind, *self._again), more


def _open_again(
    kind: type[PDict[Any, Any]], path: Any, name: Any, store: Any, serializer: Any, expire: Any, *options: Any
) -> PDict[Any, Any]:
    durability, max_lag, trust_directory, signing_key = options
    made: PDict[Any, Any] = kind.__new__(kind)
    PDict.__init__(
        made,
        path,
        name,
        store=store,
        serializer=serializer,
        signing_key=signing_key,
        expire=expire,
        durability=durability,
        max_lag=max_lag,
        trust_directory=trust_directory,
    )
    return made


def _closed(name: str) -> Any:
    return ClosedTable(lambda: StoreClosed(f"mapping {name!r} was closed; open it again"))


_OF_A_USER = b"u"
_NAMES = {name[:1].encode(): name for name in NAMES} | {_OF_A_USER: "of a user"}


def _mark(serializer: Any) -> bytes:
    name = serializer.__name__ if isinstance(serializer, ModuleType) else serializer
    return name[:1].encode() if isinstance(name, str) and name in NAMES else _OF_A_USER


def _seconds(expire: float) -> float:
    if not isinstance(expire, (int, float)) or isinstance(expire, bool):
        raise TypeError(f"expire is a number of seconds, not {type(expire).__name__}")
    if not expire >= 0:
        raise ValueError(f"expire is how many seconds a key stays, 0 or more, not {expire}")
    return float(expire)
