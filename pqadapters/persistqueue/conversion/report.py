"""What a conversion has found and moved: queues and mappings with their counts, and what could not be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ... import telling
from ...opening import note_damage
from ...store import Damage

_log = telling.logger("pqadapters.conversion")
_TOLD = 20  #: damages in the log; all are in the report

#: Called with how many more items have been moved.
Progress = Callable[[int], None]


class Part(NamedTuple):
    """A queue or a mapping: its name in the store, what it was, and how many items it has in each state.

    Items of a queue without acknowledgements are all "waiting", keys of a mapping "set".
    """

    name: str
    was: str
    counts: dict[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass
class Report:
    """Of one place. `kept` is where the original is, or "" where it stayed."""

    place: str
    parts: list[Part] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    kept: str = ""

    @property
    def total(self) -> int:
        return sum(part.total for part in self.parts)

    def settle(self, kept: str) -> None:
        """The original is called `kept` from now on; what is damaged in it has to be looked for there."""
        self.damage[:] = [
            each._replace(path=kept + each.path.removeprefix(self.place)) if each.path.startswith(self.place) else each
            for each in self.damage
        ]
        self.kept = kept

    def note(self, opened: Any) -> None:
        """What is damaged is damage of the store that the original has become."""
        note_damage(getattr(opened, "store", opened), self.damage)

    def tell(self) -> None:
        """In the log."""
        names = ", ".join(f"{part.name}: {part.total}" for part in self.parts) or "nothing"
        _log.warning(
            "%s was persist-queue's, and is converted (%s). The original is kept as %s", self.place, names, self.kept
        )
        for each in self.damage[:_TOLD]:
            _log.error("%s at %d: %s; it could not be taken over", each.path, each.offset, each.reason)
        if len(self.damage) > _TOLD:
            _log.error("%s: %d more places are damaged", self.kept, len(self.damage) - _TOLD)
