"""The system refuses a call on the store's files: each one in turn, of a real program.

The program gets an error of ours or none, its store can be closed, and what was acknowledged is there when it is opened
again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pqadapters.opening import open_store
from pqadapters.store import Put
from tests.segment.programs import PATIENCE, ROOT

_PROGRAM = """
import sys
from pqadapters.errors import PqadaptersError
from pqadapters.opening import open_store
from pqadapters.store import Ack, Put
try:
    store = open_store(sys.argv[1])
    for number in range(4):
        try:
            store.commit(Put("q", b"%d" % number))
            print("stored", number)
            for claim in store.claim("q", limit=number % 2):
                print("taking", claim.payload.decode())  # what is refused behind that may have been done
                store.commit(Ack(claim))
        except PqadaptersError as error:
            print(error, file=sys.stderr)
    store.close()
except PqadaptersError as error:
    print(error, file=sys.stderr)
"""
_CALLS = ["close", "fdatasync", "fstat", "ftruncate", "newfstatat", "openat", "pread64", "pwrite64"]
_KINDS = {"file": [*_CALLS, "flock", "rename"], "sqlite": [*_CALLS, "fcntl"]}
_MOST = 12  #: the first ones of each


def _refused(url: str, files: list[Path], call: str, nth: int, trace: Path) -> tuple[bool, str]:
    """Whether the program came so far, and what it said."""
    command = ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:error=EIO:when={nth}"]
    for file in files:
        command += ["-P", str(file)]
    done = subprocess.run(
        [*command, sys.executable, "-c", _PROGRAM, url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{call} {nth}: {done.stderr}"
    return "INJECTED" in trace.read_text(), done.stdout


def _files(kind: str, here: Path) -> tuple[str, list[Path]]:
    """The store's URL, and what it has there."""
    if kind == "sqlite":
        return f"sqlite:///{here}/q.db", [here, *(here / f"q.db{end}" for end in ("", "-wal", "-shm", "-journal"))]
    names = ["LOCK", "checkpoint", "checkpoint.tmp", f"{1:016d}.seg", f"{1:016d}.seg.tmp"]
    return f"file://{here}/q", [here, here / "q", *(here / "q" / name for name in names)]


@pytest.mark.parametrize(("kind", "call"), [(kind, call) for kind, calls in _KINDS.items() for call in calls])
def test_a_call_is_refused(kind: str, call: str, tmp_path: Path) -> None:
    """A database whose attributes couldn't be read for a moment was taken not to be there, and an empty one put in its
    place; a file that couldn't be looked at was a bare OSError; one whose close failed kept the whole store open."""
    came, nth = True, 0
    while came and nth < _MOST:
        nth += 1
        here = tmp_path / str(nth)
        here.mkdir(mode=0o700)
        url, files = _files(kind, here)
        with open_store(url) as store:
            store.commit(Put("q", b"before"))
        came, said = _refused(url, files, call, nth, tmp_path / "trace")
        told = [line.split() for line in said.splitlines()]
        with open_store(url) as store:
            claims = iter(lambda: store.claim("q", limit=10), [])  # what a dead process had in hand comes last
            found = [claim.payload.decode() for some in claims for claim in some]
        stored, taken = ({number for what, number in told if what == word} for word in ("stored", "taking"))
        assert not (stored | {"before"}) - taken - set(found), f"{call} {nth}: {told}"
        assert len(set(found)) == len(found), f"{call} {nth}: {found}"
    assert nth > 1, "the program makes no such call"
