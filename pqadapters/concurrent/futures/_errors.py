"""What becomes of a job beside its result, as exceptions."""

from __future__ import annotations

from ...errors import PqadaptersError


class RemoteError(PqadaptersError):
    """A job's exception that can't be brought back as it was: pickle refuses it, or what pickle makes of it isn't it.

    `type` is its qualified name, `text` what str() made of it, `traceback` the lines that Python would have printed.
    """

    def __init__(self, type: str, text: str, traceback: str = "") -> None:
        super().__init__(type, text, traceback)
        self.type, self.text, self.traceback = type, text, traceback

    def __str__(self) -> str:
        return f"{self.type}: {self.text}"


class JobParked(PqadaptersError):
    """A job is in the dead letters, and runs when `requeue()` puts it back; the message says why."""


class UnknownJob(PqadaptersError, LookupError):
    """There is no job of that id or key: it never was one, it is done and its result wasn't kept, or it ran out."""
