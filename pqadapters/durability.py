"""What survives when a call returns, named by the failure that it survives."""

from __future__ import annotations

import enum
import os
from typing import NamedTuple

_LONGEST = 86400.0  #: seconds of a lag: nobody can wait for as long as one likes


class Survives(enum.Enum):
    """The worst failure after which nothing acknowledged is missing."""

    PROCESS = "process"  #: SIGKILL, a crash of the program. A power cut may take the last `max_lag` seconds.
    POWER = "power"  #: a power cut, a crash of the kernel: synced to disk before the call returns.


class Durability(NamedTuple):
    """`survives`, and for `Survives.PROCESS` the longest time in seconds until a background sync."""

    survives: Survives = Survives.POWER
    max_lag: float = 1.0

    @classmethod
    def of(cls, value: str | Survives | Durability, max_lag: float | None = None) -> Durability:
        """From what users write: "power", "process", a `Survives` or a `Durability`. A lag is a day at most.

        Raises ValueError for another word or a `max_lag` that isn't positive, TypeError for one that is no number.
        """
        word, lag = value if isinstance(value, Durability) else (value, 1.0)
        survives = _survives(word)  # of a Durability as well: it takes any word, and a store asks for a `Survives`
        lag = lag if max_lag is None else max_lag
        if not isinstance(lag, (int, float)):
            raise TypeError(f"max_lag is a number of seconds, not {type(lag).__name__}")
        if not lag > 0:
            raise ValueError(f"max_lag is the longest time in seconds until a background sync; {lag!r} isn't positive")
        return cls(survives, min(lag, _LONGEST))


def in_environment(max_lag: float | None = None) -> Durability | None:
    """What PQADAPTERS_DURABILITY says, if it is set. Raises ValueError."""
    word = os.environ.get("PQADAPTERS_DURABILITY")
    if not word:
        return None
    try:
        found = Durability.of(word)
    except ValueError as error:
        raise ValueError(f"PQADAPTERS_DURABILITY: {error}") from None
    return Durability.of(found, max_lag)


def _survives(value: str | Survives) -> Survives:
    try:
        return Survives(value)
    except ValueError:
        raise ValueError(f"durability is 'power' or 'process', not {value!r}") from None
