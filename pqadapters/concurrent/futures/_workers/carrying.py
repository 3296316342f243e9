"""What a worker does with a call, and what it brings back: only what the parent can load, or that it can't.

The standard library's pool breaks where its thread can't load what a worker has sent, and other jobs with it. So
exceptions are tried in the worker, and results go as bytes that are loaded where it is known whose they are.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeGuard

from .._jobs.errors import RemoteError, is_raised_there, told

_BY_SIGNAL = "pqadapters: by a signal"
_LOADED_ANYWAY = {type(None), bool, int, float, str, bytes}


class Packed(NamedTuple):
    """A result on its way."""

    data: bytes


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """The handler of a worker for Ctrl-C, which a terminal sends to workers, too. It raises what Python's does, and
    marks it: a job that raises KeyboardInterrupt itself has come to that."""
    error = KeyboardInterrupt()
    error.__dict__[_BY_SIGNAL] = True
    raise error


def was_interrupted(error: BaseException | None) -> TypeGuard[KeyboardInterrupt]:
    """In the parent: whether Ctrl-C has broken a job off."""
    return isinstance(error, KeyboardInterrupt) and _BY_SIGNAL in error.__dict__


class ResultNotLoaded(RemoteError, BrokenProcessPool):
    """A result can't be loaded here. The standard library's pool breaks at that; this one goes on."""


def carry_out(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """In a worker: the call of a job. What it gives is for `unpacked`."""
    return carry_back(_packed, (function, args, kwargs), {})


def _packed(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    return result if type(result) in _LOADED_ANYWAY else Packed(bytes(ForkingPickler.dumps(result)))


def carry_back(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """In a worker: a call, with an exception that the pool can send and the parent can load."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        try:
            traceback.format_exception(error)
        except Exception:
            raise told(error) from None
        try:
            _travel(error)
        except (Exception, SystemExit):
            raise told(error) from error
        raise


def _travel(error: BaseException) -> None:
    """What is done to an exception on its way: some refuse to have attributes set."""
    ForkingPickler.loads(ForkingPickler.dumps(error)).__traceback__ = None


def has_broken(error: BaseException | None) -> TypeGuard[BrokenExecutor]:
    """In the parent: whether the pool is broken. A job may raise the same, of a pool of its own."""
    return isinstance(error, BrokenExecutor) and not is_raised_there(error)


def unpacked(result: Any) -> tuple[Any, ResultNotLoaded | None]:
    """In the parent: the result, or in its place that it can't be loaded."""
    if type(result) is not Packed:
        return result, None
    try:
        return pickle.loads(result.data), None
    except BaseException as error:  # it is for the thread that tells outcomes, and no signal handler's
        there = told(error)
        return None, ResultNotLoaded(there.type, f"the result can't be loaded here: {there.text}", there.traceback)
