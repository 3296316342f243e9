"""Slow calls of the system, made so that others run meanwhile.

Threads need nothing for that. In a process that gevent or eventlet has patched, a call that blocks stops all greenlets
of its thread: there it is made in the library's own pool of native threads, and the greenlet waits for it. Where that
can't be had (in the library's hub, and with eventlet in a thread whose greenlets its pool doesn't serve, in a forked
child that has lost the pool, and at the end of the interpreter) the call is simply made.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, Generic, TypeVar

from .errors import PqadaptersError

T = TypeVar("T")
_TRIES = 100  #: of a call that is interrupted again and again


def this_thread() -> threading.Thread:
    """The thread that calls, or what stands for a greenlet in a patched process.

    eventlet calls the main thread by an object that a copy of `threading` of its own has made of it.
    """
    thread = threading.current_thread()
    if "eventlet.patcher" in sys.modules and type(thread).__name__ == "_MainThread":
        return threading.main_thread()
    return thread


class Renewed(Generic[T]):
    """What a module has of `threading`: a lock, a `local`. Called it gives that; where gevent or eventlet have patched
    the process since the import, one of theirs: all greenlets of a thread would have the old one at the same time."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self.renew()

    def renew(self) -> None:
        """In a forked child, whose parent may have it locked."""
        self._made, self._when = self._make(), threading.Lock

    def __call__(self) -> T:
        if self._when is not threading.Lock:
            self.renew()
        return self._made


def is_shared() -> bool:
    """Whether greenlets share this thread, so that what blocks it blocks them all."""
    modules = sys.modules
    return ("gevent.monkey" in modules and _gevent_shares()) or (
        "eventlet.patcher" in modules and _eventlets_pool() is not None
    )


def apart(call: Callable[..., T], *arguments: Any) -> T:
    """The result of a slow call, which takes no lock of ours. A greenlet that is killed meanwhile waits for its end."""
    modules = sys.modules
    if "gevent.monkey" in modules and _gevent_shares():
        return _by_gevent(call, arguments)
    if "eventlet.patcher" in modules and (pool := _eventlets_pool()) is not None:
        return _by_eventlet(pool, call, arguments)
    return call(*arguments)


def out_of_hub(call: Callable[..., object], *arguments: Any) -> None:
    """For finalizers: make a call that may wait. The garbage collector runs some in the hub of gevent or eventlet, and
    so does the end of a greenlet; nobody can wait there, so a greenlet of its own makes the call right behind."""
    modules = sys.modules
    if "gevent.monkey" in modules and _is_gevents_hub():
        modules["gevent"].spawn(call, *arguments)
    elif "eventlet.patcher" in modules and _is_eventlets_hub():
        modules["eventlet.greenthread"].spawn_n(call, *arguments)
    else:
        call(*arguments)


def insist(call: Callable[[], object]) -> None:
    """Make a call that nobody else would make, whatever interrupts it: a greenlet may be killed again and again. The
    last interrupt goes on behind it."""
    interrupt: BaseException | None = None
    for _ in range(_TRIES):
        try:
            call()
            break
        except PqadaptersError:
            if interrupt is None:
                raise
            break
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def is_killed_later(interrupt: BaseException) -> bool:
    """For a finalizer, out of which nothing is raised: a greenlet that was killed there is killed once more, where it
    waits next, since whoever has killed it may wait for its end. False where the interrupt is another one."""
    modules = sys.modules
    greenlet: Any = modules.get("greenlet")
    if greenlet is None or not isinstance(interrupt, greenlet.GreenletExit):
        return False
    killed = greenlet.getcurrent()

    def kill() -> None:
        if not killed.dead:
            killed.throw(interrupt)

    if "gevent.monkey" in modules and _gevent_shares():
        modules["gevent"].get_hub().loop.run_callback(kill)
    elif "eventlet.patcher" in modules and _eventlets_pool() is not None:
        modules["eventlet.hubs"].get_hub().schedule_call_global(0, kill)
    else:
        return False
    return True


# gevent


def _gevent_shares() -> bool:
    patched: bool = sys.modules["gevent.monkey"].is_module_patched("threading")
    return patched and not _is_gevents_hub()


def _is_gevents_hub() -> bool:
    gevent: Any = sys.modules["gevent"]
    return isinstance(gevent.getcurrent(), gevent.hub.Hub)


def _by_gevent(call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    gevent: Any = sys.modules["gevent"]
    result = gevent.get_hub().threadpool.spawn(call, *arguments)
    interrupt = _wait(result)
    found: T = result.get()  # what the call raises goes before: nobody else is told of it
    if interrupt is not None:
        raise interrupt
    return found


# eventlet

_pool: Any = None  #: its module, once it is needed


def _eventlets_pool() -> Any:
    """Its pool, where greenlets share this thread and the pool brings them its results; else None.

    There is one pool, which serves the greenlets of the thread that has set it up.
    """
    patcher: Any = sys.modules["eventlet.patcher"]
    if not patcher.is_monkey_patched("thread"):
        return None
    greenlet: Any = sys.modules["greenlet"]
    current = greenlet.getcurrent()
    pool = _pool or _set_up(patcher)
    if pool is None or not pool._threads or _top(pool._coro) is not _top(current):
        return None
    return pool if not _is_eventlets_hub() and pool._threads[0].is_alive() else None


def _is_eventlets_hub() -> bool:
    hub: Any = getattr(sys.modules["eventlet.hubs"]._threadlocal, "hub", None)  # one that is there: no new one
    return hub is not None and sys.modules["greenlet"].getcurrent() is hub.greenlet


def _set_up(patcher: Any) -> Any:
    """In the main thread alone, whose greenlets are those of the program, and once: its end is the interpreter's."""
    global _pool
    native: Any = patcher.original("threading")
    if native.current_thread() is not native.main_thread():
        return None
    pool: Any = import_module("eventlet.tpool")
    try:
        pool.setup()
    except RuntimeError:  # the interpreter is shutting down, and starts no threads any more
        pass
    _pool = pool
    return pool


def _top(greenlet: Any) -> Any:
    """The greenlet that is its thread's own."""
    while greenlet is not None and greenlet.parent is not None:
        greenlet = greenlet.parent
    return greenlet


def _by_eventlet(pool: Any, call: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    done = sys.modules["eventlet.event"].Event()

    def make() -> None:
        try:
            done.send((pool.execute(call, *arguments), None))
        except BaseException as error:
            done.send((None, error))

    sys.modules["eventlet.greenthread"].spawn_n(make)
    interrupt = _wait(done)
    found, error = done.wait()
    if error is not None:
        raise error
    if interrupt is not None:
        raise interrupt
    result: T = found
    return result


def _wait(result: Any) -> BaseException | None:
    """Until it is ready; what has interrupted that is to be raised behind it."""
    interrupt: BaseException | None = None
    while not result.ready():
        try:
            result.wait()
        except BaseException as error:
            interrupt = error
    return interrupt
