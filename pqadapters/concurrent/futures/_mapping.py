"""`map`: its calls are told from others by what they call, since `map` submits some of them only while it is read."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from itertools import islice
from typing import Any

from ...clock import SYSTEM

#: Whether the standard library's map knows `buffersize`.
KNOWS_BUFFERS = sys.version_info >= (3, 14)


class Mapped:
    """A function that was given to `map`. To the `submit` of a subclass, which sees it, it is like that function."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def __eq__(self, other: object) -> bool:
        return bool(self.function == (other.function if type(other) is Mapped else other))

    def __hash__(self) -> int:
        return hash(self.function)

    def __repr__(self) -> str:
        return repr(self.function)

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self.function,)


MARKS = frozenset({Mapped, partial})  #: types of what may be marked


def unmapped(function: Any) -> Any:
    """What is called, without the mark; None where there is none."""
    if type(function) is Mapped:
        return function.function
    if type(function) is partial and function.args and type(function.args[0]) is Mapped:  # a chunk of a process pool's
        return partial(function.func, function.args[0].function, *function.args[1:], **function.keywords)
    return None


def unmarked(function: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]] | None:
    """The function and arguments of a call that `map` has made, without the mark; None of another one. A subclass may
    have a function of its own call it: `super().submit(wrapper, function, *args)`."""
    found = unmapped(function)
    if found is not None:
        return found, args
    bare = [unmapped(each) for each in args]
    if not any(each is not None for each in bare):
        return None
    return function, tuple(each if found is None else found for each, found in zip(args, bare, strict=True))


def map_in_parts(
    executor: Executor, function: Mapped, iterables: tuple[Iterable[Any], ...], timeout: float | None, buffersize: int
) -> Iterator[Any]:
    """`map` with at most `buffersize` calls whose results weren't read yet, for Pythons whose own doesn't know that."""
    if not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    end = None if timeout is None else timeout + SYSTEM.monotonic()
    arguments = zip(*iterables)  # noqa: B905  # as the standard library's: the shortest one ends it
    first = deque(executor.submit(function, *each) for each in islice(arguments, buffersize))
    return _results(executor, function, arguments, first, end)


def _results(
    executor: Executor, function: Mapped, arguments: Iterator[Any], futures: deque[Future[Any]], end: float | None
) -> Iterator[Any]:
    try:
        while futures:
            read = [_result(futures.popleft(), end)]
            for each in islice(arguments, 1):
                futures.append(executor.submit(function, *each))
            yield read.pop()  # and nothing here has it any more
    finally:
        for future in futures:
            future.cancel()


def _result(future: Future[Any], end: float | None) -> Any:
    try:
        return future.result(None if end is None else end - SYSTEM.monotonic())
    finally:
        future.cancel()
        del future  # an exception's traceback has this frame
