"""What all handles of a process have fetched ahead. Within a process nobody is to see any of it: whoever looks at a
queue, or claims from it by another handle, has it given back first, in the same transaction where there is one.

That holds for what handles fetch of their own accord. A `prefetch` that somebody asked for is that handle's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .changes import Changes
from .fetched import Fetched, Stray
from .session import Session
from .transactions import Part

if TYPE_CHECKING:
    from .core import Core

_PATIENCE = 0.25  #: seconds that the keeper waits for others' transactions, since others wait for it


class Aheads:
    """Of the handles of a core. Any thread may call anything; what takes a session is called in its transaction."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._all: dict[int, Fetched] = {}
        self._claimers: dict[str, set[int]] = {}  #: which handles claim from a queue

    def add(self, handle: int, prefetch: int | None) -> Fetched:
        """A new handle's."""
        self._all[handle] = made = Fetched(handle, prefetch, self._core.process)
        return made

    def begin_again(self) -> None:
        """In a forked child, whose handles have nothing yet."""
        self._claimers = {}
        for each in list(self._all.values()):
            each.is_empty(self._core.process)

    def lose(self) -> None:
        """Others have taken this process for dead."""
        for each in list(self._all.values()):
            each.lose()

    def of(self, queue: str) -> int:
        """How many records of a queue lie ahead of handles that nobody told to."""
        return sum(each.of(queue, self._core.process) for each in self._shared())

    def moved(self, own: Fetched) -> list[object]:
        """Is equal to an earlier answer if nothing has come to lie ahead since, and nothing is being given back."""
        return [object() if each.has_strays else each.moved for each in self._with(own)]

    def _shared(self) -> list[Fetched]:
        return [each for each in list(self._all.values()) if each.adaptive]

    # Claims

    def come(self, queue: str, handle: int) -> None:
        """A handle claims from the queue."""
        handles = self._claimers.get(queue)
        if handles is None:
            handles = self._claimers.setdefault(queue, set())
        handles.add(handle)

    def is_alone(self, queue: str) -> bool:
        """Whether one handle of this process claims from the queue."""
        return len(self._claimers.get(queue, ())) < 2

    def hides(self, queue: str, handle: int) -> bool:
        """Whether a claim by this handle may find something that the server doesn't show as ready."""
        process = self._core.process
        return any(
            each.has_strays or (each.adaptive and each.handle != handle and each.of(queue, process))
            for each in list(self._all.values())
        )

    def make_way(self, session: Session, queue: str, handle: int) -> list[Stray]:
        """Before a claim by this handle: others of the process keep nothing of the queue. What that gives back."""
        told: list[Stray] = []
        for each in list(self._all.values()):
            if each.adaptive and each.handle != handle and each.of(queue, self._core.process):
                told += each.shed(session, self._core.names.queue, [queue])
            elif each.has_strays:
                told += each.shed_strays(session, self._core.names.queue)
        return told

    def shed(self, session: Session, queues: Sequence[str]) -> list[Stray]:
        """Nothing of these queues lies ahead any more: a record may have come in front of it, or it is to be counted.
        What that gives back."""
        return [stray for each in self._shared() for stray in each.shed(session, self._core.names.queue, queues)]

    # By themselves

    def settle(self, own: Fetched) -> None:
        """Carry out what was put off, of this handle and of those that nobody told to fetch ahead; strays are ready."""
        some = [each for each in self._with(own) if each.waiting or each.has_strays]
        if some:
            self._put_in_order(some, [])

    def give_back(self, own: Fetched) -> None:
        """The same, and nothing lies ahead any more."""
        process = self._core.process
        some = [each for each in self._with(own) if each.waiting or each.lies_ahead(process) or each.has_strays]
        if some:
            self._put_in_order(some, some)

    def end(self, handle: int) -> None:
        """The handle ends: nothing of its own lies ahead. Raises StoreError."""
        own = self._all.pop(handle, None)
        for handles in list(self._claimers.values()):
            handles.discard(handle)
        if own is not None and (own.waiting or own.lies_ahead(self._core.process) or own.has_strays):
            self._put_in_order([own], [own])

    def give_back_all(self) -> None:
        """Of every handle, in a moment or not at all. Raises StoreError."""
        process = self._core.process
        every = list(self._all.values())
        if some := [each for each in every if each.waiting or each.lies_ahead(process) or each.has_strays]:
            self._put_in_order(some, some, _PATIENCE)

    def _with(self, own: Fetched) -> list[Fetched]:
        return [each for each in list(self._all.values()) if each.adaptive or each is own]

    def tidy(self) -> bool:
        """What was put off for too long, and what nobody asked for: the keeper's. Whether it is to come again."""
        process = self._core.process
        every = [each for each in list(self._all.values()) if not each.is_empty(process)]
        overdue = [each for each in every if each.is_overdue()]
        if overdue:
            idle = [each for each in overdue if each.adaptive and each.is_idle()]
            self._put_in_order(overdue, idle, _PATIENCE)
        return bool(every)

    def _put_in_order(
        self, some: Sequence[Fetched], given_back: Sequence[Fetched], timeout: float | None = None
    ) -> None:
        core = self._core
        acks = {each: each.take_waiting(core.process) for each in some}
        done = {ack.claim.queue for its in acks.values() for ack in its}
        ready = {queue for each in given_back for queue in each.queues()}
        ready.update(queue for each in some for queue in each.queues_of_strays())

        def run(session: Session) -> None:
            now = core.clock.wall()
            for each, its in acks.items():
                if its:
                    Changes(session, core.names, each.handle, now).ack_if_held(its)
                if each in given_back:
                    each.shed(session, core.names.queue)
                else:
                    each.shed_strays(session, core.names.queue)

        try:
            core.writer.do(Part(run, timeout=timeout))
        except BaseException:
            for each, its in acks.items():
                each.restore(its, core.process)
            raise
        for queue in done - ready:
            core.bells.ring(queue, 0)
        for queue in ready:
            core.bells.ring(queue)
