"""Contexts of `multiprocessing` that give durable queues. The start method is the standard library's own.

What the standard library itself makes of a context (the pipes of a pool, of `ProcessPoolExecutor`) stays as it was:
it lives with the pool, and reads it by its file descriptors.
"""

from __future__ import annotations

import multiprocessing.context as stdlib
import sys
from typing import TYPE_CHECKING, Any, Literal, overload

from . import queues

if TYPE_CHECKING:  # what `__getattr__` finds
    from multiprocessing.context import AuthenticationError as AuthenticationError
    from multiprocessing.context import BufferTooShort as BufferTooShort
    from multiprocessing.context import Process as Process
    from multiprocessing.context import ProcessError as ProcessError
    from multiprocessing.context import SpawnProcess as SpawnProcess
    from multiprocessing.context import TimeoutError as TimeoutError

    if sys.platform != "win32":
        from multiprocessing.context import ForkProcess as ForkProcess
        from multiprocessing.context import ForkServerProcess as ForkServerProcess

_INTERNAL = ("multiprocessing.", "concurrent.futures.")


def __getattr__(name: str) -> Any:
    """All else is the standard library's."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(stdlib, name)


class _Durable:
    """The methods that make queues."""

    def Queue(self, maxsize: int = 0, **options: Any) -> queues.Queue[Any]:
        """As `queues.Queue`, whose options it takes."""
        if _is_internal():
            return super().Queue(maxsize)  # type: ignore[misc,no-any-return]
        return queues.Queue(maxsize, ctx=self.get_context(), **options)

    def JoinableQueue(self, maxsize: int = 0, **options: Any) -> queues.JoinableQueue[Any]:
        """As `queues.JoinableQueue`, whose options it takes."""
        if _is_internal():
            return super().JoinableQueue(maxsize)  # type: ignore[misc,no-any-return]
        return queues.JoinableQueue(maxsize, ctx=self.get_context(), **options)

    def SimpleQueue(self, **options: Any) -> queues.SimpleQueue[Any]:
        """As `queues.SimpleQueue`, whose options it takes."""
        if _is_internal():
            return super().SimpleQueue()  # type: ignore[misc,no-any-return]
        return queues.SimpleQueue(ctx=self.get_context(), **options)

    def get_context(self, method: str | None = None) -> Any:
        """The durable context of that start method, or this one."""
        found: Any = super().get_context(method)  # type: ignore[misc]
        return _CONTEXTS.get(found.get_start_method(), found)


if TYPE_CHECKING:

    class BaseContext(_Durable, stdlib.BaseContext):
        """The standard library's, for who looks at types: one of ours, whose queues are."""

        @overload  # type: ignore[override]
        def get_context(self, method: None = None) -> DefaultContext: ...
        @overload
        def get_context(self, method: Literal["spawn"]) -> SpawnContext: ...
        @overload
        def get_context(self, method: Literal["fork"]) -> ForkContext: ...
        @overload
        def get_context(self, method: Literal["forkserver"]) -> ForkServerContext: ...
        @overload
        def get_context(self, method: str | None) -> BaseContext: ...
        def get_context(self, method: str | None = None) -> Any: ...

    _Ours = BaseContext
else:
    BaseContext, _Ours = stdlib.BaseContext, _Durable


def _is_internal() -> bool:
    module = sys._getframe(2).f_globals.get("__name__")
    return isinstance(module, str) and module.startswith(_INTERNAL)


class DefaultContext(_Ours, stdlib.DefaultContext):
    """The context of the module's own functions: it starts processes as the standard library's does."""

    def __init__(self) -> None:
        pass

    if not TYPE_CHECKING:  # for which it is that of `BaseContext`

        def get_context(self, method: str | None = None) -> Any:
            found = _default.get_context(method)
            return _CONTEXTS.get(found.get_start_method(), found)  # libraries add start methods of their own

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        _default.set_start_method(method, force)

    def get_start_method(self, allow_none: bool = False) -> str:
        found: str = _default.get_start_method(allow_none)
        return found


_default: Any = stdlib._default_context
_CONTEXTS: dict[str, Any] = {}


class SpawnContext(_Ours, stdlib.SpawnContext):
    """Starts processes anew."""


_CONTEXTS["spawn"] = SpawnContext()
if sys.platform != "win32":

    class ForkContext(_Ours, stdlib.ForkContext):
        """Forks."""

    class ForkServerContext(_Ours, stdlib.ForkServerContext):
        """Has a server fork."""

    _CONTEXTS["fork"], _CONTEXTS["forkserver"] = ForkContext(), ForkServerContext()

default = DefaultContext()
