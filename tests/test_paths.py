"""A path with `..` behind a symbolic link to a directory: all of it is where the system finds that path."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pqadapters import PDict
from pqadapters.commands import places
from pqadapters.concurrent.futures import ThreadPoolExecutor
from pqadapters.home.application import home_directory
from pqadapters.logging.handlers import QueueHandler
from pqadapters.paths import absolute
from pqadapters.stdlib import shelve
from pqadapters.stdlib.queue import Queue
from pqadapters.stores.sqlite import SqliteStore


def _queue(path: str) -> None:
    queue: Queue[int] = Queue(path=path)
    with queue:
        queue.put(1)


def _mapping(path: str) -> None:
    mapping: PDict[str, int] = PDict(path, "visits")
    with mapping:
        mapping["ann"] = 1


def _shelf(path: str) -> None:
    for value in (1, 2):
        with shelve.open(path) as shelf:
            shelf["ann"] = value


def _executor(path: str) -> None:
    with ThreadPoolExecutor(1, path=path) as executor:
        executor.submit(int).result(60)


def _handler(path: str) -> None:
    handler = QueueHandler(path)
    handler.handle(logging.makeLogRecord({"msg": "late"}))
    handler.close()


def _backup(path: str) -> None:
    with SqliteStore(f"{path}.db") as store:
        store.backup(to=path)


@pytest.fixture
def around(tmp_path: Path) -> tuple[str, Path, Path]:
    """The path; where it leads to; and where it would lead without the link."""
    (tmp_path / "releases" / "42" / "app").mkdir(parents=True)
    (tmp_path / "current").symlink_to(tmp_path / "releases" / "42" / "app")
    return str(tmp_path / "current" / ".." / "data"), tmp_path / "releases" / "42" / "data", tmp_path / "data"


@pytest.mark.parametrize("use", [_queue, _mapping, _shelf, _executor, _handler, _backup])
def test_it_lives_where_the_system_finds_the_path(
    around: tuple[str, Path, Path], use: Callable[[str], None]
) -> None:
    path, there, elsewhere = around
    use(path)
    assert there.exists()
    assert not elsewhere.exists()


def test_what_has_the_name_without_the_link_is_nobodys_business(around: tuple[str, Path, Path]) -> None:
    path, _, elsewhere = around
    elsewhere.write_text("no shelf")
    _shelf(path)
    with shelve.open(path) as shelf:
        assert shelf["ann"] == 2


def test_the_home_and_what_commands_look_at(around: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, there, _ = around
    _queue(path)
    monkeypatch.setenv("PQADAPTERS_HOME", path)
    assert home_directory() == places.find(path) == str(there)


def test_links_stay_in_names_where_they_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for path in ("link", "./link//data", "link/../link/data", ".", "..", "missing/../data", "/..", "data/"):
        found = absolute(path)
        assert found == os.path.abspath(path)
