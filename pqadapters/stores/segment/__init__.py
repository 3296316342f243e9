"""The segment store: an append-only log in the files of one directory. docs/format.md draws its bytes."""

from .store import SegmentStore

__all__ = ["SegmentStore"]
