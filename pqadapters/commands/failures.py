"""What goes wrong, as one line on stderr and exit status 1."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

from ..errors import PqadaptersError
from ..wording import escaped

P = ParamSpec("P")
T = TypeVar("T")


class Failure(click.ClickException):
    """A command can't do what it is to do."""

    def format_message(self) -> str:
        return escaped(self.message)


def told(command: Callable[P, T]) -> Callable[P, T]:
    """Errors of ours and of the system end the command as a Failure."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            raise
        except (PqadaptersError, OSError, ValueError, ImportError) as error:
            raise Failure(_words(error)) from error

    return run


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str):
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
