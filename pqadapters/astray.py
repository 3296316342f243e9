"""Claims that go back to a store. Where it refuses to take them a thread gives them back when it can be used again:
else nobody would have those records for as long as this process lives. Any thread may call it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress

from .ending import start_thread
from .errors import FOR_GOOD, LeaseLost, StoreError
from .store import Claim, Nack, Store

_AGAIN = 1.0  #: seconds between two tries


def give_back(store: Store, claims: Sequence[Claim]) -> None:
    """They are ready again, in their old places, as far as they are still ours: now, or later. Never raises for the
    store's sake."""
    for at, claim in enumerate(claims):
        try:
            store.commit(Nack(claim))
        except LeaseLost:  # done, or buried
            continue
        except FOR_GOOD:
            return
        except StoreError:
            return give_back_later(store, claims[at:])


def give_back_later(store: Store, claims: Sequence[Claim]) -> None:
    """The same, of a store that refuses just now; claims of a handle that is gone have ended."""
    thread = threading.Thread(target=_insist, args=(weakref.ref(store), [*claims]), daemon=True)
    thread.name = "pqadapters-astray"
    with suppress(RuntimeError):  # at the interpreter's end, with which they are free
        start_thread(thread)


def _insist(ref: weakref.ref[Store], claims: list[Claim]) -> None:
    pause = threading.Event()
    while claims and (store := ref()) is not None:
        goes = _goes_back(store, claims)
        del store  # who only waits for it doesn't keep it
        if not goes:
            pause.wait(_AGAIN)


def _goes_back(store: Store, claims: list[Claim]) -> bool:
    """Give back the last of them. False where the store refuses."""
    try:
        with suppress(LeaseLost):
            store.commit(Nack(claims[-1]))
        claims.pop()
    except FOR_GOOD:
        claims.clear()
    except StoreError:
        return False
    return True
