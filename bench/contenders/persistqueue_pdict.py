"""persist-queue's PDict on SQLite: a commit for each set, which SQLite's own default syncs. No batches."""

from __future__ import annotations

from ..contender import Contender, Level, MappingHandle, Speed, Threads


def open_mapping(directory: str, level: Level) -> MappingHandle:
    from persistqueue import PDict

    mapping = PDict(directory, "bench")
    return MappingHandle(mapping.__setitem__, mapping.__getitem__, mapping.__len__, mapping.close)


CONTENDER = Contender(
    name="persist-queue-pdict",
    about="persistqueue.PDict",
    open_mapping=open_mapping,
    speed={Level.POWER: Speed(4_000, 100_000)},
    package="persist-queue",
    modules=("persistqueue",),
    threads=Threads.ONE,
)
