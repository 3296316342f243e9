"""Another program's file is kept under a second name: whole, on the disk, and over nothing that is there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pqadapters.stores import _disk
from pqadapters.stores._disk import Disk
from pqadapters.stores._kept import free_name, keep_file


class Noted(Disk):
    """Notes what is made to last; `links`: whether the filesystem has second names."""

    def __init__(self, links: bool) -> None:
        super().__init__()
        self._links = links
        self.noted: list[str] = []

    def link(self, source: str, target: str) -> None:
        self.noted.append("name")
        if not self._links:
            raise PermissionError("no second names here")
        super().link(source, target)

    def sync(self, fd: int) -> None:
        self.noted.append("sync")
        super().sync(fd)

    def rename(self, source: str, target: str) -> None:
        self.noted.append("rename")
        super().rename(source, target)

    def sync_directory(self, path: str, fd: int | None = None) -> None:
        self.noted.append("sync directory")
        super().sync_directory(path, fd)


@pytest.mark.parametrize("links", [True, False])
def test_it_is_there_in_full_and_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Its own name goes next: a power cut left an empty copy, or none."""
    monkeypatch.setattr(_disk, "_CHUNK", 4)
    file, kept, disk = tmp_path / "file", tmp_path / "kept", Noted(links)
    file.write_bytes(b"0123456789")
    (tmp_path / "kept.part").write_bytes(b"of one that was killed")
    keep_file(str(file), str(kept), disk)
    assert kept.read_bytes() == b"0123456789"
    assert os.path.samefile(file, kept) is links
    assert disk.noted == (["name", "sync directory"] if links else ["name", "sync", "rename", "sync directory"])


@pytest.mark.parametrize("links", [True, False])
def test_what_has_the_name_stays(tmp_path: Path, links: bool) -> None:
    for name in ("file", "kept"):
        (tmp_path / name).write_text(name)
    keep_file(str(tmp_path / "file"), str(tmp_path / "kept"), Noted(links))
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_name_is_free_where_nothing_is_that_anybody_wants(tmp_path: Path) -> None:
    file, wanted = tmp_path / "file", str(tmp_path / "kept")
    assert free_name(wanted) == wanted
    file.write_text("file")
    (tmp_path / "kept").mkdir()
    assert free_name(wanted) == wanted, "it was left by who was killed"
    assert free_name(wanted, str(file)) == f"{wanted}.2", "no name of the file"
    (tmp_path / "kept" / "something").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "kept.2").symlink_to(tmp_path / "empty")
    assert free_name(wanted) == f"{wanted}.3"
    os.link(file, f"{wanted}.3")
    assert free_name(wanted) == f"{wanted}.4"
    assert free_name(wanted, str(file)) == f"{wanted}.3"
