"""How a look goes through a queue in a database: records page by page, those of a page as they were at one moment."""

from __future__ import annotations

from ..store import State

PAGE = 256  #: records that are fetched at a time
FIRST_PAGE = 8  #: the same at first, by who takes part: who looks for the next record needs no more


def shares(state: State | None, size: int) -> tuple[int, int, int]:
    """How many are to be asked for, of those that stand among the claimed, the ready and the delayed ones, for a page
    of so many in that state. What has come due stands among the delayed ones, and is ready."""
    return (
        size if state in (None, State.CLAIMED) else 0,
        size if state in (None, State.READY) else 0,
        size if state is not State.CLAIMED else 0,
    )
