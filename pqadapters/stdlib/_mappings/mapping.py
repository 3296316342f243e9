"""A mutable mapping in a table of a store, with all that a dict does; how keys and values become bytes is its heirs'.

Each method is one step for everybody else, threads and processes: `pop`, `setdefault`, `popitem`, `update`, `|=` and
`clear` too. Values come back as copies, so a change to one isn't stored until it is set again; `edit` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, TypeVar, Union, overload

from ...errors import NotSerializable
from ...store import Delete, Op, Set
from .edit import MISSING, Edit
from .table import Table
from .views import Items, Keys, Values

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
M = TypeVar("M", bound="DurableMapping[Any, Any]")
_OURS = __name__.partition(".")[0]
Pairs = Union[Mapping[K, V], Iterable[tuple[K, V]]]


class DurableMapping(MutableMapping[K, V]):
    """`_table` is its table, or what raises once it was closed."""

    _table: Table
    _direct = True  #: False for a subclass with a say in what is got or set: then all goes through that

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        names = ("__getitem__", "__setitem__", "__delitem__")
        owners = (next(kind for kind in cls.__mro__ if name in vars(kind)) for name in names)
        cls._direct = all(owner.__module__.partition(".")[0] == _OURS for owner in owners)

    # How keys and values are stored

    def _key_to_bytes(self, key: Any) -> bytes:
        raise NotImplementedError

    def _key_from_bytes(self, data: bytes) -> K:
        raise NotImplementedError

    def _value_to_bytes(self, value: V) -> bytes:
        raise NotImplementedError

    def _value_from_bytes(self, data: bytes) -> V:
        raise NotImplementedError

    def _dump_again(self, key: bytes, value: V, before: bytes | None) -> tuple[bytes, list[Op]]:
        """A value that was edited, in place of the one that was alive before; and what is committed with it."""
        return self._value_to_bytes(value), []

    def _alive(self, data: bytes | None) -> bytes | None:
        """What is stored, unless its time is over."""
        return data

    def _tidy(self) -> bool:
        """Delete what isn't alive, where it would be counted. Whether some may be left, as `_hidden` has it."""
        return False

    def _hidden(self) -> Collection[bytes]:
        """Keys of what isn't alive, and yet is there: somebody else is about to delete it, and may be stopped."""
        return ()

    def _shown_keys(self, *, reverse: bool = False) -> Iterator[K]:
        hidden = self._hidden() if self._tidy() else ()
        keys = self._table.keys(reverse=reverse)
        return map(self._key_from_bytes, (key for key in keys if key not in hidden) if hidden else keys)

    # Looking

    def _find_bytes(self, key: object) -> bytes | None:
        """What is stored for the key. One that can't be stored isn't there."""
        try:
            return self._alive(self._table.get(self._key_to_bytes(key)))
        except NotSerializable:
            return None

    def _no_such_key(self, key: K) -> KeyError:
        return KeyError(key)

    def __getitem__(self, key: K) -> V:
        data = self._find_bytes(key)
        if data is None:
            raise self._no_such_key(key)
        return self._value_from_bytes(data)

    def __contains__(self, key: object) -> bool:
        return self._find_bytes(key) is not None

    @overload
    def get(self, key: K, default: None = None, /) -> V | None: ...

    @overload
    def get(self, key: K, default: V | T, /) -> V | T: ...

    def get(self, key: K, default: Any = None) -> Any:
        if not self._direct:
            return MutableMapping.get(self, key, default)
        data = self._find_bytes(key)
        return default if data is None else self._value_from_bytes(data)

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of those keys that are there, all as of one moment."""
        if not self._direct:
            return {key: self[key] for key in keys if key in self}
        wanted = dict(self._encodable(keys))
        found = self._table.snapshot(list(wanted))
        alive = ((wanted[data], self._alive(found[data])) for data in wanted if data in found)
        return {key: self._value_from_bytes(value) for key, value in alive if value is not None}

    def _encodable(self, keys: Iterable[K]) -> Iterator[tuple[bytes, K]]:
        """Those that could be there."""
        for key in keys:
            with suppress(NotSerializable):
                yield self._key_to_bytes(key), key

    def copy(self) -> dict[K, V]:
        """A dict with all of it, as of one moment."""
        if not self._direct:
            return {key: self[key] for key in self}
        alive = ((key, self._alive(value)) for key, value in self._table.snapshot().items())
        return {self._key_from_bytes(key): self._value_from_bytes(value) for key, value in alive if value is not None}

    def __len__(self) -> int:
        left, count = self._tidy(), self._table.count()
        return count - len(self._hidden()) if left else count  # counted first, else what goes in between is lacking

    def __iter__(self) -> Iterator[K]:
        return self._shown_keys()

    def __reversed__(self) -> Iterator[K]:
        return self._shown_keys(reverse=True)

    def _pairs(self, reverse: bool = False) -> Iterator[tuple[K, V]]:
        if not self._direct:
            yield from ((key, self[key]) for key in (reversed(self) if reverse else self))
            return
        for key, value in self._table.items(reverse=reverse):
            alive = self._alive(value)
            if alive is not None:
                yield self._key_from_bytes(key), self._value_from_bytes(alive)

    def keys(self) -> Keys[K]:
        return Keys(self)

    def items(self) -> Items[K, V]:
        return Items(self)

    def values(self) -> Values[V]:
        return Values(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self.copy() == (other.copy() if isinstance(other, DurableMapping) else dict(other.items()))

    __hash__ = None  # type: ignore[assignment]

    def __or__(self, other: Mapping[K, V]) -> dict[K, V]:
        return self.copy() | _as_dict(other) if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[K, V]) -> dict[K, V]:
        return _as_dict(other) | self.copy() if isinstance(other, Mapping) else NotImplemented

    # Changing

    def __setitem__(self, key: K, value: V) -> None:
        self._table.set(self._key_to_bytes(key), self._value_to_bytes(value))

    def __delitem__(self, key: K) -> None:
        if self._take(key, lambda data: data) is None:
            raise self._no_such_key(key)

    @overload
    def pop(self, key: K) -> V: ...

    @overload
    def pop(self, key: K, default: V | T) -> V | T: ...

    def pop(self, key: K, default: Any = MISSING) -> Any:
        """The key's value, which is deleted. One that can't be read stays."""
        if not self._direct:
            return MutableMapping.pop(self, key, *(() if default is MISSING else (default,)))
        taken = self._take(key, lambda data: (self._value_from_bytes(data),))
        if taken is not None:
            return taken[0]
        if default is MISSING:
            raise self._no_such_key(key)
        return default

    def _take(self, key: K, look: Callable[[bytes], T]) -> T | None:
        """Delete the key; what `look` makes of what was stored. None where it isn't there."""
        try:
            data = self._key_to_bytes(key)
        except NotSerializable:
            return None
        return self._take_bytes(data, look)

    def _take_bytes(self, data: bytes, look: Callable[[bytes], T]) -> T | None:
        """The same, of the key as it is stored."""
        seen: T | None = None

        def decide(found: bytes | None) -> Sequence[Op] | None:
            nonlocal seen
            alive = self._alive(found)
            seen = None if alive is None else look(alive)
            return None if alive is None else [Delete(self._table.name, data)]

        self._table.change(data, decide)
        return seen

    def popitem(self) -> tuple[K, V]:
        """The key that comes last in the order of iteration, and its value; both are deleted. Raises KeyError where
        there is none."""
        if not self._direct:
            for key in reversed(self):
                try:
                    return key, self.pop(key)
                except KeyError:  # another was faster
                    if self._find_bytes(key) is not None:
                        raise
            raise KeyError("popitem(): the mapping is empty")
        while True:
            self._tidy()
            last: bytes | None = None
            for data, value in self._table.items(reverse=True):
                if self._alive(value) is not None:
                    last = data
                    break
            if last is None:
                raise KeyError("popitem(): the mapping is empty")
            key = self._key_from_bytes(last)  # which needn't be stored by the same bytes any more
            taken = self._take_bytes(last, lambda data: (self._value_from_bytes(data),))
            if taken is not None:
                return key, taken[0]

    @overload
    def setdefault(self: DurableMapping[K, T | None], key: K, default: None = None) -> T | None: ...

    @overload
    def setdefault(self, key: K, default: V) -> V: ...

    def setdefault(self, key: K, default: Any = None) -> Any:
        """The key's value, which is `default` where there was none."""
        if not self._direct:
            return MutableMapping.setdefault(self, key, default)
        data, name = self._key_to_bytes(key), self._table.name
        found = self._table.change(
            data,
            lambda found: None if self._alive(found) is not None else [Set(name, data, self._value_to_bytes(default))],
        )
        alive = self._alive(found)
        return default if alive is None else self._value_from_bytes(alive)

    def update(self, other: Any = (), /, **more: Any) -> None:
        """Set all of them at once: nobody sees a part of it, and what can't be stored leaves all as it was."""
        pairs = [*pairs_of(other), *more.items()]
        if self._direct:
            self._table.set_all([(self._key_to_bytes(key), self._value_to_bytes(value)) for key, value in pairs])
        else:
            for key, value in pairs:
                self[key] = value

    def set_many(self, items: Pairs[K, V]) -> None:
        """As `update`: a mapping, or pairs of keys and values."""
        self.update(items)

    def __ior__(self: M, other: Any) -> M:  # type: ignore[misc]  # in place, and `|` makes a dict
        self.update(other)
        return self

    def clear(self) -> None:
        self._table.clear()

    # Several steps

    def batch(self) -> AbstractContextManager[None]:
        """What this thread (greenlet, task) changes until the end is stored there, with one sync: all of it, or nothing
        after an exception or a crash. It sees its own changes meanwhile, nobody else does. Inside of another one it is
        a part of that.

        `pop`, `popitem`, `setdefault` and `del` build on what they find; where somebody else has changed that
        meanwhile the end raises `ConditionFailed`, and nothing was stored. What a signal handler sets in the middle of
        the block is a part of it, too.
        """
        return self._table.batch()

    def edit(self, key: K, default: Any = MISSING, *, timeout: float | None = None) -> AbstractContextManager[V]:
        """The key's value, to be changed in place: what it is at the end is stored, unless there was an exception.

        Nobody else edits the key meanwhile, in whatever process; who does waits, `timeout` seconds or for ever. For a
        value that can't be changed in place, set the key in the block. All that the block changes in this mapping is
        stored at its end, as in `batch`. Raises KeyError for a missing key without a `default`, TimeoutError, and
        ConditionFailed where somebody else has set the key without `edit`; nothing was stored then. ValueError for a
        negative `timeout`.
        """
        if timeout is not None and not timeout >= 0:  # nor NaN, of which a key that is free would say nothing
            raise ValueError("'timeout' must be a non-negative number")
        return Edit(self, key, default, timeout)

    # The whole

    def sync(self) -> None:
        """All that was stored is on the disk when this returns, also at durability "process"."""
        self._table.sync()

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: M) -> M:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _as_dict(other: Mapping[K, V]) -> dict[K, V]:
    return other.copy() if isinstance(other, DurableMapping) else dict(other)


def pairs_of(other: Any) -> list[tuple[Any, Any]]:
    """What `dict.update` takes: a mapping, something with keys(), or pairs."""
    if isinstance(other, DurableMapping):
        return list(other.copy().items())
    if isinstance(other, Mapping):
        return [(key, other[key]) for key in other]
    if hasattr(other, "keys"):
        return [(key, other[key]) for key in other.keys()]  # noqa: SIM118  # all that it needs to have
    return [(key, value) for key, value in other]
