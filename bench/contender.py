"""What takes part in a measurement: a contender, and the queue or the mapping that it opens.

A contender is described without importing its library; `open` imports it. Libraries that take bytes alone are given
pickles, since a program's items are objects: serialising is part of what is measured, for all of them.
"""

from __future__ import annotations

import enum
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from typing import Any, NamedTuple, Protocol


class Level(enum.Enum):
    """What an item that was put, or a key that was set, survives, by what the contender says of itself;
    bench/observed.py looks for itself."""

    MEMORY = "memory"  #: nothing
    CLOSE = "close"  #: an orderly close, not SIGKILL
    PROCESS = "process"  #: SIGKILL
    POWER = "power"  #: a power cut

    @property
    def survives_sigkill(self) -> bool:
        return self in (Level.PROCESS, Level.POWER)


class Threads(enum.Enum):
    """How threads may use a contender."""

    SHARED = "one handle for all"
    EACH = "a handle each"
    ONE = "one thread"


class Kind(enum.Enum):
    """What is measured side by side."""

    QUEUE = "queue"
    MAPPING = "mapping"
    LOOP = "queue of an event loop"
    FAMILY = "queue of a process and its children"
    SERVER = "queue on a database server"
    START = "program that starts"
    EXECUTOR = "executor"
    LOGGING = "log handler"
    THEIRS = "queue with persist-queue's API"


class Speed(NamedTuple):
    """Operations a second on small items, very roughly: how many of them make a measurement."""

    put: float  #: or set a key
    get: float  #: get and acknowledge, or get the value of a key


class Handle(NamedTuple):
    """An open queue. What `get` returns is for `done` to acknowledge and for `item` to look into."""

    put: Callable[[str], object]
    get: Callable[[], Any]  #: waits for an item if the contender can; else as `get_now`
    get_now: Callable[[], Any]  #: raises queue.Empty where there is none
    done: Callable[[Any], object]
    item: Callable[[Any], str]
    close: Callable[[], object]
    put_many: Callable[[Sequence[str]], object] | None = None  #: where items are to be put so


class MappingHandle(NamedTuple):
    """An open mapping."""

    set: Callable[[str, str], object]
    get: Callable[[str], str]  #: raises KeyError where there is none
    length: Callable[[], int]
    close: Callable[[], object]
    batch: Callable[[], AbstractContextManager[object]] = nullcontext  #: in which sets are one transaction, if it can


class ExecutorHandle(NamedTuple):
    """An open executor, with a few workers, of calls that do nothing."""

    submit: Callable[[], Any]
    result: Callable[[Any], object]  #: waits for the end of a call that was submitted
    close: Callable[[], object]
    block: Callable[[], object] | None = None  #: makes its workers busy, until `release`
    release: Callable[[], object] | None = None
    leave: Callable[[], object] | None = None  #: closes it, and leaves what wasn't begun


class LoopQueue(Protocol):
    """An open queue of an event loop, made in it."""

    async def put(self, item: str) -> None: ...

    async def get(self) -> str: ...

    def task_done(self) -> None: ...


def no_queue(directory: str, level: Level) -> Handle:
    """The `open` of a mapping."""
    raise NotImplementedError("a mapping is no queue")


class LogHandle(NamedTuple):
    """A logger with one handler, which keeps records for a sink."""

    info: Callable[[str, str, int], object]  #: a message with a name and a number in it
    drain: Callable[[], object]  #: deliver all that was logged to a sink that does nothing
    close: Callable[[], object]


class Contender(NamedTuple):
    """A queue that is measured, or a mapping (one that has an `open_mapping`), or a queue of an event loop, or a way to
    start a program, or a log handler."""

    name: str
    about: str  #: which class or loop, in a few words
    speed: Mapping[Level, Speed]  #: by what it can be asked for
    open: Callable[[str, Level], Handle] = no_queue  #: a queue in a directory of its own, which exists
    open_mapping: Callable[[str, Level], MappingHandle] | None = None  #: a mapping there
    open_loop: Callable[[str, Level], LoopQueue] | None = None  #: a queue of the event loop that runs
    open_log: Callable[[str, Level], LogHandle] | None = None  #: a logger
    open_executor: Callable[[str, Level], ExecutorHandle] | None = None  #: an executor with its backlog there
    open_theirs: Callable[[str], Any] | None = None  #: a queue with persist-queue's API, in a directory of its own
    left: Callable[[str, Level], int] | None = None  #: records, or calls, that an ended process has left there
    program: Sequence[str] | None = None  #: source of a program, and what stands before its path in a command line
    package: str = ""  #: the distribution that it comes with
    modules: Sequence[str] = ()  #: what must be importable
    threads: Threads = Threads.SHARED
    gets: bool = True
    processes: bool = False  #: several processes may use it at a time
    inherited: bool = False  #: children of `multiprocessing` are given the open queue
    server: bool = False  #: it is on a database server, which is started for it
    together: bool = False  #: its handles have a `put_many`, by which it is filled
    batches: bool = False  #: a mapping whose batches are one transaction
    floor: bool = False  #: a bare loop that does what no queue, or no mapping, can do without

    @property
    def kind(self) -> Kind:
        if self.program is not None:
            return Kind.START
        if self.open_theirs is not None:
            return Kind.THEIRS
        if self.open_executor is not None:
            return Kind.EXECUTOR
        if self.open_log is not None:
            return Kind.LOGGING
        if self.open_loop is not None:
            return Kind.LOOP
        if self.inherited:
            return Kind.FAMILY
        if self.server:
            return Kind.SERVER
        return Kind.QUEUE if self.open_mapping is None else Kind.MAPPING

    @property
    def puts_alone(self) -> bool:
        """Whether nothing is handed out by it: a log handler, an executor."""
        return self.kind in (Kind.LOGGING, Kind.EXECUTOR)

    @property
    def is_observed(self) -> bool:
        """Whether what it survives can be seen from here: a server syncs by itself, a program is what it imports."""
        return self.kind not in (Kind.SERVER, Kind.START)

    def level(self, asked: Level) -> Level | None:
        """How it is opened where `asked` is compared; None where it can't be. At less than POWER a contender that
        can't choose takes part as it is."""
        if asked in self.speed:
            return asked
        return None if asked is Level.POWER or self.floor else next(iter(self.speed))

    def missing(self) -> str:
        """Why it can't be opened here; "" where it can."""
        absent = [name for name in self.modules if importlib.util.find_spec(name) is None]
        if not absent:
            return ""
        its_own = self.package and absent[0] == self.modules[0]
        return f"not installed: {self.package if its_own else absent[0]}"

    def version(self) -> str:
        try:
            return metadata.version(self.package) if self.package else ""
        except metadata.PackageNotFoundError:
            return ""


def nothing(got: object) -> None:
    """The `done` of a queue without acknowledgements."""


def itself(got: Any) -> str:
    """The `item` of a queue that hands out items as they are."""
    return str(got)


def refuse_get() -> Any:
    raise NotImplementedError("a loop of puts has no get")
