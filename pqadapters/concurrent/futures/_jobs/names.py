"""What the queues and tables of an executor are called in its store.

    <name>            a queue: the jobs. Put by submit, claimed (counted) to be run, acknowledged with the outcome
    <name>.dead       a queue: jobs that were parked, with the reason
    <name>.keys       a table: key -> job id
    <name>.results    a table: job id -> when it runs out, and the outcome
    <name>.cancelled  a table: job ids of delayed jobs that were cancelled; who finds such a job drops it
    <name>.facts      a table: "ranked", once a job had a priority

In stores that processes share:

    <name>.watchers   a table: job id -> who waits for its outcome beside the one that submitted it
    <name>.members    a queue: a record for each process, claimed while it lives
    <name>.to.<token> a queue: outcomes for one process
"""

from __future__ import annotations

from typing import NamedTuple

from ....store import dead_queue


class Names(NamedTuple):
    """See above."""

    jobs: str
    dead: str
    keys: str
    results: str
    cancelled: str
    facts: str
    watchers: str
    members: str

    @classmethod
    def of(cls, name: str) -> Names:
        ends = ("keys", "results", "cancelled", "facts", "watchers", "members")
        return cls(name, dead_queue(name), *(f"{name}.{end}" for end in ends))

    @property
    def tables(self) -> tuple[str, ...]:
        """Those that hold something without any job."""
        return self.keys, self.results, self.cancelled

    def outcomes(self, token: bytes) -> str:
        """The queue of outcomes for one process."""
        return f"{self.jobs}.to.{token.hex()}"
