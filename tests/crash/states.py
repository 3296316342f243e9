"""What could be on the disk after a crash, worked out from what a `FaultyDisk` remembers.

The model of a power cut is that of a drive with sectors of 512 bytes under a filesystem that promises what fsync says
and nothing else: each sector of a file has the content of any moment since its last sync, each change of a file's
size and each change of the directory since its sync happened or did not, all of that in any combination. A state
is the names of a directory with their contents.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from .faulty import Action, FaultyDisk

SECTOR = 512

State = dict[str, bytes]

_ALL = 1 << 60


class _File:
    """A file: what was synced, and what was done to it since, with the number of each action."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.pending: list[tuple[int, Action]] = []

    def sync(self) -> None:
        self.content = self.build(lambda sector: _ALL, lambda at: True)
        self.pending = []

    def build(self, until: Callable[[int], int], resized: Callable[[int], bool]) -> bytes:
        """The content in which each sector has the actions below `until(sector)`, and sizes those that `resized`."""
        data = bytearray(self.content)
        for at, action in self.pending:
            if action.kind == "write":
                for start, part in _sectors(action):
                    if at < until(start // SECTOR):
                        data.extend(bytes(max(0, start - len(data))))
                        data[start : start + len(part)] = part
            elif resized(at):
                if action.kind == "truncate":
                    del data[action.at :]
                data.extend(bytes(max(0, action.at - len(data))))
        return bytes(data)


def _sectors(action: Action) -> Iterator[tuple[int, bytes]]:
    """A write in parts, none of which crosses the border of a sector."""
    at, end = action.at, action.at + len(action.data)
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        yield at, action.data[at - action.at : stop - action.at]
        at = stop


class _Choice(NamedTuple):
    """One way things may have gone, by the numbers of the actions that weren't synced."""

    done: Callable[[int], bool]  #: this change of a directory or of a size happened
    until: Callable[[int, int], int]  #: (file, sector): the writes below this number reached it


def _nothing() -> _Choice:
    return _Choice(lambda at: False, lambda file, sector: 0)


def _before(limit: int) -> _Choice:
    return _Choice(lambda at: at < limit, lambda file, sector: limit)


def _without(lost: int, action: Action) -> _Choice:
    """All but this action; sectors that it wrote to have what they had before it."""
    hit = {start // SECTOR for start, _ in _sectors(action)} if action.kind == "write" else set()
    return _Choice(
        lambda at: at != lost, lambda file, sector: lost if file == action.file and sector in hit else _ALL
    )


def _torn(at: int, action: Action, rng: random.Random) -> _Choice:
    """All but some sectors of this write."""
    hit = [start // SECTOR for start, _ in _sectors(action)]
    lost = set(rng.sample(hit, rng.randint(1, len(hit))))
    return _Choice(lambda _: True, lambda file, sector: at if file == action.file and sector in lost else _ALL)


def _random(pending: Sequence[int], rng: random.Random) -> _Choice:
    chance = rng.random()
    kept = {at for at in pending if rng.random() < chance}
    limits: dict[tuple[int, int], int] = {}

    def until(file: int, sector: int) -> int:
        return limits.setdefault((file, sector), _ALL if rng.random() < chance else rng.choice(pending) + 1)

    return _Choice(lambda at: at in kept, until)


class Snapshot:
    """The disk after the first `count` actions."""

    def __init__(self, disk: FaultyDisk, count: int) -> None:
        self._names = {name: at for at, name in enumerate(sorted(disk.before), 1)}
        self._files = {at: _File(disk.before[name]) for name, at in self._names.items()}
        self._moves: list[tuple[int, Action]] = []
        for at, action in enumerate(disk.actions[:count]):
            self._take(at, action)

    def _take(self, at: int, action: Action) -> None:
        if action.kind == "sync":
            self._files[action.file].sync()
        elif action.kind == "sync_directory":
            self._names = self._entries(lambda at: True)
            self._moves = []
        elif action.kind in ("create", "rename", "unlink"):
            self._files.setdefault(action.file, _File())
            self._moves.append((at, action))
        elif action.kind != "mkdir":
            self._files[action.file].pending.append((at, action))

    def _entries(self, done: Callable[[int], bool]) -> dict[str, int]:
        names = dict(self._names)
        for at, action in self._moves:
            if not done(at):
                continue
            if action.kind != "create":
                names.pop(action.name, None)
            if action.kind != "unlink":
                names[action.target or action.name] = action.file
        return names

    def _state(self, choice: _Choice) -> State:
        return {
            name: self._files[file].build(lambda sector, file=file: choice.until(file, sector), choice.done)  # type: ignore[misc]
            for name, file in self._entries(choice.done).items()
        }

    def killed(self) -> State:
        """After SIGKILL: everything that was done."""
        return self._state(_before(_ALL))

    def power_cut(self, rng: random.Random, samples: int) -> Iterator[State]:
        """Each kind of loss at least once, and `samples` random mixtures."""
        actions = sorted([*self._moves, *(item for file in self._files.values() for item in file.pending)])
        yield self._state(_nothing())
        yield self._state(_before(_ALL))
        yield self._state(_Choice(lambda at: True, lambda file, sector: 0))
        yield self._state(_Choice(lambda at: False, lambda file, sector: _ALL))
        chosen = actions if len(actions) <= 12 else sorted(rng.sample(actions, 12))
        for at, action in chosen:
            yield self._state(_before(at))
            yield self._state(_without(at, action))
            if action.kind == "write" and action.data:
                yield self._state(_torn(at, action, rng))
        for _ in range(samples if actions else 0):
            yield self._state(_random([at for at, _ in actions], rng))


def cut_writes(disk: FaultyDisk, count: int, rng: random.Random) -> Iterator[State]:
    """After SIGKILL in the middle of the next action, if that is a write: some of its bytes were taken."""
    if count >= len(disk.actions) or disk.actions[count].kind != "write":
        return
    whole = disk.actions[count]
    for length in sorted({1, len(whole.data) - 1, rng.randrange(1, len(whole.data) + 1)}):
        disk.actions[count] = whole._replace(data=whole.data[:length])
        yield Snapshot(disk, count + 1).killed()
    disk.actions[count] = whole


def distinct(states: Iterable[State], seen: set[int] | None = None) -> Iterator[State]:
    """Each state once, and none that was `seen` before, at a moment at which the same was expected. The lock file is
    left out: its content means nothing to the next process."""
    seen = set() if seen is None else seen
    for state in states:
        content = {name: data for name, data in state.items() if name != "LOCK"}
        key = hash(tuple(sorted(content.items())))
        if key not in seen:
            seen.add(key)
            yield content
