"""A contender under observation, in a process of its own: `python -m bench.subject JOB`, where JOB is a JSON object.

`trace`: puts, gets and acknowledges, each between two marks; whoever traces its system calls knows so which are whose.
`fill`: puts and says so item by item, takes one and holds it, and waits to be killed. `drain`: says what is there. A
mapping sets and gets values of keys, and holds nothing. A logger logs and an executor submits, to busy workers where it
can keep them busy; both only put, and say how much is there. A bare loop only puts, too, and is traced alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any, NamedTuple

from .contender import Contender, Handle, Level, LoopQueue, MappingHandle, itself
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
    trace_loop(handle, count)
    handle.done(handle.get())
    between_marks("get", count, lambda number: handle.done(handle.get()))


def trace_loop(handle: Handle, count: int) -> None:
    """As far as a bare loop of puts goes."""
    handle.put(name(count))  # what happens once isn't of interest
    between_marks("put", count, lambda number: handle.put(name(number)))


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


def trace_mapping(handle: MappingHandle, count: int) -> None:
    handle.set(str(count), name(count))
    between_marks("put", count, lambda number: handle.set(str(number), name(number)))
    between_marks("get", count, lambda number: handle.get(str(number)))


def fill_mapping(handle: MappingHandle, count: int) -> None:
    for number in range(count):
        handle.set(str(number), name(number))
        say("put", name(number))
    say("held")
    sys.stdin.read()  # until we are killed


def drain_mapping(handle: MappingHandle, count: int) -> None:
    for number in range(count):
        with suppress(KeyError):
            say("found", handle.get(str(number)))
    handle.close()


def in_a_loop(open_loop: Callable[[str, Level], LoopQueue], directory: str, level: Level) -> Handle:
    """A queue of an event loop, each step of which is made by a loop that runs for it alone."""
    loop = asyncio.new_event_loop()
    run = loop.run_until_complete

    async def opened() -> LoopQueue:
        return open_loop(directory, level)

    queue: Any = run(opened())

    def get_now() -> str:
        try:
            return str(queue.get_nowait())
        except asyncio.QueueEmpty:
            raise Empty from None

    def put(item: str) -> None:
        run(queue.put(item))

    close = getattr(queue, "close", lambda: None)
    return Handle(put, lambda: run(queue.get()), get_now, lambda got: queue.task_done(), itself, close)


def putting(contender: Contender, directory: str, level: Level) -> Callable[[int], object]:
    """What logs a record, or submits a call, of that number."""
    if contender.open_log is not None:
        info = contender.open_log(directory, level).info
        return lambda number: info("user %s did %d", "ann", number)
    assert contender.open_executor is not None
    executor = contender.open_executor(directory, level)
    if executor.block is not None:
        executor.block()
    return lambda number: executor.submit()


def trace_puts(put: Callable[[int], object], count: int) -> None:
    put(count)
    between_marks("put", count, put)
    os._exit(0)  # workers that are kept busy would be waited for


def fill_puts(put: Callable[[int], object], count: int) -> None:
    for number in range(count):
        put(number)
        say("put", number)
    say("held")
    sys.stdin.read()  # until we are killed


_QUEUE: dict[str, Callable[[Handle, int], None]] = {"trace": trace, "fill": fill, "drain": drain}
_PUTS: dict[str, Callable[[Callable[[int], object], int], None]] = {"trace": trace_puts, "fill": fill_puts}
_MAPPING: dict[str, Callable[[MappingHandle, int], None]] = {
    "trace": trace_mapping,
    "fill": fill_mapping,
    "drain": drain_mapping,
}


def main(arguments: Sequence[str]) -> None:
    subject = Subject(**json.loads(arguments[0]))
    contender, level = contenders()[subject.contender], Level(subject.level)
    if contender.puts_alone and subject.mode == "drain":
        assert contender.left is not None, "nobody asks how much it has left"
        say("left", contender.left(subject.directory, level))
    elif contender.puts_alone:
        _PUTS[subject.mode](putting(contender, subject.directory, level), subject.operations)
    elif contender.open_mapping is not None:
        _MAPPING[subject.mode](contender.open_mapping(subject.directory, level), subject.operations)
    elif contender.open_loop is not None:
        _QUEUE[subject.mode](in_a_loop(contender.open_loop, subject.directory, level), subject.operations)
    elif not contender.gets:
        assert subject.mode == "trace", "it hands nothing out"
        trace_loop(contender.open(subject.directory, level), subject.operations)
    else:
        _QUEUE[subject.mode](contender.open(subject.directory, level), subject.operations)


if __name__ == "__main__":
    main(sys.argv[1:])
