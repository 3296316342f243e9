"""Names and payloads of every kind go in and come out as they are."""

from __future__ import annotations

import unicodedata

from pqadapters.store import Ack, Nack, Order, Put, Set, State, Update

from .maker import Maker
from .snapshot import payloads

NAMES = [
    "",
    "größe",
    "Größe",
    unicodedata.normalize("NFD", "größe"),
    "キュー",
    "📬",
    "a/b",
    "../a",
    "/",
    "a b",
    " a",
    "a\nb",
    "a\x00b",
    "a'b\"c;--",
    "%s{}",
    "a.dead.b",
    "con",
    "x" * 1000,
    "\udcff",
    "\ud83d\ude00",
]

PAYLOADS = [b"", b"\x00", b"\n", b"\r\n\x1a", b"\xff" * 100, bytes(range(256)), b"None", b"pqid"]


def test_queues_of_every_name(make_store: Maker) -> None:
    store = make_store()
    for n, name in enumerate(NAMES):
        store.commit(Put(name, b"%d" % n))
    for n, name in enumerate(NAMES):
        assert payloads(store, name) == [b"%d" % n], f"queue {name!r}"
        (claim,) = store.claim(name)
        assert claim.queue == name
        store.commit(Nack(claim, dead=name))
        assert [(dead.queue, dead.note) for dead in store.claim(f"{name}.dead")] == [(f"{name}.dead", name)]


def test_tables_of_every_name(make_store: Maker) -> None:
    store = make_store()
    for n, name in enumerate(NAMES):
        store.commit(Set(name, b"k", b"%d" % n))
    for n, name in enumerate(NAMES):
        assert list(store.scan(name)) == [(b"k", b"%d" % n)], f"table {name!r}"


def test_names_of_every_kind_survive(make_store: Maker) -> None:
    store = make_store()
    store.commit(*(Put(name, b"%d" % n) for n, name in enumerate(NAMES)))
    store.commit(*(Set(name, b"k", b"%d" % n) for n, name in enumerate(NAMES)))
    store.commit(*(Nack(claim, dead=name) for name in NAMES for claim in store.claim(name)))
    store = make_store.reopen()
    for n, name in enumerate(NAMES):
        assert [(dead.payload, dead.note) for dead in store.browse(f"{name}.dead")] == [(b"%d" % n, name)]
        assert store.get(name, b"k") == b"%d" % n


def test_payloads_of_every_kind(make_store: Maker) -> None:
    store = make_store()
    for payload in PAYLOADS:
        store.commit(Put("q", payload, rank=payload))
    claims = store.claim("q", limit=99)
    assert [(claim.payload, claim.rank) for claim in claims] == [(payload, payload) for payload in PAYLOADS]
    assert {type(claim.payload) for claim in claims} == {bytes}
    store.commit(*(Update(claim, claim.payload[::-1]) for claim in claims), *map(Nack, claims))
    assert payloads(store) == [payload[::-1] for payload in PAYLOADS]


def test_an_empty_payload_is_a_record(make_store: Maker) -> None:
    store = make_store.filled(b"")
    assert store.depth("q")[:5] == (1, 0, 0, 0, 0)
    (claim,) = store.claim("q", timeout=None)
    assert claim.payload == b""
    store.commit(Ack(claim))
    assert store.depth("q").unfinished == 0


def test_payloads_of_a_megabyte(make_store: Maker) -> None:
    store = make_store()
    large = [bytes([n]) * (1 << 20) for n in range(3)]
    for n, payload in enumerate(large):
        store.commit(Put("q", payload, rank=b"%d" % -n), Put("q", b"small"))
    assert store.depth("q").bytes == 3 * (1 << 20) + 15
    claims = store.claim("q", limit=6, order=Order.OLDEST)
    assert [claim.payload for claim in claims[::2]] == large
    store.commit(*map(Nack, claims))
    assert payloads(store)[::2] == large


def test_payloads_of_a_megabyte_survive(make_store: Maker) -> None:
    store = make_store()
    large = bytes(range(256)) * 4096
    store.commit(Put("q", large), Set("t", b"k", large), Put("q", b"small"))
    store = make_store.reopen()
    assert payloads(store) == [large, b"small"]
    assert store.get("t", b"k") == large


def test_long_ranks_and_notes(make_store: Maker) -> None:
    store = make_store()
    ranks = [b"r" * 100_000 + b"%d" % n for n in range(3)]
    store.commit(*(Put("q", b"", rank=rank) for rank in reversed(ranks)))
    assert [record.rank for record in store.browse("q", order=Order.RANK)] == ranks
    (claim,) = store.claim("q")
    store.commit(Nack(claim, dead="n" * 100_000))
    assert [len(record.note) for record in store.browse("q.dead")] == [100_000]


def test_times_beyond_the_ordinary(make_store: Maker) -> None:
    store = make_store()
    store.commit(Put("q", b"a", not_before=-1.0), Put("q", b"b", not_before=1e12), Put("q", b"c", not_before=0.25))
    assert payloads(store) == [b"a", b"c"]
    assert [record.not_before for record in store.browse("q", state=State.DELAYED)] == [1e12]
