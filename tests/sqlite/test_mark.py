"""What all processes know without asking the database."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite.processes.mark import Mark
from tests.segment.programs import running, said

_TELL = """
import sys
from pqadapters.stores._disk import Disk
from pqadapters.stores.sqlite.processes.mark import Mark
mark = Mark(sys.argv[1], Disk())
mark._process = b"them"
print("begins", flush=True)
for _ in range(1_000_000):
    mark.tell()
"""


def test_an_id_that_is_half_written_is_none(tmp_path: Path) -> None:
    """Memory that all share: whoever opens it may come in the middle of that."""
    file = tmp_path / "mark"
    mark = Mark(str(file), Disk())
    mark.note(7)
    assert Mark(str(file), Disk()).read() == 7
    data = file.read_bytes()
    file.write_bytes(b"\x08" + data[1:])
    assert Mark(str(file), Disk()).read() == 0
    mark.close()


def test_one_that_is_shorter_keeps_what_it_has(tmp_path: Path) -> None:
    """Of an earlier version, or of a process that died right behind making it."""
    file = tmp_path / "mark"
    mark = Mark(str(file), Disk())
    mark.note(7)
    mark.close()
    file.write_bytes(file.read_bytes()[:16])
    mark = Mark(str(file), Disk())
    assert (mark.read(), mark.crowded, mark.pair) == (7, False, (0, 0, 0, 0))
    mark.close()


def test_in_a_forked_child_it_stays_open(tmp_path: Path) -> None:
    mark = Mark(str(tmp_path / "mark"), Disk())
    mark.note(7)
    assert mark.begin_again() is not None
    mark.close()
    assert mark.read() == 7


def test_a_commit_that_is_told_of_is_told_of_whole(tmp_path: Path) -> None:
    """Of two processes that told at once there was the number of one with the name of the other, which may have been
    there before: then nobody heard of either."""
    mark = Mark(str(tmp_path / "mark"), Disk())
    mark._process, mark._commits = b"ours", itertools.count(1 << 31)
    with running(_TELL, tmp_path / "mark") as child:
        assert said(child) == "begins"
        while child.poll() is None:
            mark.tell()
            name, number = struct.unpack("<4sI", mark.told)
            assert (name == b"ours") == (number >= 1 << 31)
    mark.close()
