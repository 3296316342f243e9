"""Directories of stores of which each process holds one, and locks that live as long as who has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..durability import Durability

if TYPE_CHECKING:
    from ..stores._directory import Locks, Member
    from ..stores.segment import SegmentStore
    from ..stores.segment.estates import Estate
    from ..stores.segment.slots import Slots


def open_slots(
    directory: str,
    *,
    durability: Durability,
    scratch: bool = False,
    trust_directory: bool = False,
    segment_bytes: int | None = None,
    ours_above: bool = True,
) -> Slots:
    """The slots in a directory, each a segment store for one process. Nothing is touched yet.

    `scratch`: nothing in it need survive a power cut; `ours_above`: the directory above is made private, too.
    """
    from ..stores.segment.slots import Slots

    more: dict[str, Any] = {} if segment_bytes is None else {"segment_bytes": segment_bytes}
    more |= {"scratch": scratch, "trust_directory": trust_directory, "ours_above": ours_above}
    return Slots(directory, durability=durability, **more)


def open_estate(estate: Estate, *, repair: bool) -> SegmentStore:
    """A slot that was left behind and adopted, to be closed by `discard()`. It is only read; with `repair`, what is
    damaged in it is put aside. Raises StoreError."""
    from ..stores.segment.estates import open_estate

    return open_estate(estate, repair=repair)


def open_locks(directory: str, *, trust_directory: bool = False) -> Locks:
    """Locks by name, as files of that directory. Raises DiskError, StoreRefused."""
    from ..stores._directory import Locks

    return Locks(directory, trust=trust_directory)


def member_of(fd: int) -> Member:
    """The share in a lock that a descriptor holds, which another process has given to this one."""
    from ..stores._directory import Member

    return Member(fd)
