"""Programs that are stopped everywhere: each drives a `Player` through one part of what a store does."""

from __future__ import annotations

from collections.abc import Callable

from pqadapters.store import Ack, Clear, Delete, Nack, Put, Set, Update

from .history import FAR, Player

QUEUES = ("q", "r", "s")
TABLES = ("t",)


def puts_and_acks(player: Player) -> None:
    player.put(4)
    player.ack(2)
    player.put(2, size=900)
    player.ack(1, lazy=True)
    player.put(1)
    player.ack(1, lazy=True)
    player.ack(1)


def batches(player: Player) -> None:
    player.commit(*(Put("q", player.payload(150)) for _ in range(6)))
    player.commit(*(Put(queue, player.payload()) for queue in QUEUES))
    player.commit(*(Ack(claim) for claim in player.claim(4)), Put("r", player.payload(700)))
    player.commit(*(Ack(claim, lazy=True) for claim in player.claim(2)))
    player.put(2, size=300)


def tables(player: Player) -> None:
    for key in (b"a", b"b", b"c"):
        player.commit(Set("t", key, player.payload()))
    player.commit(Set("t", b"b", player.payload(600)), Delete("t", b"a"), Set("t", b"d", player.payload()))
    player.commit(Delete("t", b"c"), Put("q", player.payload()))
    (claim,) = player.claim()
    player.commit(Ack(claim), Set("t", b"c", player.payload()), Put("r", player.payload()))
    player.commit(Clear("t"), Set("t", b"a", player.payload()))


def letters(player: Player) -> None:
    """Dead letters, delays, updates, ranks."""
    player.put(4)
    first, second, third, _ = player.claim(4)
    player.commit(Nack(first, dead="it broke"))
    player.commit(Update(second, player.payload(300)))
    player.commit(Nack(second))
    player.commit(Nack(third, not_before=FAR))
    player.commit(Put("s", player.payload(), rank=b"b"), Put("s", player.payload(), rank=b"a"))
    player.commit(Put("s", player.payload(), rank=b"c", not_before=FAR))
    player.ack(1, queue="q.dead")
    (letter,) = player.claim(queue="s")
    player.commit(Update(letter, player.payload(40)), Nack(letter, dead="half done"))


def closing(player: Player) -> None:
    letters(player)
    player.reopen()
    player.put(2)
    player.ack(1)
    player.checkpoint()
    player.put(1)
    player.ack(1, lazy=True)
    player.reopen()
    player.put(1)


def rolling(player: Player) -> None:
    """Segments begin and end, and old records that stay are written again behind the others."""
    player.put(1, queue="r")
    player.commit(Set("t", b"old", player.payload()), Set("t", b"older", player.payload()))
    player.commit(Put("s", player.payload(), rank=b"x"))
    for turn in range(9):
        player.commit(*(Put("q", player.payload(400)) for _ in range(6)))
        claims = player.claim(6)
        player.commit(*(Ack(claim) for claim in claims[1:]))
        player.commit(Nack(claims[0], dead="stays") if turn == 2 else Ack(claims[0], lazy=turn % 2 == 0))
        if turn == 5:
            player.commit(Set("t", b"older", player.payload()))


def emptying(player: Player) -> None:
    """A backlog of several segments is drained, and the store is one segment again."""
    player.put(14, size=900)
    for _ in range(14):
        player.ack(1)
    player.put(1)
    player.checkpoint()
    player.put(1)


def unpinning(player: Player) -> None:
    """Several segments die at once, and one has the acknowledgements for the one before it."""
    player.put(1)
    player.put(3, size=900)
    pin, *others = player.claim(4)
    player.put(1, size=900, queue="r")
    player.checkpoint()
    for claim in others:
        player.commit(Ack(claim))
    player.put(6, size=900, queue="r")
    player.commit(Ack(pin), *(Ack(claim) for claim in player.claim(9, "r")))
    player.put(1)


def standing(player: Player) -> None:
    """Dead segments that don't outweigh a checkpoint stay for a while, and what is behind them is written again."""
    player.commit(*(Set("t", b"%d" % n, player.payload()) for n in range(120)))
    player.put(20, queue="r")
    player.commit(*(Put("s", player.payload(), rank=b"%d" % (n % 3)) for n in range(10)))
    for _ in range(60):
        player.put(1, size=900)
        player.ack(1)


def syncing(player: Player) -> None:
    player.put(3)
    player.ack(1, lazy=True)
    player.sync()
    player.put(1)
    player.commit(Put("q", player.payload()), Set("t", b"k", player.payload()))
    player.sync()
    player.sync()
    player.ack(1)


WORKLOADS: dict[str, Callable[[Player], None]] = {
    function.__name__: function
    for function in (puts_and_acks, batches, tables, letters, closing, rolling, emptying, unpinning, standing, syncing)
}
