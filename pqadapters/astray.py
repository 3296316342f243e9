"""Claims that go back to a store. Where it refuses to take them a thread gives them back when it can be used again:
else nobody would have those records for as long as this process lives. Any thread may call it."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from .ending import enduring, start_thread
from .errors import FOR_GOOD, LeaseLost, StoreError
from .store import Claim, Nack, Store

_AGAIN = 1.0  #: seconds between two tries
_astray: weakref.WeakKeyDictionary[Store, deque[Claim]] = weakref.WeakKeyDictionary()


def give_back(store: Store, claims: Sequence[Claim], timeout: float | None = None) -> None:
    """They are ready again, in their old places, as far as they are still ours: now, or later. Never raises for the
    store's sake; what a signal handler raises keeps nothing from going back."""
    left = deque(claims)
    try:
        while left:
            with suppress(LeaseLost):  # done, or buried
                store.commit(Nack(left[0]), timeout=timeout)
            left.popleft()
    except FOR_GOOD:
        pass
    except BaseException as error:
        give_back_later(store, left)
        if not isinstance(error, StoreError):
            raise


def give_back_later(store: Store, claims: Iterable[Claim]) -> None:
    """The same, of a store that refuses just now; claims of a handle that is gone have ended."""
    astray = _astray.setdefault(store, deque())
    astray.extend(claims)
    with suppress(RuntimeError):  # at the interpreter's end, with which they are free, or in one without such threads
        thread = threading.Thread(target=enduring(_insist), args=(weakref.ref(store), astray), daemon=True)
        thread.name = "pqadapters-astray"
        start_thread(thread)


def settle(store: Store, timeout: float | None = None) -> None:
    """Before more is claimed: what couldn't be given back to that store is, if it goes now."""
    if _astray and (astray := _astray.get(store)):
        _give_all_back(store, astray, timeout)


def give_back_now(store: Store, queue: str, id: int) -> None:
    """What couldn't be given back of this record, for whoever waits for it: its end won't come while the store refuses.
    StoreError where it still does."""
    for claim in [each for each in _astray.get(store, ()) if (each.queue, each.id) == (queue, id)]:
        with suppress(LeaseLost):
            store.commit(Nack(claim))
        with suppress(ValueError):  # by another thread meanwhile
            _astray[store].remove(claim)


def _insist(ref: weakref.ref[Store], astray: deque[Claim]) -> None:
    pause = threading.Event()
    while astray and (store := ref()) is not None:
        goes = _give_all_back(store, astray)
        del store  # who only waits for it doesn't keep it
        if not goes:
            pause.wait(_AGAIN)


def _give_all_back(store: Store, astray: deque[Claim], timeout: float | None = None) -> bool:
    """False where the store refuses."""
    for claim in list(astray):
        try:
            with suppress(LeaseLost):
                store.commit(Nack(claim), timeout=timeout)
        except FOR_GOOD:
            astray.clear()
            break
        except StoreError:
            return False
        with suppress(ValueError):  # by another thread meanwhile
            astray.remove(claim)
    return True
