"""SHA-256, for names. `hashlib` loads OpenSSL for it, which takes as long as a good part of a start."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def _found() -> Callable[[bytes], Any]:
    for module in ("_sha2", "_sha256"):  # CPython's own, from 3.12 on and before
        try:
            found: Callable[[bytes], Any] = import_module(module).sha256
            return found
        except (ImportError, AttributeError):
            pass
    from hashlib import sha256

    return sha256


_sha256 = _found()


def digest(data: bytes) -> str:
    """The first ten of its hexadecimal digits."""
    digits: str = _sha256(data).hexdigest()
    return digits[:10]
