"""Ways to fail, each of which prints a traceback of another kind."""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

#: Of Python 3.11, or of the package that stands in for it before.
ExceptionGroup: Any = getattr(
    builtins, "ExceptionGroup", getattr(sys.modules.get("exceptiongroup"), "ExceptionGroup", None)
)


class Custom(Exception):
    def __init__(self, needed: object, *, also: object) -> None:
        super().__init__(needed)
        self.also = also

    def __str__(self) -> str:
        return f"custom {self.also}"


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class MuteOutage(Mute, OSError):
    pass


class Refused(ConnectionRefusedError):
    pass


class Typed:
    known_name = 1

    class Inner(LookupError):
        pass

    def mistyped(self) -> Any:
        return known_nam  # type: ignore[name-defined]  # noqa: F821


def plain() -> None:
    raise ValueError("plain", 1)


def chained() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        raise Custom(object(), also="é\ud800") from error


def in_context() -> None:
    try:
        os.environ["MISSING"]
    except KeyError:
        os.stat("/nowhere/at all")


def suppressed() -> None:
    try:
        plain()
    except ValueError:
        raise Typed.Inner("hides it") from None


def recursive(left: int = 1000) -> Any:
    return recursive(left - 1) + recursive(left - 1) if left else 1 / 0


def several_lines() -> Any:
    return (
        max(
            1,
            len("two"),
        )
        + "x"  # type: ignore[operator]
    )


def undecodable() -> None:
    b"\xff".decode()


def wrong_syntax() -> None:
    compile("fine = 1\nwrong = (1 +\n  2", "some file.py", "exec")


def wrong_import() -> None:
    from json import dumsp  # type: ignore[attr-defined]  # noqa: F401


def not_imported() -> Any:
    return colorsys.ONE_THIRD  # type: ignore[name-defined]  # noqa: F821


def mistyped_attribute() -> None:
    Typed().known_nam  # type: ignore[attr-defined]  # noqa: B018


def mistyped_name() -> None:
    known_variable = 1
    print(known_variabel, known_variable)  # type: ignore[name-defined]  # noqa: F821, T201


def mute() -> None:
    raise Mute


def refused() -> None:
    raise Refused(111, "nobody there", "peer")


def generated() -> None:
    exec("def g():\n  1 / 0\n\ng()", {"__name__": "generated"})


def in_circles() -> None:
    first, second = KeyError("first"), Custom("second", also=2)
    first.__context__, second.__context__ = second, first
    raise first


def with_notes() -> None:
    error = Custom(1, also="noted")
    error.__notes__ = ["a note", "one of\ntwo lines"]  # type: ignore[attr-defined, unused-ignore]
    raise error


def in_groups() -> None:
    errors = []
    for fail in (chained, in_context, mistyped_name):
        try:
            fail()
        except Exception as error:
            errors.append(error)
    if ExceptionGroup:
        inner = ExceptionGroup("inner", [errors[0], refused_error()])
        raise ExceptionGroup("outer", [inner, errors[1], errors[2], inner])
    raise errors[0]


def refused_error() -> Refused:
    return Refused("never raised")


def stopped() -> None:
    raise KeyboardInterrupt


def left() -> None:
    sys.exit(3)


FAILURES: list[Callable[[], object]] = [
    plain, chained, in_context, suppressed, recursive, several_lines, undecodable, wrong_syntax, wrong_import,
    not_imported, mistyped_attribute, mistyped_name, Typed().mistyped, mute, refused, generated, in_circles, with_notes,
    in_groups, stopped, left,
]  # fmt: skip
each_failure = pytest.mark.parametrize("fail", FAILURES, ids=[fail.__name__ for fail in FAILURES])
