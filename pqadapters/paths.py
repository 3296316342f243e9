"""Paths that are used later, when the working directory may be another one. Any thread may call this."""

from __future__ import annotations

import os


def absolute(path: str) -> str:
    """As `os.path.abspath`, and the file that the system finds there: `..` behind a symbolic link to a directory is the
    parent of what it leads to. Elsewhere links stay in the name."""
    parts = path.split(os.sep)
    if os.pardir in parts:
        end = len(parts) - parts[::-1].index(os.pardir)
        path = os.path.join(os.path.realpath(os.sep.join(parts[:end])), *parts[end:])
    return os.path.abspath(path)
