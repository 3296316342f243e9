"""Another user's directories, and this process as that user. Only root can have them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

USER = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's directory")


@contextmanager
def as_user(uid: int = USER) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def open_to_all(path: Path) -> None:
    """pytest's directories are for their owner alone."""
    for place in (path, *path.parents):
        mode = stat.S_IMODE(place.stat().st_mode)
        if mode & 0o055 != 0o055 and place.stat().st_uid == os.geteuid():
            place.chmod(mode | 0o055)


def home_of_user(path: Path) -> Path:
    """A directory below that belongs to the user."""
    open_to_all(path)
    home = path / "home"
    home.mkdir(0o700)
    os.chown(home, USER, USER)
    return home


def owners(path: Path) -> set[int]:
    """Of all that is there."""
    return {each.lstat().st_uid for each in (path, *path.rglob("*"))}
