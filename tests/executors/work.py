"""What the tests' jobs do: functions that can be stored, and gates that hold them up."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


class Named(dict[str, T]):
    """Made at their first use. Two threads may be the first: a defaultdict would give each of them its own."""

    def __init__(self, make: Callable[[], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> T:
        return self.setdefault(name, self._make())


GATES: Named[threading.Event] = Named(threading.Event)
ENTERED: Named[threading.Semaphore] = Named(lambda: threading.Semaphore(0))
DONE: list[Any] = []
PATIENCE = 60.0  #: seconds until a test that hangs is given up


def nothing() -> None:
    pass


def double(number: int) -> int:
    return 2 * number


def call(function: Any, *args: Any) -> Any:
    return function(*args)


def note(what: Any) -> Any:
    DONE.append(what)
    return what


def hold(name: str) -> str:
    """Wait for the gate of that name, having said that it was reached."""
    ENTERED[name].release()
    assert GATES[name].wait(PATIENCE)
    return name


def reached(name: str) -> None:
    """Wait until a job stands at that gate."""
    assert ENTERED[name].acquire(timeout=PATIENCE)


def fail(text: str) -> NoReturn:
    raise ValueError(text)


def fail_until(count: int, result: Any) -> Any:
    """Fails that often, then succeeds."""
    DONE.append("try")
    if DONE.count("try") <= count:
        raise OSError(f"try {DONE.count('try')}")
    return result


def fail_at(gate: str) -> str:
    """Fails behind that gate, and then succeeds."""
    hold(gate)
    return str(fail_until(1, gate))


def wait_for_file(path: str) -> None:
    """In another process, which the test has no other way to hold up."""
    while not os.path.exists(path):
        time.sleep(0.01)


def append(path: str, what: object) -> None:
    """One line to a ledger, in one write."""
    ledger = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, f"{what}\n".encode())
    os.close(ledger)


def fail_once() -> int:
    DONE.append("run")
    if len(DONE) == 1:
        raise OSError("once")
    ENTERED["again"].release()
    return len(DONE)


def hold_each_time() -> str:
    DONE.append("run")
    return hold(f"run {len(DONE)}")


class Awkward(Exception):
    """Pickles, and can't be unpickled: what pickle keeps isn't what its __init__ takes."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


def fail_awkwardly() -> NoReturn:
    raise Awkward(404, "not found")


def fail_awkwardly_on(_: object) -> NoReturn:
    fail_awkwardly()


class Unprinted(SyntaxError):
    """Python can't print it, nor can it be unpickled."""

    def __init__(self, line: str, column: str, text: str) -> None:
        where: Any = "script", line, column, text
        super().__init__(text, where)


class Sealed(Exception):
    """Nothing about it can be set, as with a dataclass that is frozen."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} can't be set")


class AwkwardSystem(OSError):
    """The same of another kind."""

    def __init__(self, code: int, reason: str, text: str) -> None:
        super().__init__(f"{code}, {reason}: {text}")


class AwkwardEnd(BaseException):
    """The same, which no retry is for."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


def fail_noted(ledger: str, kind: type[BaseException], *args: Any) -> NoReturn:
    append(ledger, kind.__name__)
    raise kind(*args)


def return_noted(ledger: str, result: type[T]) -> T:
    append(ledger, result.__name__)
    return result()


def pid() -> int:
    return os.getpid()


def end_process() -> None:
    os.kill(os.getpid(), 9)


def end_process_once(file: str) -> None:
    if not os.path.exists(file):
        append(file, "ends")
        end_process()


def strike_once(file: str) -> str:
    """Ctrl-C comes in the middle of it, as from a terminal, which sends it to workers as well."""
    if not os.path.exists(file):
        append(file, "struck")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(PATIENCE)
    return "done"


def exit_process(status: int) -> None:
    os._exit(status)


class Unstorable:
    """Refuses to be pickled."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("not me")


class Exits(Exception):
    """Exits where it is pickled."""

    def __reduce__(self) -> NoReturn:
        raise SystemExit(3)


class Unloadable:
    """Can be pickled, and not loaded."""

    def __init__(self, why: str = "this can't be loaded") -> None:
        self.why = why

    def __reduce__(self) -> Any:
        return fail, (self.why,)


class Lacks:
    """What loads it waits for that file, and then finds that something isn't there."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return _lack, (self.path,)


def _lack(path: str) -> NoReturn:
    wait_for_file(path)
    raise LookupError("something isn't there")


class Interrupts:
    """What loads it takes it for an interrupt, or for anything that is no Exception."""

    def __reduce__(self) -> Any:
        return _interrupt, ()


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt("this can't be loaded")


class Leaves:
    """What loads it is told to exit: by a module that is a script as well."""

    def __reduce__(self) -> Any:
        return sys.exit, ()


def connected(greeting: bytes) -> Connection:
    """The end of a pipe, which says this."""
    end, other = Pipe()
    with other:
        other.send_bytes(greeting)
    return end


def fail_connected(greeting: bytes) -> NoReturn:
    raise ValueError(connected(greeting))


def greet(end: socket) -> None:
    with end:
        end.sendall(b"hello")


def numbered(number: int, filling: bytes) -> int:
    """Its bytes take room."""
    return number


def end_beside(ledger: str) -> NoReturn:
    """Ends its process, once `stay_beside` has begun as often, twice at most."""
    append(ledger, "ends")
    lines = Path(ledger).read_text().split()
    while Path(ledger).read_text().count("stays") < min(lines.count("ends"), 2):
        time.sleep(0.01)
    os._exit(1)


def stay_beside(ledger: str) -> None:
    """Until `end_beside` has begun three times; in its own third run no longer."""
    append(ledger, "stays")
    while not any(Path(ledger).read_text().count(word) > 2 for word in ("ends", "stays")):
        time.sleep(0.01)


def meet(ledger: str, count: int) -> None:
    """Waits until so many have come."""
    append(ledger, os.getpid())
    wait_for_lines(ledger, count)


def end_three_processes(ledger: str) -> None:
    """The first three that come, when all of them are there."""
    append(ledger, os.getpid())
    wait_for_lines(ledger, 3)
    if f"{os.getpid()}\n" in _lines(ledger)[:3]:
        end_process()


def wait_for_lines(ledger: str, count: int) -> None:
    while not os.path.exists(ledger) or len(_lines(ledger)) < count:
        time.sleep(0.01)


def _lines(ledger: str) -> list[str]:
    with open(ledger) as file:
        return file.readlines()


class LoadedIn:
    """Notes which process loads it."""

    def __init__(self, ledger: str) -> None:
        self.ledger = ledger

    def __setstate__(self, state: dict[str, str]) -> None:
        self.__dict__.update(state)
        append(self.ledger, os.getpid())

    def __str__(self) -> str:
        return str(os.getpid())


class Struck:
    """A signal handler raises while it is pickled, or while it is loaded, once."""

    when = ""

    def __getstate__(self) -> dict[str, bool]:
        self._strike("pickled")
        return {"is": True}

    def __setstate__(self, state: dict[str, bool]) -> None:
        self._strike("loaded")

    @classmethod
    def _strike(cls, when: str) -> None:
        if cls.when == when:
            cls.when = ""
            raise TimeoutError("the handler's")


class Fatal:
    """Ends the process that loads it."""

    def __reduce__(self) -> Any:
        return end_process, ()


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def fail_twice(ledger: str, kind: type[Exception]) -> int:
    """Which try it is; the first two fail."""
    append(ledger, "try")
    tries = len(_lines(ledger))
    if tries < 3:
        raise kind(f"{tries}")
    return tries


def die_at(ledger: str) -> int:
    """Ends its process when it may, the first time; then it is how often it was begun."""
    append(ledger, "begun")
    if len(_lines(ledger)) == 1:
        wait_for_file(f"{ledger}.go")
        end_process()
    return len(_lines(ledger))


def only_in(number: int) -> int:
    return number


_lost: list[Any] = []


def lose_only_in() -> None:
    """It isn't there when it is looked for the next time, and is again behind that."""
    global only_in
    _lost.append(only_in)
    del only_in


def __getattr__(name: str) -> Any:
    if name == "only_in" and _lost:
        if len(_lost) == 2:
            return _lost[0]
        _lost.append(name)
    raise AttributeError(name)
