"""What may be said of one job, and what an executor says of all of its jobs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from ....choosing import choice
from ....clock import spread
from ....rank import rank
from .errors import is_of
from .words import Interrupted, Recover, Volatile, WhenFull

DAY = 86400.0
_CENTURY = 100 * 365 * DAY  #: what is kept for ever is that a job was parked, and goes when that is requeued
_LONGEST = 3600.0  #: seconds between two tries


class Options(NamedTuple):
    """Of one job. None stands for the executor's word."""

    key: bytes | None = None
    retries: int = 0
    backoff: float = 1.0  #: seconds before the first retry, doubled for each further one
    retry_on: tuple[type[BaseException], ...] | None = None  #: None: any Exception
    delay: float = 0.0  #: seconds
    priority: float = 0
    timeout: float | None = None  #: seconds
    result_ttl: float | None = None  #: seconds
    interrupted: Interrupted | None = None
    max_attempts: int | None = None

    def meta(self) -> dict[str, Any]:
        """What of it is kept with the job, but for `retry_on`."""
        found: dict[str, Any] = {}
        for name, value in zip(self._fields, self, strict=True):
            if name not in ("retry_on", "priority") and value != _DEFAULTS[name]:
                found[name] = value.hex() if isinstance(value, bytes) else getattr(value, "value", value)
        return found

    @classmethod
    def of(cls, meta: dict[str, Any]) -> Options:
        """From what was kept; what a newer version has kept beside is passed over. Raises TypeError and ValueError for
        what isn't ours: it may be anybody's who writes to the store."""
        given = {name: value for name, value in meta.items() if name in cls._fields}
        if "key" in given:
            given["key"] = bytes.fromhex(given["key"])
        if "interrupted" in given:
            given["interrupted"] = Interrupted(given["interrupted"])
        found = cls(**given, retry_on=None)  # which is kept with the call
        if given:
            _check(found)
        return found

    def retries_on(self, error: BaseException, failures: int) -> bool:
        """Whether it is tried again after that many failures, the last one being this."""
        return failures <= self.retries and is_of(error, Exception if self.retry_on is None else self.retry_on)

    def pause(self, failures: int) -> float:
        """Seconds until the next try: between half and all of what doubles each time, so that what failed together
        doesn't come again together."""
        longest = min(self.backoff * 2.0 ** min(failures - 1, 30), _LONGEST)
        return spread(0.5 * longest, longest)


_DEFAULTS = Options()._asdict()
PLAIN = Options()


def options(
    *,
    key: str | bytes | int | tuple[Any, ...] | None = None,
    retries: int = 0,
    backoff: float = 1.0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
    delay: float = 0.0,
    priority: float = 0,
    timeout: float | None = None,
    result_ttl: float | None = None,
    interrupted: str | Interrupted | None = None,
    max_attempts: int | None = None,
) -> Options:
    """From what users write. Raises TypeError and ValueError."""
    kinds = (retry_on,) if isinstance(retry_on, type) else retry_on
    found = Options(
        None,
        retries,
        backoff,
        kinds,
        delay,
        priority,
        timeout,
        result_ttl,
        None,
        max_attempts,
    )
    _check(found)
    if kinds is not None and not _are_exceptions(kinds):
        raise TypeError(f"retry_on is a class of exceptions or a tuple of such, not {retry_on!r}")
    rank(priority)
    return found._replace(
        key=None if key is None else key_bytes(key),
        interrupted=None if interrupted is None else choice(Interrupted, interrupted, "interrupted"),
    )


def _check(options: Options) -> None:
    """Raises TypeError and ValueError for numbers that can't be counted or waited with."""
    numbers = {name: getattr(options, name) for name in ("retries", "backoff", "delay", "result_ttl")}
    _check_numbers(**numbers, timeout=options.timeout)
    for name, value in numbers.items():
        if value is not None and not value >= 0:
            raise ValueError(f"{name} can't be negative; {value!r} is")
    if options.timeout is not None and not options.timeout > 0:
        raise ValueError(f"timeout is how long in seconds the job may run; {options.timeout!r} isn't positive")
    check_attempts(options.max_attempts)


def _are_exceptions(kinds: object) -> bool:
    """Whether isinstance() takes it when a job has failed, whose future would have no end otherwise."""
    return isinstance(kinds, tuple) and all(isinstance(one, type) and issubclass(one, BaseException) for one in kinds)


def _check_numbers(**given: object) -> None:
    """Raises TypeError for others than the plain ones, which can be stored and added to the time of now, and ValueError
    for an int that no float is as large as."""
    for name, value in given.items():
        if value is not None and not isinstance(value, (int, float)):
            raise TypeError(f"{name} is an int or a float, not {type(value).__name__}")
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise ValueError(f"{name} is too large a number")


def check_attempts(value: int | None) -> None:
    """Raises ValueError for what can't be `max_attempts`."""
    if value is not None and (not isinstance(value, int) or value < 1):
        raise ValueError(f"max_attempts is how often a job may be started, at least 1; not {value!r}")


def key_bytes(key: object) -> bytes:
    """A key as it is stored: 1 and "1" are two. Raises TypeError for what isn't text, bytes, a number or a tuple."""
    if not _is_key(key):
        what = repr(key) if type(key) is tuple else type(key).__name__
        raise TypeError(f"a key is str, bytes, int or a tuple of these, not {what}")
    return repr(key).encode("utf-8", "surrogatepass")


def _is_key(key: object) -> bool:
    return type(key) in (str, bytes, int) or (type(key) is tuple and all(map(_is_key, key)))


class Settings(NamedTuple):
    """Of an executor."""

    max_attempts: int
    interrupted: Interrupted
    volatile: Volatile
    recover: Recover
    recover_map: bool
    on_recovered: Callable[[Any], object] | None  #: called with a JobFuture
    result_ttl: float | None
    max_pending: int | None
    max_bytes: int | None
    when_full: WhenFull

    def ttl(self, options: Options) -> float:
        """How long in seconds a job's result is kept; 0.0 for not at all."""
        for given in (options.result_ttl, self.result_ttl):
            if given is not None:
                return min(given, _CENTURY)
        return DAY if options.key is not None else 0.0


def settings(
    *,
    max_attempts: int,
    interrupted: str | Interrupted,
    volatile: str | Volatile,
    recover: str | Recover,
    recover_map: bool,
    on_recovered: Callable[[Any], object] | None,
    result_ttl: float | None,
    max_pending: int | None,
    max_bytes: int | None,
    when_full: str | WhenFull,
) -> Settings:
    """From what users write. Raises TypeError and ValueError."""
    check_attempts(max_attempts)
    if on_recovered is not None and not callable(on_recovered):
        raise TypeError(f"on_recovered is called with a future, and {on_recovered!r} can't be called")
    _check_numbers(result_ttl=result_ttl, max_pending=max_pending, max_bytes=max_bytes)
    for name, value in (("max_pending", max_pending), ("max_bytes", max_bytes)):
        if value is not None and value < 1:
            raise ValueError(f"{name} is the most that may be waiting; {value!r} is none")
    if result_ttl is not None and not result_ttl >= 0:
        raise ValueError(f"result_ttl is in seconds from now; {result_ttl!r} has gone by")
    return Settings(
        max_attempts,
        choice(Interrupted, interrupted, "interrupted"),
        choice(Volatile, volatile, "volatile"),
        choice(Recover, recover, "recover"),
        recover_map,
        on_recovered,
        result_ttl,
        max_pending,
        max_bytes,
        choice(WhenFull, when_full, "when_full"),
    )
