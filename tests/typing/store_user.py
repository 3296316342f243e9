"""A program against the contract, as its author's type checker sees it; each ignored line must be an error."""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import assert_type

from pqadapters import PqadaptersError, StoreError, StoreLocked
from pqadapters.durability import Durability
from pqadapters.store import Ack, Claim, Delete, Depth, Expect, Nack, Order, Put, Record, Set, State, Store
from pqadapters.stores.memory import MemoryStore


def work(store: Store) -> None:
    first = Set("seen", b"a", b"", expect=Expect.ABSENT)
    assert_type(store.commit(Put("jobs", b"a", limit=10), first, timeout=1.5), tuple[int, ...])
    for claim in store.claim("jobs", order=Order.RANK, limit=5, timeout=None, stop=lambda: False):
        assert_type(claim, Claim)
        store.commit(Ack(claim, lazy=True), Put("results", claim.payload))
    assert_type(store.browse("jobs", state=State.CLAIMED), Iterator[Record])
    assert_type(store.wait("jobs", lambda depth: depth.unfinished == 0, timeout=1.5), bool)
    assert_type(store.depth("jobs"), Depth)
    assert_type(store.get("seen", b"a"), bytes | None)
    assert_type(store.durability, Durability)


def give_back(store: Store, claim: Claim) -> None:
    store.commit(Nack(claim, dead="no such customer"), Delete("seen", b"a", expect=b""))


def mistakes(store: Store, claim: Claim) -> None:
    store.commit(Put("jobs", "text"))  # type: ignore[arg-type]
    store.commit(claim)  # type: ignore[arg-type]
    store.claim("jobs", order="oldest")  # type: ignore[arg-type]
    store.claim("jobs", Order.OLDEST)  # type: ignore[call-arg]
    store.wait("jobs", lambda: True)  # type: ignore[arg-type,misc]
    claim.attempt = 2  # type: ignore[misc]


def pid_of(error: StoreError) -> int | None:
    return error.pid if isinstance(error, StoreLocked) else None


def every_store_is_one() -> Store:
    return MemoryStore()


def root_of(error: StoreLocked) -> PqadaptersError:
    return error
