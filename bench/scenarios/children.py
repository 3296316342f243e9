"""Processes that a step forks: where one of them fails, or the step does, the step ends at once, with the reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from types import TracebackType

Await = Callable[[], None]  #: called by a child that is ready: returns when it is to begin
Work = Callable[[Await], Callable[[], object] | None]  #: returns what is left to be done behind its end


class Child:
    """A forked process at its work. It is gone behind its context."""

    def __init__(self, work: Work) -> None:
        (words, said), (start, self._start) = os.pipe(), os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(words)
            _run(work, said, start)
        os.close(said)
        os.close(start)
        self._words = os.fdopen(words, encoding="utf-8", errors="replace")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if kind is not None:
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._words.close()
        os.close(self._start)

    def ready(self) -> None:
        """Waits until it is. Raises RuntimeError, as `done` does, where it fails."""
        self._wait("ready")

    def start(self) -> None:
        os.write(self._start, b"x")

    def done(self) -> None:
        """Waits until its work is done."""
        self._wait("done")

    def _wait(self, word: str) -> None:
        if (line := self._words.readline().rstrip("\n")) != word:
            raise RuntimeError(f"a consumer has failed: {line or 'it has ended'}")


def at_once(children: Sequence[Child], work: Callable[[], object] = lambda: None) -> None:
    """All begin, this process with work of its own, and it is over when they are done. They are ready."""
    for child in children:
        child.start()
    work()
    for child in children:
        child.done()


def _run(work: Work, said: int, start: int) -> None:
    status = 1
    try:

        def ready() -> None:
            os.write(said, b"ready\n")
            os.read(start, 1)

        rest = work(ready)
        os.write(said, b"done\n")
        if rest is not None:
            rest()
        status = 0
    except BaseException as error:
        os.write(said, f"{type(error).__name__}: {error}".replace("\n", " ").encode())
    finally:
        os._exit(status)
