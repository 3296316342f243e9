"""Users that aren't there, and may do nothing: a program that runs as one of them.

The interpreter may be where only its owner can read it. So the program starts as root, has loaded all that it will need
before its main module begins, and is somebody else from then on.
"""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BECOME = """\
import importlib, os, pkgutil
import pqadapters, platformdirs.unix, tests.unchanged.progress
for module in pkgutil.walk_packages(pqadapters.__path__, "pqadapters."):
    if "serializers" not in module.name:
        importlib.import_module(module.name)
import pqadapters.serializers.pickle
os.setgroups([])
os.setgid({user})
os.setuid({user})
"""


def free_user() -> int:
    """A user id that no passwd entry has."""
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(user for user in range(40_000, 60_000) if user not in taken)


@contextmanager
def readable_directory() -> Iterator[Path]:
    """A directory that everybody can look into: pytest's are their owner's alone."""
    directory = Path(tempfile.mkdtemp(prefix="pqadapters-tests-"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


def become(user: int, directory: Path) -> str:
    """A directory for PYTHONPATH that makes every Python somebody else."""
    site = directory / "become"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BECOME.format(user=user))
    return str(site)


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
