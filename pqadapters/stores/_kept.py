"""Names under which what another program wrote is kept, and its files brought there.

What returns normally is on the disk. Nothing that is there is ever written over.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count

from ._disk import Disk, is_there


def free_name(wanted: str, same: str | None = None) -> str:
    """The name, or with a number behind it the first one that is free; one that is an empty directory, or another name
    of the file `same`, was left by who was killed, and is as good."""
    for number in count(2):
        if not is_there(wanted) or _is_left(wanted, same):
            return wanted
        wanted = f"{wanted.removesuffix(f'.{number - 1}')}.{number}"
    raise AssertionError


def _is_left(path: str, same: str | None) -> bool:
    if same is not None:
        with suppress(OSError):
            return os.path.samefile(path, same)
        return False
    return os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path)


def keep_file(path: str, kept: str, disk: Disk) -> None:
    """The file has the second name `kept`; where the filesystem has no such names, a copy of it. Raises OSError."""
    if is_there(kept):
        return  # see free_name
    try:
        disk.link(path, kept)
    except OSError:
        _copy(path, kept, disk)
    disk.sync_directory(os.path.dirname(kept))


def _copy(path: str, kept: str, disk: Disk) -> None:
    """Whole or not at all."""
    part = f"{kept}.part"
    source = disk.open(path, write=False)
    try:
        disk.copy_file(source, disk.size(source), part)
    finally:
        disk.close(source)
    disk.rename(part, kept)
