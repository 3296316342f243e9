"""Options that are words: the member of an enum that one means."""

from __future__ import annotations

import enum
from typing import TypeVar

Word = TypeVar("Word", bound=enum.Enum)


def choice(kind: type[Word], value: object, what: str) -> Word:
    """From what users write, `what` being its name. Raises ValueError for another word."""
    try:
        return kind(value)
    except ValueError:
        words = ", ".join(repr(each.value) for each in kind)
        raise ValueError(f"{what} is one of {words}, not {value!r}") from None
