"""Shelves that the standard library has made: used as they are, moved over, and never shadowed by a new, empty one."""

from __future__ import annotations

import builtins
import dbm
import errno
import importlib
import os
import shelve as theirs
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pqadapters.errors import DiskError, NotDurableWarning
from pqadapters.opening import remove_database
from pqadapters.stdlib import shelve
from pqadapters.stdlib._mappings.dbm import ShelfError, kind_of
from pqadapters.stores._disk import Disk
from tests.home.world import Child, child
from tests.segment.programs import run

VALUES = {"a": 1, "ä": ["x"], "empty": "", "large": "y" * 10_000}


def _has(kind: str) -> bool:
    try:
        importlib.import_module(kind)
    except ImportError:
        return False
    return True


def _theirs(kind: str, path: str, flag: str) -> Any:
    return theirs.Shelf(importlib.import_module(kind).open(path, flag))


def _files(path: str) -> list[str]:
    """Those in the directory, but for what SQLite makes in reading."""
    return sorted(name for name in os.listdir(os.path.dirname(path)) if not name.endswith(("-shm", "-wal")))


KINDS = [kind for kind in ("dbm.dumb", "dbm.gnu", "dbm.ndbm", "dbm.sqlite3") if _has(kind)]


def test_the_kinds_that_this_python_must_have() -> None:
    assert "dbm.dumb" in KINDS
    assert ("dbm.sqlite3" in KINDS) == (sys.version_info >= (3, 13))


@pytest.fixture(params=KINDS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The name of a shelf, and which of the modules has made it."""
    path = str(tmp_path / "old")
    with _theirs(request.param, path, "c") as shelf:
        limit = 500 if request.param == "dbm.ndbm" else 1 << 30  # a pair of ndbm's fits a page
        shelf.update({key: value for key, value in VALUES.items() if len(str(value)) < limit})
    return path, request.param


def _items(path: str, kind: str) -> dict[str, Any]:
    with _theirs(kind, path, "r") as shelf:
        return dict(shelf)


def test_it_is_used_as_it_is(old: tuple[str, str]) -> None:
    path, kind = old
    before = _items(path, kind)
    files = _files(path)
    with pytest.warns(NotDurableWarning, match="migrate") as caught:
        shelf = shelve.open(path)
    assert caught[0].filename == __file__
    with shelf:
        assert dict(shelf) == before
        shelf["new"] = [1]
    assert _items(path, kind) == {**before, "new": [1]}
    assert _files(path) == files
    with pytest.warns(NotDurableWarning), shelve.open(path, "r") as shelf, pytest.raises(dbm.error):
        shelf["x"] = 1


def test_no_other_shelf_comes_beside_it(old: tuple[str, str]) -> None:
    path, _ = old
    files = _files(path)
    with pytest.raises(ShelfError, match="migrate"):
        shelve.DbfilenameShelf(path)
    assert _files(path) == files


def test_a_python_without_its_module_says_what_to_do(old: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, kind = old
    files = _files(path)
    monkeypatch.setitem(sys.modules, kind, None)  # it can't be imported
    with pytest.raises(ShelfError, match=f"{kind}.*migrate"):
        shelve.open(path)
    with pytest.raises(ShelfError, match="migrate"):
        shelve.migrate(path)
    assert _files(path) == files


def test_the_url_of_a_store_is_no_dbm_file_and_its_password_isnt_shown() -> None:
    with pytest.raises(ShelfError, match="is the URL of a store") as told:
        shelve.migrate("mysql://ann:s3cr3t@db.example/shop")
    assert "s3cr3t" not in str(told.value)


def test_it_is_moved_over(old: tuple[str, str]) -> None:
    path, kind = old
    before = _items(path, kind)
    assert shelve.migrate(path) == len(before)
    with shelve.open(path) as shelf:
        assert isinstance(shelf, shelve.DbfilenameShelf)
        assert dict(shelf) == before
    assert not any("new-shelf" in name for name in os.listdir(os.path.dirname(path)))
    assert _items(f"{path}.old", kind) == before
    with pytest.raises(ShelfError, match="nothing to move"):
        shelve.migrate(path)


@pytest.mark.parametrize(("limit", "first"), [("COUNT", 3), ("BYTES", 1)])
def test_it_is_moved_over_in_several_commits(
    old: tuple[str, str], monkeypatch: pytest.MonkeyPatch, limit: str, first: int
) -> None:
    """A thousand values of some megabytes each were to fit into one, and into memory."""
    path, kind = old
    before = _items(path, kind)
    monkeypatch.setattr(f"pqadapters.portions.{limit}", first)
    moved: list[int] = []
    assert (shelve.migrate(path, progress=moved.append), moved[0]) == (len(before), first)
    assert sum(moved) == len(before)
    assert max(moved) == first
    with shelve.open(path) as shelf:
        assert dict(shelf) == before


def test_what_is_kept_of_it_is_not_overwritten(old: tuple[str, str]) -> None:
    path, kind = old
    before = _items(path, kind)
    for suffix in ("", ".dat", ".dir", ".bak", ".db", ".pag"):
        Path(f"{path}.old{suffix}").write_text("older")
    with pytest.raises(ShelfError, match="is there: move"):
        shelve.migrate(path)
    assert _items(path, kind) == before


def test_moving_it_over_breaks_off_anywhere(old: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever call of the system is the last one: the shelf is there, as the old or as the new one, and whole."""
    path, kind = old
    before = _items(path, kind)
    calls = {name: getattr(os, name) for name in ("link", "rename", "unlink")}
    for last in range(1, 30):
        count = 0

        def stop(name: str, *args: Any, **options: Any) -> Any:
            nonlocal count
            if any(str(path) in str(arg) for arg in args):
                count += 1
                if count == last:  # noqa: B023
                    raise KeyboardInterrupt
            return calls[name](*args, **options)

        for name in calls:
            monkeypatch.setattr(os, name, lambda *args, name=name, **options: stop(name, *args, **options))
        try:
            shelve.migrate(path)
        except KeyboardInterrupt:
            finished = False
        else:
            finished = True
        monkeypatch.undo()
        if finished:
            break
        with pytest.warns(NotDurableWarning) if kind_of(path) else _nothing(), shelve.open(path) as shelf:
            assert dict(shelf) == before
        if not kind_of(path):
            break
        assert not any(".old" in name for name in os.listdir(os.path.dirname(path))), "it may be used as it was"
    with shelve.open(path) as shelf:
        assert dict(shelf) == before


class _nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_where_nothing_can_be_tidied_up_it_is_told_what_failed_first(
    old: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had no room was told that a file couldn't be removed."""
    path, kind = old
    before = _items(path, kind)

    with monkeypatch.context() as patch:

        def tidy_up(*arguments: object) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        def copy(*arguments: object) -> None:
            patch.setattr(Disk, "unlink", tidy_up)
            raise DiskError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

        patch.setattr(shelve, "_copy", copy)
        with pytest.raises(DiskError) as caught:
            shelve.migrate(path)
        with pytest.raises(DiskError, match="can't remove a database in the directory of the store: Read-only"):
            remove_database(f"{path}.new-shelf")
    assert caught.value.errno == errno.ENOSPC
    assert _items(path, kind) == before
    shelve.migrate(path)
    assert not [name for name in os.listdir(os.path.dirname(path)) if "new-shelf" in name]


def test_a_file_that_cant_be_looked_at_isnt_left_out_of_what_is_kept(
    old: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken not to be there: what was kept of a dbm of several files wasn't whole."""
    path, kind = old
    before, real, names = _items(path, kind), os.lstat, _files(path)
    for name in names:
        file = os.path.join(os.path.dirname(path), name)

        def failing(name: Any, *arguments: Any, file: str = file, **options: Any) -> os.stat_result:
            if name == file and os.path.isfile(f"{path}.new-shelf"):
                raise OSError(errno.EIO, os.strerror(errno.EIO), file)
            return real(name, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "lstat", failing)
            with pytest.raises(OSError, match="Input/output error"):
                shelve.migrate(path)
        assert _items(path, kind) == before
        assert _files(path) == names
    shelve.migrate(path)
    assert _items(f"{path}.old", kind) == before


def test_what_cant_be_taken_away_behind_a_move_is_no_failure_of_it(
    old: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was told of an error moved it over again, and was told that there was nothing."""
    path, kind = old
    before, real = _items(path, kind), os.unlink

    def failing(name: Any, *arguments: Any, **options: Any) -> None:
        if not kind_of(path):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), name)
        real(name, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", failing)
        assert shelve.migrate(path) == len(before)
    with shelve.open(path) as shelf:
        assert dict(shelf) == before
    assert _items(f"{path}.old", kind) == before


def test_a_read_that_fails_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "old")
    _theirs("dbm.dumb", path, "n").close()

    def failing(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("dbm.dumb._Database", failing)
    with pytest.raises(OSError, match=path) as caught:
        shelve.migrate(path)
    assert caught.value.errno == errno.EIO


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "none"])
def test_sigkill_anywhere_and_the_next_call_ends_it(
    old: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """What stood under the name of the original was in the next call's way, or its files were under both names."""
    path, kind = old
    before = _items(path, kind)
    names = ("link", "rename", "unlink", "fsync")
    calls = {name: getattr(os, name) for name in names}
    for last in range(1, 100):
        place = tmp_path / str(last)
        place.mkdir()
        for name in os.listdir(tmp_path):
            if (tmp_path / name).is_file():
                shutil.copy2(tmp_path / name, place / name)
        at = str(place / "old")

        def migrate(me: Child, at: str = at, last: int = last) -> None:
            left = last

            def call(name: str, *args: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                if name == "link" and not links:
                    raise PermissionError("no hard links here")
                return calls[name](*args, **options)

            for name in names:
                monkeypatch.setattr(os, name, lambda *args, name=name, **options: call(name, *args, **options))
            shelve.migrate(at)

        with child(migrate) as process:
            killed = process.wait() != 0
        if kind_of(at):
            assert _items(at, kind) == before
            shelve.migrate(at)
        with shelve.open(at) as shelf:
            assert dict(shelf) == before
        assert _items(f"{at}.old", kind) == before
        if not killed:
            break
    assert 10 < last < 99


def test_a_new_one_takes_its_place(old: tuple[str, str]) -> None:
    path, _ = old
    with shelve.open(path, "n") as shelf:
        assert dict(shelf) == {}
        shelf["a"] = 2
    with shelve.open(path) as shelf:
        assert dict(shelf) == {"a": 2}


def test_an_open_shelf_is_not_disturbed_by_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a file drops all locks that the process has on it, so nobody but SQLite may open a database."""
    path = str(tmp_path / "shelf")
    opened: list[str] = []
    real = builtins.open

    def note(file: Any, *args: Any, **options: Any) -> Any:
        opened.append(str(file))
        return real(file, *args, **options)

    with shelve.open(path) as shelf:
        for name in ("builtins.open", "io.open"):
            monkeypatch.setattr(name, note)
        with shelve.open(path) as other:
            other["a"] = 1
        assert shelf["a"] == 1
    assert path not in opened


@pytest.mark.parametrize("offset", [12, 0])  # macOS has version 1.85, where it's 0: a new shelf was made beside it
def test_a_berkeley_database_is_known_without_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    path = str(tmp_path / "old")
    Path(f"{path}.db").write_bytes(bytes(offset) + (0x00061561).to_bytes(4, sys.byteorder) + bytes(8000))
    monkeypatch.setitem(sys.modules, "dbm.ndbm", None)
    with pytest.raises(ShelfError, match=r"dbm.ndbm.*migrate"):
        shelve.open(path)
    assert os.listdir(tmp_path) == ["old.db"]


def test_a_mapping_of_that_name_and_db_is_no_dbm(tmp_path: Path) -> None:
    from pqadapters import PDict

    d: PDict[str, int] = PDict(tmp_path / "app.db")
    with d, shelve.open(str(tmp_path / "app")) as shelf:
        d["a"] = 1
        assert len(shelf) == 0


@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_dumb_one_without_its_index_is_not_shadowed(tmp_path: Path, damage: str) -> None:
    path = str(tmp_path / "old")
    with _theirs("dbm.dumb", path, "c") as shelf:
        shelf["a"] = 1
    os.replace(f"{path}.dir", f"{path}.bak")
    if damage == "garbage":
        Path(f"{path}.dir").write_bytes(b"\0\1\2")
    files = _files(path)
    for flag in "cwr":
        with pytest.raises(dbm.error, match=r"damaged dbm.dumb.*\.bak"):
            shelve.open(path, flag)
    assert _files(path) == files


def test_a_value_that_is_cut_off_is_not_moved_over(tmp_path: Path) -> None:
    """dbm.dumb gives what there is of it, so that a shelf of ours got a pickle that nobody could load."""
    path = str(tmp_path / "old")
    with _theirs("dbm.dumb", path, "c") as shelf:
        shelf.update({"a": 1, "b": "x" * 600})
    data = Path(f"{path}.dat").read_bytes()
    Path(f"{path}.dat").write_bytes(data[:700])
    files = _files(path)
    with pytest.raises(ShelfError, match=r"old is damaged: .*b'b'.* 61\d bytes at 512 .*188 of them.*migrate .*old`"):
        shelve.migrate(path)
    assert _files(path) == files
    with _theirs("dbm.dumb", path, "w") as shelf:
        del shelf["b"]
    assert shelve.migrate(path) == 1


@pytest.mark.parametrize(
    "damage",
    [b"'b', (", b"\0", b"f()", b"'b', 'c'", b"5, (0, 3)", b"(" * 100_000],
    ids=["cut off", "zeros", "a call", "no place", "a number", "deep"],
)
def test_a_damaged_index_is_told_as_dbms_errors_are(tmp_path: Path, damage: bytes) -> None:
    """A SyntaxError out of ast.literal_eval() says nothing of a file."""
    path = str(tmp_path / "old")
    with _theirs("dbm.dumb", path, "c") as shelf:
        shelf["a"] = 1
    with open(f"{path}.dir", "ab") as index:
        index.write(damage + b"\n")
    files = _files(path)
    with pytest.raises(ShelfError, match=r"old.* is damaged"):
        shelve.migrate(path)
    if b"c" not in damage:
        with pytest.raises(dbm.error, match=r"old.dir, is damaged: .*old.bak may be an older one"):
            shelve.open(path)
    assert _files(path) == files


@pytest.mark.parametrize("place", [(0, 1 << 40), (1 << 70, 3), (0, -1), (-512, 3)])
def test_a_place_in_a_damaged_index_that_cant_be(tmp_path: Path, place: tuple[int, int]) -> None:
    """As much memory was asked for as it said; what came of that was an error of Python's own."""
    path = str(tmp_path / "old")
    with _theirs("dbm.dumb", path, "c") as shelf:
        shelf["a"] = 1
    with open(f"{path}.dir", "a") as index:
        index.write(f"'b', {place}\n")
    files = _files(path)
    with pytest.raises(ShelfError, match=r"old is damaged: .*b'b'.*migrate .*old` moves"):
        shelve.migrate(path)
    assert _files(path) == files


class _Gnu(dict[bytes, bytes]):
    """What dbm.gnu makes of a damaged file: an error in place of the number of its keys, of which it lists some."""

    def keys(self) -> Any:
        return list(self)

    def __len__(self) -> int:
        raise OSError("Database needs recovery")

    def close(self) -> None:
        """Nothing."""


def _gnu_file(path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Any]) -> None:
    path.write_bytes(b"\xce\x9a\x57\x13" + bytes(60))
    monkeypatch.setitem(sys.modules, "dbm.gnu", SimpleNamespace(open=opened))


def test_keys_that_a_damaged_gnu_dbm_doesnt_list_arent_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flipped bit, and it lists none: a shelf of nothing was said to be all that was moved over."""
    path = tmp_path / "old"
    for there in ({}, {b"a": b"N."}):
        _gnu_file(path, monkeypatch, lambda *arguments: _Gnu(there))  # noqa: B023  # called before the next one
        with pytest.raises(
            ShelfError, match=r"old is damaged: what keys it has .*needs recovery.*gdbmtool .*old recover"
        ):
            shelve.migrate(path)
        assert _files(str(path)) == ["old"]


def test_a_key_that_a_damaged_gnu_dbm_lists_and_hasnt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A KeyError was raised that named the key alone."""
    path = tmp_path / "old"
    found = _Gnu()
    monkeypatch.setattr(_Gnu, "keys", lambda self: [b"lost"])
    _gnu_file(path, monkeypatch, lambda *arguments: found)
    with pytest.raises(ShelfError, match=r"old is damaged: the value of its key b'lost' can't be read: it has none\."):
        shelve.migrate(path)
    assert _files(str(path)) == ["old"]


def test_an_error_of_the_modules_own_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(*arguments: object) -> None:
        raise OSError("Malformed database file header")

    path = tmp_path / "old"
    _gnu_file(path, monkeypatch, refusing)
    with pytest.raises(ShelfError, match=r"old can't be opened by dbm.gnu: Malformed"):
        shelve.migrate(path)
    with pytest.raises(dbm.error, match=r"old can't be opened by dbm.gnu: Malformed"):
        shelve.open(path)


def test_it_is_moved_where_there_are_no_hard_links(old: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    path, kind = old
    before = _items(path, kind)

    def refuse(*_: Any) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    assert shelve.migrate(path) == len(before)
    with shelve.open(path) as shelf:
        assert dict(shelf) == before
    assert _items(f"{path}.old", kind) == before


def test_what_a_killed_program_left_in_a_wal_is_moved_too(tmp_path: Path) -> None:
    if "dbm.sqlite3" not in KINDS:
        return  # it came with 3.13
    path = str(tmp_path / "old")
    run(
        "import os, sys, shelve, dbm.sqlite3; s = shelve.Shelf(dbm.sqlite3.open(sys.argv[1], 'c')); "
        "s.update({str(n): n for n in range(50)}); os._exit(0)",
        path,
    )
    assert shelve.migrate(path) == 50
    with shelve.open(path) as shelf:
        assert dict(shelf) == {str(n): n for n in range(50)}
    assert _items(f"{path}.old", "dbm.sqlite3") == {str(n): n for n in range(50)}


def test_one_that_another_has_open_is_not_moved_over(tmp_path: Path) -> None:
    """What that one sets later on would be in neither."""
    if "dbm.sqlite3" not in KINDS:
        return  # it came with 3.13
    path = str(tmp_path / "old")
    with _theirs("dbm.sqlite3", path, "c") as shelf:
        shelf["a"] = 1
        with pytest.raises(ShelfError, match="being used by another program"):
            shelve.migrate(path)
        shelf["b"] = 2
    assert _files(path) == ["old"]
    assert shelve.migrate(path) == 2


def test_a_link_stays_a_link(old: tuple[str, str]) -> None:
    path, kind = old
    if kind not in ("dbm.gnu", "dbm.sqlite3"):
        return  # several files, none of that name
    link = f"{path}-link"
    os.symlink(path, link)
    before = _items(path, kind)
    shelve.migrate(link)
    assert os.path.islink(link)
    for name in (path, link):
        with shelve.open(name) as shelf:
            assert dict(shelf) == before


def test_one_in_the_place_of_a_removed_shelf_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What stood beside that one was taken for the new one's, whose "last commits are gone" then."""
    path = str(tmp_path / "shelf")
    with shelve.open(path) as shelf:
        shelf["old"] = []
        with shelf.edit("old") as value:
            value.append(1)
    os.unlink(path)
    with _theirs("dbm.dumb", path, "c") as old:
        old["a"] = 1
    assert shelve.migrate(path) == 1
    with shelve.open(path) as shelf:
        assert dict(shelf) == {"a": 1}
    assert not caplog.records
