"""Users without a home, or with one that they may not write: an error that names PQADAPTERS_HOME, and nothing lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import App
from .users import become, free_user, is_root, readable_directory

pytestmark = pytest.mark.skipif(not is_root(), reason="only root can become somebody else")


class Somebody:
    """The daemon, run by a user that nobody knows."""

    def __init__(self, directory: Path) -> None:
        self.app = App(directory, "daemon")
        self.user = free_user()
        self.app.env["PYTHONPATH"] = f"{become(self.user, directory)}:{self.app.env['PYTHONPATH']}"
        del self.app.env["PQADAPTERS_HOME"]

    def refused(self) -> str:
        """What the program ends with where it can put nothing."""
        run = self.app.run(0, 3, status=1, errors=".*NoHome: .*")
        assert run.lines == []
        return run.errors.splitlines()[-1]

    def works_with_a_home_of_its_own(self) -> None:
        home = self.app.home
        home.mkdir()
        os.chown(home, self.user, self.user)
        self.app.env["PQADAPTERS_HOME"] = str(home)
        self.app.killed(0, 3, at=["begin 1"])
        (slot,) = self.app.homes()
        assert (os.stat(slot.directory).st_uid, os.stat(slot.directory).st_mode & 0o777) == (self.user, 0o700)
        assert self.app.run(3, 1).items("begin") == [0, 1, 2, 3]
        assert self.app.slots() == []


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    with readable_directory() as directory:
        yield Somebody(directory)


def test_without_home_and_passwd_entry(somebody: Somebody) -> None:
    assert "PQADAPTERS_HOME" in somebody.refused()
    somebody.works_with_a_home_of_its_own()


def test_with_a_home_that_is_empty(somebody: Somebody) -> None:
    somebody.app.env["HOME"] = ""
    assert "PQADAPTERS_HOME" in somebody.refused()


def test_with_a_home_that_is_read_only(somebody: Somebody) -> None:
    home = somebody.app.directory / "theirs"
    home.mkdir(0o755)
    somebody.app.env["HOME"] = str(home)
    refusal = somebody.refused()
    assert "PQADAPTERS_HOME" in refusal
    assert str(home) in refusal
    assert list(home.iterdir()) == []
    somebody.works_with_a_home_of_its_own()


def test_with_a_pqadapters_home_that_is_read_only(somebody: Somebody) -> None:
    home = somebody.app.directory / "theirs"
    home.mkdir(0o755)
    somebody.app.env["PQADAPTERS_HOME"] = str(home)
    refusal = somebody.refused()
    assert "PQADAPTERS_HOME" in refusal
    assert str(home) in refusal
    somebody.works_with_a_home_of_its_own()


def test_items_that_are_there_when_the_home_becomes_read_only(somebody: Somebody) -> None:
    """As when a disk is mounted again read-only: the program is told so, and finds everything once that is over."""
    app = somebody.app
    somebody.works_with_a_home_of_its_own()
    app.killed(0, 3, at=["begin 1"])
    (slot,) = app.homes()
    directories = slot.directory, os.path.dirname(slot.directory)
    for directory in directories:
        os.chown(directory, 0, 0)
    app.run(3, 1, status=1, errors=".*(?:NoHome|Refused): .*")
    for directory in directories:
        os.chown(directory, somebody.user, somebody.user)
    assert app.run(3, 1).items("begin") == [1, 2, 3]  # 0 was done when the next one was asked for
