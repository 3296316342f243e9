"""What stands for a value that can't be stored: the text that it was printed as, or a dict that prints so.

Any thread may use it. Nothing here raises, whatever a value's own methods do.
"""

from __future__ import annotations

from typing import Any


class _AsItDid:
    """Prints so."""

    __slots__ = ()
    _printed: str
    _shown: str

    def __str__(self) -> str:
        return self._printed

    def __repr__(self) -> str:
        return self._shown

    def __format__(self, spec: str) -> str:
        return format(self._printed, spec)


class Shown(_AsItDid, str):
    """The repr of a value, which prints as the value did: `%s` as its str, `%r` as its repr.

    Of a value that is some kind of str, this is its text. A pickle of it is a plain str, for receivers without
    pqadapters.
    """

    __slots__ = ("_printed", "_shown")

    @classmethod
    def of(cls, text: str, printed: str | None, shown: str | None) -> Shown:
        """`printed` and `shown`: what str and repr give, where that isn't `text`."""
        self = cls(text)
        self._printed = text if printed is None else printed
        self._shown = text if shown is None else shown
        return self

    def __reduce__(self) -> Any:
        return str, (str.__str__(self),)

    def __copy__(self) -> Shown:
        return self

    def __deepcopy__(self, memo: object) -> Shown:
        return self

    def parts(self) -> list[str]:
        """What `of` takes."""
        return [str.__str__(self), self._printed, self._shown]


class Printed(_AsItDid, dict[Any, Any]):
    """A dict that prints as one of another kind did, as a Counter. A copy or a pickle of it is a plain one."""

    __slots__ = ("_printed", "_shown")

    def __init__(self, printed: str, shown: str, items: dict[Any, Any]) -> None:
        super().__init__(items)
        self._printed, self._shown = printed, shown

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def repr_of(value: object) -> str:
    """The repr, or who couldn't give one and why."""
    return _asked(value, repr)


def str_of(value: object) -> str:
    """The str, or who couldn't give one and why."""
    return _asked(value, str)


def shown_parts(value: object) -> list[str | None]:
    """What `Shown.of` makes the stand-in of a value from."""
    shown = repr_of(value)
    printed = shown if type(value).__str__ is object.__str__ else str_of(value)
    text = str.__str__(value) if issubclass(type(value), str) else shown
    return [text, None if printed == text else printed, None if shown == text else shown]


def _asked(value: object, form: type[str] | Any) -> str:
    try:
        return str.__str__(form(value))
    except Exception as error:
        try:
            why = str.__str__(str(error))
        except Exception:
            why = "(no text)"
        return f"<{type(value).__name__} object; its {form.__name__} raises {type(error).__name__}: {why}>"
