"""What a program doesn't use isn't loaded for it: its start is its user's time."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SLOW = ("asyncio", "http.client", "ssl", "sqlite3", "pymysql")


@pytest.mark.parametrize("module", ["stdlib.queue", "stdlib.shelve", "persistqueue", "logging.handlers"])
def test_what_few_programs_need_is_not_loaded_by_an_import(module: str) -> None:
    program = f"import pqadapters.{module}, sys; print(*(name for name in {_SLOW} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout.split() == []
