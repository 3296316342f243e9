"""The end of a process that is interrupted in the middle: what it does for others is done all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqadapters.ending import call_each
from pqadapters.stores._cores import Cores

from .segment.programs import run

_INTERRUPTED = """
import logging, os, signal, sys, threading
from pathlib import Path
from pqadapters.logging._delivery.delivery import Delivery
from pqadapters.logging.handlers import QueueHandler
from pqadapters.stdlib.queue import SimpleQueue

waited_for, interrupted = threading.Event(), threading.Event()

class Slow(logging.Handler):
    def emit(self, record):
        waited_for.wait()
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait()

def interrupt(*_):
    interrupted.set()
    raise KeyboardInterrupt

def draining(*arguments, drain=Delivery.drain, **options):
    waited_for.set()
    return drain(*arguments, **options)

signal.signal(signal.SIGINT, interrupt)
Delivery.drain = draining

place = Path(sys.argv[1])
handler = QueueHandler(place / "spool", handlers=[Slow()])
logging.getLogger().addHandler(handler)
logging.getLogger().warning("it takes its time")
queues = [SimpleQueue(path=place / name) for name in "ab"]
for queue in queues:
    if queue.empty():
        queue.put("first")
        queue.put("second")
    print(queue.get())
"""


def test_ctrl_c_at_the_end_brings_nothing_back_that_was_handed_out(tmp_path: Path) -> None:
    """A slow sink was waited for, whose user was impatient: all that comes behind it at the end was left undone."""
    assert run(_INTERRUPTED, tmp_path).split() == ["first", "first"]
    assert run(_INTERRUPTED, tmp_path).split() == ["second", "second"]


class _Store:
    """An open one, whose end raises."""

    def __init__(self, error: BaseException, ended: list[BaseException]) -> None:
        self._error, self._ended = error, ended

    def join(self, handle: object) -> bool:
        return True

    def end(self) -> None:
        self._ended.append(self._error)
        raise self._error


def test_each_store_ends_though_others_are_interrupted_or_fail() -> None:
    cores, ended = Cores[_Store](), list[BaseException]()
    errors = [KeyboardInterrupt(), MemoryError(), SystemExit(), OSError()]
    kept = [cores.add(_Store(error, ended), number, None) for number, error in enumerate(errors)]
    with pytest.raises(SystemExit):  # the last one
        cores._end_all()
    assert ended == errors
    del kept


def test_no_exception_of_one_is_told() -> None:
    called: list[int] = []

    def fails() -> None:
        called.append(1)
        raise OSError

    call_each([fails, fails])
    assert called == [1, 1]
