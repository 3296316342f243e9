"""Modules that stand in for the standard library's: the same to look at, with some names of ours.

What isn't swapped is looked up in the standard library's module at each use, so that what others put there is seen;
what the program puts there is seen by others. The packages in between (`concurrent` of `concurrent.futures`) have
stand-ins, too. Any thread may use one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from .ownership import is_stdlibs
from .rewriting import private, public
from .swaps import Swap

#: Of the standard library's module, what Python and others read without asking `__getattr__`.
_KEPT = ("__name__", "__doc__", "__package__", "__loader__", "__spec__", "__path__", "__file__", "__cached__")


class StandIn(ModuleType):
    """A module with names of its own. All others are looked up in `real` by Python itself, by the function that is
    called `__getattr__` in a module: no frame of ours is in the traceback of a name that isn't there."""

    _real: ModuleType
    _mirror: ModuleType | None
    _gone: set[str]  #: names of its own that the program has deleted

    @property
    def __dict__(self) -> dict[str, Any]:
        ours = {name: value for name, value in _variables(self).items() if name != "__getattr__"}
        theirs = {name: value for name, value in vars(self._real).items() if name not in self._gone}
        return {**theirs, **ours}

    @__dict__.setter
    def __dict__(self, value: object) -> None:
        raise AttributeError("readonly attribute")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _variables(self) or name in self._gone:
            _variables(self)[name] = value
            self._gone.discard(name)
            return
        setattr(self._real, name, value)
        if self._mirror is not None and name in vars(self._mirror) and not name.startswith("__"):
            setattr(self._mirror, name, value)  # such as shelve.Pickler, which programs replace

    def __delattr__(self, name: str) -> None:
        variables = _variables(self)
        if name in variables:
            del variables[name]
            self._gone.add(name)
            variables["__getattr__"] = partial(_unless_gone, self._real, self._gone)
        elif name in self._gone:
            super().__delattr__(name)  # it says that there is none
        else:
            delattr(self._real, name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self._real), *vars(self)} - self._gone)


_WARNING = 30  #: logging's, which needn't be loaded for it
_variables_of_modules: Any = vars(ModuleType)["__dict__"]


def _variables(module: ModuleType) -> dict[str, Any]:
    """A module's own dictionary, without what the class makes of it."""
    found: dict[str, Any] = _variables_of_modules.__get__(module)
    return found


def _unless_gone(real: ModuleType, gone: set[str], name: str) -> Any:
    if name in gone:
        raise AttributeError(f"module {real.__name__!r} has no attribute {name!r}")
    return getattr(real, name)


def stand_in(real: ModuleType, mirror: ModuleType | None, own: Mapping[str, Any], inner: Collection[str]) -> StandIn:
    """One for `real` with the names in `own`; `inner` are modules of it that have stand-ins, as soon as they are there.
    It has a class of its own, in which these are properties."""
    members: dict[str, Any] = {name: property(partial(_inner, name=name)) for name in inner}
    fixed = {"_real": real, "_mirror": mirror, "_gone": set[str](), "__module__": "builtins"}
    kind = type("module", (StandIn,), {**members, **fixed})
    made: StandIn = kind(real.__name__)
    variables = _variables(made)
    variables.clear()
    variables.update({name: vars(real)[name] for name in _KEPT if name in vars(real)})
    variables.update(own, __getattr__=partial(getattr, real))
    return made


def _inner(module: StandIn, *, name: str) -> Any:
    found = getattr(module._real, name)
    full = f"{module._real.__name__}.{name}"
    return import_module(private(full)) if found is sys.modules.get(full) else found


class StandIns:
    """The stand-ins of a run: a loader for their private names."""

    def __init__(self, swaps: Mapping[str, Swap], taken: Callable[[ModuleType, str], Any] = getattr) -> None:
        self._swaps = swaps
        self._taken = taken  #: what is taken from our module by a name
        self.names = frozenset(
            ".".join(parts[: count + 1]) for parts in (name.split(".") for name in swaps) for count in range(len(parts))
        )

    def spec(self, name: str) -> ModuleSpec:
        """Where Python's import finds one."""
        return ModuleSpec(name, self)  # type: ignore[arg-type]  # it is a loader, without the base class

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the stand-in in the place of the module that Python has made for it."""
        assert module.__spec__ is not None
        sys.modules[module.__spec__.name] = self._stand_in(public(module.__spec__.name))

    def _stand_in(self, name: str) -> ModuleType:
        real = import_module(name)
        if not is_stdlibs(getattr(real.__spec__, "origin", None)):
            return real  # the program has a module of that name
        inner = [other.rpartition(".")[2] for other in self.names if other.rpartition(".")[0] == name]
        swap = self._swaps.get(name)
        if swap is None:
            return stand_in(real, None, {}, inner)
        mirror = import_module(swap.mirror)
        names = swap.names or tuple(each for each in mirror.__all__ if hasattr(real, each))
        _fit_in()
        own = {each: self._taken(mirror, each) for each in names}
        return stand_in(real, mirror, own, inner)

    def swapped(self, value: object) -> object:
        """The stand-in of a module that has one; any other value as it is."""
        if isinstance(value, ModuleType) and type(value) is ModuleType:
            name = value.__name__
            if name in self.names and sys.modules.get(name) is value:
                return import_module(private(name))
        return value


def _fit_in() -> None:
    """A program that puts what can't be serialised works on; it is warned that this is lost in a crash. And its log has
    its own lines, where it logs at INFO: `--explain` says where queues live."""
    from .. import telling
    from ..stdlib._lines import defaults as _defaults
    from ..stdlib._lines.policy import Volatile

    _defaults.volatile = Volatile.WARN
    telling.set_least_level(_WARNING)
