"""Values as what both formats hold: None, bool, int, float, str, bytes, lists, and dicts with keys of str.

Everything else is a tag, a dict of one item whose key begins with a dollar sign:

    (1, "a")        {"$tuple": [1, "a"]}
    {1: "a"}        {"$dict": [[1, "a"]]}; so is a dict that looks like a tag
    Decimal("1.0")  {"$decimal": "1.0"}
    object()        {"$shown": ["<object object at 0x7f...>", null, null]}
    Counter("a")    {"$printed": ["Counter({'a': 1})", "Counter({'a': 1})", {"a": 1}]} as a message, else {"a": 1}

What comes back equals what was stored and is of the same type, all the way, or was counted as lost. Reading calls
nothing but the constructors that are written here. Any thread may use a `Writer`, one at a time.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .exceptions import read_error, read_exc_info, write_error
from .scalars import SCALARS, read_bytes, write_scalar
from .shown import Printed, Shown, repr_of, shown_parts, str_of

DEEPEST = 60  #: containers in one another; what is deeper is stored as its repr, as is what holds itself
_INTS = range(-(1 << 63), 1 << 64)  #: what MessagePack has
_SAME = frozenset({str, bool, float, type(None), bytes})


class Unfit(Exception):
    """A value holds itself, or too deep a nest of containers."""


class Writer:
    """Makes trees of values. `lost` counts what was stored as its text.

    `printed`: the values will be printed, so that what might print differently in another process (a set is in
    another order there) counts as lost, too.
    """

    def __init__(self, *, printed: bool = False) -> None:
        self.lost = 0
        self._printed = printed
        self._open: list[int] = []  #: what the current value is inside of
        self._hashable = False  #: it is in a key, or in a member of a set

    def fit(self, value: Any) -> Any:
        """The tree of a value. Never raises."""
        if type(value) in _SAME:
            return value
        lost, depth = self.lost, len(self._open)
        try:
            return self._tree(value)
        except Exception:  # Unfit, RecursionError, and what a value raises where it is looked at
            self.lost = lost
            del self._open[depth:]
            return self.shown(value)

    def fit_key(self, value: Any) -> Any:
        """The tree of a key of a dict, which can be one again: a list or dict of somebody's own kind that has a hash is
        stored as its repr there, since the plain ones have none. Never raises."""
        return self._inside(True, self.fit, value)

    def items(self, pairs: Iterable[tuple[Any, Any]]) -> Any:
        """The tree of a dict whose values are fitted one by one: one that holds itself spoils no other."""
        return mapping([(self.fit_key(key), self.fit(value)) for key, value in pairs])

    def shown(self, value: Any) -> Any:
        """What stands for a value that can't be stored."""
        self.lost += 1
        return {"$shown": shown_parts(value)}

    def _tree(self, value: Any) -> Any:
        kind = type(value)
        if kind in _SAME:
            return value
        if self._hashable and kind.__hash__ is None:  # a list in a tuple of a kind that has a hash nevertheless
            return self.shown(value)
        if kind is int:
            return value if value in _INTS else {"$int": hex(value)}
        if kind in _CONTAINERS:
            return self._container(value, kind)
        if kind in SCALARS:
            scalar = write_scalar(kind, value)
            return self.shown(value) if scalar is None else scalar
        return self._other(value, kind)

    def _container(self, value: Any, kind: type) -> Any:
        if self._printed and kind in _UNORDERED and len(value) > 1:
            return self.shown(value)
        self._enter(value)
        tree, key_tree = self._tree, self._key_tree
        if kind is dict:
            found: Any = mapping([(key_tree(key), tree(each)) for key, each in value.copy().items()])
        elif kind is OrderedDict:
            found = {"$ordered": [[key_tree(key), tree(each)] for key, each in value.copy().items()]}
        else:
            found = list(map(key_tree if kind in _UNORDERED else tree, value.copy() if kind is set else value))
            if kind is not list:
                found = {_CONTAINERS[kind]: found}
        self._open.pop()
        return found

    def _key_tree(self, value: Any) -> Any:
        return value if type(value) in _SAME else self._inside(True, self._tree, value)

    def _inside(self, hashable: bool, tree: Callable[[Any], Any], value: Any) -> Any:
        """Its tree, inside of a key or of something else."""
        outer, self._hashable = self._hashable, hashable
        try:
            return tree(value)
        finally:
            self._hashable = outer

    def _enter(self, value: Any) -> None:
        if id(value) in self._open or len(self._open) >= DEEPEST:
            raise Unfit
        self._open.append(id(value))

    def _other(self, value: Any, kind: type) -> Any:
        """Types are asked, not the values: a proxy says it is what it stands for."""
        if kind is Shown:
            return {"$shown": value.parts()}
        if issubclass(kind, BaseException):
            return self._error(value)
        if issubclass(kind, logging.Logger) and not self._printed and _is_known(value):
            return {"$logger": str.__str__(value.name)}
        return self._kin(value, kind)

    def _error(self, error: BaseException) -> Any:
        """Its text and repr are kept, and that's what it is printed as; so nothing of it counts as lost."""
        lost = self.lost
        self._enter(error)
        found = self._inside(False, lambda error: write_error(error, self.fit), error)
        self._open.pop()
        self.lost = lost
        return found

    def _kin(self, value: Any, kind: type) -> Any:
        """Of a subclass what JSON writes for it, if that prints alike; else its repr."""
        for plain in (dict, list, tuple):
            if issubclass(kind, plain) and not (self._hashable and plain.__hash__ is None):
                self.lost += 1
                return self._container(_copied(value, plain), plain)
        if issubclass(kind, (int, float)):
            number: Any = int.__int__(value) if issubclass(kind, int) else float.__float__(value)
            if str_of(value) == str_of(number):
                self.lost += 1
                return self._tree(number)
        return self.shown(value)


def _copied(value: Any, plain: type) -> Any:
    """A plain copy of a subclass's content, without its own methods."""
    if plain is dict:
        return dict((OrderedDict if isinstance(value, OrderedDict) else dict).items(value))
    return plain(list.__iter__(value) if plain is list else tuple.__iter__(value))


def mapping(pairs: list[tuple[Any, Any]]) -> Any:
    """The tree of a dict of these trees."""
    if all(type(key) is str for key, _ in pairs) and not (len(pairs) == 1 and pairs[0][0][:1] == "$"):
        return dict(pairs)
    return {"$dict": [list(pair) for pair in pairs]}


def printed_mapping(value: dict[Any, Any], tree: Any) -> Any:
    """The tree of a dict that has this one, and prints as `value` does."""
    printed = str_of(value)
    return tree if printed == str_of(revived(tree)) else {"$printed": [printed, repr_of(value), tree]}


def is_flat(value: dict[Any, Any], plain: frozenset[Any]) -> bool:
    """Whether a dict is its own tree: keys of str, values of these types, and no look of a tag."""
    return (
        _STR.issuperset(map(type, value))
        and plain.issuperset(map(type, value.values()))
        and not (len(value) == 1 and next(iter(value))[:1] == "$")
    )


def read_tag(tree: dict[Any, Any]) -> Any:
    """For the `object_hook` of both formats. Raises ValueError for a tag that isn't known."""
    if len(tree) == 1:
        ((name, parts),) = tree.items()
        if name[:1] == "$":
            try:
                read = _READERS[name]
            except KeyError:
                raise ValueError(f"there is no tag {name!r}") from None
            return read(parts)
    return tree


def revived(tree: Any) -> Any:
    """The value of a tree, without a format in between."""
    if type(tree) is list:
        return [revived(each) for each in tree]
    if type(tree) is dict:
        return read_tag({key: revived(each) for key, each in tree.items()})
    return tree


def _is_known(logger: logging.Logger) -> bool:
    """Whether `getLogger` gives this very one."""
    manager = logging.Logger.manager
    return logger is logging.root or manager.loggerDict.get(logger.name) is logger


def _pairs(kind: type[dict[Any, Any]]) -> Callable[[Any], Any]:
    return lambda parts: kind([(key, value) for key, value in parts])


def _listed(parts: Any) -> list[Any]:
    if type(parts) is not list:
        raise ValueError("a tag of the wrong content")
    return parts


_STR = frozenset({str})
_UNORDERED = frozenset({set, frozenset})
_CONTAINERS: Mapping[type, str] = {
    list: "",
    dict: "",
    OrderedDict: "$ordered",
    tuple: "$tuple",
    set: "$set",
    frozenset: "$frozenset",
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "$tuple": lambda parts: tuple(_listed(parts)),
    "$set": lambda parts: set(_listed(parts)),
    "$frozenset": lambda parts: frozenset(_listed(parts)),
    "$dict": _pairs(dict),
    "$ordered": _pairs(OrderedDict),
    "$int": lambda text: int(text, 16),
    "$logger": lambda name: logging.getLogger(name),
    "$shown": lambda parts: Shown.of(*parts),
    "$printed": lambda parts: Printed(*_listed(parts)),
    "$error": read_error,
    "$exc": read_exc_info,
    "$bytes": read_bytes,
    **{name: read for name, _, read in SCALARS.values()},
}
