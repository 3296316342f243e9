"""Each call on the disk that a program causes fails once: it is told, memory and disk agree, and work goes on."""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pqadapters.errors import DiskError, StorePoisoned
from pqadapters.store import Ack, Delete, Nack, Op, Put, Set, Update
from pqadapters.stores.segment import SegmentStore

from ..contract.descriptors import open_below
from .faulty import CHANGES, SYNCS, Action, FaultyDisk
from .history import FAR, NOBODY_KNOWS, Fate, Player, View
from .promises import POWER, Ruins, contents, die, look
from .states import Snapshot
from .workloads import QUEUES, TABLES

KINDS = ("create", "write", "truncate", "allocate", "rename", "unlink", *SYNCS)

#: How many places are tried for each kind of call.
PLACES = 25


def _turns(player: Player) -> Iterator[Callable[[], object]]:
    """What a program does, call by call."""
    yield lambda: player.commit(Put("r", player.payload()), Set("t", b"old", player.payload()))
    for turn in itertools.count():
        yield lambda: player.put(1)
        yield lambda: player.commit(*(Put("q", player.payload(300)) for _ in range(4)))
        yield lambda: player.commit(Set("t", b"k", player.payload()), Delete("t", b"l"), Put("s", b"x", rank=b"y"))
        yield lambda: player.commit(*(_done(player, claim.queue) for claim in player.store.claim("q", counted=True)))
        yield lambda: player.commit(*_worked(player))
        yield lambda: player.ack(2, lazy=True)
        if turn == 3:
            yield player.checkpoint
        if turn == 5:
            yield lambda: _open_again(player)
        if turn == 9:
            return


def _open_again(player: Player) -> None:
    try:
        player.reopen()
    except DiskError:
        player.store = player.reopened()
        raise


def _done(player: Player, queue: str) -> Op:
    (claim, *_) = player.store.claim(queue) or player.store.claim("s")
    return Ack(claim)


def _worked(player: Player) -> list[Op]:
    claims = player.claim(3)
    if len(claims) < 3:
        return [Put("q", player.payload())]
    dead, slow, done = claims
    return [Nack(dead, dead="no"), Update(slow, player.payload(200)), Nack(slow, not_before=FAR), Ack(done)]


def _start(directory: Path) -> Player:
    directory.mkdir()
    disk = FaultyDisk(str(directory))
    return Player(
        disk, lambda: SegmentStore(directory, durability=POWER, segment_bytes=4096, disk=disk), power=True
    )


def _places(kind: str, tmp_path: Path) -> list[int]:
    """Which calls of this kind fail, by their number after the opening."""
    player = _start(tmp_path / "undisturbed")
    before = player.disk.count(kind)
    for turn in _turns(player):
        turn()
    count = player.disk.count(kind) - before
    die_quietly(player)
    assert count, f"the program causes no {kind}"
    return list(range(count)) if count <= PLACES else sorted(random.Random(kind).sample(range(count), PLACES))


def die_quietly(player: Player) -> None:
    assert isinstance(player.store, SegmentStore)
    die(player.store)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_i2_a_call_that_fails(kind: str, code: int, tmp_path: Path) -> None:
    ruins, poisonings = Ruins(tmp_path / "ruins"), 0
    for place in _places(kind, tmp_path):
        directory = tmp_path / f"store-{place}"
        player = _start(directory)
        player.disk.fail(kind, place, code)
        poisoned = _play(player, directory, code, ruins)
        assert not poisoned or kind in SYNCS
        poisonings += poisoned
        if poisoned:
            _reopen(player, directory)
        else:
            _agree(player, directory, ruins)
            die_quietly(player)
    assert poisonings or kind not in SYNCS, "a sync failed, and work went on"


def _play(player: Player, directory: Path, code: int, ruins: Ruins) -> bool:
    """All turns; whether the store was poisoned by one of them."""
    for turn in _turns(player):
        try:
            turn()
        except DiskError as error:
            _check_error(error, code, directory)
            _agree(player, directory, ruins)
        except StorePoisoned as error:
            _check_message(error, directory)
            return True
    return False


def _check_error(error: DiskError, code: int, directory: Path) -> None:
    assert isinstance(error, OSError)
    assert (error.errno, error.filename) == (code, str(directory))
    _check_message(error, directory)


def _check_message(error: Exception, directory: Path) -> None:
    assert str(directory) in str(error)


def _agree(player: Player, directory: Path, ruins: Ruins) -> None:
    """What the store shows is what another process would find, and all of it was promised."""
    view = View(player.store, QUEUES, TABLES)
    assert not player.problems(view, [Fate.MUST] * len(player.commits))
    with ruins.build(contents(directory)) as copy:
        found = look(copy)
        assert (found.things, found.tables) == (view.things, view.tables)


def _reopen(player: Player, directory: Path) -> None:
    """A poisoned store refuses everything and syncs nothing more; opened again it serves what was acknowledged."""
    syncs = [player.disk.count(kind) for kind in SYNCS]
    store = player.store
    for call in (lambda: player.put(1), lambda: player.claim(), lambda: store.depth("q"), store.checkpoint):
        with pytest.raises(StorePoisoned):
            call()
    player.store.close()
    assert [player.disk.count(kind) for kind in SYNCS] == syncs, "a sync was tried again after one had failed"
    player.disk.refuse = None
    view = look(directory)
    fates = [Fate.MAY if commit.end == NOBODY_KNOWS else Fate.MUST for commit in player.commits]
    problems = player.problems(view, fates)
    assert not [problem for problem in problems if "never put" not in problem], problems


@pytest.mark.parametrize("kind", [*KINDS])
def test_an_opening_that_fails_can_be_tried_again(kind: str, tmp_path: Path) -> None:
    """Whatever fails while a store is opened: the lock is let go, and the next opening finds everything."""
    player = _start(tmp_path / "store")
    for turn in itertools.islice(_turns(player), 40):
        turn()
    die_quietly(player)
    player.disk.actions.clear()
    state = contents(tmp_path / "store")
    last = max(name for name in state if name.endswith(".seg"))
    state[last] = state[last].rstrip(b"\0") + b"\xabq torn"
    ruins = Ruins(tmp_path / "ruins")
    with ruins.build(state) as directory:
        expected = look(directory)
    for place in range(6):
        with ruins.build(state) as directory:
            disk = FaultyDisk(str(directory))
            disk.fail(kind, place, errno.EIO)
            try:
                look(directory, disk)
            except DiskError as error:
                _check_error(error, errno.EIO, directory)
                assert open_below(directory) == []
            assert look(directory) == expected


@pytest.mark.parametrize("kind", [*KINDS])
def test_an_opening_that_fails_while_damage_is_put_right_lets_go_of_all(kind: str, tmp_path: Path) -> None:
    """Its descriptors and its lock, although somebody may keep the error."""
    with SegmentStore(tmp_path / "store") as store:
        store.commit(*(Put("q", b"%d" % n * 50) for n in range(3)))
    state = contents(tmp_path / "store")
    del state["checkpoint"]
    name = max(state)
    state[name] = state[name].replace(b"1" * 50, b"!" * 50)
    ruins, errors = Ruins(tmp_path / "ruins"), list[DiskError]()
    for place in range(40):
        with ruins.build(state) as directory:
            disk = FaultyDisk(str(directory))
            disk.fail(kind, place, errno.EIO, times=2)
            try:
                SegmentStore(directory, disk=disk).discard()
            except DiskError as error:
                errors.append(error)
                assert open_below(directory) == []
            with SegmentStore(directory) as store:
                assert [record.payload[:1] for record in store.browse("q")] == [b"0", b"2"]
    assert errors or kind in ("allocate", "unlink")


def test_a_write_that_fails_leaves_no_trace_behind_later_ones(tmp_path: Path) -> None:
    """Half a record is wiped out, and where it can't be, cut off, before the next one is written."""
    player = _start(tmp_path / "store")
    player.put(1)
    for code, times in ((errno.ENOSPC, 1), (errno.EIO, 2)):
        player.disk.fail("write", 0, code, times)
        with pytest.raises(DiskError):
            player.put(1, size=3000)
        player.disk.refuse = None
        player.put(1, size=30)
        _agree(player, tmp_path / "store", Ruins(tmp_path / f"ruins-{times}"))
    die_quietly(player)


@pytest.mark.parametrize("size", [30, 3000], ids=["smaller", "larger"])
@pytest.mark.parametrize("end", [False, True], ids=["goes on", "ends"])
def test_i2_a_disk_that_can_only_be_read_for_a_while(size: int, end: bool, tmp_path: Path) -> None:
    """Half a record couldn't be wiped out, and the store took nothing any more for as long as its process lived."""
    player = _start(tmp_path / "store")
    player.put(2)

    def refuse(action: Action, before: int) -> OSError | None:
        return OSError(errno.EROFS, os.strerror(errno.EROFS)) if action.kind in CHANGES else None

    player.disk.refuse = refuse
    (claim,) = player.store.claim("q")
    for ops in ([Put("q", b"x" * 1000)], [Put("q", b"y" * 10), Set("t", b"k", b"v")], [Ack(claim)]):
        with pytest.raises(DiskError) as caught:
            player.store.commit(*ops)
        _check_error(caught.value, errno.EROFS, tmp_path / "store")
    player.disk.refuse = None
    player.reopen() if end else player.store.commit(Nack(claim))
    player.put(1, size=size)
    _agree(player, tmp_path / "store", Ruins(tmp_path / "ruins"))
    player.checkpoint()
    _agree(player, tmp_path / "store", Ruins(tmp_path / "ruins-2"))
    die_quietly(player)


def test_i2_a_write_that_fails_although_all_was_written(tmp_path: Path) -> None:
    """Or a signal handler that raises behind it: whoever got the error finds nothing of it, after SIGKILL either."""
    player = _start(tmp_path / "store")
    player.put(1)

    class Interrupted(FaultyDisk):
        def write(self, fd: int, data: bytes, offset: int) -> None:
            super().write(fd, data, offset)
            if b"interrupted" in data:
                raise KeyboardInterrupt

    player.disk.__class__ = Interrupted
    for ops in ([Put("q", b"interrupted")], [Put("q", b"interrupted"), Set("t", b"k", b"v")]):
        with pytest.raises(KeyboardInterrupt):
            player.store.commit(*ops)
        _agree(player, tmp_path / "store", Ruins(tmp_path / f"ruins-{len(ops)}"))
    player.put(1)
    _agree(player, tmp_path / "store", Ruins(tmp_path / "ruins"))
    die_quietly(player)


def test_i1_a_sync_that_fails_while_others_wait(tmp_path: Path) -> None:
    """One thread's sync fails while another's roll has synced the same file: neither is told that all is well."""
    player = _start(tmp_path / "store")
    store, disk = player.store, player.disk
    assert isinstance(store, SegmentStore)
    log = store._core.log
    player.put(1)

    def refuse(action: object, before: int) -> Exception | None:
        if getattr(action, "kind", "") != "sync":
            return None
        disk.refuse = None
        with store._core.lock:  # meanwhile another thread syncs the file: the system has told the failure already
            log.sync_here()
        return OSError(errno.EIO, "Input/output error")

    disk.refuse = refuse
    with pytest.raises(StorePoisoned):
        player.put(1)
    assert log.synced < log.next - 1, "what was written counts as synced"
    store.close()


def test_i1_a_sync_that_fails_while_another_one_runs(tmp_path: Path) -> None:
    """The other way round: the system tells of the failure once, and it is not this thread that is told."""
    player = _start(tmp_path / "store")
    store, disk = player.store, player.disk
    assert isinstance(store, SegmentStore)
    core = store._core
    player.put(1)

    def fail(action: object, before: int) -> Exception | None:
        return OSError(errno.EIO, "Input/output error") if getattr(action, "kind", "") == "sync" else None

    def refuse_meanwhile(action: object, before: int) -> Exception | None:
        if getattr(action, "kind", "") == "sync":
            disk.refuse = fail
            with core.lock, pytest.raises(StorePoisoned):  # another thread is about to begin a segment
                core.log.sync_here()
            disk.refuse = None
        return None

    disk.refuse = refuse_meanwhile
    with pytest.raises(StorePoisoned):
        player.put(1)
    assert core.log.synced < core.log.next - 1, "what was written counts as synced"
    store.close()


def test_i1_what_a_failed_sync_has_lost_is_written_anew_by_the_next_opening(tmp_path: Path) -> None:
    """The system takes it for written, and no later sync sees to it: behind a power cut the store would end there, or
    have damage, and what was put and synced since then would be gone."""
    player = _start(tmp_path / "store")
    disk, store = player.disk, player.store
    player.put(1)
    before = len(disk.actions)
    disk.fail("sync", 0, errno.EIO)
    with pytest.raises(StorePoisoned):
        store.commit(Put("q", b"lost" * 500))
    lost = [id(action) for action in disk.actions[before:] if action.kind == "write"]
    store.close()
    player.store = player.reopened()
    player.put(2)
    disk.actions[:] = [action for action in disk.actions if id(action) not in lost]
    with Ruins(tmp_path / "ruins").build(Snapshot(disk, len(disk.actions)).killed()) as copy:
        assert look(copy).things == View(player.store, QUEUES, TABLES).things
    die_quietly(player)


@pytest.mark.parametrize(
    ("kind", "code"), [("create", errno.ENOSPC), ("write", errno.ENOSPC), ("create", errno.EMFILE)]
)
def test_a_store_of_which_not_all_is_on_the_disk_is_opened_where_there_is_no_room(
    kind: str, code: int, tmp_path: Path
) -> None:
    player = _start(tmp_path / "store")
    player.put(1)
    player.disk.fail("sync", 0, errno.EIO)
    with pytest.raises(StorePoisoned):
        player.store.commit(Put("q", b"there" * 500))
    player.store.close()
    names = sorted(contents(tmp_path / "store"))
    player.disk.fail(kind, 0, code)
    player.store = player.reopened()
    assert player.store.depth("q").ready == 2
    assert sorted(contents(tmp_path / "store")) == names
    die_quietly(player)
