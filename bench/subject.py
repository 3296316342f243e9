"""A contender under observation, in a process of its own: `python -m bench.subject JOB`, where JOB is a JSON object.

`trace`: puts, gets and acknowledges, each between two marks; whoever traces its system calls knows so which are whose.
`fill`: puts and says so item by item, takes one and holds it, and waits to be killed. `drain`: says what is there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from queue import Empty
from typing import NamedTuple

from .contender import Handle, Level
from .contenders import contenders

MARK = "pqbench"


class Subject(NamedTuple):
    """What is to be done."""

    mode: str
    contender: str
    level: str
    directory: str
    operations: int


def say(word: str, value: object = "") -> None:
    """A line on stdout, written at once: one system call."""
    os.write(1, f"{MARK} {word} {value}\n".encode())


def name(number: int) -> str:
    """An item of 40 characters."""
    return f"item {number:035d}"


def between_marks(word: str, count: int, step: Callable[[int], object]) -> None:
    for number in range(count):
        say(f"{word}-begins", number)
        step(number)
        say(f"{word}-ends", number)


def trace(handle: Handle, count: int) -> None:
    handle.put(name(count))  # what happens once isn't of interest
    between_marks("put", count, lambda number: handle.put(name(number)))
    handle.done(handle.get())
    between_marks("get", count, lambda number: handle.done(handle.get()))


def fill(handle: Handle, count: int) -> None:
    for number in range(count):
        handle.put(name(number))
        say("put", name(number))
    say("held", handle.item(handle.get()))
    sys.stdin.read()  # until we are killed


def drain(handle: Handle, count: int) -> None:
    for _ in range(2 * count):
        try:
            got = handle.get_now()
        except Empty:
            break
        say("found", handle.item(got))
        handle.done(got)
    handle.close()


_MODES: dict[str, Callable[[Handle, int], None]] = {"trace": trace, "fill": fill, "drain": drain}


def main(arguments: Sequence[str]) -> None:
    subject = Subject(**json.loads(arguments[0]))
    handle = contenders()[subject.contender].open(subject.directory, Level(subject.level))
    _MODES[subject.mode](handle, subject.operations)


if __name__ == "__main__":
    main(sys.argv[1:])
