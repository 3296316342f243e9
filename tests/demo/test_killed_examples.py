"""The examples of asyncio and gevent: killed at some word of theirs, and started again, nothing is missing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pqadapters import PDict
from tests.segment.programs import PATIENCE, ROOT

PAGES = 200
WORDS = [f"word{n}" for n in range(60)]


def _start(example: str, directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / example), str(directory), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def _kill_until_done(example: str, directory: Path, first: list[str], rng: random.Random) -> str:
    """Runs it again and again, killed after some lines each time but the last: what it says at its end."""
    arguments = first
    for _ in range(5):
        with _start(example, directory, *arguments) as child:
            assert child.stdout is not None
            for _ in range(rng.randrange(3, 25)):
                if not child.stdout.readline():
                    break
            child.kill()
        arguments = []
    with _start(example, directory) as child:
        out, _ = child.communicate(timeout=PATIENCE)
    return out.splitlines()[-1]


@pytest.mark.parametrize("seed", [1, 2])
def test_asyncio_workers_lose_no_word(tmp_path: Path, seed: int) -> None:
    last = _kill_until_done("asyncio_workers.py", tmp_path, WORDS, random.Random(seed))
    assert last == f"results {len(WORDS)}"
    results: PDict[str, str] = PDict(tmp_path / "results.db")
    with results:
        assert results == {word: word[::-1] for word in WORDS}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_crawler_of_greenlets_misses_no_page(tmp_path: Path, seed: int) -> None:
    last = _kill_until_done("gevent_crawler.py", tmp_path, ["0"], random.Random(seed))
    assert last == f"pages {PAGES}"
    pages: PDict[Any, Any] = PDict(tmp_path / "pages.db")
    with pages:
        assert sorted(pages) == list(range(PAGES))
